// SPDX-License-Identifier: Apache-2.0
// Two clients of a store.
//
// Threading: any. Ownership: values. Errors: none.
#pragma once

#include "plasma/local_object.h"

namespace skyray::plasma {

inline constexpr ClientId kAnn = 1;
inline constexpr ClientId kBob = 2;

}  // namespace skyray::plasma
