// SPDX-License-Identifier: Apache-2.0
#include "object_manager/chunk_window.h"

#include <algorithm>
#include <string>

#include "common/logging.h"

namespace skyray::object_manager {

ChunkWindow::ChunkWindow(uint64_t object_bytes, uint32_t chunk_bytes, size_t in_flight_max)
    : object_bytes_(object_bytes), chunk_bytes_(chunk_bytes), in_flight_max_(in_flight_max) {
  SKYRAY_CHECK(chunk_bytes > 0 && in_flight_max > 0);
}

std::optional<ChunkRange> ChunkWindow::Next() {
  if (next_ == object_bytes_ || in_flight_.size() >= in_flight_max_) return std::nullopt;
  const auto bytes = static_cast<uint32_t>(std::min<uint64_t>(chunk_bytes_, object_bytes_ - next_));
  const ChunkRange range{next_, bytes};
  in_flight_.emplace(range.offset, range.bytes);
  next_ += bytes;
  return range;
}

Status ChunkWindow::Check(uint64_t offset, uint64_t bytes) const {
  const auto awaited = in_flight_.find(offset);
  if (awaited != in_flight_.end() && awaited->second == bytes) return Status();
  return Status(ErrorCode::InvalidRequest, "a chunk of " + std::to_string(bytes) + " bytes at " +
                                               std::to_string(offset) + " was not asked for");
}

void ChunkWindow::Received(uint64_t offset) {
  const size_t erased = in_flight_.erase(offset);
  SKYRAY_CHECK(erased == 1);
}

}  // namespace skyray::object_manager
