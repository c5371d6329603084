// SPDX-License-Identifier: Apache-2.0
#include "bindings/execution.h"

#include <cstring>
#include <unordered_map>
#include <utility>

#include "bindings/arguments.h"
#include "bindings/object_ref.h"
#include "bindings/options.h"
#include "bindings/output_streams.h"
#include "bindings/recording.h"
#include "bindings/returns.h"
#include "bindings/serialization.h"
#include "bindings/session.h"
#include "core_worker/frames_out.h"

namespace skyray::bindings {
namespace {

namespace fbr = fb::raylet;
using core_worker::CoreWorker;
using core_worker::IncomingCall;
using core_worker::PayloadFormat;
using core_worker::PayloadParts;

constexpr uint32_t kFunctionWaitMs = 60'000;

// What this process has loaded, and what it is.
struct Execution {
  std::unordered_map<FunctionId, PyObject*> functions;
  PyObject* actor = nullptr;  // The instance, in an actor's process.
  std::unordered_map<std::string, PyObject*> methods;
  ActorId actor_id;
  uint32_t restarts = 0;
  core_worker::Concurrency concurrency;
  std::vector<std::string> gpu_ids;
  int threads = 1;
  std::shared_ptr<const core_worker::BoundLease> lease;
  // Of the last task, or of the actor's creation: for what is printed, and for threads
  // that the user's code has started.
  TaskId task;
  std::string label;
  // How often those with max_calls have been run.
  std::unordered_map<FunctionId, uint32_t> run_counts;
  // On an event loop: a ContextVar, and what to make of its value.
  PyObject* call_variable = nullptr;
  RunningCall* (*running_of)(PyObject*) = nullptr;
};

thread_local RunningCall* running_here = nullptr;

Execution& TheExecution() {
  static Execution execution;
  return execution;
}

// The exported function or class, which the process keeps.
PyObject* LoadFunction(CoreWorker& worker, const FunctionId& id) {
  auto& functions = TheExecution().functions;
  if (const auto it = functions.find(id); it != functions.end()) return it->second;
  auto reply = [&] {
    const ReleaseGil released;
    return worker.Request([&](core_worker::Builder& builder, fbr::Body& type) {
      type = fbr::Body::Kv;
      const auto space = builder.CreateString("fun");
      const auto key = core_worker::PutId(builder, id);
      return fbr::CreateKv(builder, fbr::KvOp::Get, space, key, 0, true, kFunctionWaitMs).Union();
    });
  }();
  if (!reply) return RaiseStatus(reply.error());
  const auto* found = flatbuffers::GetRoot<fbr::Message>(reply->data())->body_as_KvReply();
  if (found == nullptr || !found->found() || found->value() == nullptr) {
    return RaiseStatus(
        Status(ErrorCode::NotFound, "the code of function " + id.Hex() +
                                        " was not exported within a minute; is its driver alive?"));
  }
  PyObject* function = PyObject_CallFunction(TheSession().hooks.load_function, "y#",
                                             reinterpret_cast<const char*>(found->value()->data()),
                                             static_cast<Py_ssize_t>(found->value()->size()));
  if (function == nullptr) return nullptr;
  // Another thread may have loaded it meanwhile: its is kept.
  const auto [it, kept] = functions.emplace(id, function);
  if (!kept) Py_DECREF(function);
  return it->second;
}

bool SetThreads(int threads) {
  Execution& execution = TheExecution();
  if (execution.threads == threads) return true;
  const PyRef done(PyObject_CallFunction(TheSession().hooks.set_threads, "i", threads));
  if (!done) return false;
  execution.threads = threads;
  return true;
}

bool SetAccelerators(const std::vector<std::string>& gpu_ids) {
  Execution& execution = TheExecution();
  if (execution.gpu_ids == gpu_ids) return true;
  const PyRef list(PyList_New(0));
  if (!list) return false;
  for (const std::string& id : gpu_ids) {
    const PyRef text(PyUnicode_FromStringAndSize(id.data(), static_cast<Py_ssize_t>(id.size())));
    if (!text || PyList_Append(list.get(), text.get()) < 0) return false;
  }
  const PyRef done(PyObject_CallOneArg(TheSession().hooks.set_accelerators, list.get()));
  if (!done) return false;
  execution.gpu_ids = gpu_ids;
  return true;
}

// Null: what is called has bound none.
bool EnterLease(std::shared_ptr<const core_worker::BoundLease> lease) {
  Execution& execution = TheExecution();
  if (lease == execution.lease) return true;
  static const std::vector<std::string> kNoGpus;
  if (!SetAccelerators(lease ? lease->gpu_ids : kNoGpus)) return false;
  if (!SetThreads(lease ? lease->threads() : 1)) return false;
  execution.lease = std::move(lease);
  return true;
}

// Replies with the exception that is set. `in_outputs`: what was returned is at fault.
void ReplyException(CoreWorker& worker, IncomingCall& call, bool in_outputs = false) {
  const uint32_t execute_us = EndNow(call);
  const bool retryable = IsRetryable(call);
  const std::string error = TakeTaskError(call.name(), NewFailure(call, in_outputs));
  const ReleaseGil released;
  if (error.empty()) {
    const auto value = core_worker::MakeErrorValue(
        ErrorCode::TaskFailed, call.name() +
                                   " raised an exception that could not be pickled; see "
                                   "the worker's log for it");
    const auto view = core_worker::PayloadView::Parse(value->span());
    worker.ReplyError(call, execute_us,
                      {view->format,
                       {reinterpret_cast<const char*>(view->inband.data()), view->inband.size()},
                       {}});
    return;
  }
  worker.ReplyError(call, execute_us, {PayloadFormat::TaskError, error, {}}, retryable);
}

void ReplyResult(CoreWorker& worker, IncomingCall& call, PyRef result) {
  std::vector<Serialized> serialized;
  if (!SerializeReturns(call, result.get(), serialized)) {
    return ReplyException(worker, call, /*in_outputs=*/true);
  }
  // Before the reply: references in it that nobody else here holds are then no
  // longer ours to be told of.
  result = PyRef();
  std::vector<core_worker::TaskReturn> returns;
  bool large = false;
  for (Serialized& one : serialized) {
    returns.push_back({one.Parts(), one.TakeContained()});
    large = large || returns.back().parts.Bytes() > core_worker::kInProcessBytesMax;
  }
  // A small reply is a few memory copies: not worth letting go of the GIL.
  const uint32_t execute_us = EndNow(call);
  if (!large) return worker.Reply(call, execute_us, std::move(returns));
  const ReleaseGil released;
  worker.Reply(call, execute_us, std::move(returns));
}

// The callable of an actor's call: a new reference.
PyObject* FindMethod(const std::string& name) {
  Execution& execution = TheExecution();
  if (const auto it = execution.methods.find(name); it != execution.methods.end()) {
    return Py_NewRef(it->second);
  }
  PyObject* method = PyObject_GetAttrString(execution.actor, name.c_str());
  if (method != nullptr && execution.methods.emplace(name, method).second) Py_INCREF(method);
  return method;
}

// The built-in methods every actor has. Null without an exception: not one.
PyObject* CallBuiltin(const std::string& name, PyObject* args) {
  if (name == "__ray_ready__") Py_RETURN_TRUE;
  if (name != "__ray_call__") return nullptr;
  const Py_ssize_t count = PyTuple_GET_SIZE(args);
  if (count < 1) {
    PyErr_SetString(PyExc_TypeError, "__ray_call__ takes a function, called with the instance");
    return nullptr;
  }
  const PyRef rest(PyTuple_GetSlice(args, 1, count));
  const PyRef instance(PyTuple_Pack(1, TheExecution().actor));
  const PyRef all(PySequence_Concat(instance.get(), rest.get()));
  return all ? PyObject_Call(PyTuple_GET_ITEM(args, 0), all.get(), nullptr) : nullptr;
}

// As UnpackArguments; the references among them are the call's borrows.
bool TakeArguments(CoreWorker& worker, IncomingCall& call, PyRef& args, PyRef& kwargs) {
  PyObject *positional, *named;
  CoreWorker::BeginArguments(call);
  const bool unpacked = UnpackArguments(worker, call.call, &positional, &named);
  CoreWorker::EndArguments();
  if (!unpacked) return false;
  args = PyRef(positional);
  kwargs = PyRef(named);
  return true;
}

// The value of a call whose items its caller owns: references to them all.
PyObject* ListItems(CoreWorker& worker, IncomingCall& call) {
  PyRef list(PyList_New(0));
  CoreWorker::BeginArguments(call);  // Borrowed for the time of the call, like arguments.
  for (uint64_t i = 0; list && i < call.items_yielded; ++i) {
    const ObjectId id =
        ObjectIdOf(call.call.header.task, static_cast<uint32_t>(i + core_worker::kFirstItemIndex));
    const PyRef ref(NewObjectRef(worker.Restore(id, call.channel->peer)));
    if (!ref || PyList_Append(list.get(), ref.get()) < 0) list = PyRef();
  }
  CoreWorker::EndArguments();
  return list ? PyObject_CallOneArg(TheSession().hooks.listed_items, list.get()) : nullptr;
}

// What the coroutine that runs here was started for, done or not; null: for no call.
PyRef CallOfCoroutine() {
  PyObject* value = nullptr;
  PyObject* variable = TheExecution().call_variable;
  if (variable != nullptr && PyContextVar_Get(variable, nullptr, &value) < 0) PyErr_Clear();
  return PyRef(value);
}

RunningCall* CurrentCall() {
  if (running_here != nullptr) return running_here;
  const PyRef call = CallOfCoroutine();
  return call ? TheExecution().running_of(call.get()) : nullptr;
}

PyObject* RunInterruptibly(CoreWorker& worker, IncomingCall& call) {
  if (!call.refused.empty()) {
    PyErr_SetString(PyExc_ValueError, call.refused.c_str());
    return nullptr;
  }
  Execution& execution = TheExecution();
  if (call.method().empty()) {
    execution.task = call.call.header.task;
    if (execution.label != call.name()) {
      execution.label = call.name();
      RenameOutput();
    }
    if (!EnterLease(worker.LeaseOf(call))) return nullptr;
  }
  PyRef args, kwargs;
  if (!TakeArguments(worker, call, args, kwargs)) return nullptr;
  if (call.method().empty()) {
    PyObject* function = LoadFunction(worker, call.function->id);
    if (function == nullptr) return nullptr;
    core_worker::RecordedFunction* recorded = call.function->recorded.get();
    if (recorded != nullptr && recorded->code.empty()) NameCode(function, *recorded);
    call.times.arguments_ns = core_worker::NowNs();
    return PyObject_Call(function, args.get(), kwargs.get());
  }
  if (execution.actor == nullptr) {
    PyErr_SetString(PyExc_RuntimeError, "a method was called on a worker that is not an actor");
    return nullptr;
  }
  call.times.arguments_ns = core_worker::NowNs();
  PyObject* result = CallBuiltin(call.method(), args.get());
  if (result != nullptr || PyErr_Occurred() != nullptr) return result;
  const PyRef method(FindMethod(call.method()));
  return method ? PyObject_Call(method.get(), args.get(), kwargs.get()) : nullptr;
}

}  // namespace

CallScope::CallScope(RunningCall& running) : outer_(std::exchange(running_here, &running)) {
  CoreWorker::SetCurrentTask(&running.call->call.header.task);
}
CallScope::~CallScope() {
  running_here = outer_;
  CoreWorker::SetCurrentTask(outer_ == nullptr ? nullptr : &outer_->call->call.header.task);
}

SubmitScope::SubmitScope() {
  if (TheExecution().call_variable == nullptr || running_here != nullptr) return;
  const RunningCall* running = CurrentCall();
  if (running == nullptr) return;
  parent_ = running->call->call.header.task;
  set_ = true;
  CoreWorker::SetCurrentTask(&parent_);
}
SubmitScope::~SubmitScope() {
  if (set_) CoreWorker::SetCurrentTask(nullptr);
}

void SetCallVariable(PyObject* variable, RunningCall* (*running_of)(PyObject*)) {
  TheExecution().call_variable = Py_NewRef(variable);
  TheExecution().running_of = running_of;
}

bool Yields(const RunningCall& running) {
  return (running.call->call.header.flags & core_worker::kCallYields) != 0;
}

bool YieldItem(CoreWorker& worker, RunningCall& running, PyObject* item) {
  Serialized serialized;
  if (!serialized.From(item)) return false;
  core_worker::TaskReturn value{serialized.Parts(), serialized.TakeContained()};
  const Status sent = [&] {
    // Like a small reply: not worth letting go of the GIL.
    if (value.parts.Bytes() <= core_worker::kInProcessBytesMax) {
      return worker.Yield(*running.call, std::move(value));
    }
    const ReleaseGil released;
    return worker.Yield(*running.call, std::move(value));
  }();
  if (sent.ok()) return true;
  if (sent.code() == ErrorCode::Disconnected) {
    PyErr_SetNone(PyExc_StopIteration);
  } else {
    RaiseStatus(sent);
  }
  return false;
}

namespace {

// Runs a generator to its end: None (a new reference), or null.
PyObject* RunGenerator(CoreWorker& worker, RunningCall& running, PyObject* generator) {
  if (!PyIter_Check(generator)) {
    PyErr_Format(PyExc_TypeError,
                 "%s is to yield its items (num_returns=\"streaming\" or \"dynamic\"), but it "
                 "returned %R, which is no generator",
                 running.call->name().c_str(), reinterpret_cast<PyObject*>(Py_TYPE(generator)));
    return nullptr;
  }
  while (const PyRef item{PyIter_Next(generator)}) {
    if (!YieldItem(worker, running, item.get())) break;
    if (running.call->items_untaken_max == 0) continue;
    const ReleaseGil released;
    if (!worker.AwaitRoom(*running.call)) break;
  }
  if (PyErr_Occurred() != nullptr) {
    if (!PyErr_ExceptionMatches(PyExc_StopIteration)) return nullptr;
    PyErr_Clear();
  }
  Py_RETURN_NONE;
}

}  // namespace

PyObject* RunCall(CoreWorker& worker, RunningCall& running) {
  running.interruptible = running.call->method().empty();
  PyObject* result = RunInterruptibly(worker, *running.call);
  // An event loop takes the items of its generators itself.
  if (result != nullptr && Yields(running) && TheExecution().call_variable == nullptr) {
    const PyRef generator(result);
    result = RunGenerator(worker, running, generator.get());
  }
  // Not in what follows: the task has ended, as far as its code is concerned.
  running.interruptible = false;
  return result;
}

PyObject* IsInterrupted(PyObject*, PyObject*) {
  CoreWorker* worker = TheSession().worker.get();
  if (worker == nullptr || running_here == nullptr || !running_here->interruptible) Py_RETURN_FALSE;
  return PyBool_FromLong(worker->IsCancelled(*running_here->call));
}

PyObject* IsCancelled(PyObject*, PyObject*) {
  const WorkerRef worker = RequireWorker();
  if (worker == nullptr) return nullptr;
  const RunningCall* running = CurrentCall();
  return PyBool_FromLong(running != nullptr && worker->IsCancelled(*running->call));
}

// A worker that has run a function max_calls times makes room for a fresh one.
void CountCall(CoreWorker& worker, const IncomingCall& call) {
  const uint32_t max_calls = call.function->max_calls;
  if (max_calls == 0 || ++TheExecution().run_counts[call.function->id] < max_calls) return;
  worker.Retire("it has run " + call.name() +
                " as often as its max_calls=" + std::to_string(max_calls) + " allow");
}

namespace {

// Sends what a generator raised as its last item: the call has then done what it was to
// do. False, with the exception still set, if it is to fail: it may be made again then.
bool YieldError(CoreWorker& worker, RunningCall& running) {
  IncomingCall& call = *running.call;
  if (!Yields(running) || call.lost || running.exiting || worker.IsCancelled(call) ||
      !PyErr_ExceptionMatches(PyExc_Exception) || IsRetryable(call)) {
    return false;
  }
  const std::string error = TakeTaskError(call.name());
  if (error.empty()) {
    PyErr_SetString(PyExc_RuntimeError, "a generator raised what cannot be pickled");
    return false;
  }
  const ReleaseGil released;
  const PayloadParts parts{PayloadFormat::TaskError, error, {}};
  (void)worker.Yield(call, {parts, {}}).ok();  // Nobody may want it.
  return true;
}

}  // namespace

bool AnswerCall(CoreWorker& worker, RunningCall& running, PyRef result) {
  EndOutput();
  HasRun(*running.call);
  if (!result && YieldError(worker, running)) result = PyRef::Borrowed(Py_None);
  const bool listed = (running.call->call.header.flags & core_worker::kCallListed) != 0;
  if (result && listed && !running.exiting) result = PyRef(ListItems(worker, *running.call));
  IncomingCall& call = *running.call;
  if (call.lost) {
    PyErr_Clear();
    const ReleaseGil released;
    worker.Bounce(call);
    return true;
  }
  if (running.exiting) {
    // exit_actor(): the caller learns of the end from the actor's death.
    PyErr_Clear();
    worker.Abandon(call);
    worker.RequestExit("exit_actor() was called");
    return true;
  }
  if (result) {
    ReplyResult(worker, call, std::move(result));
    CountCall(worker, call);
    return true;
  }
  if (PyErr_ExceptionMatches(PyExc_SystemExit)) {
    worker.Abandon(call);
    return false;
  }
  ReplyException(worker, call);
  CountCall(worker, call);
  return true;
}

// An actor that has a repr of its own is called by its first line where it prints something.
void TakeLabel(Execution& execution) {
  if (Py_TYPE(execution.actor)->tp_repr == PyBaseObject_Type.tp_repr) return;
  const PyRef repr(PyObject_Repr(execution.actor));
  const char* text = repr ? PyUnicode_AsUTF8(repr.get()) : nullptr;
  PyErr_Clear();
  if (text == nullptr || *text == '\0' || *text == '\n') return;
  execution.label = std::string(text).substr(0, std::strcspn(text, "\n"));
}

namespace {

bool HasAsyncInit(PyObject* cls) {
  const PyRef init(PyObject_GetAttrString(cls, "__init__"));
  const PyRef code(init ? PyObject_GetAttrString(init.get(), "__code__") : nullptr);
  PyErr_Clear();
  return code && PyCode_Check(code.get()) &&
         (reinterpret_cast<PyCodeObject*>(code.get())->co_flags & CO_COROUTINE) != 0;
}

// As calling the class does, but for what __init__ answers: (instance, coroutine).
PyObject* BeginInit(PyObject* cls, PyObject* args, PyObject* kwargs) {
  const PyRef with_cls(PyTuple_New(PyTuple_GET_SIZE(args) + 1));
  if (!with_cls) return nullptr;
  PyTuple_SET_ITEM(with_cls.get(), 0, Py_NewRef(cls));
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(args); ++i) {
    PyTuple_SET_ITEM(with_cls.get(), i + 1, Py_NewRef(PyTuple_GET_ITEM(args, i)));
  }
  const PyRef make(PyObject_GetAttrString(cls, "__new__"));
  const PyRef instance(make ? PyObject_Call(make.get(), with_cls.get(), kwargs) : nullptr);
  const PyRef init(instance ? PyObject_GetAttrString(instance.get(), "__init__") : nullptr);
  const PyRef coroutine(init ? PyObject_Call(init.get(), args, kwargs) : nullptr);
  return coroutine ? PyTuple_Pack(2, instance.get(), coroutine.get()) : nullptr;
}

}  // namespace

bool CreateActor(CoreWorker& worker, IncomingCall& call, PyRef* begun) {
  Execution& execution = TheExecution();
  execution.actor_id = call.start->actor_id;
  execution.restarts = call.start->restarts;
  execution.concurrency = call.start->concurrency;
  execution.task = call.call.header.task;
  execution.label = call.name();
  PyRef instance;
  if (EnterLease(call.start->lease)) {
    PyObject* cls = LoadFunction(worker, call.function->id);
    PyRef args, kwargs;
    if (cls != nullptr && TakeArguments(worker, call, args, kwargs)) {
      call.times.arguments_ns = core_worker::NowNs();
      if (begun != nullptr && HasAsyncInit(cls)) {
        *begun = PyRef(BeginInit(cls, args.get(), kwargs.get()));
        if (*begun) return true;
      } else {
        instance = PyRef(PyObject_Call(cls, args.get(), kwargs.get()));
      }
    }
  }
  return FinishActor(worker, call, std::move(instance));
}

bool FinishActor(CoreWorker& worker, IncomingCall& call, PyRef instance) {
  EndOutput();
  HasRun(call);
  if (!instance && PyErr_ExceptionMatches(PyExc_SystemExit)) {
    worker.Abandon(call);
    return false;
  }
  if (!instance) {
    const std::string error = TakeTaskError(call.name() + ".__init__", NewFailure(call));
    if (!error.empty()) {
      TellFailure("Exception raised in creation task",
                  core_worker::MakeValue({PayloadFormat::TaskError, error, {}}));
    }
    const ReleaseGil released;
    worker.ActorStarted(call, PayloadParts{PayloadFormat::TaskError, error, {}},
                        "its __init__ raised");
    worker.RequestExit("its __init__ raised");
    return true;
  }
  Execution& execution = TheExecution();
  execution.actor = instance.Release();
  TakeLabel(execution);
  const ReleaseGil released;
  worker.ActorStarted(call, std::nullopt, "");
  return true;
}

PyObject* ExitActor(PyObject*, PyObject*) {
  if (TheExecution().actor == nullptr) {
    PyErr_SetString(PyExc_TypeError, "exit_actor called on a non-actor worker.");
    return nullptr;
  }
  RunningCall* running = CurrentCall();
  if (running == nullptr && CallOfCoroutine()) {
    // A coroutine that the call has started, and left behind.
    const WorkerRef worker = RequireWorker();
    if (worker == nullptr) return nullptr;
    worker->RequestExit("exit_actor() was called");
    Py_RETURN_NONE;
  }
  if (running == nullptr) {
    PyErr_SetString(PyExc_TypeError,
                    "exit_actor() was called on a thread that runs no method of the actor: call "
                    "it in a method.");
    return nullptr;
  }
  running->exiting = true;
  Py_RETURN_NONE;
}

PyObject* ForgetActor(PyObject*, PyObject*) {
  Execution& execution = TheExecution();
  for (auto& [name, method] : std::exchange(execution.methods, {})) Py_DECREF(method);
  Py_CLEAR(execution.actor);
  Py_RETURN_NONE;
}

PyObject* CurrentTaskName(PyObject*, PyObject*) {
  const std::string& name = TheExecution().label;
  OutputIsNamed();
  return PyUnicode_FromStringAndSize(name.data(), static_cast<Py_ssize_t>(name.size()));
}

PyObject* Context(PyObject*, PyObject*) {
  const WorkerRef worker = RequireWorker();
  if (worker == nullptr) return nullptr;
  const Execution& execution = TheExecution();
  const RunningCall* running = CurrentCall();
  const TaskId& task = running != nullptr       ? running->call->call.header.task
                       : execution.task.IsNil() ? worker->put_task()
                                                : execution.task;
  const std::string& name = running != nullptr ? running->call->name() : execution.label;
  const core_worker::SessionInfo& session = worker->session();
  const PyRef gpus(PyList_New(0));
  for (const std::string& id : execution.gpu_ids) {
    const PyRef text(PyUnicode_FromStringAndSize(id.data(), static_cast<Py_ssize_t>(id.size())));
    if (!gpus || !text || PyList_Append(gpus.get(), text.get()) < 0) return nullptr;
  }
  const PyRef resources(
      ResourcesToDict(execution.lease ? execution.lease->resources : ResourceSet()));
  if (!resources) return nullptr;
  const auto bytes = [](std::string_view binary) {
    return PyBytes_FromStringAndSize(binary.data(), static_cast<Py_ssize_t>(binary.size()));
  };
  PyRef groups(ConcurrencyToList(execution.concurrency));
  if (!groups) return nullptr;
  const char* method = running != nullptr ? running->call->method().c_str() : "";
  PyObject* function = Py_None;
  if (running != nullptr) {
    const auto loaded = execution.functions.find(running->call->function->id);
    if (loaded != execution.functions.end()) function = loaded->second;
  }
  PyObject* actor = execution.actor != nullptr ? execution.actor : Py_None;
  return Py_BuildValue("{sNsNsNsNsNsssssOsOsOsOsIsN}", "job_id", bytes(session.job_id.Binary()),
                       "node_id", bytes(session.node_id.Binary()), "worker_id",
                       bytes(session.worker_id.Binary()), "task_id", bytes(task.Binary()),
                       "actor_id", bytes(execution.actor_id.Binary()), "task_name", name.c_str(),
                       "method", method, "function", function, "actor", actor, "gpu_ids",
                       gpus.get(), "resources", resources.get(), "restarts", execution.restarts,
                       "concurrency_groups", groups.Release());
}

}  // namespace skyray::bindings
