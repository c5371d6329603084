// SPDX-License-Identifier: Apache-2.0
// _core.StoreClient: a process's own door to a store, for skyray.plasma.
//
// Threading:  any thread; a mutex lets one call in at a time, and the GIL is let
//             go of while a call waits.
// Ownership:  a buffer holds one reference to its object, given back when the
//             buffer goes, or with the client.
// Errors:     as Hooks.error where a session has hooks; else RuntimeError.
#pragma once

#include <pybind11/pybind11.h>

namespace skyray::bindings {

void AddStoreClient(pybind11::module_& module);

}  // namespace skyray::bindings
