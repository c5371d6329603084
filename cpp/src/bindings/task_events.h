// SPDX-License-Identifier: Apache-2.0
// What workers have run, as the GCS was told: for skyray.timeline().
//
// Threading:  with the GIL held; let go of while waiting.
// Ownership:  values. Errors: null with an exception set.
#pragma once

#include <Python.h>

namespace skyray::bindings {

bool AddTaskEvents(PyObject* module);

}  // namespace skyray::bindings
