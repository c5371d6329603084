// SPDX-License-Identifier: Apache-2.0
// skyray.plasma.ObjectID: a raw CPython type, as it is made for every object.
//
// It has 20 bytes, as in Arrow's Plasma (in the store eight zeros follow), or 28, as
// an object of a node has. It is given back as it came.
//
// Threading:  with the GIL held.
// Ownership:  values.
// Errors:     as CPython: null or false with an exception set.
#pragma once

#include <Python.h>

#include "common/id.h"

namespace skyray::bindings {

bool AddStoreId(PyObject* module);
PyObject* NewStoreId(const ObjectId& id);
// False with a TypeError set if `object` is no ObjectID.
bool StoreIdOf(PyObject* object, ObjectId& id);
// An id nobody has had: 20 random bytes.
ObjectId RandomStoreId();

}  // namespace skyray::bindings
