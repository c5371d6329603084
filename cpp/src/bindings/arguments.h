// SPDX-License-Identifier: Apache-2.0
// The arguments of a call, from vectorcall's array to a payload and back.
//
// Without keywords and with plain values: the compact form of the args tuple.
// Otherwise: pickle of (args, kwargs). ObjectRefs at the top level are replaced by
// None and travel as RefArguments; large arguments are put and become such too.
//
// Threading:  with the GIL held (let go of while a large argument is stored).
// Ownership:  as core_worker::CallArguments.
// Errors:     false with an exception set.
#pragma once

#include <Python.h>

#include "core_worker/core_worker.h"

namespace skyray::bindings {

bool PackArguments(PyObject* const* args, Py_ssize_t count, PyObject* keywords,
                   core_worker::CallArguments& out);

// New references: a tuple, and a dict or null.
bool UnpackArguments(core_worker::CoreWorker& worker, const core_worker::ReceivedCall& call,
                     PyObject** args, PyObject** kwargs);

}  // namespace skyray::bindings
