// SPDX-License-Identifier: Apache-2.0
// What a store tells of itself, as Python values.
//
// Threading:  with the GIL held.
// Ownership:  new references.
// Errors:     as CPython: null with an exception set.
#pragma once

#include <Python.h>

#include <span>

#include "fbs/plasma_generated.h"

namespace skyray::bindings {

// Tuples; _core.pyi says of what.
PyObject* NewObjectList(std::span<const fb::plasma::ObjectInfo> objects);
// A dict; a count of objects is a pair of their number and bytes.
PyObject* NewStats(const fb::plasma::StatsReply& stats);

}  // namespace skyray::bindings
