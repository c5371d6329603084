// SPDX-License-Identifier: Apache-2.0
// _core.StoreClient: a process's own door to a store; skyray.plasma is its face.
//
// Threading:  any thread; the GIL is let go of while a call talks to the store.
// Ownership:  shares its connection with its buffers.
// Errors:     what skyray.plasma makes of a Status (set_store_errors).
#pragma once

#include <Python.h>

namespace skyray::bindings {

// Adds StoreClient, StoreBuffer and StoreObjectID.
bool AddStoreClient(PyObject* module);

}  // namespace skyray::bindings
