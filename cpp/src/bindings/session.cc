// SPDX-License-Identifier: Apache-2.0
#include "bindings/session.h"

namespace skyray::bindings {

Session& TheSession() {
  static Session session;
  return session;
}

core_worker::CoreWorker* RequireWorker() {
  Session& session = TheSession();
  if (session.worker) return session.worker.get();
  PyErr_SetString(PyExc_RuntimeError,
                  "skyray is not connected in this process: call skyray.init() first");
  return nullptr;
}

PyRef TakeException() {
  PyObject *type, *value, *traceback;
  PyErr_Fetch(&type, &value, &traceback);
  PyErr_NormalizeException(&type, &value, &traceback);
  if (traceback != nullptr) PyException_SetTraceback(value, traceback);
  Py_XDECREF(type);
  Py_XDECREF(traceback);
  return PyRef(value);
}

PyObject* RaiseStatus(const Status& status, const std::string& actor_hex) {
  if (PyErr_Occurred() != nullptr) return nullptr;
  const Session& session = TheSession();
  if (session.hooks.error == nullptr) {
    PyErr_SetString(PyExc_RuntimeError, status.ToString().c_str());
    return nullptr;
  }
  const PyRef error(PyObject_CallFunction(
      session.hooks.error, "is#s#", static_cast<int>(status.code()), status.message().data(),
      static_cast<Py_ssize_t>(status.message().size()), actor_hex.data(),
      static_cast<Py_ssize_t>(actor_hex.size())));
  if (error) PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.get())), error.get());
  return nullptr;
}

}  // namespace skyray::bindings
