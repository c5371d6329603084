// SPDX-License-Identifier: Apache-2.0
#include "plasma/allocator.h"

#include <algorithm>
#include <iterator>

#include "common/logging.h"

namespace skyray::plasma {
namespace {

// Smaller runs may hold no whole page.
constexpr uint64_t kWarmRunBytesMin = 2 * kPageBytes;

uint64_t PageBegin(uint64_t offset) { return offset / kPageBytes * kPageBytes; }
uint64_t PageEnd(uint64_t offset) { return PageBegin(offset + kPageBytes - 1); }

}  // namespace

Allocator::Allocator(const std::vector<uint64_t>& segment_bytes) {
  for (const uint64_t bytes : segment_bytes) {
    SKYRAY_CHECK(bytes % kAlignment == 0);
    const auto index = static_cast<uint32_t>(segments_.size());
    segments_.push_back({bytes, {}, {}});
    capacity_bytes_ += bytes;
    if (bytes == 0) continue;
    Chill(segments_.back(), 0, bytes);
    AddRun(index, 0, {bytes, bytes});
  }
}

uint64_t Allocator::Rounded(uint64_t data_bytes) {
  if (data_bytes > UINT64_MAX - kAlignment) return UINT64_MAX;
  // An empty object takes a place of its own too, so that offsets are distinct.
  return std::max(kAlignment, (data_bytes + kAlignment - 1) / kAlignment * kAlignment);
}

std::optional<Allocation> Allocator::Allocate(uint64_t data_bytes) {
  const uint64_t bytes = Rounded(data_bytes);
  if (bytes > capacity_bytes_ - allocated_bytes_) return std::nullopt;
  const Key* best = Smallest(Warmth::Warm, bytes);
  if (best == nullptr) {
    const Key* mixed = Smallest(Warmth::Mixed, bytes);
    const Key* cold = Smallest(Warmth::Cold, bytes);
    const bool mixed_fits_better =
        mixed != nullptr && (cold == nullptr || std::get<1>(*mixed) <= std::get<1>(*cold));
    best = mixed_fits_better ? mixed : cold;
  }
  if (best == nullptr) return std::nullopt;
  const auto [warmth, run_bytes, index, run_offset] = *best;
  Segment& segment = segments_[index];
  const auto found = segment.runs.find(run_offset);
  Run run = found->second;
  const bool from_end = EndIsWarmer(segment, run_offset, run);
  RemoveRun(index, found);
  const uint64_t offset = from_end ? run_offset + run.bytes - bytes : run_offset;
  if (run.cold_bytes > 0) run.cold_bytes -= Warm(segment, offset, bytes);
  run.bytes -= bytes;
  if (run.bytes > 0) AddRun(index, from_end ? run_offset : run_offset + bytes, run);
  allocated_bytes_ += bytes;
  return Allocation{index, offset, bytes};
}

void Allocator::Free(const Allocation& allocation) {
  SKYRAY_CHECK(allocation.segment < segments_.size());
  Segment& segment = segments_[allocation.segment];
  uint64_t begin = allocation.offset;
  const uint64_t end = begin + allocation.bytes;
  SKYRAY_CHECK(allocation.bytes <= allocated_bytes_ && end <= segment.bytes);

  Run run{allocation.bytes, 0};
  const auto next = segment.runs.lower_bound(begin);
  SKYRAY_CHECK(next == segment.runs.end() || next->first >= end);
  const auto previous = next == segment.runs.begin() ? segment.runs.end() : std::prev(next);
  if (next != segment.runs.end() && next->first == end) {
    run.bytes += next->second.bytes;
    run.cold_bytes += next->second.cold_bytes;
    RemoveRun(allocation.segment, next);
  }
  if (previous != segment.runs.end()) {
    const uint64_t previous_end = previous->first + previous->second.bytes;
    SKYRAY_CHECK(previous_end <= begin);
    if (previous_end == begin) {
      begin = previous->first;
      run.bytes += previous->second.bytes;
      run.cold_bytes += previous->second.cold_bytes;
      RemoveRun(allocation.segment, previous);
    }
  }
  AddRun(allocation.segment, begin, run);
  allocated_bytes_ -= allocation.bytes;
}

std::optional<Range> Allocator::TakeColdest(uint64_t bytes_max) {
  // Large runs first: the fewest calls to the system for the most memory.
  if (const Key* warm = Largest(Warmth::Warm);
      warm != nullptr && std::get<1>(*warm) >= kWarmRunBytesMin) {
    return TakeFrom(std::get<2>(*warm), std::get<3>(*warm), bytes_max);
  }
  while (const Key* mixed = Largest(Warmth::Mixed)) {
    if (const auto taken = TakeFrom(std::get<2>(*mixed), std::get<3>(*mixed), bytes_max)) {
      return taken;
    }
  }
  return std::nullopt;
}

bool Allocator::has_warm_run() const {
  const Key* warm = Largest(Warmth::Warm);
  return (warm != nullptr && std::get<1>(*warm) >= kWarmRunBytesMin) ||
         Largest(Warmth::Mixed) != nullptr;
}

std::optional<Range> Allocator::TakeFrom(uint32_t index, uint64_t offset, uint64_t bytes_max) {
  Segment& segment = segments_[index];
  const auto found = segment.runs.find(offset);
  Run run = found->second;
  const uint64_t end = offset + run.bytes;
  RemoveRun(index, found);
  // The first warm byte: cold parts are never adjacent, so behind the first one
  // at most.
  uint64_t warm = offset;
  if (const auto cold = segment.cold.find(offset); cold != segment.cold.end()) {
    warm += cold->second;
  }
  // A page that holds warm and cold bytes is free as a whole if the run reaches
  // over it. What lies behind in the run may be cold: giving that back is nothing.
  const uint64_t first = std::max(PageEnd(offset), PageBegin(warm));
  const uint64_t pages_max = std::max(kPageBytes, PageBegin(bytes_max));
  const uint64_t run_last = std::max(first, PageBegin(end));
  const uint64_t last = first + std::min(pages_max, run_last - first);
  // The rest of a page at the end of the run is not worth another look.
  const uint64_t chilled_end = last == run_last ? end : last;
  run.cold_bytes -= Warm(segment, warm, chilled_end - warm);
  Chill(segment, warm, chilled_end - warm);
  run.cold_bytes += chilled_end - warm;
  AddRun(index, offset, run);
  if (first == last) return std::nullopt;
  return Range{index, first, last - first};
}

uint64_t Allocator::largest_free_bytes() const {
  uint64_t largest = 0;
  for (const Warmth warmth : {Warmth::Warm, Warmth::Mixed, Warmth::Cold}) {
    if (const Key* key = Largest(warmth)) largest = std::max(largest, std::get<1>(*key));
  }
  return largest;
}

Allocator::Warmth Allocator::WarmthOf(const Run& run) {
  if (run.cold_bytes == 0) return Warmth::Warm;
  return run.cold_bytes == run.bytes ? Warmth::Cold : Warmth::Mixed;
}

void Allocator::AddRun(uint32_t segment, uint64_t offset, const Run& run) {
  segments_[segment].runs.emplace(offset, run);
  by_size_.emplace(WarmthOf(run), run.bytes, segment, offset);
}

void Allocator::RemoveRun(uint32_t segment, Runs::iterator run) {
  by_size_.erase({WarmthOf(run->second), run->second.bytes, segment, run->first});
  segments_[segment].runs.erase(run);
}

const Allocator::Key* Allocator::Smallest(Warmth warmth, uint64_t bytes) const {
  const auto found = by_size_.lower_bound({warmth, bytes, 0, 0});
  return found != by_size_.end() && std::get<0>(*found) == warmth ? &*found : nullptr;
}

const Allocator::Key* Allocator::Largest(Warmth warmth) const {
  const auto after = by_size_.upper_bound({warmth, UINT64_MAX, UINT32_MAX, UINT64_MAX});
  if (after == by_size_.begin()) return nullptr;
  const Key& last = *std::prev(after);
  return std::get<0>(last) == warmth ? &last : nullptr;
}

bool Allocator::EndIsWarmer(const Segment& segment, uint64_t offset, const Run& run) const {
  if (WarmthOf(run) != Warmth::Mixed || !segment.cold.contains(offset)) return false;
  const auto [last_offset, last_bytes] = *std::prev(segment.cold.lower_bound(offset + run.bytes));
  return last_offset + last_bytes != offset + run.bytes;
}

uint64_t Allocator::Warm(Segment& segment, uint64_t offset, uint64_t bytes) {
  const uint64_t end = offset + bytes;
  uint64_t warmed = 0;
  auto part = segment.cold.upper_bound(offset);
  if (part != segment.cold.begin()) {
    const auto previous = std::prev(part);
    if (previous->first + previous->second > offset) part = previous;
  }
  while (part != segment.cold.end() && part->first < end) {
    const auto [part_offset, part_bytes] = *part;
    const uint64_t part_end = part_offset + part_bytes;
    part = segment.cold.erase(part);
    if (part_offset < offset) segment.cold.emplace(part_offset, offset - part_offset);
    if (part_end > end) segment.cold.emplace(end, part_end - end);
    warmed += std::min(part_end, end) - std::max(part_offset, offset);
  }
  cold_bytes_ -= warmed;
  return warmed;
}

// REQUIRES: the range is warm.
void Allocator::Chill(Segment& segment, uint64_t offset, uint64_t bytes) {
  cold_bytes_ += bytes;
  uint64_t end = offset + bytes;
  auto next = segment.cold.lower_bound(offset);
  if (next != segment.cold.end() && next->first == end) {
    end += next->second;
    next = segment.cold.erase(next);
  }
  if (next != segment.cold.begin()) {
    const auto previous = std::prev(next);
    if (previous->first + previous->second == offset) {
      previous->second = end - previous->first;
      return;
    }
  }
  segment.cold.emplace(offset, end - offset);
}

}  // namespace skyray::plasma
