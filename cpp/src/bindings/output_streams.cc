// SPDX-License-Identifier: Apache-2.0
#include "bindings/output_streams.h"

#include <utility>

#include "bindings/session.h"

namespace skyray::bindings {
namespace {

struct Streams {
  PyObject* rename = nullptr;
  PyObject* flush = nullptr;
  bool named = false;    // One of them has printed: it says so when the name changes.
  bool unended = false;  // One of them keeps back what has no end of line yet.
};

Streams& TheStreams() {
  static Streams streams;
  return streams;
}

void Tell(PyObject* function) {
  if (function == nullptr) return;
  PyObject *type, *error, *traceback;
  PyErr_Fetch(&type, &error, &traceback);
  const PyRef done(PyObject_CallNoArgs(function));
  if (!done) PyErr_WriteUnraisable(function);
  PyErr_Restore(type, error, traceback);
}

}  // namespace

void RenameOutput() {
  if (TheStreams().named) Tell(TheStreams().rename);
}

void EndOutput() {
  if (std::exchange(TheStreams().unended, false)) Tell(TheStreams().flush);
}

void OutputIsNamed() { TheStreams().named = true; }

PyObject* WatchOutput(PyObject*, PyObject* args) {
  PyObject *rename, *flush;
  if (!PyArg_ParseTuple(args, "OO", &rename, &flush)) return nullptr;
  Py_XSETREF(TheStreams().rename, Py_NewRef(rename));
  Py_XSETREF(TheStreams().flush, Py_NewRef(flush));
  Py_RETURN_NONE;
}

PyObject* FlushAfterCall(PyObject*, PyObject*) {
  TheStreams().unended = true;
  Py_RETURN_NONE;
}

}  // namespace skyray::bindings
