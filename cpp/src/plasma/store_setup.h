// SPDX-License-Identifier: Apache-2.0
// How a store is to be set up, and whether this machine can do it: decided
// before anything is made, with what to do about it where it cannot.
//
// Threading:  pure functions. Ownership: values.
// Errors:     InvalidArgument: options that cannot work here. OutOfDisk,
//             OutOfMemory: the directory, the machine or the pool of huge pages is
//             too small. Each message says what to do.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/status.h"
#include "plasma/segment.h"
#include "plasma/system_facts.h"

namespace skyray::plasma {

struct StoreOptions {
  uint64_t capacity_bytes = 0;
  std::string socket_path{};
  // A create that finds the store full waits so long for room.
  int64_t create_grace_ms = 2000;
  // While it waits, the raylet is asked for room again and again.
  int64_t full_delay_ms = 10;
  // Whether it is: somebody answers SpaceWanted and RestoreWanted.
  bool spilling = false;
  // Of the capacity: what is in use beyond that should be spilled.
  double spill_threshold = 0.8;

  // Where the memory is: a memfd, unless a directory is named.
  std::string directory{};
  bool huge_pages = false;
  uint64_t segment_bytes_max = 0;  // 0: one segment.
  // Where objects go that find no room. Empty: they are refused.
  std::string fallback_directory{};
  // Pages of free memory go back to the system after so long without a create;
  // 0: never.
  int64_t give_back_after_ms = 10'000;
};

struct StorePlan {
  std::vector<SegmentOptions> segments;
  std::string sentence;  // What was chosen, for the log.
  std::vector<std::string> warnings;
};

// What can be said of the options alone. Errors: InvalidArgument.
Status CheckOptions(const StoreOptions& options);

Result<StorePlan> PlanStore(const StoreOptions& options, const SystemFacts& facts);

}  // namespace skyray::plasma
