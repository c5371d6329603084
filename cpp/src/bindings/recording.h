// SPDX-License-Identifier: Apache-2.0
// What is noted of a call for skyray.timeline() while it is run.
//
// Threading:  with the GIL held; the thread that runs the call.
// Ownership:  in the call. Errors: none.
#pragma once

#include <Python.h>

#include "core_worker/call_queue.h"

namespace skyray::bindings {

// It is about to be answered: how long it has taken, in µs.
uint32_t EndNow(core_worker::IncomingCall& call);
// The user's code has ended, if it was come to.
void HasRun(core_worker::IncomingCall& call);
// To be filled with what is raised; null: nobody will ask. `in_outputs`: what was returned is
// at fault.
core_worker::TaskFailure* NewFailure(core_worker::IncomingCall& call, bool in_outputs = false);
// "module.function", for the first call of it.
void NameCode(PyObject* function, core_worker::RecordedFunction& recorded);

}  // namespace skyray::bindings
