// SPDX-License-Identifier: Apache-2.0
#include "bindings/object_stream.h"

#include "bindings/object_ref.h"
#include "bindings/session.h"

namespace skyray::bindings {
namespace {

using core_worker::CoreWorker;
using core_worker::Object;
using core_worker::ObjectStream;

struct PyObjectStream {
  PyObject_HEAD std::shared_ptr<ObjectStream>* stream;
  PyObject* end;  // ObjectRef.
  uint64_t epoch;
};

PyTypeObject base_type{};  // Filled in and made ready below.
PyTypeObject* stream_type = nullptr;

PyObjectStream* AsStream(PyObject* self) { return reinterpret_cast<PyObjectStream*>(self); }

// Null with an exception set if the session that it belongs to is over.
WorkerRef WorkerOf(PyObject* self) {
  WorkerRef worker = RequireWorker();
  if (worker != nullptr && AsStream(self)->epoch != TheSession().epoch) {
    PyErr_SetString(PyExc_ValueError,
                    "this generator belongs to an earlier skyray session: its items are gone. "
                    "Call its function again after init()");
    return WorkerRef();
  }
  return worker;
}

void Dealloc(PyObject* self) {
  PyObjectStream* stream = AsStream(self);
  const Session& session = TheSession();
  if (stream->stream != nullptr && session.worker && stream->epoch == session.epoch) {
    session.worker->DropStream(**stream->stream);
  }
  delete stream->stream;
  Py_XDECREF(stream->end);
  Py_TYPE(self)->tp_free(self);
}

// False with an exception set: waiting was interrupted, or the session has ended.
bool AwaitNext(CoreWorker& worker, ObjectStream& stream) {
  Object* next = worker.PeekItem(stream);
  const auto result = [&] {
    const ReleaseGil released;
    return worker.WaitReady({&next, 1}, 1, INT64_MAX);
  }();
  if (result == core_worker::WaitResult::Stopped) {
    RaiseStatus(Status(ErrorCode::NotConnected, "skyray was shut down meanwhile"));
    return false;
  }
  worker.Drop(next);
  return result == core_worker::WaitResult::Done || PyErr_Occurred() == nullptr;
}

PyObject* IterNext(PyObject* self) {
  const WorkerRef worker = WorkerOf(self);
  if (worker == nullptr) return nullptr;
  const std::shared_ptr<ObjectStream> stream = *AsStream(self)->stream;
  for (;;) {
    const auto next = worker->NextItem(*stream);
    if (next.ready) return next.object == nullptr ? nullptr : NewObjectRef(next.object);
    if (!AwaitNext(*worker, *stream)) return nullptr;
  }
}

PyObject* NextReady(PyObject* self, PyObject*) {
  const WorkerRef worker = WorkerOf(self);
  if (worker == nullptr) return nullptr;
  return PyBool_FromLong(worker->NextItemIsReady(**AsStream(self)->stream));
}

PyObject* IsFinished(PyObject* self, PyObject*) {
  const WorkerRef worker = WorkerOf(self);
  if (worker == nullptr) return nullptr;
  return PyBool_FromLong(worker->StreamIsFinished(**AsStream(self)->stream));
}

PyObject* Completed(PyObject* self, PyObject*) { return Py_NewRef(AsStream(self)->end); }

PyObject* Peek(PyObject* self, PyObject*) {
  const WorkerRef worker = WorkerOf(self);
  if (worker == nullptr) return nullptr;
  return NewObjectRef(worker->PeekItem(**AsStream(self)->stream));
}

PyObject* SetObjectStreamType(PyObject*, PyObject* type) {
  if (!PyType_Check(type) || !PyType_IsSubtype(reinterpret_cast<PyTypeObject*>(type), &base_type)) {
    PyErr_SetString(PyExc_TypeError,
                    "set_object_stream_type() takes a subclass of _core.ObjectStream");
    return nullptr;
  }
  stream_type = reinterpret_cast<PyTypeObject*>(Py_NewRef(type));
  Py_RETURN_NONE;
}

PyMethodDef methods[] = {
    {"next_ready", NextReady, METH_NOARGS, "True if next() would not wait for an item."},
    {"is_finished", IsFinished, METH_NOARGS, "True if there are no more items."},
    {"completed", Completed, METH_NOARGS, "A reference that is ready when the task has ended."},
    {"peek", Peek, METH_NOARGS, "The reference that next() is to return, or one to the end."},
    {nullptr, nullptr, 0, nullptr}};

PyMethodDef module_functions[] = {{"set_object_stream_type", SetObjectStreamType, METH_O,
                                   "The subclass of ObjectStream that generators are of."},
                                  {nullptr, nullptr, 0, nullptr}};

}  // namespace

PyObject* NewObjectStream(std::shared_ptr<ObjectStream> stream, Object* end) {
  PyRef reference(NewObjectRef(end));
  PyObject* self = reference ? stream_type->tp_alloc(stream_type, 0) : nullptr;
  if (self == nullptr) {
    TheSession().worker->DropStream(*stream);
    return nullptr;
  }
  AsStream(self)->stream = new std::shared_ptr<ObjectStream>(std::move(stream));
  AsStream(self)->end = reference.Release();
  AsStream(self)->epoch = TheSession().epoch;
  return self;
}

bool AddObjectStream(PyObject* module) {
  base_type.tp_name = "skyray._core.ObjectStream";
  base_type.tp_basicsize = sizeof(PyObjectStream);
  base_type.tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION;
  base_type.tp_doc = "The references that a generator task yields.";
  base_type.tp_dealloc = Dealloc;
  base_type.tp_iter = PyObject_SelfIter;
  base_type.tp_iternext = IterNext;
  base_type.tp_methods = methods;
  Py_SET_REFCNT(reinterpret_cast<PyObject*>(&base_type), 1);  // Static: never freed.
  if (PyType_Ready(&base_type) < 0) return false;
  stream_type = &base_type;
  return PyModule_AddObjectRef(module, "ObjectStream", reinterpret_cast<PyObject*>(&base_type)) ==
             0 &&
         PyModule_AddFunctions(module, module_functions) == 0;
}

}  // namespace skyray::bindings
