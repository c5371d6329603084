// SPDX-License-Identifier: Apache-2.0
// What the machine has for a store: memory, room in directories, huge pages.
//
// Threading:  a function that reads a few files; call it anywhere.
// Ownership:  values. Errors: what cannot be found out is left at "no limit" or 0;
//             what is wrong with a directory is told in its `status`.
#pragma once

#include <cstdint>
#include <string>

#include "common/status.h"

namespace skyray::plasma {

struct DirectoryFacts {
  enum class Kind { Disk, Memory, HugePages };
  // Whether a file can be made there and room reserved for it.
  Status status{};
  Kind kind = Kind::Disk;
  uint64_t free_bytes = 0;
  uint64_t page_bytes = 0;
};

struct SystemFacts {
  // What this process can ever have: the machine's memory and swap, or the limit
  // of its control group, if that is less.
  uint64_t memory_bytes = UINT64_MAX;
  uint64_t memory_available_bytes = UINT64_MAX;
  bool limited_by_cgroup = false;
  uint64_t dev_shm_bytes = UINT64_MAX;  // All of it; no limit if there is none.
  uint64_t huge_page_bytes = 0;         // 0: this kernel has none.
  uint64_t huge_pages_free = 0;
  DirectoryFacts directory{};           // Only if one is named.
  DirectoryFacts fallback_directory{};  // Likewise.
};

// `root` stands before /proc and /sys, for tests. Directories may be empty: none.
SystemFacts LookAtSystem(const std::string& directory, const std::string& fallback_directory,
                         const std::string& root = "");

}  // namespace skyray::plasma
