// SPDX-License-Identifier: Apache-2.0
// Bytes of a stored value that may be written to, as torch's tensors are.
//
// Large ones are mapped once more, copy-on-write: nothing is copied until something is
// written, then the page it is on, and nobody else sees it. Small ones, and what cannot
// be mapped so, are copied at once.
//
// Threading:  with the GIL held; let go of while copying.
// Ownership:  the buffer keeps the value, and its bytes until nobody uses them.
// Errors:     null with an exception set.
#pragma once

#include <Python.h>

namespace skyray::bindings {

bool AddPrivateBuffer(PyObject* module);

}  // namespace skyray::bindings
