// SPDX-License-Identifier: Apache-2.0
#include "plasma/allocator.h"

#include <algorithm>
#include <iterator>

#include "common/logging.h"

namespace skyray::plasma {

Allocator::Allocator(const std::vector<uint64_t>& segment_bytes) {
  for (const uint64_t bytes : segment_bytes) {
    SKYRAY_CHECK(bytes % kAlignment == 0);
    segments_.push_back({bytes, 0, {}});
    capacity_bytes_ += bytes;
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
  if (const auto best = by_size_.lower_bound({bytes, 0, 0}); best != by_size_.end()) {
    const auto [free_bytes, index, offset] = *best;
    RemoveFree(index, segments_[index].free.find(offset));
    if (free_bytes > bytes) AddFree(index, offset + bytes, free_bytes - bytes);
    allocated_bytes_ += bytes;
    return Allocation{index, offset, bytes};
  }
  for (uint32_t index = 0; index < segments_.size(); ++index) {
    Segment& segment = segments_[index];
    const uint64_t offset = TailOffset(segment);
    if (segment.bytes - offset < bytes) continue;
    if (offset < segment.touched) RemoveFree(index, std::prev(segment.free.end()));
    segment.touched = offset + bytes;
    allocated_bytes_ += bytes;
    return Allocation{index, offset, bytes};
  }
  return std::nullopt;
}

void Allocator::Free(const Allocation& allocation) {
  SKYRAY_CHECK(allocation.segment < segments_.size());
  Segment& segment = segments_[allocation.segment];
  uint64_t begin = allocation.offset;
  uint64_t end = begin + allocation.bytes;
  SKYRAY_CHECK(end <= segment.touched && allocation.bytes <= allocated_bytes_);

  const auto next = segment.free.lower_bound(begin);
  SKYRAY_CHECK(next == segment.free.end() || next->first >= end);
  const auto previous = next == segment.free.begin() ? segment.free.end() : std::prev(next);
  if (next != segment.free.end() && next->first == end) {
    end += next->second;
    RemoveFree(allocation.segment, next);
  }
  if (previous != segment.free.end()) {
    const uint64_t previous_end = previous->first + previous->second;
    SKYRAY_CHECK(previous_end <= begin);
    if (previous_end == begin) {
      begin = previous->first;
      RemoveFree(allocation.segment, previous);
    }
  }
  AddFree(allocation.segment, begin, end - begin);
  allocated_bytes_ -= allocation.bytes;
}

uint64_t Allocator::largest_free_bytes() const {
  uint64_t largest = by_size_.empty() ? 0 : std::get<0>(*by_size_.rbegin());
  for (const Segment& segment : segments_) {
    largest = std::max(largest, segment.bytes - TailOffset(segment));
  }
  return largest;
}

uint64_t Allocator::touched_bytes() const {
  uint64_t touched = 0;
  for (const Segment& segment : segments_) touched += segment.touched;
  return touched;
}

void Allocator::AddFree(uint32_t index, uint64_t offset, uint64_t bytes) {
  segments_[index].free.emplace(offset, bytes);
  by_size_.emplace(bytes, index, offset);
}

void Allocator::RemoveFree(uint32_t index, std::map<uint64_t, uint64_t>::iterator range) {
  by_size_.erase({range->second, index, range->first});
  segments_[index].free.erase(range);
}

uint64_t Allocator::TailOffset(const Segment& segment) {
  if (segment.free.empty()) return segment.touched;
  const auto& [offset, bytes] = *segment.free.rbegin();
  return offset + bytes == segment.touched ? offset : segment.touched;
}

}  // namespace skyray::plasma
