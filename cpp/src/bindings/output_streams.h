// SPDX-License-Identifier: Apache-2.0
// What the streams on which a worker's Python code prints hear of its calls: whose output
// follows, and when what they keep back of a line is to be shown.
//
// Threading:  with the GIL held; any thread.
// Ownership:  the two functions it is given live as long as the process.
// Errors:     what those functions raise is printed, and hinders no call.
#pragma once

#include <Python.h>

namespace skyray::bindings {

// What is printed from here on has another name.
void RenameOutput();
// A call has ended. An exception that is set stays so.
void EndOutput();
// The streams have asked for the name.
void OutputIsNamed();

// watch_output(rename, flush); flush_after_call().
PyObject* WatchOutput(PyObject* module, PyObject* args);
PyObject* FlushAfterCall(PyObject* module, PyObject* none);

}  // namespace skyray::bindings
