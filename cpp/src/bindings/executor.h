// SPDX-License-Identifier: Apache-2.0
// A worker's main loop: takes calls, runs the Python they name, replies.
//
// Threading:  RunWorker on the main thread, with the GIL; it lets go of it while
//             it waits. The others from any thread with the GIL.
// Ownership:  the loop owns the functions it has loaded and the actor's instance.
// Errors:     what user code raises becomes the reply; RunWorker answers null
//             only for SystemExit and the like, which end the process.
#pragma once

#include <Python.h>

namespace skyray::bindings {

PyObject* RunWorker(PyObject* module, PyObject* none);
PyObject* ExitActor(PyObject* module, PyObject* none);
PyObject* Context(PyObject* module, PyObject* none);
PyObject* CurrentTaskName(PyObject* module, PyObject* none);

}  // namespace skyray::bindings
