// SPDX-License-Identifier: Apache-2.0
// Options dictionaries from the Python face, which has validated them, to C++.
//
// Threading:  with the GIL held.
// Ownership:  values.
// Errors:     false with an exception set.
#pragma once

#include <Python.h>

#include "core_worker/core_worker.h"

namespace skyray::bindings {

// The TaskOptions of _core.pyi.
bool ReadTaskOptions(PyObject* options, core_worker::CoreWorker& worker,
                     core_worker::TaskTemplate& out);
// The ActorOptions of _core.pyi.
bool ReadActorOptions(PyObject* options, core_worker::ActorOptions& out);

// The MethodOptions of _core.pyi.
bool ReadMethodOptions(PyObject* options, uint16_t& returns, core_worker::GeneratorKind& generator,
                       core_worker::MethodOptions& out);

// [(name, limit)].
PyObject* ConcurrencyToList(const core_worker::Concurrency& concurrency);
PyObject* ResourcesToDict(const ResourceSet& resources);

}  // namespace skyray::bindings
