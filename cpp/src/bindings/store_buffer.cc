// SPDX-License-Identifier: Apache-2.0
#include "bindings/store_buffer.h"

#include <algorithm>
#include <new>
#include <utility>

#include "bindings/session.h"
#include "plasma/copy.h"

namespace skyray::bindings {

struct BufferState {
  std::shared_ptr<StoreHandle> handle;
  // What keeps the addresses; a created buffer's views may outlive its seal.
  std::shared_ptr<const void> mapping;
  std::shared_ptr<const void> written_mapping;
};

struct PyStoreBuffer {
  PyObject_HEAD PyStoreBuffer* whole;  // Of a part: what it is part of. Owned.
  uint8_t* data;                       // Null once aborted. Of a part: unused.
  Py_ssize_t offset;                   // Within the whole.
  Py_ssize_t bytes;
  Py_ssize_t views;
  bool writable;
  bool holds;  // A reference to the object.
  ObjectId id;
  BufferState state;
};

namespace {

PyTypeObject base_type{};
PyTypeObject* buffer_type = &base_type;

PyStoreBuffer* AsBuffer(PyObject* self) { return reinterpret_cast<PyStoreBuffer*>(self); }
PyObject* AsObject(PyStoreBuffer* buffer) { return reinterpret_cast<PyObject*>(buffer); }
PyStoreBuffer* WholeOf(PyStoreBuffer* buffer) {
  return buffer->whole == nullptr ? buffer : buffer->whole;
}

// Where its bytes are, or null with a BufferError set.
uint8_t* DataOf(PyStoreBuffer* buffer) {
  const PyStoreBuffer* whole = WholeOf(buffer);
  if (whole->data != nullptr) return whole->data + buffer->offset;
  PyErr_Format(PyExc_BufferError, "object %s was aborted; its memory may be another's by now",
               whole->id.Hex().c_str());
  return nullptr;
}

PyStoreBuffer* Allocate(std::shared_ptr<StoreHandle> handle, const ObjectId& id) {
  PyObject* self = buffer_type->tp_alloc(buffer_type, 0);
  if (self == nullptr) return nullptr;
  PyStoreBuffer* buffer = AsBuffer(self);
  new (&buffer->state) BufferState{std::move(handle), nullptr, nullptr};
  buffer->id = id;
  return buffer;
}

void Dealloc(PyObject* self) {
  PyStoreBuffer* buffer = AsBuffer(self);
  if (buffer->whole != nullptr) {
    Py_DECREF(AsObject(buffer->whole));
  } else if (buffer->holds) {
    buffer->state.handle->Release(buffer->id);
  } else if (buffer->writable) {
    buffer->state.handle->creating.erase(buffer->id);
  }
  buffer->state.~BufferState();
  Py_TYPE(self)->tp_free(self);
}

int GetBuffer(PyObject* self, Py_buffer* view, int flags) {
  PyStoreBuffer* buffer = AsBuffer(self);
  uint8_t* data = DataOf(buffer);
  PyStoreBuffer* whole = WholeOf(buffer);
  if (data == nullptr ||
      PyBuffer_FillInfo(view, self, data, buffer->bytes, !whole->writable, flags) < 0) {
    view->obj = nullptr;
    return -1;
  }
  ++whole->views;
  return 0;
}

void ReleaseBuffer(PyObject* self, Py_buffer*) { --WholeOf(AsBuffer(self))->views; }

Py_ssize_t Length(PyObject* self) { return AsBuffer(self)->bytes; }

PyObject* ToPybytes(PyObject* self, PyObject*) {
  const uint8_t* data = DataOf(AsBuffer(self));
  if (data == nullptr) return nullptr;
  return PyBytes_FromStringAndSize(reinterpret_cast<const char*>(data), AsBuffer(self)->bytes);
}

PyObject* Part(PyObject* self, PyObject* args) {
  Py_ssize_t offset;
  Py_ssize_t bytes;
  if (!PyArg_ParseTuple(args, "nn", &offset, &bytes)) return nullptr;
  PyStoreBuffer* buffer = AsBuffer(self);
  if (offset < 0 || bytes < 0 || offset > buffer->bytes || bytes > buffer->bytes - offset) {
    return PyErr_Format(PyExc_IndexError, "%zd bytes from %zd on are not within the %zd there are",
                        bytes, offset, buffer->bytes);
  }
  PyStoreBuffer* part = Allocate(nullptr, buffer->id);
  if (part == nullptr) return nullptr;
  part->whole = reinterpret_cast<PyStoreBuffer*>(Py_NewRef(AsObject(WholeOf(buffer))));
  part->offset = buffer->offset + offset;
  part->bytes = bytes;
  return AsObject(part);
}

PyObject* Write(PyObject* self, PyObject* args) {
  Py_buffer source;
  Py_ssize_t offset = 0;
  if (!PyArg_ParseTuple(args, "y*|n:write", &source, &offset)) return nullptr;
  PyStoreBuffer* buffer = AsBuffer(self);
  uint8_t* data = DataOf(buffer);
  bool fits = false;
  if (data == nullptr) {
  } else if (!WholeOf(buffer)->writable) {
    PyErr_SetString(PyExc_BufferError, "a sealed object is immutable");
  } else if (offset < 0 || offset > buffer->bytes || source.len > buffer->bytes - offset) {
    PyErr_Format(PyExc_ValueError, "%zd bytes from %zd on do not fit in the %zd there are",
                 source.len, offset, buffer->bytes);
  } else {
    fits = true;
  }
  if (fits && source.len < kCopyWithoutGilBytesMin) {
    plasma::CopyToShared(data + offset, source.buf, static_cast<size_t>(source.len));
  } else if (fits) {
    ++WholeOf(buffer)->views;  // Not to be aborted meanwhile.
    {
      const ReleaseGil released;
      plasma::CopyToShared(data + offset, source.buf, static_cast<size_t>(source.len));
    }
    --WholeOf(buffer)->views;
  }
  const Py_ssize_t written = source.len;
  PyBuffer_Release(&source);
  return fits ? PyLong_FromSsize_t(written) : nullptr;
}

PyObject* Size(PyObject* self, void*) { return PyLong_FromSsize_t(AsBuffer(self)->bytes); }
PyObject* Address(PyObject* self, void*) {
  uint8_t* data = DataOf(AsBuffer(self));
  return data == nullptr ? nullptr : PyLong_FromVoidPtr(data);
}
PyObject* IsMutable(PyObject* self, void*) {
  return PyBool_FromLong(WholeOf(AsBuffer(self))->writable);
}
PyObject* Parent(PyObject* self, void*) {
  PyStoreBuffer* whole = AsBuffer(self)->whole;
  return Py_NewRef(whole == nullptr ? Py_None : AsObject(whole));
}

PyObject* SetStoreBufferType(PyObject*, PyObject* type) {
  if (!PyType_Check(type) || !PyType_IsSubtype(reinterpret_cast<PyTypeObject*>(type), &base_type)) {
    PyErr_SetString(PyExc_TypeError, "set_store_buffer_type() takes a subclass of StoreBuffer");
    return nullptr;
  }
  buffer_type = reinterpret_cast<PyTypeObject*>(Py_NewRef(type));
  Py_RETURN_NONE;
}

PyBufferProcs buffer_procs = {GetBuffer, ReleaseBuffer};
PySequenceMethods sequence_methods{};

PyMethodDef methods[] = {
    {"to_pybytes", ToPybytes, METH_NOARGS, "A copy of the bytes."},
    {"write", Write, METH_VARARGS, "write(data, offset=0): copies into it, past the cache."},
    {"part", Part, METH_VARARGS, "part(offset, size): some of it, uncopied."},
    {nullptr, nullptr, 0, nullptr}};

PyGetSetDef properties[] = {
    {"size", Size, nullptr, "In bytes.", nullptr},
    {"address", Address, nullptr, "Of the first byte, in this process.", nullptr},
    {"is_mutable", IsMutable, nullptr, "Until its object is sealed.", nullptr},
    {"parent", Parent, nullptr, "The buffer this one is a part of.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyMethodDef functions[] = {{"set_store_buffer_type", SetStoreBufferType, METH_O,
                            "The subclass of StoreBuffer that new buffers are of."},
                           {nullptr, nullptr, 0, nullptr}};

}  // namespace

bool AddStoreBuffer(PyObject* module) {
  sequence_methods.sq_length = Length;
  base_type.tp_name = "skyray._core.StoreBuffer";
  base_type.tp_basicsize = sizeof(PyStoreBuffer);
  base_type.tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION;
  base_type.tp_doc = "Bytes of an object in a store's memory.";
  base_type.tp_dealloc = Dealloc;
  base_type.tp_as_buffer = &buffer_procs;
  base_type.tp_as_sequence = &sequence_methods;
  base_type.tp_methods = methods;
  base_type.tp_getset = properties;
  Py_SET_REFCNT(reinterpret_cast<PyObject*>(&base_type), 1);  // Static: never freed.
  return PyType_Ready(&base_type) == 0 &&
         PyModule_AddObjectRef(module, "StoreBuffer", reinterpret_cast<PyObject*>(&base_type)) ==
             0 &&
         PyModule_AddFunctions(module, functions) == 0;
}

PyObject* NewCreatedBuffer(std::shared_ptr<StoreHandle> handle, const ObjectId& id,
                           plasma::MutableObject object) {
  PyStoreBuffer* buffer = Allocate(std::move(handle), id);
  if (buffer == nullptr) return nullptr;
  buffer->data = object.data;
  buffer->bytes = static_cast<Py_ssize_t>(object.data_bytes);
  buffer->writable = true;
  buffer->state.mapping = std::move(object.mapping);
  buffer->state.handle->creating[id] = buffer;
  return AsObject(buffer);
}

PyObject* NewReadBuffer(std::shared_ptr<StoreHandle> handle, const ObjectId& id,
                        plasma::ObjectView view, bool metadata) {
  StoreHandle& owner = *handle;
  PyStoreBuffer* buffer = Allocate(std::move(handle), id);
  if (buffer == nullptr) {
    owner.Release(id);
    return nullptr;
  }
  // Read-only memory; `writable` is false, so nobody is led to write there.
  buffer->data = const_cast<uint8_t*>(metadata ? view.metadata() : view.data);
  buffer->bytes = static_cast<Py_ssize_t>(metadata ? view.metadata_bytes : view.data_bytes);
  buffer->holds = true;
  buffer->state.mapping = std::move(view.mapping);
  return AsObject(buffer);
}

void MarkSealed(PyStoreBuffer* buffer, const plasma::ObjectView& view) {
  buffer->writable = false;
  buffer->holds = true;
  buffer->data = const_cast<uint8_t*>(view.data);
  buffer->state.written_mapping = std::exchange(buffer->state.mapping, view.mapping);
}

bool MayAbort(PyStoreBuffer* buffer) {
  if (buffer->views == 0) return true;
  PyErr_Format(PyExc_BufferError,
               "object %s cannot be aborted while there are views of its buffer (%zd); drop the "
               "memoryviews and arrays first",
               buffer->id.Hex().c_str(), buffer->views);
  return false;
}

void MarkAborted(PyStoreBuffer* buffer) {
  buffer->writable = false;
  buffer->data = nullptr;
}

}  // namespace skyray::bindings
