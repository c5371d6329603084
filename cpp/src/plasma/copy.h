// SPDX-License-Identifier: Apache-2.0
// Copies into shared memory. From kStreamingBytesMin on stores may go past the
// cache, since a reader in another process comes later. Below, memcpy is faster.
//
// Whether they do, and how, is what a process's first copies of about that size found the
// fastest: they try the ways (copy_kernels.h) in turn, in pieces, and time them. It depends
// on the CPU, and on whether the program uses the same memory again. From kHelpedBytesMin
// (helper_thread.h) on other threads help, as CPUs are free.
//
// Threading: any; completed stores are ordered before what follows the call, whose helpers
// end before it does.
// Ownership: the caller's. Errors: none. REQUIRES: the ranges do not overlap.
#pragma once

#include <cstddef>

namespace skyray::plasma {

constexpr size_t kStreamingBytesMin = 512 << 10;

// Two saturate the memory of a small machine; larger ones have more channels.
constexpr unsigned kCopyThreadsMax = 4;

// At most `threads_max` threads copy, of which one is the caller's.
void CopyToShared(void* destination, const void* source, size_t bytes,
                  unsigned threads_max = kCopyThreadsMax);

}  // namespace skyray::plasma
