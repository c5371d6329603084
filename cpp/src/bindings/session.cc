// SPDX-License-Identifier: Apache-2.0
#include "bindings/session.h"

namespace skyray::bindings {

Session& TheSession() {
  static Session session;
  return session;
}

static thread_local int worker_refs = 0;
// A call that runs Python code of the user's may take for ever.
static constexpr PY_TIMEOUT_T kLeaveTimeoutUs = 10000000;

WorkerRef::WorkerRef(core_worker::CoreWorker* worker) : worker_(worker) {
  ++worker_refs;
  ++TheSession().users;
}

WorkerRef::~WorkerRef() {
  if (worker_ == nullptr) return;
  Session& session = TheSession();
  --worker_refs;
  --session.users;
  if (session.left != nullptr && session.users <= session.users_to_stay) {
    PyThread_release_lock(std::exchange(session.left, nullptr));
  }
}

int WorkerRef::OfThisThread() { return worker_refs; }

WorkerRef RequireWorker() {
  Session& session = TheSession();
  if (session.worker && !session.ending) return WorkerRef(session.worker.get());
  PyErr_SetString(PyExc_RuntimeError,
                  "skyray is not connected in this process: call skyray.init() first");
  return WorkerRef();
}

void EndWorker(const std::function<void()>& take) {
  Session& session = TheSession();
  if (!session.worker || std::exchange(session.ending, true)) return;
  {
    const ReleaseGil released;
    session.worker->Stop();
  }
  // Those below this very call on the stack can only leave when it has ended.
  session.users_to_stay = WorkerRef::OfThisThread();
  if (session.users > session.users_to_stay) {
    const PyThread_type_lock left = PyThread_allocate_lock();
    if (left != nullptr) {
      PyThread_acquire_lock(left, WAIT_LOCK);
      session.left = left;
      {
        const ReleaseGil released;
        PyThread_acquire_lock_timed(left, kLeaveTimeoutUs, 0);
      }
      session.left = nullptr;
      PyThread_release_lock(left);
      PyThread_free_lock(left);
    }
  }
  if (take) take();
  std::unique_ptr<core_worker::CoreWorker> ended = std::move(session.worker);
  session.ending = false;
  ++session.epoch;
  // Memory that is never given back, not memory that is used when it is gone.
  if (session.users > 0) return (void)ended.release();
  const ReleaseGil released;
  ended.reset();
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
