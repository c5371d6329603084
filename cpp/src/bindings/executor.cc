// SPDX-License-Identifier: Apache-2.0
#include "bindings/executor.h"

#include "bindings/execution.h"
#include "bindings/options.h"
#include "bindings/output_streams.h"
#include "bindings/process_title.h"
#include "bindings/session.h"

namespace skyray::bindings {
namespace {

using core_worker::CoreWorker;
using core_worker::IncomingCall;
using core_worker::Leaving;

PyTypeObject call_type{};  // Filled in and made ready below.

// A call in an event loop's hands, which may be answered long after it was taken.
struct CallObject {
  PyObject_HEAD IncomingCall* call;  // Null: it has been answered.
  RunningCall running;
};

PyObject* NewCall(std::unique_ptr<IncomingCall> call) {
  PyObject* self = call_type.tp_alloc(&call_type, 0);
  if (self == nullptr) return nullptr;
  auto* object = reinterpret_cast<CallObject*>(self);
  object->running = RunningCall{call.get()};
  object->call = call.release();
  return self;
}

RunningCall* RunningOf(PyObject* value) {
  auto* object = reinterpret_cast<CallObject*>(value);
  return Py_IS_TYPE(value, &call_type) && object->call != nullptr ? &object->running : nullptr;
}

void CallDealloc(PyObject* self) {
  auto* object = reinterpret_cast<CallObject*>(self);
  // Its loop has let go of it.
  if (object->call != nullptr && TheSession().worker) TheSession().worker->Abandon(*object->call);
  delete object->call;
  Py_TYPE(self)->tp_free(self);
}

// False: an exception is set. The call is answered already, or there is no session.
bool Begin(PyObject* self, WorkerRef& worker) {
  worker = RequireWorker();
  if (worker == nullptr) return false;
  if (reinterpret_cast<CallObject*>(self)->call != nullptr) return true;
  PyErr_SetString(PyExc_RuntimeError, "this call has been answered already");
  return false;
}

void End(PyObject* self) {
  delete std::exchange(reinterpret_cast<CallObject*>(self)->call, nullptr);
}

PyObject* Answer(PyObject* self, CoreWorker& worker, PyRef result) {
  auto& running = reinterpret_cast<CallObject*>(self)->running;
  const bool goes_on = AnswerCall(worker, running, std::move(result));
  End(self);
  if (!goes_on) return nullptr;
  Py_RETURN_NONE;
}

// True: it was the request to end, and has been dealt with.
bool Terminate(CoreWorker& worker, IncomingCall& call) {
  if (call.method() != "__ray_terminate__") return false;
  // Its answer is the actor's death: if that is another one, with which the actor is
  // to start anew, the caller has to ask again.
  worker.Abandon(call);
  worker.RequestExit("all references to the actor were removed, or it was told to terminate",
                     Leaving::AfterQueued);
  return true;
}

PyObject* CallCreate(PyObject* self, PyObject*) {
  WorkerRef worker;
  if (!Begin(self, worker)) return nullptr;
  PyRef begun;
  const bool goes_on = CreateActor(*worker, *reinterpret_cast<CallObject*>(self)->call, &begun);
  if (begun) return begun.Release();
  End(self);
  if (!goes_on) return nullptr;
  Py_RETURN_NONE;
}

PyObject* CallCreated(PyObject* self, PyObject* args) {
  WorkerRef worker;
  PyObject *instance, *error;
  if (!Begin(self, worker) || !PyArg_ParseTuple(args, "OO", &instance, &error)) return nullptr;
  const bool failed = PyExceptionInstance_Check(error);
  if (failed) PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error)), error);
  const bool goes_on = FinishActor(*worker, *reinterpret_cast<CallObject*>(self)->call,
                                   failed ? PyRef() : PyRef::Borrowed(instance));
  End(self);
  if (!goes_on) return nullptr;
  Py_RETURN_NONE;
}

PyObject* CallStart(PyObject* self, PyObject*) {
  WorkerRef worker;
  if (!Begin(self, worker)) return nullptr;
  auto* object = reinterpret_cast<CallObject*>(self);
  if (Terminate(*worker, *object->call)) {
    End(self);
    Py_RETURN_NONE;
  }
  PyRef result = [&] {
    const CallScope scope(object->running);
    return PyRef(RunCall(*worker, object->running));
  }();
  if (result && (PyCoro_CheckExact(result.get()) || Yields(object->running))) {
    return Py_NewRef(result.get());
  }
  return Answer(self, *worker, std::move(result));
}

PyObject* CallFinish(PyObject* self, PyObject* result) {
  WorkerRef worker;
  return Begin(self, worker) ? Answer(self, *worker, PyRef::Borrowed(result)) : nullptr;
}

// Sends an item of a generator. False: no more are wanted just now.
PyObject* CallProduce(PyObject* self, PyObject* item) {
  WorkerRef worker;
  if (!Begin(self, worker)) return nullptr;
  auto* object = reinterpret_cast<CallObject*>(self);
  if (!YieldItem(*worker, object->running, item)) return nullptr;
  return PyBool_FromLong(worker->HasRoom(*object->call));
}

PyObject* CallHasRoom(PyObject* self, PyObject*) {
  WorkerRef worker;
  if (!Begin(self, worker)) return nullptr;
  return PyBool_FromLong(worker->HasRoom(*reinterpret_cast<CallObject*>(self)->call));
}

PyObject* CallYields(PyObject* self, PyObject*) {
  WorkerRef worker;
  if (!Begin(self, worker)) return nullptr;
  return PyBool_FromLong(Yields(reinterpret_cast<CallObject*>(self)->running));
}

PyObject* CallFail(PyObject* self, PyObject* error) {
  WorkerRef worker;
  if (!Begin(self, worker)) return nullptr;
  if (!PyExceptionInstance_Check(error)) {
    PyErr_Format(PyExc_TypeError, "fail() takes an exception, got %R", error);
    return nullptr;
  }
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error)), error);
  return Answer(self, *worker, PyRef());
}

PyObject* CallIsCancelled(PyObject* self, PyObject*) {
  const WorkerRef worker = RequireWorker();
  if (worker == nullptr) return nullptr;
  const IncomingCall* call = reinterpret_cast<CallObject*>(self)->call;
  return PyBool_FromLong(call != nullptr && worker->IsCancelled(*call));
}

// False: an exception is set that ends the process.
bool Execute(CoreWorker& worker, IncomingCall& call) {
  if (Terminate(worker, call)) return true;
  RunningCall running{&call};
  const CallScope scope(running);
  return AnswerCall(worker, running, PyRef(RunCall(worker, running)));
}

PyObject* RunWorker(PyObject*, PyObject*) {
  const WorkerRef worker = RequireWorker();
  if (worker == nullptr) return nullptr;
  worker->InterruptOnCancel(pthread_self());
  SetRestingTitle("IDLE");
  for (;;) {
    std::unique_ptr<IncomingCall> call;
    {
      const ReleaseGil released;
      call = worker->NextCall();
    }
    if (!call) {
      if (PyErr_Occurred() != nullptr) return nullptr;
      Py_RETURN_NONE;
    }
    if (call->channel) {
      const TitleScope title(call->name());
      if (!Execute(*worker, *call)) return nullptr;
      continue;
    }
    SetRestingTitle(call->name());  // An actor's class.
    if (call->start->concurrency.is_async) return NewCall(std::move(call));
    if (!CreateActor(*worker, *call, /*begun=*/nullptr)) return nullptr;
    if (!call->start->concurrency.IsSerial()) return ConcurrencyToList(call->start->concurrency);
  }
}

PyObject* RunCalls(PyObject*, PyObject* args) {
  const WorkerRef worker = RequireWorker();
  Py_ssize_t group;
  PyObject* spawn;
  if (worker == nullptr || !PyArg_ParseTuple(args, "nO", &group, &spawn)) return nullptr;
  for (;;) {
    std::unique_ptr<IncomingCall> call;
    bool alone = false;
    {
      const ReleaseGil released;
      call = worker->NextCall(static_cast<size_t>(group), &alone);
    }
    if (!call) Py_RETURN_NONE;
    if (alone) {
      const PyRef done(PyObject_CallNoArgs(spawn));
      if (!done) PyErr_WriteUnraisable(spawn);
    }
    if (!Execute(*worker, *call)) return nullptr;
  }
}

PyObject* AwaitExit(PyObject*, PyObject*) {
  const WorkerRef worker = RequireWorker();
  if (worker == nullptr) return nullptr;
  {
    const ReleaseGil released;
    worker->AwaitExit();
  }
  if (PyErr_Occurred() != nullptr) return nullptr;
  Py_RETURN_NONE;
}

PyObject* LeaveWith(PyObject*, PyObject* exit_code) {
  const WorkerRef worker = RequireWorker();
  const long code = PyLong_AsLong(exit_code);
  if (worker == nullptr || (code == -1 && PyErr_Occurred() != nullptr)) return nullptr;
  worker->RequestExit("sys.exit(" + std::to_string(code) + ") was called",
                      code == 0 ? Leaving::Announced : Leaving::LikeACrash);
  Py_RETURN_NONE;
}

PyObject* TakeCall(PyObject*, PyObject*) {
  const WorkerRef worker = RequireWorker();
  if (worker == nullptr) return nullptr;
  auto call = worker->TakeCall();
  if (!call) Py_RETURN_NONE;
  return NewCall(std::move(call));
}

constexpr long kCalls = 1;
constexpr long kDescriptors = 2;
constexpr long kExit = 4;
constexpr long kCancelled = 8;
constexpr long kRoom = 16;

PyObject* AwaitWork(PyObject*, PyObject* timeout) {
  const WorkerRef worker = RequireWorker();
  if (worker == nullptr) return nullptr;
  int64_t deadline = INT64_MAX;
  if (timeout != Py_None) {
    const double seconds = PyFloat_AsDouble(timeout);
    if (PyErr_Occurred() != nullptr) return nullptr;
    deadline = seconds <= 0 ? 0 : core_worker::NowNs() + static_cast<int64_t>(seconds * 1e9);
  }
  core_worker::Work work;
  if (deadline == 0) {
    work = worker->AwaitWork(0);
  } else {
    const ReleaseGil released;
    work = worker->AwaitWork(deadline);
  }
  if (work.interrupted && PyErr_Occurred() != nullptr) return nullptr;
  return PyLong_FromLong((work.calls ? kCalls : 0) | (work.descriptors ? kDescriptors : 0) |
                         (work.exit ? kExit : 0) | (work.cancelled ? kCancelled : 0) |
                         (work.room ? kRoom : 0));
}

PyObject* Watch(PyObject*, PyObject* args) {
  const WorkerRef worker = RequireWorker();
  int descriptor;
  PyObject* variable;
  if (worker == nullptr || !PyArg_ParseTuple(args, "iO", &descriptor, &variable)) return nullptr;
  worker->Watch(descriptor);
  SetCallVariable(variable, RunningOf);
  Py_RETURN_NONE;
}

PyMethodDef call_methods[] = {
    {"create", CallCreate, METH_NOARGS, "Makes the actor whose creation this is; or begins to."},
    {"created", CallCreated, METH_VARARGS, "created(instance, error): how what was begun ended."},
    {"start", CallStart, METH_NOARGS, "Runs it; a coroutine that is left to be awaited, or None."},
    {"yields", CallYields, METH_NOARGS, "Whether it is a generator whose items are wanted."},
    {"produce", CallProduce, METH_O, "Sends an item; whether the next one is wanted now."},
    {"has_room", CallHasRoom, METH_NOARGS, "Whether the next item is wanted now."},
    {"finish", CallFinish, METH_O, "The coroutine has returned this."},
    {"fail", CallFail, METH_O, "The coroutine has raised this."},
    {"is_cancelled", CallIsCancelled, METH_NOARGS, "Whether its caller has cancelled it."},
    {nullptr, nullptr, 0, nullptr}};
PyMethodDef functions[] = {
    {"run_worker", RunWorker, METH_NOARGS, "A worker's main loop."},
    {"run_calls", RunCalls, METH_VARARGS, "run_calls(group, spawn): a thread's loop."},
    {"await_exit", AwaitExit, METH_NOARGS, "Waits until the process is to end."},
    {"leave_with", LeaveWith, METH_O, "leave_with(code): it ends when what runs has ended."},
    {"take_call", TakeCall, METH_NOARGS, "The next Call, or None."},
    {"await_work", AwaitWork, METH_O,
     "await_work(timeout): 1 calls | 2 descriptors | 4 exit | 8 cancelled | 16 room."},
    {"watch", Watch, METH_VARARGS, "watch(descriptor, variable): before await_work."},
    {"is_interrupted", IsInterrupted, METH_NOARGS, "The task that runs here is to be interrupted."},
    {"is_cancelled", IsCancelled, METH_NOARGS, "What runs here has been cancelled."},
    {"exit_actor", ExitActor, METH_NOARGS, "Ends the actor after the present call."},
    {"context", Context, METH_NOARGS, "What runs here: ids, name, resources."},
    {"forget_actor", ForgetActor, METH_NOARGS, "Lets go of the actor's instance."},
    {"current_task_name", CurrentTaskName, METH_NOARGS, "The label for what is printed now."},
    {"watch_output", WatchOutput, METH_VARARGS, "watch_output(rename, flush)"},
    {"flush_after_call", FlushAfterCall, METH_NOARGS, "Something printed has no end of line."},
    {nullptr, nullptr, 0, nullptr}};

}  // namespace

bool AddExecutor(PyObject* module) {
  call_type.tp_name = "skyray._core.Call";
  call_type.tp_basicsize = sizeof(CallObject);
  call_type.tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION;
  call_type.tp_doc = "A call that an event loop runs.";
  call_type.tp_dealloc = CallDealloc;
  call_type.tp_methods = call_methods;
  Py_SET_REFCNT(reinterpret_cast<PyObject*>(&call_type), 1);  // Static: never freed.
  return PyType_Ready(&call_type) == 0 &&
         PyModule_AddObjectRef(module, "Call", reinterpret_cast<PyObject*>(&call_type)) == 0 &&
         PyModule_AddFunctions(module, functions) == 0;
}

}  // namespace skyray::bindings
