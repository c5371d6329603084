// SPDX-License-Identifier: Apache-2.0
// RemoteCall, ActorCore and ActorMethodCall: what `.remote` of functions and
// methods is. Raw CPython types with vectorcall methods, as they are on the path
// of every call.
//
// Threading:  with the GIL held.
// Ownership:  ActorCore counts as a handle of its actor; an ActorMethodCall holds
//             its ActorCore.
// Errors:     null with an exception set.
#pragma once

#include <Python.h>

namespace skyray::bindings {

bool AddCalls(PyObject* module);

}  // namespace skyray::bindings
