// SPDX-License-Identifier: Apache-2.0
// How the zygote forks, and what its child does first, without Python: every object that
// Python code looks at costs a child the copy of a page, as its count of references changes.
//
// Threading:  with the GIL held, in a process of one thread.
// Ownership:  descriptors that are taken are closed.
// Errors:     OSError.
#pragma once

#include <Python.h>

namespace skyray::bindings {

// Adds fork_alone, die_with and take_stdio to the module.
bool AddChild(PyObject* module);

}  // namespace skyray::bindings
