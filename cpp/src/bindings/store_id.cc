// SPDX-License-Identifier: Apache-2.0
#include "bindings/store_id.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "bindings/store_handle.h"

namespace skyray::bindings {
namespace {

constexpr size_t kShortBytes = 20;

struct PyStoreId {
  PyObject_HEAD ObjectId id;
};

PyTypeObject id_type{};

const ObjectId& IdOf(PyObject* self) { return reinterpret_cast<PyStoreId*>(self)->id; }

std::string_view BytesOf(PyObject* self) {
  const std::string_view all = IdOf(self).Binary();
  const std::string_view rest = all.substr(kShortBytes);
  const bool is_short = std::all_of(rest.begin(), rest.end(), [](char c) { return c == 0; });
  return is_short ? all.substr(0, kShortBytes) : all;
}

PyObject* New(PyTypeObject*, PyObject* args, PyObject* keywords) {
  static const char* names[] = {"object_id", nullptr};
  PyObject* given;
  if (!PyArg_ParseTupleAndKeywords(args, keywords, "O:ObjectID", const_cast<char**>(names),
                                   &given)) {
    return nullptr;
  }
  const Py_ssize_t size = PyBytes_Check(given) ? PyBytes_GET_SIZE(given) : -1;
  if (size != kShortBytes && size != Py_ssize_t{ObjectId::kSize}) {
    return PyErr_Format(PyExc_ValueError, "an ObjectID is made of %zu or %zu bytes, not of %R",
                        kShortBytes, size_t{ObjectId::kSize}, given);
  }
  uint8_t bytes[ObjectId::kSize] = {};
  std::memcpy(bytes, PyBytes_AS_STRING(given), static_cast<size_t>(size));
  return NewStoreId(ObjectId::FromBytes(bytes));
}

PyObject* FromRandom(PyObject*, PyObject*) { return NewStoreId(RandomStoreId()); }

PyObject* Binary(PyObject* self, PyObject*) {
  const std::string_view bytes = BytesOf(self);
  return PyBytes_FromStringAndSize(bytes.data(), static_cast<Py_ssize_t>(bytes.size()));
}

PyObject* Hex(PyObject* self, PyObject*) {
  return PyUnicode_FromString(BytesToHex(BytesOf(self)).c_str());
}

PyObject* Repr(PyObject* self) {
  return PyUnicode_FromFormat("ObjectID(%s)", BytesToHex(BytesOf(self)).c_str());
}

PyObject* Reduce(PyObject* self, PyObject*) {
  return Py_BuildValue("(O(N))", Py_TYPE(self), Binary(self, nullptr));
}

Py_hash_t Hash(PyObject* self) {
  const auto hash = static_cast<Py_hash_t>(IdOf(self).Hash());
  return hash == -1 ? -2 : hash;
}

PyObject* Compare(PyObject* self, PyObject* other, int op) {
  if ((op != Py_EQ && op != Py_NE) || Py_TYPE(other) != &id_type) Py_RETURN_NOTIMPLEMENTED;
  return PyBool_FromLong((IdOf(self) == IdOf(other)) == (op == Py_EQ));
}

PyMethodDef methods[] = {
    {"from_random", FromRandom, METH_NOARGS | METH_STATIC, "An id of 20 random bytes."},
    {"binary", Binary, METH_NOARGS, "The 20 or 28 bytes of the id."},
    {"hex", Hex, METH_NOARGS, "The bytes as hexadecimal digits."},
    {"__reduce__", Reduce, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr}};

}  // namespace

bool AddStoreId(PyObject* module) {
  id_type.tp_name = "skyray.plasma.ObjectID";  // Where pickle finds it.
  id_type.tp_basicsize = sizeof(PyStoreId);
  id_type.tp_flags = Py_TPFLAGS_DEFAULT;
  id_type.tp_doc = "The name of an object in a store.";
  id_type.tp_new = New;
  id_type.tp_repr = Repr;
  id_type.tp_hash = Hash;
  id_type.tp_richcompare = Compare;
  id_type.tp_methods = methods;
  Py_SET_REFCNT(reinterpret_cast<PyObject*>(&id_type), 1);  // Static: never freed.
  return PyType_Ready(&id_type) == 0 &&
         PyModule_AddObjectRef(module, "StoreObjectID", reinterpret_cast<PyObject*>(&id_type)) == 0;
}

PyObject* NewStoreId(const ObjectId& id) {
  PyObject* self = id_type.tp_alloc(&id_type, 0);
  if (self != nullptr) reinterpret_cast<PyStoreId*>(self)->id = id;
  return self;
}

bool StoreIdOf(PyObject* object, ObjectId& id) {
  if (Py_TYPE(object) != &id_type) {
    PyErr_Format(PyExc_TypeError, "an ObjectID is wanted here, not %R", object);
    return false;
  }
  id = IdOf(object);
  return true;
}

ObjectId RandomStoreId() {
  // From the system in pieces; a forked child goes on with other ones.
  static uint8_t pool[128 * kShortBytes];
  static size_t used = sizeof pool;
  static uint64_t of_process = 0;
  if (used == sizeof pool || of_process != ForkCount()) {
    FillRandom(pool, sizeof pool);
    used = 0;
    of_process = ForkCount();
  }
  uint8_t bytes[ObjectId::kSize] = {};
  std::memcpy(bytes, pool + used, kShortBytes);
  used += kShortBytes;
  return ObjectId::FromBytes(bytes);
}

}  // namespace skyray::bindings
