// SPDX-License-Identifier: Apache-2.0
// The process's one core worker, as the bindings see it.
//
// Threading:  read and changed with the GIL held.
// Ownership:  owns the CoreWorker and references to the hooks.
// Errors:     RequireSession raises the hook's NotConnected error and answers null.
#pragma once

#include <Python.h>

#include <cstdint>
#include <functional>
#include <memory>

#include "core_worker/core_worker.h"

namespace skyray::bindings {

struct Hooks {
  PyObject* serialize = nullptr;
  PyObject* task_error = nullptr;
  PyObject* load_task_error = nullptr;
  PyObject* load_failed = nullptr;
  PyObject* is_retryable = nullptr;
  PyObject* error = nullptr;
  PyObject* load_function = nullptr;
  PyObject* set_accelerators = nullptr;
  PyObject* set_threads = nullptr;
  PyObject* listed_items = nullptr;
  PyObject* on_log = nullptr;
  PyObject* on_notice = nullptr;
  PyObject* on_failure = nullptr;
};

struct Session {
  std::unique_ptr<core_worker::CoreWorker> worker;
  // Calls that are using it, on all threads.
  int users = 0;
  // It is being ended: nobody begins to use it. `left`, if there is one, is let go of
  // when no more than `users_to_stay` are left.
  bool ending = false;
  int users_to_stay = 0;
  PyThread_type_lock left = nullptr;
  Hooks hooks;
  // Grows with every connect, so that what is left of an earlier session is known.
  uint64_t epoch = 0;
};

Session& TheSession();

// The use of the core worker by one call, for which it stays, also where Python code
// runs meanwhile or the GIL is let go of. Null if there is none.
class WorkerRef {
 public:
  WorkerRef() = default;
  explicit WorkerRef(core_worker::CoreWorker* worker);
  WorkerRef(WorkerRef&& other) noexcept : worker_(std::exchange(other.worker_, nullptr)) {}
  WorkerRef& operator=(WorkerRef&& other) noexcept {
    std::swap(worker_, other.worker_);
    return *this;
  }
  ~WorkerRef();
  // How many of them this thread has.
  static int OfThisThread();

  core_worker::CoreWorker* operator->() const { return worker_; }
  core_worker::CoreWorker& operator*() const { return *worker_; }
  bool operator==(std::nullptr_t) const { return worker_ == nullptr; }

 private:
  core_worker::CoreWorker* worker_ = nullptr;
};

// Null with an exception set if there is none.
WorkerRef RequireWorker();
// Ends the core worker, if there is one: who waits in it is woken, and it goes when
// nobody uses it any more. `take` is called when nobody does, before it goes.
void EndWorker(const std::function<void()>& take = nullptr);

// Sets the Python exception for `status` (an exception is set already if the
// status is Cancelled). Returns null, for `return`.
PyObject* RaiseStatus(const Status& status, const std::string& actor_hex = {});

// Lets go of the GIL for a scope.
class ReleaseGil {
 public:
  ReleaseGil() : state_(PyEval_SaveThread()) {}
  ~ReleaseGil() { PyEval_RestoreThread(state_); }
  ReleaseGil(const ReleaseGil&) = delete;
  ReleaseGil& operator=(const ReleaseGil&) = delete;

 private:
  PyThreadState* state_;
};

// Takes the GIL for a scope, on any thread.
class AcquireGil {
 public:
  AcquireGil() : state_(PyGILState_Ensure()) {}
  ~AcquireGil() { PyGILState_Release(state_); }
  AcquireGil(const AcquireGil&) = delete;
  AcquireGil& operator=(const AcquireGil&) = delete;

 private:
  PyGILState_STATE state_;
};

// An owned reference to a Python object.
class PyRef {
 public:
  PyRef() = default;
  explicit PyRef(PyObject* owned) : object_(owned) {}
  PyRef(PyRef&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  PyRef& operator=(PyRef&& other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~PyRef() { Py_XDECREF(object_); }
  static PyRef Borrowed(PyObject* object) { return PyRef(Py_XNewRef(object)); }
  PyObject* get() const { return object_; }
  PyObject* Release() { return std::exchange(object_, nullptr); }
  explicit operator bool() const { return object_ != nullptr; }

 private:
  PyObject* object_ = nullptr;
};

// The exception that is set, with its traceback; none is set any more.
PyRef TakeException();

}  // namespace skyray::bindings
