// SPDX-License-Identifier: Apache-2.0
#include "bindings/serialization.h"

#include <cstring>

#include "bindings/object_ref.h"
#include "bindings/session.h"

namespace skyray::bindings {
namespace {

using core_worker::PayloadFormat;
using core_worker::PayloadParts;
using core_worker::PayloadView;
using core_worker::ReadableValue;

constexpr int kCompactDepthMax = 8;
constexpr Py_ssize_t kCompactItemsMax = 64;
// Longer strings are better off in pickle's or Bytes' hands: copied once less.
constexpr Py_ssize_t kCompactTextMax = 16 << 10;

PyObject* pickle_loads = nullptr;
PyObject* buffers_keyword = nullptr;  // ("buffers",)

template <class T>
void AppendRaw(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

bool Encode(PyObject* value, std::string& out, int depth) {
  if (value == Py_None) return out.push_back('N'), true;
  if (value == Py_True) return out.push_back('T'), true;
  if (value == Py_False) return out.push_back('F'), true;
  if (PyLong_CheckExact(value)) {
    int overflow = 0;
    const long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow != 0) return false;
    out.push_back('i');
    AppendRaw(out, static_cast<int64_t>(number));
    return true;
  }
  if (PyFloat_CheckExact(value)) {
    out.push_back('d');
    AppendRaw(out, PyFloat_AS_DOUBLE(value));
    return true;
  }
  if (PyUnicode_CheckExact(value)) {
    Py_ssize_t size;
    const char* text = PyUnicode_AsUTF8AndSize(value, &size);
    if (text == nullptr) PyErr_Clear();  // Lone surrogates: pickle knows them.
    if (text == nullptr || size > kCompactTextMax) return false;
    out.push_back('s');
    AppendRaw(out, static_cast<uint32_t>(size));
    out.append(text, static_cast<size_t>(size));
    return true;
  }
  if (PyBytes_CheckExact(value) && PyBytes_GET_SIZE(value) <= kCompactTextMax) {
    out.push_back('b');
    AppendRaw(out, static_cast<uint32_t>(PyBytes_GET_SIZE(value)));
    out.append(PyBytes_AS_STRING(value), static_cast<size_t>(PyBytes_GET_SIZE(value)));
    return true;
  }
  if (PyTuple_CheckExact(value) && depth < kCompactDepthMax &&
      PyTuple_GET_SIZE(value) <= kCompactItemsMax) {
    EncodeCompactTupleHead(PyTuple_GET_SIZE(value), out);
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(value); ++i) {
      if (!Encode(PyTuple_GET_ITEM(value, i), out, depth + 1)) return false;
    }
    return true;
  }
  return false;
}

PyObject* Malformed() {
  PyErr_SetString(PyExc_ValueError, "a received value is malformed; the sender has a bug");
  return nullptr;
}

PyObject* Decode(core_worker::ByteReader& reader, int depth) {
  char tag;
  if (!reader.Read(tag) || depth > kCompactDepthMax) return Malformed();
  uint32_t size;
  std::span<const uint8_t> bytes;
  switch (tag) {
    case 'N':
      Py_RETURN_NONE;
    case 'T':
      Py_RETURN_TRUE;
    case 'F':
      Py_RETURN_FALSE;
    case 'i': {
      int64_t number;
      return reader.Read(number) ? PyLong_FromLongLong(number) : Malformed();
    }
    case 'd': {
      double number;
      return reader.Read(number) ? PyFloat_FromDouble(number) : Malformed();
    }
    case 's':
      if (!reader.Read(size) || !reader.ReadBytes(size, bytes)) return Malformed();
      return PyUnicode_FromStringAndSize(reinterpret_cast<const char*>(bytes.data()), size);
    case 'b':
      if (!reader.Read(size) || !reader.ReadBytes(size, bytes)) return Malformed();
      return PyBytes_FromStringAndSize(reinterpret_cast<const char*>(bytes.data()), size);
    case 't': {
      if (!reader.Read(size) || size > kCompactItemsMax) return Malformed();
      PyRef tuple(PyTuple_New(size));
      if (!tuple) return nullptr;
      for (uint32_t i = 0; i < size; ++i) {
        PyObject* item = Decode(reader, depth + 1);
        if (item == nullptr) return nullptr;
        PyTuple_SET_ITEM(tuple.get(), i, item);
      }
      return tuple.Release();
    }
    default:
      return Malformed();
  }
}

// A read-only buffer inside a value, which it keeps alive.
struct PyValueBuffer {
  PyObject_HEAD ReadableValue* value;
  std::span<const uint8_t> bytes;
};

int GetBuffer(PyObject* self, Py_buffer* view, int flags) {
  const auto* buffer = reinterpret_cast<PyValueBuffer*>(self);
  if ((flags & PyBUF_WRITABLE) == PyBUF_WRITABLE) {
    PyErr_SetString(PyExc_BufferError,
                    "this memory belongs to a shared skyray object and is read-only; copy it "
                    "(numpy: array.copy()) to change it");
    return -1;
  }
  return PyBuffer_FillInfo(view, self, const_cast<uint8_t*>(buffer->bytes.data()),
                           static_cast<Py_ssize_t>(buffer->bytes.size()), /*readonly=*/1, flags);
}

void DeallocBuffer(PyObject* self) {
  delete reinterpret_cast<PyValueBuffer*>(self)->value;
  Py_TYPE(self)->tp_free(self);
}

PyBufferProcs buffer_procs = {GetBuffer, nullptr};
PyTypeObject buffer_type{};  // Filled in and made ready below.

PyObject* NewBuffer(const ReadableValue& value, std::span<const uint8_t> bytes) {
  PyObject* self = buffer_type.tp_alloc(&buffer_type, 0);
  if (self == nullptr) return nullptr;
  auto* buffer = reinterpret_cast<PyValueBuffer*>(self);
  buffer->value = new ReadableValue(value);
  buffer->bytes = bytes;
  return self;
}

// `loaded`; if it is null, what pickle raised becomes what the user is to see: an
// exception of the value's own code must not pass for one of the task that made it.
PyObject* Loaded(PyObject* loaded) {
  if (loaded != nullptr || !PyErr_ExceptionMatches(PyExc_Exception)) return loaded;
  const PyRef raised = TakeException();
  const PyRef error(PyObject_CallOneArg(TheSession().hooks.load_failed, raised.get()));
  if (error) PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.get())), error.get());
  return nullptr;
}

PyObject* Unpickle(const ReadableValue& value, const PayloadView& payload) {
  PyRef inband(PyMemoryView_FromMemory(
      const_cast<char*>(reinterpret_cast<const char*>(payload.inband.data())),
      static_cast<Py_ssize_t>(payload.inband.size()), PyBUF_READ));
  if (!inband) return nullptr;
  if (payload.buffers.empty()) return Loaded(PyObject_CallOneArg(pickle_loads, inband.get()));
  PyRef buffers(PyList_New(static_cast<Py_ssize_t>(payload.buffers.size())));
  if (!buffers) return nullptr;
  for (size_t i = 0; i < payload.buffers.size(); ++i) {
    PyObject* buffer = NewBuffer(value, payload.buffers[i]);
    if (buffer == nullptr) return nullptr;
    PyList_SET_ITEM(buffers.get(), static_cast<Py_ssize_t>(i), buffer);
  }
  PyObject* arguments[] = {inband.get(), buffers.get()};
  return Loaded(PyObject_Vectorcall(pickle_loads, arguments, 1, buffers_keyword));
}

PyObject* RaiseTaskError(const PayloadView& payload) {
  const PyRef error(PyObject_CallFunction(TheSession().hooks.load_task_error, "y#",
                                          reinterpret_cast<const char*>(payload.inband.data()),
                                          static_cast<Py_ssize_t>(payload.inband.size())));
  if (error) PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.get())), error.get());
  return nullptr;
}

}  // namespace

void EncodeCompactTupleHead(Py_ssize_t items, std::string& out) {
  out.push_back('t');
  AppendRaw(out, static_cast<uint32_t>(items));
}

bool EncodeCompact(PyObject* value, std::string& out) { return Encode(value, out, 0); }

Serialized::~Serialized() {
  for (Py_buffer& buffer : buffers_) PyBuffer_Release(&buffer);
  Py_XDECREF(inband_);
  if (!contained_.empty() && TheSession().worker) TheSession().worker->DropAll(contained_);
}

Serialized::Serialized(Serialized&& other) noexcept
    : format_(other.format_),
      compact_(std::move(other.compact_)),
      inband_(std::exchange(other.inband_, nullptr)),
      buffers_(std::move(other.buffers_)),
      contained_(std::move(other.contained_)) {
  other.buffers_.clear();
  other.contained_.clear();
}

Serialized Serialized::TaskError(std::string bytes) {
  Serialized error;
  error.format_ = PayloadFormat::TaskError;
  error.compact_ = std::move(bytes);
  return error;
}

bool Serialized::From(PyObject* value) {
  if (PyBytes_CheckExact(value) && PyBytes_GET_SIZE(value) > kCompactTextMax) {
    format_ = PayloadFormat::Bytes;
    inband_ = Py_NewRef(value);
    return true;
  }
  if (EncodeCompact(value, compact_)) return true;
  compact_.clear();
  return FromPickle(value);
}

bool Serialized::FromPickle(PyObject* value) {
  format_ = PayloadFormat::Pickle;
  PickledRefs refs;
  const PyRef result(PyObject_CallOneArg(TheSession().hooks.serialize, value));
  if (!result) return false;
  PyObject* buffers;
  if (!PyArg_ParseTuple(result.get(), "SO!", &inband_, &PyList_Type, &buffers)) {
    inband_ = nullptr;
    return false;
  }
  Py_INCREF(inband_);
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(buffers); ++i) {
    Py_buffer view;
    if (PyObject_GetBuffer(PyList_GET_ITEM(buffers, i), &view, PyBUF_SIMPLE) < 0) return false;
    buffers_.push_back(view);
  }
  contained_ = refs.Take();
  return true;
}

PayloadParts Serialized::Parts() const {
  PayloadParts parts;
  parts.format = format_;
  if (inband_ == nullptr) {
    parts.inband = compact_;
  } else {
    parts.inband = {PyBytes_AS_STRING(inband_), static_cast<size_t>(PyBytes_GET_SIZE(inband_))};
  }
  for (const Py_buffer& buffer : buffers_) {
    parts.buffers.emplace_back(static_cast<const uint8_t*>(buffer.buf),
                               static_cast<size_t>(buffer.len));
  }
  return parts;
}

PyObject* Deserialize(const ReadableValue& value) {
  const auto payload = PayloadView::Parse(value.bytes);
  if (!payload) return Malformed();
  switch (payload->format) {
    case PayloadFormat::Compact: {
      core_worker::ByteReader reader(payload->inband);
      return Decode(reader, 0);
    }
    case PayloadFormat::Bytes:
      return PyBytes_FromStringAndSize(reinterpret_cast<const char*>(payload->inband.data()),
                                       static_cast<Py_ssize_t>(payload->inband.size()));
    case PayloadFormat::Pickle:
      return Unpickle(value, *payload);
    case PayloadFormat::TaskError:
      return RaiseTaskError(*payload);
    case PayloadFormat::SystemError: {
      const core_worker::SystemErrorView error = core_worker::ParseSystemError(*payload);
      return RaiseStatus(Status(error.code, error.message), error.actor_hex);
    }
  }
  return Malformed();
}

BufferPart PartOf(PyObject* buffer) {
  if (!Py_IS_TYPE(buffer, &buffer_type)) {
    PyErr_Format(PyExc_TypeError, "a buffer of a value is wanted, got %R",
                 reinterpret_cast<PyObject*>(Py_TYPE(buffer)));
    return {};
  }
  const auto* part = reinterpret_cast<const PyValueBuffer*>(buffer);
  return {part->value, part->bytes};
}

bool InitSerialization() {
  buffer_type.tp_name = "skyray._core.ValueBuffer";
  buffer_type.tp_basicsize = sizeof(PyValueBuffer);
  buffer_type.tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION;
  buffer_type.tp_dealloc = DeallocBuffer;
  buffer_type.tp_as_buffer = &buffer_procs;
  Py_SET_REFCNT(reinterpret_cast<PyObject*>(&buffer_type), 1);  // Static: never freed.
  if (PyType_Ready(&buffer_type) < 0) return false;
  const PyRef pickle(PyImport_ImportModule("_pickle"));
  if (!pickle) return false;
  pickle_loads = PyObject_GetAttrString(pickle.get(), "loads");
  buffers_keyword = Py_BuildValue("(s)", "buffers");
  return pickle_loads != nullptr && buffers_keyword != nullptr;
}

void TellFailure(const std::string& what, const core_worker::ValuePtr& error) {
  PyObject* hook = TheSession().hooks.on_failure;
  if (hook == nullptr) return;
  const PyRef none(Deserialize({error, nullptr, error->span()}));  // It raises.
  const PyRef exception = TakeException();
  const PyRef told(PyObject_CallFunction(hook, "s#O", what.data(),
                                         static_cast<Py_ssize_t>(what.size()), exception.get()));
  if (!told) PyErr_WriteUnraisable(hook);
}

}  // namespace skyray::bindings
