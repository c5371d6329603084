// SPDX-License-Identifier: Apache-2.0
// Sizes by name.
//
// Threading: any. Ownership: values. Errors: none.
#pragma once

#include <cstdint>

namespace skyray {

inline constexpr uint64_t kMiB = 1 << 20;
inline constexpr uint64_t kGiB = 1 << 30;

}  // namespace skyray
