// SPDX-License-Identifier: Apache-2.0
#include "bindings/object_ref.h"

#include <boost/intrusive/list.hpp>
#include <cstddef>
#include <cstring>
#include <memory>

#include "bindings/session.h"

namespace skyray::bindings {
namespace {

using core_worker::PlacedRef;
using core_worker::StoredAt;

thread_local PickledRefs* current_pickled = nullptr;
PyTypeObject* ref_type = nullptr;      // ObjectRef, or the class Python registered.
PyObject* restore_function = nullptr;  // _core._restore_ref.
PyObject* id_types = nullptr;          // The module, for TaskID and JobID.

PyObjectRef* AsRef(PyObject* self) { return reinterpret_cast<PyObjectRef*>(self); }

PyObject* BytesOf(std::string_view bytes) {
  return PyBytes_FromStringAndSize(bytes.data(), static_cast<Py_ssize_t>(bytes.size()));
}

void Dealloc(PyObject* self) {
  PyObjectRef* ref = AsRef(self);
  if (ref->weak_references != nullptr) PyObject_ClearWeakRefs(self);
  const Session& session = TheSession();
  if (ref->object != nullptr && ref->epoch == session.epoch && session.worker) {
    session.worker->Drop(ref->object);
  }
  Py_TYPE(self)->tp_free(self);
}

Py_hash_t Hash(PyObject* self) {
  const auto hash = static_cast<Py_hash_t>(AsRef(self)->id.Hash());
  return hash == -1 ? -2 : hash;
}

PyObject* Compare(PyObject* self, PyObject* other, int op) {
  if ((op != Py_EQ && op != Py_NE) || !IsObjectRef(other)) Py_RETURN_NOTIMPLEMENTED;
  const bool equal = AsRef(self)->id == AsRef(other)->id;
  return PyBool_FromLong(equal == (op == Py_EQ));
}

PyObject* Binary(PyObject* self, PyObject*) { return BytesOf(AsRef(self)->id.Binary()); }
PyObject* Hex(PyObject* self, PyObject*) {
  return PyUnicode_FromString(AsRef(self)->id.Hex().c_str());
}
PyObject* IsNil(PyObject* self, PyObject*) { return PyBool_FromLong(AsRef(self)->id.IsNil()); }

PyObject* MakeId(const char* type, std::string_view binary) {
  return PyObject_CallMethod(id_types, type, "y#", binary.data(),
                             static_cast<Py_ssize_t>(binary.size()));
}
PyObject* TaskId_(PyObject* self, PyObject*) {
  return MakeId("TaskID", TaskOf(AsRef(self)->id).Binary());
}
PyObject* JobId_(PyObject* self, PyObject*) {
  return MakeId("JobID", JobOf(AsRef(self)->id).Binary());
}

PyObject* OwnerWorkerId(PyObject* self, PyObject*) {
  core_worker::Object* object = ObjectOf(self);
  if (object == nullptr) return nullptr;
  return BytesOf(TheSession().worker->Publish(object).worker.Binary());
}

PyObject* IsReady(PyObject* self, PyObject*) {
  core_worker::Object* object = ObjectOf(self);
  if (object == nullptr) return nullptr;
  return PyBool_FromLong(TheSession().worker->IsReady(object));
}

// Called once without the mutex, from whichever thread leads; or never, if the session
// ends before. Until then it is linked, under the GIL, if it wants to hear of that.
struct ReadyCallback
    : boost::intrusive::list_base_hook<
          boost::intrusive::link_mode<boost::intrusive::link_mode_type::auto_unlink>> {
  ReadyCallback(PyObject* c, PyObject* e, PyObject* r)
      : callback(Py_NewRef(c)), ended(Py_XNewRef(e)), ref(Py_NewRef(r)) {}
  ReadyCallback(const ReadyCallback&) = delete;
  ReadyCallback& operator=(const ReadyCallback&) = delete;
  ~ReadyCallback() {
    const AcquireGil gil;
    unlink();
    Py_DECREF(callback);
    Py_XDECREF(ended);
    Py_DECREF(ref);
  }
  void Call() {
    const AcquireGil gil;
    if (told) return;
    unlink();
    const PyRef result(PyObject_CallOneArg(callback, ref));
    if (!result) PyErr_WriteUnraisable(callback);
  }
  PyObject* callback;
  PyObject* ended;  // Or null.
  PyObject* ref;
  bool told = false;  // That its session has ended.
};

using ReadyCallbacks =
    boost::intrusive::list<ReadyCallback, boost::intrusive::constant_time_size<false>>;

ReadyCallbacks& NotCalled() {
  static ReadyCallbacks callbacks;
  return callbacks;
}

PyObject* OnReady(PyObject* self, PyObject* const* args, Py_ssize_t count) {
  if (count < 1 || count > 2) {
    PyErr_SetString(PyExc_TypeError, "on_ready() takes a callback, and one for the session's end");
    return nullptr;
  }
  const WorkerRef worker = RequireWorker();
  core_worker::Object* object = worker == nullptr ? nullptr : ObjectOf(self);
  if (object == nullptr) return nullptr;
  auto shared = std::make_shared<ReadyCallback>(args[0], count > 1 ? args[1] : nullptr, self);
  if (count > 1) NotCalled().push_back(*shared);
  bool waiting;
  {
    const ReleaseGil released;
    waiting = worker->OnReady(object, [shared] { shared->Call(); });
  }
  if (!waiting) shared->Call();
  Py_RETURN_NONE;
}

PyObject* RestoreRef(PyObject*, PyObject* bytes) {
  const WorkerRef worker = RequireWorker();
  if (worker == nullptr) return nullptr;
  PlacedRef placed;
  const Py_ssize_t size = PyBytes_Check(bytes) ? PyBytes_GET_SIZE(bytes) : 0;
  if (size != sizeof placed.ref && size != sizeof placed) {
    PyErr_Format(PyExc_ValueError, "a pickled ObjectRef has %zu or %zu bytes, not %R",
                 sizeof placed.ref, sizeof placed, bytes);
    return nullptr;
  }
  std::memcpy(&placed, PyBytes_AS_STRING(bytes), static_cast<size_t>(size));
  std::optional<StoredAt> stored;
  if (size == sizeof placed) stored = placed.stored;
  return NewObjectRef(worker->Restore(placed.ref.object, placed.ref.owner, stored));
}

PyObject* SetObjectRefType(PyObject*, PyObject* type) {
  if (!PyType_Check(type) || !PyType_IsSubtype(reinterpret_cast<PyTypeObject*>(type), ref_type)) {
    PyErr_SetString(PyExc_TypeError, "set_object_ref_type() takes a subclass of _core.ObjectRef");
    return nullptr;
  }
  ref_type = reinterpret_cast<PyTypeObject*>(Py_NewRef(type));
  Py_RETURN_NONE;
}

PyTypeObject base_type{};  // Filled in and made ready below.

}  // namespace

PyObject* ReduceObjectRef(PyObject* self, PyObject*) {
  core_worker::Object* object = ObjectOf(self);
  if (object == nullptr) return nullptr;
  const auto [owner, stored] = TheSession().worker->PublishHeld(object);
  const PlacedRef placed{{object->id, owner}, stored.value_or(StoredAt{})};
  const size_t size = stored ? sizeof placed : sizeof placed.ref;
  // Pickled out of band (by the user, to a file or a socket), nobody can know how
  // long it will be needed: that hold is never given back.
  if (current_pickled != nullptr) current_pickled->objects_.push_back(object);
  // By hand: an argument may have tens of thousands of them.
  const PyRef bytes(BytesOf({reinterpret_cast<const char*>(&placed), size}));
  const PyRef args(bytes ? PyTuple_Pack(1, bytes.get()) : nullptr);
  return args ? PyTuple_Pack(2, restore_function, args.get()) : nullptr;
}

namespace {

PyMethodDef ref_methods[] = {
    {"binary", Binary, METH_NOARGS, "The 28 bytes of the id."},
    {"hex", Hex, METH_NOARGS, "The id as 56 hexadecimal digits."},
    {"is_nil", IsNil, METH_NOARGS, "True if no object has this id."},
    {"task_id", TaskId_, METH_NOARGS, "The task that makes the object."},
    {"job_id", JobId_, METH_NOARGS, "The job it belongs to."},
    {"owner_worker_id", OwnerWorkerId, METH_NOARGS, "The 28 bytes of its owner's id."},
    {"is_ready", IsReady, METH_NOARGS, "True if get() would not wait."},
    {"on_ready", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(OnReady)),
     METH_FASTCALL, "on_ready(callback, ended): one is called, once: callback(ref) or ended()."},
    {"__reduce__", ReduceObjectRef, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr}};

PyMethodDef module_functions[] = {
    {"_restore_ref", RestoreRef, METH_O, "An ObjectRef from its pickled bytes."},
    {"set_object_ref_type", SetObjectRefType, METH_O,
     "The subclass of ObjectRef that new references are of."},
    {nullptr, nullptr, 0, nullptr}};

}  // namespace

bool AddObjectRef(PyObject* module) {
  base_type.tp_name = "skyray._core.ObjectRef";
  base_type.tp_basicsize = sizeof(PyObjectRef);
  base_type.tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION;
  base_type.tp_doc = "A reference to an object that exists, or will.";
  base_type.tp_dealloc = Dealloc;
  base_type.tp_hash = Hash;
  base_type.tp_richcompare = Compare;
  base_type.tp_methods = ref_methods;
  base_type.tp_weaklistoffset = offsetof(PyObjectRef, weak_references);
  Py_SET_REFCNT(reinterpret_cast<PyObject*>(&base_type), 1);  // Static: never freed.
  if (PyType_Ready(&base_type) < 0) return false;
  ref_type = &base_type;
  id_types = module;
  if (PyModule_AddObjectRef(module, "ObjectRef", reinterpret_cast<PyObject*>(&base_type)) < 0 ||
      PyModule_AddFunctions(module, module_functions) < 0) {
    return false;
  }
  restore_function = PyObject_GetAttrString(module, "_restore_ref");
  return restore_function != nullptr;
}

bool IsObjectRef(PyObject* object) {
  return Py_TYPE(object) == ref_type || PyObject_TypeCheck(object, &base_type);
}

PyObject* NewObjectRef(core_worker::Object* object) {
  PyObject* self = ref_type->tp_alloc(ref_type, 0);
  if (self == nullptr) {
    TheSession().worker->Drop(object);
    return nullptr;
  }
  PyObjectRef* ref = AsRef(self);
  ref->object = object;
  ref->epoch = TheSession().epoch;
  ref->id = object->id;
  return self;
}

core_worker::Object* ObjectOf(PyObject* ref) {
  if (RequireWorker() == nullptr) return nullptr;
  if (AsRef(ref)->epoch != TheSession().epoch) {
    PyErr_Format(PyExc_ValueError,
                 "%R belongs to an earlier skyray session: its object is gone. Make it again "
                 "after init()",
                 ref);
    return nullptr;
  }
  return AsRef(ref)->object;
}

PyRef TakeNotCalled() {
  PyRef ended(PyList_New(0));
  const uint64_t epoch = TheSession().epoch;
  ReadyCallbacks& callbacks = NotCalled();
  for (auto it = callbacks.begin(); ended && it != callbacks.end();) {
    ReadyCallback& callback = *it++;
    if (AsRef(callback.ref)->epoch != epoch) continue;  // The parent's, before a fork.
    callback.unlink();
    callback.told = true;
    if (PyList_Append(ended.get(), callback.ended) < 0) ended = PyRef();
  }
  return ended;
}

PickledRefs::PickledRefs() : outer_(current_pickled) { current_pickled = this; }

PickledRefs::~PickledRefs() {
  current_pickled = outer_;
  if (!objects_.empty() && TheSession().worker) TheSession().worker->DropAll(objects_);
}

std::vector<core_worker::Object*> PickledRefs::Take() { return std::move(objects_); }

}  // namespace skyray::bindings
