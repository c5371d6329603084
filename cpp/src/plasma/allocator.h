// SPDX-License-Identifier: Apache-2.0
// Hands out ranges of a few large segments. Pure bookkeeping, kept outside the
// segments: a client that scribbles over shared memory cannot harm it.
//
//   | used | free | used | free | used |  never used yet ...            |
//   0                                  touched                   segment size
//
// A freed range is joined with its free neighbours. The smallest free range
// that fits is taken first, because its pages are warm: first touch of a page
// costs four times what a copy into it does. Only then does `touched` move on.
//
// Threading:  not thread-safe; lives on the store's loop.
// Ownership:  none: segments are numbers here.
// Errors:     no room is an empty answer; Free of what was not handed out is a
//             bug and ends the process.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <vector>

namespace skyray::plasma {

constexpr uint64_t kAlignment = 64;

struct Allocation {
  uint32_t segment = 0;
  uint64_t offset = 0;
  uint64_t bytes = 0;  // What it takes up: a multiple of kAlignment.
  friend bool operator==(const Allocation&, const Allocation&) = default;
};

class Allocator {
 public:
  // REQUIRES: each size is a multiple of kAlignment.
  explicit Allocator(const std::vector<uint64_t>& segment_bytes);

  // What an object of `data_bytes` takes up; UINT64_MAX if that overflows.
  static uint64_t Rounded(uint64_t data_bytes);

  // Empty if no single free range is large enough.
  std::optional<Allocation> Allocate(uint64_t data_bytes);
  // REQUIRES: `allocation` was handed out and not freed since.
  void Free(const Allocation& allocation);

  uint64_t capacity_bytes() const { return capacity_bytes_; }
  uint64_t allocated_bytes() const { return allocated_bytes_; }
  // The largest allocation that would succeed now.
  uint64_t largest_free_bytes() const;
  // Memory that has been handed out at least once: what the store may occupy.
  uint64_t touched_bytes() const;

 private:
  struct Segment {
    uint64_t bytes = 0;
    uint64_t touched = 0;
    std::map<uint64_t, uint64_t> free;  // Offset -> bytes, all below `touched`.
  };
  void AddFree(uint32_t index, uint64_t offset, uint64_t bytes);
  void RemoveFree(uint32_t index, std::map<uint64_t, uint64_t>::iterator range);
  // The room at the end of a segment: its last free range, if nothing lies
  // behind it, and all that was never used. Returns where it begins.
  static uint64_t TailOffset(const Segment& segment);

  std::vector<Segment> segments_;
  std::set<std::tuple<uint64_t, uint32_t, uint64_t>> by_size_;  // Bytes, segment, offset.
  uint64_t capacity_bytes_ = 0;
  uint64_t allocated_bytes_ = 0;
};

}  // namespace skyray::plasma
