// SPDX-License-Identifier: Apache-2.0
#include "bindings/calls.h"

#include "bindings/arguments.h"
#include "bindings/execution.h"
#include "bindings/object_ref.h"
#include "bindings/object_stream.h"
#include "bindings/options.h"
#include "bindings/session.h"

namespace skyray::bindings {
namespace {

using core_worker::CallArguments;
using core_worker::CoreWorker;
using core_worker::Object;

PyTypeObject remote_call_type{};  // Filled in and made ready below.
PyTypeObject actor_core_type{};   // Filled in and made ready below.
PyTypeObject method_call_type{};  // Filled in and made ready below.

// What a function takes. A call with positional arguments only, as many as that
// many, fits; any other one is for `bind` to judge, which raises TypeError.
struct Arity {
  PyObject* bind = nullptr;  // Null: everything fits.
  Py_ssize_t min = 0;
  Py_ssize_t max = 0;
};

bool Fits(const Arity& arity, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
  if (arity.bind == nullptr) return true;
  if (keywords == nullptr && count >= arity.min && count <= arity.max) return true;
  const PyRef bound(PyObject_Vectorcall(arity.bind, args, static_cast<size_t>(count), keywords));
  return static_cast<bool>(bound);
}

struct RemoteCall {
  PyObject_HEAD PyObject* prepare;
  Arity arity;
  core_worker::TaskTemplate* options;  // Of session `epoch`.
  uint64_t epoch;
};

struct ActorCore {
  PyObject_HEAD core_worker::Actor* actor;
  uint64_t epoch;
  Py_ssize_t pending_max;  // max_pending_calls; negative: no limit.
  ActorId id;
};

struct MethodCall {
  PyObject_HEAD ActorCore* core;
  core_worker::Function* method;
  uint16_t returns;
  core_worker::GeneratorKind generator;
  Arity arity;
};

PyObject* RefList(std::span<Object* const> objects) {
  PyRef list(PyList_New(static_cast<Py_ssize_t>(objects.size())));
  if (!list) return nullptr;
  for (size_t i = 0; i < objects.size(); ++i) {
    PyObject* ref = NewObjectRef(objects[i]);
    if (ref == nullptr) return nullptr;
    PyList_SET_ITEM(list.get(), static_cast<Py_ssize_t>(i), ref);
  }
  return list.Release();
}

PyObject* ReturnRefs(std::span<Object* const> objects) {
  if (objects.empty()) Py_RETURN_NONE;
  return objects.size() == 1 ? NewObjectRef(objects[0]) : RefList(objects);
}

// --- RemoteCall ---

PyObject* RemoteCallNew(PyTypeObject* type, PyObject* args, PyObject*) {
  PyObject* prepare;
  Arity arity;
  if (!PyArg_ParseTuple(args, "O(Onn)", &prepare, &arity.bind, &arity.min, &arity.max)) {
    return nullptr;
  }
  PyObject* self = type->tp_alloc(type, 0);
  if (self == nullptr) return nullptr;
  auto* call = reinterpret_cast<RemoteCall*>(self);
  call->prepare = Py_NewRef(prepare);
  call->arity = arity;
  Py_INCREF(arity.bind);
  call->options = nullptr;
  call->epoch = 0;
  return self;
}

int RemoteCallTraverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(reinterpret_cast<RemoteCall*>(self)->prepare);
  Py_VISIT(reinterpret_cast<RemoteCall*>(self)->arity.bind);
  return 0;
}

int RemoteCallClear(PyObject* self) {
  Py_CLEAR(reinterpret_cast<RemoteCall*>(self)->prepare);
  Py_CLEAR(reinterpret_cast<RemoteCall*>(self)->arity.bind);
  return 0;
}

void RemoteCallDealloc(PyObject* self) {
  PyObject_GC_UnTrack(self);
  RemoteCallClear(self);
  delete reinterpret_cast<RemoteCall*>(self)->options;
  Py_TYPE(self)->tp_free(self);
}

bool Prepare(RemoteCall* call) {
  // prepare() connects and exports; only then is there a session to read for.
  const PyRef options(PyObject_CallNoArgs(call->prepare));
  if (!options) return false;
  const WorkerRef worker = RequireWorker();
  if (worker == nullptr) return false;
  core_worker::TaskTemplate read;
  if (!ReadTaskOptions(options.get(), *worker, read)) return false;
  delete call->options;
  call->options = new core_worker::TaskTemplate(read);
  call->epoch = TheSession().epoch;
  return true;
}

PyObject* RemoteCallRemote(PyObject* self, PyObject* const* args, Py_ssize_t count,
                           PyObject* keywords) {
  auto* call = reinterpret_cast<RemoteCall*>(self);
  Session& session = TheSession();
  if (!Fits(call->arity, args, count, keywords)) return nullptr;
  if ((call->epoch != session.epoch || !session.worker) && !Prepare(call)) return nullptr;
  const WorkerRef worker = RequireWorker();
  if (worker == nullptr) return nullptr;
  CallArguments arguments;
  if (!PackArguments(args, count, keywords, arguments)) return nullptr;
  const SubmitScope scope;
  if (call->options->generator == core_worker::GeneratorKind::Streaming) {
    std::shared_ptr<core_worker::ObjectStream> stream;
    Object* end = worker->SubmitTask(*call->options, std::move(arguments), &stream).front();
    return NewObjectStream(std::move(stream), end);
  }
  return ReturnRefs(worker->SubmitTask(*call->options, std::move(arguments)));
}

// --- ActorCore ---

// Takes over a handle.
PyObject* NewActorCore(core_worker::Actor* actor) {
  PyObject* self = actor_core_type.tp_alloc(&actor_core_type, 0);
  if (self == nullptr) {
    TheSession().worker->DropHandle(actor);
    return nullptr;
  }
  auto* core = reinterpret_cast<ActorCore*>(self);
  core->actor = actor;
  core->epoch = TheSession().epoch;
  core->id = actor->id;
  core->pending_max = -1;
  return self;
}

void ActorCoreDealloc(PyObject* self) {
  const auto* core = reinterpret_cast<ActorCore*>(self);
  const Session& session = TheSession();
  if (core->epoch == session.epoch && session.worker) session.worker->DropHandle(core->actor);
  Py_TYPE(self)->tp_free(self);
}

WorkerRef WorkerOf(const ActorCore* core) {
  WorkerRef worker = RequireWorker();
  if (worker != nullptr && core->epoch != TheSession().epoch) {
    PyErr_Format(PyExc_ValueError,
                 "actor %s belongs to an earlier skyray session; create it again after init()",
                 core->id.Hex().c_str());
    return WorkerRef();
  }
  return worker;
}

PyObject* ActorCoreId(PyObject* self, PyObject*) {
  const auto binary = reinterpret_cast<ActorCore*>(self)->id.Binary();
  return PyBytes_FromStringAndSize(binary.data(), static_cast<Py_ssize_t>(binary.size()));
}

PyObject* ActorCoreShare(PyObject* self, PyObject*) {
  auto* core = reinterpret_cast<ActorCore*>(self);
  const WorkerRef worker = WorkerOf(core);
  if (worker == nullptr) return nullptr;
  Object* scope = worker->ShareHandle(core->actor);
  if (scope == nullptr) Py_RETURN_NONE;
  return NewObjectRef(scope);
}

PyObject* ActorCoreKeep(PyObject* self, PyObject* scope) {
  auto* core = reinterpret_cast<ActorCore*>(self);
  const WorkerRef worker = WorkerOf(core);
  if (worker == nullptr) return nullptr;
  if (!IsObjectRef(scope)) {
    PyErr_Format(PyExc_TypeError, "keep() takes an ObjectRef, got %R", scope);
    return nullptr;
  }
  Object* object = ObjectOf(scope);
  if (object == nullptr) return nullptr;
  worker->KeepScope(core->actor, object);
  Py_RETURN_NONE;
}

PyObject* ActorCoreLimitPending(PyObject* self, PyObject* limit) {
  const Py_ssize_t most = PyLong_AsSsize_t(limit);
  if (most == -1 && PyErr_Occurred() != nullptr) return nullptr;
  reinterpret_cast<ActorCore*>(self)->pending_max = most;
  Py_RETURN_NONE;
}

PyObject* ActorCoreSetUnordered(PyObject* self, PyObject*) {
  auto* core = reinterpret_cast<ActorCore*>(self);
  const WorkerRef worker = WorkerOf(core);
  if (worker == nullptr) return nullptr;
  worker->SetUnordered(core->actor);
  Py_RETURN_NONE;
}

PyObject* ActorCoreMethod(PyObject* self, PyObject* args) {
  auto* core = reinterpret_cast<ActorCore*>(self);
  const char* name;
  uint16_t returns;
  auto generator = core_worker::GeneratorKind::None;
  Arity arity;
  core_worker::MethodOptions options;
  PyObject* described;
  if (!PyArg_ParseTuple(args, "sO!(Onn)", &name, &PyDict_Type, &described, &arity.bind, &arity.min,
                        &arity.max) ||
      !ReadMethodOptions(described, returns, generator, options)) {
    return nullptr;
  }
  const WorkerRef worker = WorkerOf(core);
  if (worker == nullptr) return nullptr;
  PyObject* made = method_call_type.tp_alloc(&method_call_type, 0);
  if (made == nullptr) return nullptr;
  auto* call = reinterpret_cast<MethodCall*>(made);
  call->core = reinterpret_cast<ActorCore*>(Py_NewRef(self));
  call->method = worker->InternMethod(core->actor, name, options);
  call->returns = returns;
  call->generator = generator;
  call->arity = arity;
  Py_INCREF(arity.bind);
  return made;
}

// --- ActorMethodCall ---

bool BelowPendingLimit(CoreWorker& worker, const MethodCall& call) {
  const ActorCore& core = *call.core;
  if (worker.PendingCalls(core.actor) < static_cast<size_t>(core.pending_max)) return true;
  RaiseStatus(Status(ErrorCode::PendingCallsLimit,
                     "The task " + call.method->method + " could not be submitted to actor " +
                         core.id.Hex() + " because more than " + std::to_string(core.pending_max) +
                         " tasks are queued on the actor. Wait for some of them, or give the "
                         "actor a larger `max_pending_calls`."));
  return false;
}

void MethodCallDealloc(PyObject* self) {
  Py_DECREF(reinterpret_cast<MethodCall*>(self)->core);
  Py_XDECREF(reinterpret_cast<MethodCall*>(self)->arity.bind);
  Py_TYPE(self)->tp_free(self);
}

PyObject* MethodCallRemote(PyObject* self, PyObject* const* args, Py_ssize_t count,
                           PyObject* keywords) {
  auto* call = reinterpret_cast<MethodCall*>(self);
  const WorkerRef worker = WorkerOf(call->core);
  if (worker == nullptr || !Fits(call->arity, args, count, keywords)) return nullptr;
  if (call->core->pending_max >= 0 && !BelowPendingLimit(*worker, *call)) return nullptr;
  CallArguments arguments;
  if (!PackArguments(args, count, keywords, arguments)) return nullptr;
  const SubmitScope scope;
  if (call->generator == core_worker::GeneratorKind::Streaming) {
    std::shared_ptr<core_worker::ObjectStream> stream;
    Object* end = worker->SubmitActorCall(call->core->actor, call->method, 1, std::move(arguments),
                                          nullptr, call->generator, &stream);
    return NewObjectStream(std::move(stream), end);
  }
  if (call->returns <= 1) {
    Object* object = worker->SubmitActorCall(call->core->actor, call->method, call->returns,
                                             std::move(arguments), nullptr, call->generator);
    if (object == nullptr) Py_RETURN_NONE;
    return NewObjectRef(object);
  }
  std::vector<Object*> objects;
  worker->SubmitActorCall(call->core->actor, call->method, call->returns, std::move(arguments),
                          &objects);
  return RefList(objects);
}

// --- Module functions ---

PyObject* CreateActor(PyObject*, PyObject* args) {
  PyObject *options, *positional, *named;
  if (!PyArg_ParseTuple(args, "OO!O!", &options, &PyTuple_Type, &positional, &PyDict_Type,
                        &named)) {
    return nullptr;
  }
  const WorkerRef worker = RequireWorker();
  core_worker::ActorOptions read;
  if (worker == nullptr || !ReadActorOptions(options, read)) return nullptr;
  // As a vectorcall would bring them.
  std::vector<PyObject*> values;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(positional); ++i) {
    values.push_back(PyTuple_GET_ITEM(positional, i));
  }
  PyRef keywords;
  if (PyDict_GET_SIZE(named) > 0) {
    const PyRef keys(PyDict_Keys(named));
    keywords = PyRef(PyList_AsTuple(keys.get()));
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(keywords.get()); ++i) {
      values.push_back(PyDict_GetItem(named, PyTuple_GET_ITEM(keywords.get(), i)));
    }
  }
  CallArguments arguments;
  if (!PackArguments(values.data(), PyTuple_GET_SIZE(positional), keywords.get(), arguments)) {
    return nullptr;
  }
  auto created = [&] {
    const ReleaseGil released;
    return worker->CreateActor(std::move(read), std::move(arguments));
  }();
  if (!created) return RaiseStatus(created.error());
  PyRef core(NewActorCore(created->actor));
  if (!core) return nullptr;
  if (!created->existing_handle) return Py_BuildValue("(NO)", core.Release(), Py_None);
  const std::string& handle = *created->existing_handle;
  return Py_BuildValue("(Ny#)", core.Release(), handle.data(),
                       static_cast<Py_ssize_t>(handle.size()));
}

bool ParseActorId(PyObject* args, const char* format, ActorId& id, int* flag) {
  const char* binary;
  Py_ssize_t size;
  if (!PyArg_ParseTuple(args, format, &binary, &size, flag)) return false;
  const auto parsed = ActorId::FromBinary({binary, static_cast<size_t>(size)});
  if (!parsed) {
    PyErr_Format(PyExc_ValueError, "an actor id has %zu bytes, got %zd", ActorId::kSize, size);
    return false;
  }
  id = *parsed;
  return true;
}

PyObject* ActorFromId(PyObject*, PyObject* args) {
  ActorId id;
  const WorkerRef worker = RequireWorker();
  if (worker == nullptr || !ParseActorId(args, "y#", id, nullptr)) return nullptr;
  return NewActorCore(worker->GetActor(id));
}

PyObject* GetNamedActor(PyObject*, PyObject* args) {
  const char *name, *ray_namespace;
  if (!PyArg_ParseTuple(args, "ss", &name, &ray_namespace)) return nullptr;
  const WorkerRef worker = RequireWorker();
  if (worker == nullptr) return nullptr;
  auto found = [&] {
    const std::string n(name), s(ray_namespace);
    const ReleaseGil released;
    return worker->GetNamedActor(n, s);
  }();
  if (!found) return RaiseStatus(found.error());
  PyRef core(NewActorCore(found->actor));
  if (!core) return nullptr;
  const std::string& handle = *found->existing_handle;
  return Py_BuildValue("(Ny#)", core.Release(), handle.data(),
                       static_cast<Py_ssize_t>(handle.size()));
}

PyObject* KillActor(PyObject*, PyObject* args) {
  ActorId id;
  int no_restart = 1;
  const WorkerRef worker = RequireWorker();
  if (worker == nullptr || !ParseActorId(args, "y#p", id, &no_restart)) return nullptr;
  const Status status = [&] {
    const ReleaseGil released;
    return worker->KillActor(id, no_restart != 0);
  }();
  if (!status.ok()) return RaiseStatus(status, id.Hex());
  Py_RETURN_NONE;
}

template <class Function>
PyCFunction AsFunction(Function function) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

PyMethodDef remote_call_methods[] = {
    {"remote", AsFunction(RemoteCallRemote), METH_FASTCALL | METH_KEYWORDS,
     "Submits the task; its ObjectRef, a list of them, or None."},
    {nullptr, nullptr, 0, nullptr}};
PyMethodDef actor_core_methods[] = {
    {"actor_id", ActorCoreId, METH_NOARGS, "The 16 bytes of the id."},
    {"share", ActorCoreShare, METH_NOARGS, "An ObjectRef to go with the pickled handle, or None."},
    {"keep", ActorCoreKeep, METH_O, "What share() gave came with this handle."},
    {"limit_pending", ActorCoreLimitPending, METH_O, "Sets max_pending_calls."},
    {"set_unordered", ActorCoreSetUnordered, METH_NOARGS,
     "A call that waits for its arguments holds up no other from now on."},
    {"method", ActorCoreMethod, METH_VARARGS, "method(name, options, arity): to be called."},
    {nullptr, nullptr, 0, nullptr}};
PyMethodDef method_call_methods[] = {
    {"remote", AsFunction(MethodCallRemote), METH_FASTCALL | METH_KEYWORDS,
     "Submits the call; its ObjectRef, a list of them, or None."},
    {nullptr, nullptr, 0, nullptr}};
PyMethodDef module_functions[] = {
    {"create_actor", CreateActor, METH_VARARGS, "create_actor(options, args, kwargs)"},
    {"actor_from_id", ActorFromId, METH_VARARGS, "actor_from_id(binary)"},
    {"get_named_actor", GetNamedActor, METH_VARARGS, "get_named_actor(name, namespace)"},
    {"kill_actor", KillActor, METH_VARARGS, "kill_actor(binary, no_restart)"},
    {nullptr, nullptr, 0, nullptr}};

bool AddType(PyObject* module, const char* name, PyTypeObject& type) {
  Py_SET_REFCNT(reinterpret_cast<PyObject*>(&type), 1);  // Static: never freed.
  if (PyType_Ready(&type) < 0) return false;
  return PyModule_AddObjectRef(module, name, reinterpret_cast<PyObject*>(&type)) == 0;
}

}  // namespace

bool AddCalls(PyObject* module) {
  remote_call_type.tp_name = "skyray._core.RemoteCall";
  remote_call_type.tp_basicsize = sizeof(RemoteCall);
  remote_call_type.tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC;
  remote_call_type.tp_doc = "A remote function with one set of options.";
  remote_call_type.tp_new = RemoteCallNew;
  remote_call_type.tp_dealloc = RemoteCallDealloc;
  remote_call_type.tp_traverse = RemoteCallTraverse;
  remote_call_type.tp_clear = RemoteCallClear;
  remote_call_type.tp_methods = remote_call_methods;

  actor_core_type.tp_name = "skyray._core.ActorCore";
  actor_core_type.tp_basicsize = sizeof(ActorCore);
  actor_core_type.tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION;
  actor_core_type.tp_doc = "One actor, seen from this process.";
  actor_core_type.tp_dealloc = ActorCoreDealloc;
  actor_core_type.tp_methods = actor_core_methods;

  method_call_type.tp_name = "skyray._core.ActorMethodCall";
  method_call_type.tp_basicsize = sizeof(MethodCall);
  method_call_type.tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION;
  method_call_type.tp_doc = "One method of an actor.";
  method_call_type.tp_dealloc = MethodCallDealloc;
  method_call_type.tp_methods = method_call_methods;

  return AddType(module, "RemoteCall", remote_call_type) &&
         AddType(module, "ActorCore", actor_core_type) &&
         AddType(module, "ActorMethodCall", method_call_type) &&
         PyModule_AddFunctions(module, module_functions) == 0;
}

}  // namespace skyray::bindings
