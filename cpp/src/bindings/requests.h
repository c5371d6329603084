// SPDX-License-Identifier: Apache-2.0
// Connecting, and what is asked of the raylet and, through it, of the GCS.
//
// Threading:  with the GIL held; let go of while waiting.
// Ownership:  values. Errors: null with an exception set.
#pragma once

#include <Python.h>

namespace skyray::bindings {

bool AddRequests(PyObject* module);

}  // namespace skyray::bindings
