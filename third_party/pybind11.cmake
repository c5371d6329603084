# pybind11 (a build requirement of pyproject.toml, or in the virtual environment
# that is active or in .venv): the binding of the extension skyray._core.
if(NOT SKBUILD AND NOT Python_EXECUTABLE AND NOT DEFINED ENV{VIRTUAL_ENV}
   AND EXISTS ${CMAKE_SOURCE_DIR}/.venv/bin/python)
  set(Python_EXECUTABLE ${CMAKE_SOURCE_DIR}/.venv/bin/python)
endif()
find_package(Python 3.9 REQUIRED COMPONENTS Interpreter Development.Module)
set(PYBIND11_FINDPYTHON ON)
execute_process(COMMAND ${Python_EXECUTABLE} -m pybind11 --cmakedir
  OUTPUT_VARIABLE pybind11_DIR OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(SKBUILD)
  find_package(pybind11 2.12 CONFIG REQUIRED)
else()
  find_package(pybind11 2.12 CONFIG QUIET)
endif()
if(NOT pybind11_FOUND)
  message(WARNING "pybind11 is not installed for ${Python_EXECUTABLE}, so skyray._core "
    "will not be built. Activate a virtual environment that has it (./dev setup makes one).")
endif()
