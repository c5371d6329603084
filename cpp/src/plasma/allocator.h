// SPDX-License-Identifier: Apache-2.0
// Hands out ranges of a few large segments. Pure bookkeeping, kept outside the
// segments: a client that scribbles over shared memory cannot harm it.
//
//   | used | free, warm | used | free: warm | cold | warm | used | free, cold ... |
//                                 one run of three parts
//
// A freed range is joined with its free neighbours to a run. A part of a run is
// warm if the system has pages for it, because somebody wrote there, and cold if
// it has none (yet, or any more): the first touch of a page costs several times
// what a copy into it does. So the smallest run that is all warm and fits is taken
// first; then the smallest of the others, from an end of it that is warm.
//
// Every operation costs O(log n) for n free runs (amortized: a cold part that is
// used is looked at once).
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
// What memory is given back in.
constexpr uint64_t kPageBytes = 4096;

struct Allocation {
  uint32_t segment = 0;
  uint64_t offset = 0;
  uint64_t bytes = 0;  // What it takes up: a multiple of kAlignment.
  friend bool operator==(const Allocation&, const Allocation&) = default;
};

// A piece of a segment that nobody uses.
struct Range {
  uint32_t segment = 0;
  uint64_t offset = 0;
  uint64_t bytes = 0;
  friend bool operator==(const Range&, const Range&) = default;
};

class Allocator {
 public:
  // All cold. REQUIRES: each size is a multiple of kAlignment.
  explicit Allocator(const std::vector<uint64_t>& segment_bytes);

  // What an object of `data_bytes` takes up; UINT64_MAX if that overflows.
  static uint64_t Rounded(uint64_t data_bytes);

  // Empty if no single run is large enough.
  std::optional<Allocation> Allocate(uint64_t data_bytes);
  // What is freed is warm. REQUIRES: `allocation` was handed out and not freed since.
  void Free(const Allocation& allocation);

  // Whole free pages, at most `bytes_max` (at least one page), that are cold from
  // now on: the caller gives them back to the system before anything else. Empty
  // if no warm run is left but small ones, of less than two pages.
  std::optional<Range> TakeColdest(uint64_t bytes_max);

  // Whether TakeColdest may have something to give.
  bool has_warm_run() const;

  uint64_t capacity_bytes() const { return capacity_bytes_; }
  uint64_t allocated_bytes() const { return allocated_bytes_; }
  // The largest allocation that would succeed now.
  uint64_t largest_free_bytes() const;
  // What is not cold: what the store may occupy, but for the pages that a cold
  // part shares with its neighbours.
  uint64_t touched_bytes() const { return capacity_bytes_ - cold_bytes_; }
  size_t free_runs() const { return by_size_.size(); }

 private:
  enum class Warmth : uint8_t { Warm, Mixed, Cold };
  struct Run {
    uint64_t bytes = 0;
    uint64_t cold_bytes = 0;
  };
  using Runs = std::map<uint64_t, Run>;  // By offset.
  struct Segment {
    uint64_t bytes = 0;
    Runs runs;
    std::map<uint64_t, uint64_t> cold;  // Offset -> bytes; each within a run, none adjacent.
  };
  using Key = std::tuple<Warmth, uint64_t, uint32_t, uint64_t>;  // Warmth, bytes, segment, offset.

  static Warmth WarmthOf(const Run& run);
  void AddRun(uint32_t segment, uint64_t offset, const Run& run);
  void RemoveRun(uint32_t segment, Runs::iterator run);
  const Key* Smallest(Warmth warmth, uint64_t bytes) const;
  const Key* Largest(Warmth warmth) const;
  // Whether the run's bytes are best taken from its end.
  bool EndIsWarmer(const Segment& segment, uint64_t offset, const Run& run) const;
  // Forgets the cold parts within a range, cutting what reaches out of it.
  // Returns how many cold bytes the range had.
  uint64_t Warm(Segment& segment, uint64_t offset, uint64_t bytes);
  void Chill(Segment& segment, uint64_t offset, uint64_t bytes);
  // Takes pages of that run; empty if its warm parts hold no whole page, in which
  // case they count as cold from now on.
  std::optional<Range> TakeFrom(uint32_t segment, uint64_t offset, uint64_t bytes_max);

  std::vector<Segment> segments_;
  std::set<Key> by_size_;
  uint64_t capacity_bytes_ = 0;
  uint64_t allocated_bytes_ = 0;
  uint64_t cold_bytes_ = 0;
};

}  // namespace skyray::plasma
