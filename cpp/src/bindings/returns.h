// SPDX-License-Identifier: Apache-2.0
// What a call comes to, as payloads: the values that it returned, or what it raised.
//
// Threading:  with the GIL held.
// Ownership:  Serialized keeps what its parts point into.
// Errors:     false with an exception set.
#pragma once

#include <Python.h>

#include <string>
#include <vector>

#include "bindings/serialization.h"
#include "core_worker/core_worker.h"

namespace skyray::bindings {

// The values of a call that is to return `call.call.header.returns` of them. If a
// generator raises, or ends early, the values that it did not yield are that error.
bool SerializeReturns(const core_worker::IncomingCall& call, PyObject* result,
                      std::vector<Serialized>& out);

// The exception that is set, as the bytes of a TaskError; empty if it cannot be described
// (it is printed then). `failure`, if given, is told in words what it is.
std::string TakeTaskError(const std::string& name, core_worker::TaskFailure* failure = nullptr);

// Whether the caller asked for the call to be made again after the exception that is set.
bool IsRetryable(const core_worker::IncomingCall& call);

}  // namespace skyray::bindings
