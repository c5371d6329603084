// SPDX-License-Identifier: Apache-2.0
// The id classes of skyray._core: immutable values.
//
// Threading: with the GIL held. Ownership: values. Errors: ValueError for bytes
// or digits of the wrong number.
#pragma once

#include <pybind11/pybind11.h>

namespace skyray::bindings {

void AddIds(pybind11::module_& module);

}  // namespace skyray::bindings
