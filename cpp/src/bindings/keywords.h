// SPDX-License-Identifier: Apache-2.0
// Arguments of METH_FASTCALL | METH_KEYWORDS functions, without a tuple or dict.
//
// Threading:  with the GIL held.
// Ownership:  what is taken is borrowed from the caller.
// Errors:     TypeError, in Python's words.
#pragma once

#include <Python.h>

#include <array>
#include <cstddef>

namespace skyray::bindings {

using FastFunction = PyObject* (*)(PyObject*, PyObject* const*, Py_ssize_t, PyObject*);

inline PyCFunction AsFunction(FastFunction function) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

// Puts each argument at the place of its name; null stands for one that was not given.
template <size_t N>
bool TakeArguments(const char* function, const char* const (&names)[N], size_t required,
                   PyObject* const* args, Py_ssize_t count, PyObject* keywords,
                   std::array<PyObject*, N>& given) {
  if (count > static_cast<Py_ssize_t>(N)) {
    PyErr_Format(PyExc_TypeError, "%s() takes at most %zu arguments (%zd given)", function, N,
                 count);
    return false;
  }
  for (Py_ssize_t i = 0; i < count; ++i) given[static_cast<size_t>(i)] = args[i];
  const Py_ssize_t named = keywords == nullptr ? 0 : PyTuple_GET_SIZE(keywords);
  for (Py_ssize_t i = 0; i < named; ++i) {
    PyObject* keyword = PyTuple_GET_ITEM(keywords, i);
    size_t at = 0;
    while (at < N && PyUnicode_CompareWithASCIIString(keyword, names[at]) != 0) ++at;
    if (at == N || given[at] != nullptr) {
      PyErr_Format(PyExc_TypeError, "%s() got %s argument %R", function,
                   at == N ? "an unexpected keyword" : "multiple values for", keyword);
      return false;
    }
    given[at] = args[count + i];
  }
  for (size_t i = 0; i < required; ++i) {
    if (given[i] == nullptr) {
      PyErr_Format(PyExc_TypeError, "%s() misses its argument '%s'", function, names[i]);
      return false;
    }
  }
  return true;
}

}  // namespace skyray::bindings
