// SPDX-License-Identifier: Apache-2.0
// A pickler's `reducer_override` that answers for most objects without Python code.
//
// The pickler asks it about every object that is no plain container or scalar.
// ObjectRefs are taken apart here, and of instances it says that pickle knows
// best; classes and functions go on to the Python method that it was made of.
//
// Threading:  with the GIL held. Ownership: Python's. Errors: the method's.
#pragma once

#include <Python.h>

namespace skyray::bindings {

// Adds Reducer to the module.
bool AddReducer(PyObject* module);

}  // namespace skyray::bindings
