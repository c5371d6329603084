// SPDX-License-Identifier: Apache-2.0
// put, get and wait.
//
// Threading:  with the GIL held; let go of while waiting.
// Ownership:  as ObjectRef. Errors: null with an exception set.
#pragma once

#include <Python.h>

namespace skyray::bindings {

bool AddObjects(PyObject* module);

}  // namespace skyray::bindings
