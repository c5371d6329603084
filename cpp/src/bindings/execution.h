// SPDX-License-Identifier: Apache-2.0
// Running one call: its arguments become Python values, the function or method is
// called, and what comes of it becomes the reply.
//
// Threading:  with the GIL held (let go of while they wait); any thread.
// Ownership:  the process's functions and its actor's instance live here.
// Errors:     what user code raises becomes the reply; only SystemExit is left
//             set for the caller (false or null), as it ends the process.
#pragma once

#include <Python.h>

#include "bindings/session.h"
#include "core_worker/core_worker.h"

namespace skyray::bindings {

// What user code runs in, from the unpacking of its arguments to the reply.
struct RunningCall {
  core_worker::IncomingCall* call = nullptr;
  bool exiting = false;        // exit_actor() was called.
  bool interruptible = false;  // A task's code runs: a cancellation raises in it.
};

// Makes a call the one that runs on this thread.
class CallScope {
 public:
  explicit CallScope(RunningCall& running);
  ~CallScope();
  CallScope(const CallScope&) = delete;
  CallScope& operator=(const CallScope&) = delete;

 private:
  RunningCall* outer_;
};

// On an event loop: what is submitted belongs to the call whose coroutine runs now.
class SubmitScope {
 public:
  SubmitScope();
  ~SubmitScope();
  SubmitScope(const SubmitScope&) = delete;
  SubmitScope& operator=(const SubmitScope&) = delete;

 private:
  bool set_ = false;
  TaskId parent_;
};

// The creation of an actor.
// Where `begun` is given, an async __init__ may be left to be awaited: it is (instance,
// coroutine) then, and FinishActor is to follow.
bool CreateActor(core_worker::CoreWorker& worker, core_worker::IncomingCall& call, PyRef* begun);
// Without an instance an exception is set. False: it is one that ends the process.
bool FinishActor(core_worker::CoreWorker& worker, core_worker::IncomingCall& call, PyRef instance);
// REQUIRES: in its CallScope. What user code returned (for `async def`: the
// coroutine), or null with an exception set.
PyObject* RunCall(core_worker::CoreWorker& worker, RunningCall& running);
// Replies with `result`, or, if it is null, with the exception that is set. What a
// generator yields is sent first.
bool AnswerCall(core_worker::CoreWorker& worker, RunningCall& running, PyRef result);
// Whether the caller wants the items of a generator, one by one.
bool Yields(const RunningCall& running);
// Sends an item. False: an exception is set. StopIteration: nobody wants more.
bool YieldItem(core_worker::CoreWorker& worker, RunningCall& running, PyObject* item);

// The event loop's part: the ContextVar that holds the CallObject of a coroutine.
void SetCallVariable(PyObject* variable, RunningCall* (*running_of)(PyObject*));

// Whether the main thread's task is to be interrupted now; whether what runs here was cancelled.
PyObject* IsInterrupted(PyObject* module, PyObject* none);
PyObject* IsCancelled(PyObject* module, PyObject* none);
PyObject* ExitActor(PyObject* module, PyObject* none);
PyObject* Context(PyObject* module, PyObject* none);
PyObject* ForgetActor(PyObject* module, PyObject* none);
PyObject* CurrentTaskName(PyObject* module, PyObject* none);

}  // namespace skyray::bindings
