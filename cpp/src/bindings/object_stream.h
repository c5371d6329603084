// SPDX-License-Identifier: Apache-2.0
// _core.ObjectStream: iterates over the references that a generator task yields.
//
// Threading:  with the GIL held (let go of while it waits).
// Ownership:  the Python object owns the items nobody has taken, and a reference
//             to the end of the task.
// Errors:     null with an exception set.
#pragma once

#include <Python.h>

#include <memory>

#include "core_worker/core_worker.h"

namespace skyray::bindings {

// Takes over the hold of `end`.
PyObject* NewObjectStream(std::shared_ptr<core_worker::ObjectStream> stream,
                          core_worker::Object* end);
bool AddObjectStream(PyObject* module);

}  // namespace skyray::bindings
