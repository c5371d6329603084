// SPDX-License-Identifier: Apache-2.0
// The time of day, for people to read. No protocol may depend on it.
//
// Threading: any. Ownership: none. Errors: none.
#pragma once

#include <cstdint>
#include <ctime>

namespace skyray {

// Nanoseconds since 1970.
inline int64_t WallClockNs() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

// Milliseconds since 1970.
inline int64_t WallClockMs() { return WallClockNs() / 1'000'000; }

}  // namespace skyray
