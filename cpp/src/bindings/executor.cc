// SPDX-License-Identifier: Apache-2.0
#include "bindings/executor.h"

#include <chrono>
#include <unordered_map>

#include "bindings/arguments.h"
#include "bindings/options.h"
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

// What the main thread is doing, and what it has loaded for it.
struct Execution {
  std::unordered_map<FunctionId, PyObject*> functions;
  PyObject* actor = nullptr;  // The instance, in an actor's process.
  std::unordered_map<std::string, PyObject*> methods;
  ActorId actor_id;
  uint32_t restarts = 0;
  std::string task_name;
  std::vector<std::string> gpu_ids;
  bool accelerators_set = false;
  std::shared_ptr<const core_worker::BoundLease> lease;
  bool exiting = false;  // exit_actor() was called by what runs now.
};

Execution& TheExecution() {
  static Execution execution;
  return execution;
}

uint32_t MicrosSince(std::chrono::steady_clock::time_point start) {
  const auto passed = std::chrono::steady_clock::now() - start;
  const auto us = std::chrono::duration_cast<std::chrono::microseconds>(passed).count();
  return static_cast<uint32_t>(std::min<int64_t>(us, UINT32_MAX));
}

// The exported function or class: a new reference.
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
  if (function != nullptr) functions.emplace(id, function);
  return function;
}

bool SetAccelerators(const std::vector<std::string>& gpu_ids) {
  Execution& execution = TheExecution();
  if (execution.accelerators_set && execution.gpu_ids == gpu_ids) return true;
  const PyRef list(PyList_New(0));
  if (!list) return false;
  for (const std::string& id : gpu_ids) {
    const PyRef text(PyUnicode_FromStringAndSize(id.data(), static_cast<Py_ssize_t>(id.size())));
    if (!text || PyList_Append(list.get(), text.get()) < 0) return false;
  }
  const PyRef done(PyObject_CallOneArg(TheSession().hooks.set_accelerators, list.get()));
  if (!done) return false;
  execution.gpu_ids = gpu_ids;
  execution.accelerators_set = true;
  return true;
}

// The exception that is set, as the bytes of a TaskError. An exception that
// cannot even be described is described by its type.
std::string TakeTaskError(const std::string& name) {
  PyObject *type, *value, *traceback;
  PyErr_Fetch(&type, &value, &traceback);
  PyErr_NormalizeException(&type, &value, &traceback);
  if (traceback != nullptr) PyException_SetTraceback(value, traceback);
  const PyRef owned_type(type), owned_value(value), owned_traceback(traceback);
  const PyRef bytes(PyObject_CallFunction(TheSession().hooks.task_error, "Os#", value, name.data(),
                                          static_cast<Py_ssize_t>(name.size())));
  if (bytes && PyBytes_Check(bytes.get())) {
    return {PyBytes_AS_STRING(bytes.get()), static_cast<size_t>(PyBytes_GET_SIZE(bytes.get()))};
  }
  PyErr_Print();
  return {};
}

void ReplyException(CoreWorker& worker, IncomingCall& call, uint32_t execute_us) {
  const std::string error = TakeTaskError(call.name);
  const ReleaseGil released;
  if (error.empty()) {
    const auto value = core_worker::MakeErrorValue(
        ErrorCode::TaskFailed, call.name +
                                   " raised an exception that could not be pickled; see "
                                   "the worker's log for it");
    const auto view = core_worker::PayloadView::Parse(value->span());
    worker.ReplyError(call, execute_us,
                      {view->format,
                       {reinterpret_cast<const char*>(view->inband.data()), view->inband.size()},
                       {}});
    return;
  }
  worker.ReplyError(call, execute_us, {PayloadFormat::TaskError, error, {}});
}

bool SerializeReturn(PyObject* value, std::vector<Serialized>& out) {
  Serialized serialized;
  if (!serialized.From(value)) return false;
  out.push_back(std::move(serialized));
  return true;
}

bool SerializeReturns(const IncomingCall& call, PyObject* result, std::vector<Serialized>& out) {
  const uint16_t asked = call.call.header.returns;
  if (asked == 0) return true;
  if (asked == 1) return SerializeReturn(result, out);
  const PyRef sequence(
      PySequence_Fast(result, ("num_returns=" + std::to_string(asked) + ", but " + call.name +
                               " returned something that is not a sequence")
                                  .c_str()));
  if (!sequence) return false;
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

void ReplyResult(CoreWorker& worker, IncomingCall& call, PyObject* result,
                 std::chrono::steady_clock::time_point start) {
  std::vector<Serialized> serialized;
  if (!SerializeReturns(call, result, serialized)) {
    return ReplyException(worker, call, MicrosSince(start));
  }
  std::vector<core_worker::TaskReturn> returns;
  bool large = false;
  for (Serialized& one : serialized) {
    returns.push_back({one.Parts(), one.TakeContained()});
    large = large || returns.back().parts.Bytes() > core_worker::kInProcessBytesMax;
  }
  // A small reply is a few memory copies: not worth letting go of the GIL.
  const uint32_t execute_us = MicrosSince(start);
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
  if (method != nullptr) execution.methods.emplace(name, Py_NewRef(method));
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

PyObject* Run(CoreWorker& worker, IncomingCall& call) {
  PyObject *args, *kwargs;
  if (!UnpackArguments(worker, call.call, &args, &kwargs)) return nullptr;
  const PyRef owned_args(args), owned_kwargs(kwargs);
  worker.ArgumentsRead();
  if (call.method.empty()) {
    PyObject* function = LoadFunction(worker, call.function_id);
    return function == nullptr ? nullptr : PyObject_Call(function, args, kwargs);
  }
  if (TheExecution().actor == nullptr) {
    PyErr_SetString(PyExc_RuntimeError, "a method was called on a worker that is not an actor");
    return nullptr;
  }
  PyObject* result = CallBuiltin(call.method, args);
  if (result != nullptr || PyErr_Occurred() != nullptr) return result;
  const PyRef method(FindMethod(call.method));
  return method ? PyObject_Call(method.get(), args, kwargs) : nullptr;
}

// False: an exception is set that ends the process.
bool CreateActor(CoreWorker& worker, IncomingCall& call) {
  Execution& execution = TheExecution();
  execution.actor_id = call.actor_id;
  execution.restarts = call.restarts;
  execution.task_name = call.name;
  worker.BeginTask(call);
  PyRef instance;
  execution.lease = call.lease;
  if (SetAccelerators(call.lease->gpu_ids)) {
    PyObject* cls = LoadFunction(worker, call.function_id);
    PyObject *args, *kwargs;
    if (cls != nullptr && UnpackArguments(worker, call.call, &args, &kwargs)) {
      const PyRef owned_args(args), owned_kwargs(kwargs);
      worker.ArgumentsRead();
      instance = PyRef(PyObject_Call(cls, args, kwargs));
    }
  }
  if (!instance && PyErr_ExceptionMatches(PyExc_SystemExit)) return false;
  if (!instance) {
    const std::string error = TakeTaskError(call.name + ".__init__");
    const ReleaseGil released;
    worker.ActorStarted(call, PayloadParts{PayloadFormat::TaskError, error, {}},
                        "its __init__ raised");
    worker.RequestExit("its __init__ raised");
    return true;
  }
  execution.actor = instance.Release();
  const ReleaseGil released;
  worker.ActorStarted(call, std::nullopt, "");
  return true;
}

// False: an exception is set that ends the process.
bool Execute(CoreWorker& worker, IncomingCall& call) {
  Execution& execution = TheExecution();
  if (!call.channel) return CreateActor(worker, call);
  if (call.method == "__ray_terminate__") {
    worker.BeginTask(call);
    // Who asked for a result learns of the end from the actor's death.
    if (call.call.header.returns == 0) worker.Reply(call, 0, {});
    worker.RequestExit("all its handles went out of scope, or it was told to terminate");
    return true;
  }
  worker.BeginTask(call);
  const auto start = std::chrono::steady_clock::now();
  if (call.method.empty()) {
    execution.task_name = call.name;
    execution.lease = worker.LeaseOf(call);
    static const std::vector<std::string> kNoGpus;
    if (!SetAccelerators(execution.lease ? execution.lease->gpu_ids : kNoGpus)) {
      ReplyException(worker, call, 0);
      return true;
    }
  }
  const PyRef result(Run(worker, call));
  if (execution.exiting) {
    // exit_actor(): the caller learns of the end from the actor's death.
    PyErr_Clear();
    worker.RequestExit("exit_actor() was called");
    return true;
  }
  if (result) {
    ReplyResult(worker, call, result.get(), start);
    return true;
  }
  if (PyErr_ExceptionMatches(PyExc_SystemExit)) return false;
  ReplyException(worker, call, MicrosSince(start));
  return true;
}

}  // namespace

PyObject* RunWorker(PyObject*, PyObject*) {
  CoreWorker* worker = RequireWorker();
  if (worker == nullptr) return nullptr;
  for (;;) {
    std::unique_ptr<IncomingCall> call;
    {
      const ReleaseGil released;
      call = worker->NextCall();
    }
    if (!call) Py_RETURN_NONE;
    if (!Execute(*worker, *call)) return nullptr;
  }
}

PyObject* ExitActor(PyObject*, PyObject*) {
  if (TheExecution().actor == nullptr) {
    PyErr_SetString(PyExc_TypeError, "exit_actor called on a non-actor worker.");
    return nullptr;
  }
  TheExecution().exiting = true;
  Py_RETURN_NONE;
}

PyObject* CurrentTaskName(PyObject*, PyObject*) {
  const std::string& name = TheExecution().task_name;
  return PyUnicode_FromStringAndSize(name.data(), static_cast<Py_ssize_t>(name.size()));
}

PyObject* Context(PyObject*, PyObject*) {
  CoreWorker* worker = RequireWorker();
  if (worker == nullptr) return nullptr;
  const Execution& execution = TheExecution();
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
  return Py_BuildValue(
      "{sNsNsNsNsNsssOsOsI}", "job_id", bytes(session.job_id.Binary()), "node_id",
      bytes(session.node_id.Binary()), "worker_id", bytes(session.worker_id.Binary()), "task_id",
      bytes(worker->current_task().Binary()), "actor_id", bytes(execution.actor_id.Binary()),
      "task_name", execution.task_name.c_str(), "gpu_ids", gpus.get(), "resources", resources.get(),
      "restarts", execution.restarts);
}

}  // namespace skyray::bindings
