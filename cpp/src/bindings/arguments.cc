// SPDX-License-Identifier: Apache-2.0
#include "bindings/arguments.h"

#include "bindings/object_ref.h"
#include "bindings/serialization.h"
#include "bindings/session.h"

namespace skyray::bindings {
namespace {

using core_worker::CallArguments;
using core_worker::kInProcessBytesMax;
using core_worker::PayloadFormat;
using core_worker::PayloadHeader;
using core_worker::PayloadParts;
using core_worker::RefArgument;

void DropArguments(CallArguments& out) {
  for (const RefArgument& ref : out.refs) TheSession().worker->Drop(ref.object);
  TheSession().worker->DropAll(out.pinned);
  out = {};
}

// The compact payload of all positional arguments, if they are that plain.
bool PackCompact(PyObject* const* args, Py_ssize_t count, CallArguments& out) {
  out.payload.assign(sizeof(PayloadHeader), '\0');
  EncodeCompactTupleHead(count, out.payload);
  for (Py_ssize_t i = 0; i < count; ++i) {
    if (!EncodeCompact(args[i], out.payload)) return false;
  }
  if (count > 64 || out.payload.size() > kInProcessBytesMax) return false;
  const PayloadHeader header{static_cast<uint32_t>(PayloadFormat::Compact), 0,
                             out.payload.size() - sizeof(PayloadHeader)};
  std::memcpy(out.payload.data(), &header, sizeof header);
  return true;
}

// Takes a reference out of the value at `slot` of `container`, leaving None.
bool TakeRef(PyObject* value, int32_t position, std::string key, CallArguments& out) {
  core_worker::Object* object = ObjectOf(value);
  if (object == nullptr) return false;
  TheSession().worker->Hold(object);
  out.refs.push_back({position, std::move(key), object});
  return true;
}

// Puts an argument into the store. False: an exception is set.
bool PutArgument(Serialized& serialized, int32_t position, const std::string& key,
                 CallArguments& out) {
  const PayloadParts parts = serialized.Parts();
  auto contained = serialized.TakeContained();
  Result<core_worker::Object*> object = [&] {
    const ReleaseGil released;
    return TheSession().worker->Put(parts, std::move(contained));
  }();
  if (!object) {
    RaiseStatus(object.error());
    return false;
  }
  out.refs.push_back({position, key, *object});
  return true;
}

// Puts a value that is too large to travel in the call. 1: done, 0: it is small.
int PutIfLarge(PyObject* value, int32_t position, const std::string& key, CallArguments& out) {
  Serialized serialized;
  if (!serialized.From(value)) return -1;
  if (serialized.Parts().Bytes() <= kInProcessBytesMax / 8) return 0;
  return PutArgument(serialized, position, key, out) ? 1 : -1;
}

bool KeyOf(PyObject* name, std::string& key) {
  Py_ssize_t size;
  const char* text = PyUnicode_AsUTF8AndSize(name, &size);
  if (text == nullptr) return false;
  key.assign(text, static_cast<size_t>(size));
  return true;
}

void ClearItem(PyObject* tuple, Py_ssize_t index) {
  PyObject* old = PyTuple_GET_ITEM(tuple, index);
  PyTuple_SET_ITEM(tuple, index, Py_NewRef(Py_None));
  Py_DECREF(old);
}

// Runs `take` on every argument; where it answers 1, the argument becomes None.
template <class Take>
bool ReplaceEach(PyObject* args, PyObject* kwargs, Take take) {
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(args); ++i) {
    const int taken = take(PyTuple_GET_ITEM(args, i), static_cast<int32_t>(i), std::string());
    if (taken < 0) return false;
    if (taken == 0) continue;
    ClearItem(args, i);
  }
  PyObject *name, *value;
  Py_ssize_t at = 0;
  while (kwargs != nullptr && PyDict_Next(kwargs, &at, &name, &value)) {
    std::string key;
    if (!KeyOf(name, key)) return false;
    const int taken = take(value, int32_t{-1}, key);
    if (taken < 0) return false;
    // Setting the value of a key that is there is allowed during PyDict_Next.
    if (taken == 1 && PyDict_SetItem(kwargs, name, Py_None) < 0) return false;
  }
  return true;
}

bool SerializeBoth(PyObject* args, PyObject* kwargs, Serialized& serialized) {
  const PyRef both(PyTuple_Pack(2, args, kwargs == nullptr ? Py_None : kwargs));
  return both && serialized.From(both.get());
}

// The exception that is set says why the arguments cannot be pickled: makes it
// say which of them.
void NameCulprit(PyObject* args, PyObject* kwargs) {
  if (PyErr_ExceptionMatches(PyExc_TypeError) == 0) return;
  PyObject *type, *value, *traceback;
  PyErr_Fetch(&type, &value, &traceback);
  const auto fails = [](PyObject* argument) {
    Serialized alone;
    return !alone.From(argument);
  };
  const auto rename = [&](PyObject* name) {
    PyObject *inner_type, *inner, *inner_traceback;
    PyErr_Fetch(&inner_type, &inner, &inner_traceback);
    PyErr_Format(PyExc_TypeError, "argument %R of the call: %S", name, inner);
    for (PyObject* old : {inner_type, inner, inner_traceback, type, value, traceback}) {
      Py_XDECREF(old);
    }
  };
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(args); ++i) {
    if (!fails(PyTuple_GET_ITEM(args, i))) continue;
    const PyRef position(PyLong_FromSsize_t(i));
    return rename(position.get());
  }
  PyObject *name, *argument;
  Py_ssize_t at = 0;
  while (kwargs != nullptr && PyDict_Next(kwargs, &at, &name, &argument)) {
    if (fails(argument)) return rename(name);
  }
  PyErr_Restore(type, value, traceback);
}

// Of the one argument that there is, pickled already, (args, kwargs) as SerializeBoth
// makes it, without pickling it once more.
std::string AroundOne(std::string_view pickle) {
  std::string both(pickle.substr(0, pickle.size() - 1));  // All but STOP.
  both += "\x85N\x86.";                                   // TUPLE1 NONE TUPLE2 STOP
  return both;
}

// The only argument, in the call or beside it. 1: done; 0: it has to be done otherwise.
int PackOne(PyObject* args, CallArguments& out) {
  PyObject* value = PyTuple_GET_ITEM(args, 0);
  if (value == Py_None) return 0;
  Serialized serialized;
  if (!serialized.From(value)) {
    NameCulprit(args, nullptr);
    return -1;
  }
  PayloadParts parts = serialized.Parts();
  if (parts.Bytes() > kInProcessBytesMax) {
    if (!PutArgument(serialized, 0, {}, out)) return -1;
    ClearItem(args, 0);
    return 0;
  }
  if (parts.format != PayloadFormat::Pickle) return 0;
  const std::string both = AroundOne(parts.inband);
  parts.inband = both;
  out.payload.resize(parts.Bytes());
  parts.WriteTo(reinterpret_cast<uint8_t*>(out.payload.data()));
  out.pinned = serialized.TakeContained();
  return 1;
}

bool PackGeneral(PyObject* args, PyObject* kwargs, CallArguments& out) {
  const auto take_ref = [&](PyObject* value, int32_t position, std::string key) {
    if (!IsObjectRef(value)) return 0;
    return TakeRef(value, position, std::move(key), out) ? 1 : -1;
  };
  if (!ReplaceEach(args, kwargs, take_ref)) return false;
  if (kwargs == nullptr && PyTuple_GET_SIZE(args) == 1) {
    const int packed = PackOne(args, out);
    if (packed != 0) return packed > 0;
  }
  const auto put_large = [&](PyObject* value, int32_t position, const std::string& key) {
    if (value == Py_None) return 0;
    return PutIfLarge(value, position, key, out);
  };
  {
    Serialized serialized;
    if (!SerializeBoth(args, kwargs, serialized)) {
      NameCulprit(args, kwargs);
      return false;
    }
    const PayloadParts parts = serialized.Parts();
    const uint64_t bytes = parts.Bytes();
    if (bytes <= kInProcessBytesMax) {
      out.payload.resize(bytes);
      parts.WriteTo(reinterpret_cast<uint8_t*>(out.payload.data()));
      out.pinned = serialized.TakeContained();
      return true;
    }
  }
  if (!ReplaceEach(args, kwargs, put_large)) return false;
  Serialized serialized;
  if (!SerializeBoth(args, kwargs, serialized)) return false;
  const PayloadParts parts = serialized.Parts();
  out.payload.resize(parts.Bytes());
  parts.WriteTo(reinterpret_cast<uint8_t*>(out.payload.data()));
  out.pinned = serialized.TakeContained();
  return true;
}

}  // namespace

bool PackArguments(PyObject* const* args, Py_ssize_t count, PyObject* keywords,
                   CallArguments& out) {
  if (keywords == nullptr && PackCompact(args, count, out)) return true;
  out.payload.clear();
  out.flags = core_worker::kCallHasBoth;
  const PyRef tuple(PyTuple_New(count));
  if (!tuple) return false;
  for (Py_ssize_t i = 0; i < count; ++i) PyTuple_SET_ITEM(tuple.get(), i, Py_NewRef(args[i]));
  PyRef kwargs;
  if (keywords != nullptr) {
    kwargs = PyRef(PyDict_New());
    if (!kwargs) return false;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(keywords); ++i) {
      if (PyDict_SetItem(kwargs.get(), PyTuple_GET_ITEM(keywords, i), args[count + i]) < 0) {
        return false;
      }
    }
  }
  if (PackGeneral(tuple.get(), kwargs.get(), out)) return true;
  DropArguments(out);
  return false;
}

bool UnpackArguments(core_worker::CoreWorker& worker, const core_worker::ReceivedCall& call,
                     PyObject** args, PyObject** kwargs) {
  *args = nullptr;
  *kwargs = nullptr;
  // Copied: arrays among the arguments need aligned memory that outlives the frame.
  core_worker::ReadableValue value;
  value.value = core_worker::CopyValue(call.args);
  value.bytes = value.value->span();
  PyRef decoded(Deserialize(value));
  if (!decoded) return false;
  PyRef positional, named;
  if ((call.header.flags & core_worker::kCallHasBoth) == 0) {
    if (!PyTuple_CheckExact(decoded.get())) {
      PyErr_SetString(PyExc_ValueError, "a received call has no argument tuple");
      return false;
    }
    positional = std::move(decoded);
  } else {
    PyObject *first, *second;
    if (!PyArg_ParseTuple(decoded.get(), "O!O", &PyTuple_Type, &first, &second)) return false;
    positional = PyRef::Borrowed(first);
    if (second != Py_None) named = PyRef::Borrowed(second);
  }
  if (!call.ref_args.empty()) {
    PyRef list(PySequence_List(positional.get()));
    if (!list) return false;
    for (const core_worker::ReceivedRefArg& ref : call.ref_args) {
      Result<core_worker::ReadableValue> read = [&] {
        const ReleaseGil released;
        return worker.ReadArgument(ref);
      }();
      if (!read) {
        RaiseStatus(read.error());
        return false;
      }
      PyRef argument(Deserialize(*read));
      if (!argument) return false;
      if (ref.head.position >= 0) {
        if (PyList_SetItem(list.get(), ref.head.position, argument.Release()) < 0) return false;
      } else {
        const std::string key(ref.key);
        if (!named) named = PyRef(PyDict_New());
        if (PyDict_SetItemString(named.get(), key.c_str(), argument.get()) < 0) return false;
      }
    }
    positional = PyRef(PyList_AsTuple(list.get()));
    if (!positional) return false;
  }
  *args = positional.Release();
  *kwargs = named.Release();
  return true;
}

}  // namespace skyray::bindings
