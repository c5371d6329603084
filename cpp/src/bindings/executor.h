// SPDX-License-Identifier: Apache-2.0
// A worker's loops: they take calls and run them.
//
//   a task's worker, a plain actor   RunWorker, on the main thread
//   a threaded actor                 RunCalls, on each of its threads; the main
//                                    thread in AwaitExit
//   an async actor                   AwaitWork is the selector of its event loop,
//                                    which takes calls (TakeCall) when there are any
//
// Threading:  with the GIL, which they let go of while they wait.
// Ownership:  a Call object owns the call until it is answered.
// Errors:     null only for SystemExit and the like, which end the process.
#pragma once

#include <Python.h>

namespace skyray::bindings {

bool AddExecutor(PyObject* module);

}  // namespace skyray::bindings
