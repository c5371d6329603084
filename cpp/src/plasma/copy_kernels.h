// SPDX-License-Identifier: Apache-2.0
// Ways to copy much into memory that another process reads later.
//
// All but memcpy store past the cache. Which is the fastest depends on the CPU: one goes
// straight on, the other takes a little of each of several pages in turn, so that several of
// the memory's banks and of the prefetcher's streams are at work.
//
// Threading: any; completed stores are ordered before what follows the call.
// Ownership: the caller's. Errors: none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace skyray::plasma {

struct CopyKernel {
  const char* name;
  // REQUIRES: `to` is aligned to 64 bytes, `bytes` a multiple of kCopyBlockBytes, and the ranges
  // do not overlap.
  void (*copy)(uint8_t* to, const uint8_t* from, size_t bytes);
};
inline constexpr size_t kCopyBlockBytes = 256;

// Those that this CPU can run; the first where nothing is known of them.
std::span<const CopyKernel> CopyKernels();

}  // namespace skyray::plasma
