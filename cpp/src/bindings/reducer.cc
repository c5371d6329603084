// SPDX-License-Identifier: Apache-2.0
#include "bindings/reducer.h"

#include <cstddef>

#include "bindings/object_ref.h"

namespace skyray::bindings {
namespace {

// In the class of a pickler: for each of its instances a BoundReducer.
struct Reducer {
  PyObject_HEAD PyObject* method;
};

struct BoundReducer {
  PyObject_HEAD vectorcallfunc call;
  PyObject* method;
  PyObject* pickler;
};

PyTypeObject reducer_type{};  // Filled in and made ready below.
PyTypeObject bound_type{};

PyObject* Reduce(PyObject* self, PyObject* const* args, size_t count, PyObject* keywords) {
  if (PyVectorcall_NARGS(count) != 1 || keywords != nullptr) {
    PyErr_SetString(PyExc_TypeError, "reducer_override() takes one object");
    return nullptr;
  }
  PyObject* object = args[0];
  if (IsObjectRef(object)) return ReduceObjectRef(object, nullptr);
  const bool is_class = PyType_Check(object);
  // Not by its type alone: a proxy may say that it is one.
  const int is_function =
      is_class ? 0 : PyObject_IsInstance(object, reinterpret_cast<PyObject*>(&PyFunction_Type));
  if (is_function < 0) return nullptr;
  if (!is_class && is_function == 0) Py_RETURN_NOTIMPLEMENTED;
  const auto* bound = reinterpret_cast<BoundReducer*>(self);
  PyObject* arguments[] = {bound->pickler, object};
  return PyObject_Vectorcall(bound->method, arguments, 2, nullptr);
}

// The pickler lets go of it when it is done, so that they do not hold each other.
void DeallocBound(PyObject* self) {
  Py_DECREF(reinterpret_cast<BoundReducer*>(self)->method);
  Py_DECREF(reinterpret_cast<BoundReducer*>(self)->pickler);
  Py_TYPE(self)->tp_free(self);
}

PyObject* NewReducer(PyTypeObject* type, PyObject* args, PyObject*) {
  PyObject* method;
  if (!PyArg_ParseTuple(args, "O", &method)) return nullptr;
  PyObject* self = type->tp_alloc(type, 0);
  if (self != nullptr) reinterpret_cast<Reducer*>(self)->method = Py_NewRef(method);
  return self;
}

PyObject* Bind(PyObject* self, PyObject* pickler, PyObject*) {
  if (pickler == nullptr) return Py_NewRef(self);
  PyObject* made = bound_type.tp_alloc(&bound_type, 0);
  if (made == nullptr) return nullptr;
  auto* bound = reinterpret_cast<BoundReducer*>(made);
  bound->call = Reduce;
  bound->method = Py_NewRef(reinterpret_cast<Reducer*>(self)->method);
  bound->pickler = Py_NewRef(pickler);
  return made;
}

void DeallocReducer(PyObject* self) {
  Py_DECREF(reinterpret_cast<Reducer*>(self)->method);
  Py_TYPE(self)->tp_free(self);
}

}  // namespace

bool AddReducer(PyObject* module) {
  bound_type.tp_name = "skyray._core.BoundReducer";
  bound_type.tp_basicsize = sizeof(BoundReducer);
  bound_type.tp_flags =
      Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_HAVE_VECTORCALL;
  bound_type.tp_dealloc = DeallocBound;
  bound_type.tp_call = PyVectorcall_Call;
  bound_type.tp_vectorcall_offset = offsetof(BoundReducer, call);

  reducer_type.tp_name = "skyray._core.Reducer";
  reducer_type.tp_basicsize = sizeof(Reducer);
  reducer_type.tp_flags = Py_TPFLAGS_DEFAULT;
  reducer_type.tp_doc = "Reducer(method): a pickler's reducer_override.";
  reducer_type.tp_new = NewReducer;
  reducer_type.tp_dealloc = DeallocReducer;
  reducer_type.tp_descr_get = Bind;
  for (PyTypeObject* type : {&bound_type, &reducer_type}) {
    Py_SET_REFCNT(reinterpret_cast<PyObject*>(type), 1);  // Static: never freed.
    if (PyType_Ready(type) < 0) return false;
  }
  return PyModule_AddObjectRef(module, "Reducer", reinterpret_cast<PyObject*>(&reducer_type)) == 0;
}

}  // namespace skyray::bindings
