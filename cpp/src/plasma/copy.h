// SPDX-License-Identifier: Apache-2.0
// Copies into shared memory. From kStreamingBytesMin on, stores go past the
// cache, since a reader in another process comes later. Below, memcpy is faster.
//
// Which way past the cache is the fastest depends on the CPU (copy_kernels.h): the
// process's first large copies try them in turn, in pieces, and time them.
//
// Threading: any; completed stores are ordered before what follows the call.
// Ownership: the caller's. Errors: none. REQUIRES: the ranges do not overlap.
#pragma once

#include <cstddef>

namespace skyray::plasma {

constexpr size_t kStreamingBytesMin = 512 << 10;

void CopyToShared(void* destination, const void* source, size_t bytes);

}  // namespace skyray::plasma
