// SPDX-License-Identifier: Apache-2.0
#include "bindings/returns.h"

#include "bindings/session.h"

namespace skyray::bindings {
namespace {

bool SerializeReturn(PyObject* value, std::vector<Serialized>& out) {
  Serialized serialized;
  if (!serialized.From(value)) return false;
  out.push_back(std::move(serialized));
  return true;
}

// Runs a generator that has yielded what it was to yield. More of it is not wanted.
void EndGenerator(const core_worker::IncomingCall& call, PyObject* generator) {
  const PyRef more(PyIter_Next(generator));
  if (more) {
    PySys_FormatStderr("skyray: %s yielded more than num_returns=%d values; they are dropped.\n",
                       call.name().c_str(), static_cast<int>(call.call.header.returns));
  } else if (PyErr_Occurred() != nullptr) {
    PyErr_WriteUnraisable(generator);
  }
}

bool SerializeItems(const core_worker::IncomingCall& call, PyObject* generator,
                    std::vector<Serialized>& out) {
  const size_t asked = call.call.header.returns;
  while (out.size() < asked) {
    const PyRef item(PyIter_Next(generator));
    if (!item || !SerializeReturn(item.get(), out)) break;
  }
  if (out.size() == asked) {
    EndGenerator(call, generator);
    return true;
  }
  if (PyErr_Occurred() == nullptr) {
    PyErr_Format(PyExc_ValueError, "Task returned %zu objects, but num_returns=%zu.", out.size(),
                 asked);
  }
  if (out.empty() || IsRetryable(call) || !PyErr_ExceptionMatches(PyExc_Exception)) return false;
  const std::string error = TakeTaskError(call.name());
  if (error.empty()) {
    PyErr_SetString(PyExc_RuntimeError, "a generator raised what cannot be pickled");
    return false;
  }
  while (out.size() < asked) out.push_back(Serialized::TaskError(error));
  return true;
}

// What of it can be said in UTF-8. An exception that is set is forgotten.
std::string Utf8Of(const PyRef& text) {
  const PyRef bytes(text ? PyUnicode_AsEncodedString(text.get(), "utf-8", "backslashreplace")
                         : nullptr);
  PyErr_Clear();
  if (!bytes) return {};
  return {PyBytes_AS_STRING(bytes.get()), static_cast<size_t>(PyBytes_GET_SIZE(bytes.get()))};
}

}  // namespace

std::string TakeTaskError(const std::string& name, core_worker::TaskFailure* failure) {
  const PyRef raised = TakeException();
  const PyRef both(PyObject_CallFunction(TheSession().hooks.task_error, "Os#", raised.get(),
                                         name.data(), static_cast<Py_ssize_t>(name.size())));
  const char* bytes;
  Py_ssize_t size;
  PyObject* traceback;
  if (!both || !PyArg_ParseTuple(both.get(), "y#U", &bytes, &size, &traceback)) {
    PyErr_Print();
    return {};
  }
  if (failure != nullptr) {
    failure->type = Utf8Of(PyRef(PyObject_Str(reinterpret_cast<PyObject*>(Py_TYPE(raised.get())))));
    failure->value = Utf8Of(PyRef(PyObject_Str(raised.get())));
    failure->traceback = Utf8Of(PyRef::Borrowed(traceback));
  }
  return {bytes, static_cast<size_t>(size)};
}

bool IsRetryable(const core_worker::IncomingCall& call) {
  if (call.function->retry_exceptions.empty() || !PyErr_ExceptionMatches(PyExc_Exception))
    return false;
  PyObject *type, *value, *traceback;
  PyErr_Fetch(&type, &value, &traceback);
  PyErr_NormalizeException(&type, &value, &traceback);
  const PyRef answer(PyObject_CallFunction(
      TheSession().hooks.is_retryable, "Oy#", value, call.function->retry_exceptions.data(),
      static_cast<Py_ssize_t>(call.function->retry_exceptions.size())));
  if (!answer) PyErr_Print();
  const bool retryable = answer && answer.get() == Py_True;
  PyErr_Restore(type, value, traceback);
  return retryable;
}

bool SerializeReturns(const core_worker::IncomingCall& call, PyObject* result,
                      std::vector<Serialized>& out) {
  const uint16_t asked = call.call.header.returns;
  if (asked == 0) return true;
  if (PyGen_CheckExact(result)) return SerializeItems(call, result, out);
  if (asked == 1) return SerializeReturn(result, out);
  // Not an iterator: what it has given is gone.
  const bool has_size = PyObject_Size(result) >= 0;
  const PyRef sequence(has_size ? PySequence_Fast(result, "") : nullptr);
  if (!sequence) {
    PyErr_Format(PyExc_TypeError,
                 "num_returns=%d, but %s returned something that is not a sequence",
                 static_cast<int>(asked), call.name().c_str());
    return false;
  }
  const Py_ssize_t got = PySequence_Fast_GET_SIZE(sequence.get());
  if (got != asked) {
    PyErr_Format(PyExc_ValueError, "Task returned %zd objects, but num_returns=%d.", got,
                 static_cast<int>(asked));
    return false;
  }
  for (Py_ssize_t i = 0; i < got; ++i) {
    if (!SerializeReturn(PySequence_Fast_GET_ITEM(sequence.get(), i), out)) return false;
  }
  return true;
}

}  // namespace skyray::bindings
