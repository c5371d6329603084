// SPDX-License-Identifier: Apache-2.0
// skyray._core.ObjectRef: a raw CPython type, as it is made and dropped with
// every call.
//
// Threading:  with the GIL held.
// Ownership:  each holds one reference to its core_worker::Object, given back
//             when it is deallocated (not if its session has ended).
// Errors:     as CPython: null with an exception set.
#pragma once

#include <Python.h>

#include <vector>

#include "bindings/session.h"
#include "core_worker/object_table.h"

namespace skyray::bindings {

struct PyObjectRef {
  PyObject_HEAD PyObject* weak_references;
  core_worker::Object* object;  // Only while epoch is the session's.
  uint64_t epoch;
  ObjectId id;
};

// Adds the type, restore_ref and set_object_ref_type to the module.
bool AddObjectRef(PyObject* module);

bool IsObjectRef(PyObject* object);
// A new reference; takes over one hold of `object`.
PyObject* NewObjectRef(core_worker::Object* object);
// The object, or null with an exception set if its session has ended.
core_worker::Object* ObjectOf(PyObject* ref);

// What those who wait by on_ready() gave to be called should the session end before: that
// is now, and they are told no more. A list; null with an exception set.
PyRef TakeNotCalled();

// What pickle calls to take one apart: a new (callable, arguments).
PyObject* ReduceObjectRef(PyObject* ref, PyObject* none);

// While it lives, ObjectRefs pickled by this thread are noted here, each with a
// hold that the scope's owner takes over.
class PickledRefs {
 public:
  PickledRefs();
  ~PickledRefs();
  PickledRefs(const PickledRefs&) = delete;
  PickledRefs& operator=(const PickledRefs&) = delete;
  std::vector<core_worker::Object*> Take();

 private:
  friend PyObject* ReduceObjectRef(PyObject*, PyObject*);
  PickledRefs* outer_;
  std::vector<core_worker::Object*> objects_;
};

}  // namespace skyray::bindings
