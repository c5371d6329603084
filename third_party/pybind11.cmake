# pybind11 (from the build requirements in pyproject.toml, or a virtual
# environment on PATH): the binding of the extension skyray._core.
set(PYBIND11_FINDPYTHON ON)
if(NOT pybind11_DIR)
  find_package(Python 3.9 REQUIRED COMPONENTS Interpreter Development.Module)
  execute_process(COMMAND ${Python_EXECUTABLE} -m pybind11 --cmakedir
    OUTPUT_VARIABLE pybind11_DIR OUTPUT_STRIP_TRAILING_WHITESPACE)
endif()
find_package(pybind11 2.12 CONFIG REQUIRED)
