// SPDX-License-Identifier: Apache-2.0
// How the zygote forks, and what its child does first, without Python: every object that
// Python code looks at costs a child the copy of a page, as its count of references changes.
//
// Threading:  with the GIL held, in a process of one thread.
// Ownership:  descriptors that are taken are closed. The board's memory lives as long as the
//             process.
// Errors:     OSError.
#pragma once

#include <Python.h>

#include "common/progress_board.h"

namespace skyray::bindings {

// Where this process marks its progress; may be null.
Progress* PlaceTaken();

// Adds fork_alone, die_with, take_stdio, map_board and take_place to the module.
bool AddChild(PyObject* module);

}  // namespace skyray::bindings
