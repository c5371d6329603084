// SPDX-License-Identifier: Apache-2.0
#include "bindings/objects.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "bindings/object_ref.h"
#include "bindings/serialization.h"
#include "bindings/session.h"

namespace skyray::bindings {
namespace {

using core_worker::CoreWorker;
using core_worker::NowNs;
using core_worker::Object;
using core_worker::WaitResult;

bool ReadDeadline(PyObject* timeout, int64_t& deadline_ns) {
  deadline_ns = INT64_MAX;
  if (timeout == Py_None) return true;
  const double seconds = PyFloat_AsDouble(timeout);
  if (seconds == -1.0 && PyErr_Occurred() != nullptr) return false;
  if (std::isnan(seconds)) {
    PyErr_SetString(PyExc_ValueError, "timeout is not a number");
    return false;
  }
  // A hundred years are for ever, and so is exactly -1. What else is negative is over: it
  // comes of a deadline that has passed.
  if (seconds == -1.0 || seconds >= 3.2e9) return true;
  deadline_ns = NowNs() + static_cast<int64_t>(std::max(seconds, 0.0) * 1e9);
  return true;
}

PyObject* Put(PyObject*, PyObject* value) {
  const WorkerRef worker = RequireWorker();
  if (worker == nullptr) return nullptr;
  Serialized serialized;
  if (!serialized.From(value)) return nullptr;
  const core_worker::PayloadParts parts = serialized.Parts();
  auto contained = serialized.TakeContained();
  auto object = [&] {
    if (parts.Bytes() <= core_worker::kInProcessBytesMax) {
      return worker->Put(parts, std::move(contained));
    }
    const ReleaseGil released;
    return worker->Put(parts, std::move(contained));
  }();
  if (!object) return RaiseStatus(object.error());
  return NewObjectRef(*object);
}

// Why a wait ended without what it waited for; an exception is set.
PyObject* RaiseWait(WaitResult result, size_t ready, size_t wanted) {
  if (result == WaitResult::TimedOut) {
    return RaiseStatus(Status(ErrorCode::TimedOut, "Get timed out: some object(s) not ready (" +
                                                       std::to_string(ready) + " of " +
                                                       std::to_string(wanted) + " are)."));
  }
  if (result == WaitResult::Stopped) {
    return RaiseStatus(Status(ErrorCode::NotConnected, "skyray was shut down meanwhile"));
  }
  if (PyErr_Occurred() == nullptr) PyErr_SetNone(PyExc_KeyboardInterrupt);
  return nullptr;
}

PyObject* ReadOne(CoreWorker& worker, Object* object, int64_t deadline_ns) {
  auto value = worker.Read(object, deadline_ns, /*may_wait=*/false);
  if (!value && value.error().code() == ErrorCode::NotFound) {
    const ReleaseGil released;
    value = worker.Read(object, deadline_ns, /*may_wait=*/true);
  }
  if (!value) return RaiseStatus(value.error());
  return Deserialize(*value);
}

PyObject* GetOne(CoreWorker& worker, PyObject* ref, int64_t deadline_ns) {
  Object* object = ObjectOf(ref);
  if (object == nullptr) return nullptr;
  if (!worker.IsReady(object)) {
    WaitResult result;
    {
      const ReleaseGil released;
      result = worker.WaitReady({&object, 1}, 1, deadline_ns);
    }
    if (result != WaitResult::Done) return RaiseWait(result, 0, 1);
  }
  return ReadOne(worker, object, deadline_ns);
}

bool ObjectsOf(PyObject* sequence, std::vector<Object*>& objects) {
  const Py_ssize_t count = PySequence_Fast_GET_SIZE(sequence);
  objects.reserve(static_cast<size_t>(count));
  for (Py_ssize_t i = 0; i < count; ++i) {
    PyObject* ref = PySequence_Fast_GET_ITEM(sequence, i);
    if (!IsObjectRef(ref)) {
      PyErr_Format(PyExc_TypeError, "item %zd is a %s, not an ObjectRef", i, Py_TYPE(ref)->tp_name);
      return false;
    }
    Object* object = ObjectOf(ref);
    if (object == nullptr) return false;
    objects.push_back(object);
  }
  return true;
}

PyObject* Get(PyObject*, PyObject* const* args, Py_ssize_t count) {
  if (count != 2) {
    PyErr_SetString(PyExc_TypeError, "get(refs, timeout) takes two arguments");
    return nullptr;
  }
  const WorkerRef worker = RequireWorker();
  int64_t deadline_ns;
  if (worker == nullptr || !ReadDeadline(args[1], deadline_ns)) return nullptr;
  if (IsObjectRef(args[0])) return GetOne(*worker, args[0], deadline_ns);
  const PyRef sequence(PySequence_Tuple(args[0]));
  std::vector<Object*> objects;
  if (!sequence || !ObjectsOf(sequence.get(), objects)) return nullptr;
  WaitResult result;
  Object* failed = nullptr;
  {
    const ReleaseGil released;
    result = worker->WaitReady(objects, objects.size(), deadline_ns, &failed);
  }
  if (failed != nullptr) {
    // At once, whatever becomes of the others.
    const PyRef value(ReadOne(*worker, failed, deadline_ns));
    if (!value) return nullptr;
  }
  if (result != WaitResult::Done) {
    size_t ready = 0;
    for (Object* object : objects) ready += worker->IsReady(object);
    return RaiseWait(result, ready, objects.size());
  }
  PyRef values(PyList_New(static_cast<Py_ssize_t>(objects.size())));
  if (!values) return nullptr;
  for (size_t i = 0; i < objects.size(); ++i) {
    PyObject* value = ReadOne(*worker, objects[i], deadline_ns);
    if (value == nullptr) return nullptr;
    PyList_SET_ITEM(values.get(), static_cast<Py_ssize_t>(i), value);
  }
  return values.Release();
}

PyObject* Cancel(PyObject*, PyObject* args) {
  PyObject* ref;
  int force, recursive;
  const WorkerRef worker = RequireWorker();
  if (worker == nullptr || !PyArg_ParseTuple(args, "Opp", &ref, &force, &recursive)) return nullptr;
  if (!IsObjectRef(ref)) {
    PyErr_Format(PyExc_TypeError, "a %s is not an ObjectRef", Py_TYPE(ref)->tp_name);
    return nullptr;
  }
  Object* object = ObjectOf(ref);
  if (object == nullptr) return nullptr;
  const Status status = worker->Cancel(object, force != 0, recursive != 0);
  if (!status.ok()) return RaiseStatus(status);
  Py_RETURN_NONE;
}

// A list of those items that are, or are not, among the `chosen` (ascending).
PyObject* Chosen(PyObject* items, const std::vector<size_t>& chosen, bool are) {
  const auto count = static_cast<size_t>(PyTuple_GET_SIZE(items));
  const size_t size = are ? chosen.size() : count - chosen.size();
  PyObject* list = PyList_New(static_cast<Py_ssize_t>(size));
  if (list == nullptr) return nullptr;
  Py_ssize_t at = 0;
  auto next = chosen.begin();
  for (size_t i = 0; i < count; ++i) {
    const bool is = next != chosen.end() && *next == i;
    if (is) ++next;
    if (is != are) continue;
    PyObject* item = PyTuple_GET_ITEM(items, static_cast<Py_ssize_t>(i));
    Py_INCREF(item);
    PyList_SET_ITEM(list, at++, item);
  }
  return list;
}

// False, and the error is set, if they cannot be waited for like that.
bool MayWait(CoreWorker& worker, const std::vector<Object*>& objects, Py_ssize_t wanted) {
  if (!worker.AreDistinct(objects)) {
    PyErr_SetString(PyExc_ValueError, "Wait requires a list of unique ray_waitables.");
  } else if (wanted <= 0) {
    PyErr_Format(PyExc_ValueError, "Invalid number of objects to return %zd.", wanted);
  } else if (static_cast<size_t>(wanted) > objects.size()) {
    PyErr_Format(PyExc_ValueError,
                 "num_returns cannot be greater than the number of ray_waitables provided to "
                 "skyray.wait: %zd > %zu.",
                 wanted, objects.size());
  }
  return PyErr_Occurred() == nullptr;
}

PyObject* Wait(PyObject*, PyObject* args) {
  PyObject *refs, *timeout;
  Py_ssize_t wanted;
  int fetch_local;
  if (!PyArg_ParseTuple(args, "O!nOp", &PyList_Type, &refs, &wanted, &timeout, &fetch_local)) {
    return nullptr;
  }
  const WorkerRef worker = RequireWorker();
  int64_t deadline_ns;
  const PyRef items(PyList_AsTuple(refs));  // The list may change while we wait.
  if (worker == nullptr || !items || !ReadDeadline(timeout, deadline_ns)) return nullptr;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(items.get()); ++i) {
    if (!IsObjectRef(PyTuple_GET_ITEM(items.get(), i))) Py_RETURN_NONE;
  }
  std::vector<Object*> objects;
  if (!ObjectsOf(items.get(), objects)) return nullptr;
  if (objects.empty()) return Py_BuildValue("([][])");
  if (!MayWait(*worker, objects, wanted)) return nullptr;
  WaitResult result;
  std::vector<size_t> ready;
  {
    const ReleaseGil released;
    result = worker->WaitReady(objects, static_cast<size_t>(wanted), deadline_ns);
    ready = worker->FirstReady(objects, static_cast<size_t>(wanted), fetch_local != 0, deadline_ns);
  }
  if (result != WaitResult::Done && result != WaitResult::TimedOut) {
    return RaiseWait(result, 0, objects.size());
  }
  if (PyErr_Occurred() != nullptr) return nullptr;  // A signal, while it was brought here.
  PyRef first(Chosen(items.get(), ready, /*are=*/true));
  PyRef rest(Chosen(items.get(), ready, /*are=*/false));
  if (!first || !rest) return nullptr;
  return PyTuple_Pack(2, first.get(), rest.get());
}

PyMethodDef functions[] = {
    {"put", Put, METH_O, "Stores a value; its ObjectRef."},
    {"get", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(Get)), METH_FASTCALL,
     "get(refs, timeout): the value or values."},
    {"cancel", Cancel, METH_VARARGS, "cancel(ref, force, recursive)."},
    {"wait", Wait, METH_VARARGS,
     "wait(refs, num_returns, timeout, fetch_local): the ready ones and the rest, or None."},
    {nullptr, nullptr, 0, nullptr}};

}  // namespace

bool AddObjects(PyObject* module) { return PyModule_AddFunctions(module, functions) == 0; }

}  // namespace skyray::bindings
