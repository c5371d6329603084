// SPDX-License-Identifier: Apache-2.0
// Which pieces of one object to ask for next, so that a bounded number is on
// its way at any time.
//
// Threading: none. Ownership: values. Errors: a piece that was not asked for, or
// of another length, is InvalidRequest.
#pragma once

#include <cstdint>
#include <map>
#include <optional>

#include "common/status.h"

namespace skyray::object_manager {

constexpr uint32_t kChunkBytes = 1u << 20;
constexpr size_t kChunksInFlightMax = 8;

struct ChunkRange {
  uint64_t offset = 0;
  uint32_t bytes = 0;
};

class ChunkWindow {
 public:
  // REQUIRES: chunk_bytes and in_flight_max are not 0.
  ChunkWindow(uint64_t object_bytes, uint32_t chunk_bytes = kChunkBytes,
              size_t in_flight_max = kChunksInFlightMax);

  // The next piece to ask for; empty while enough are asked for, or all are.
  std::optional<ChunkRange> Next();
  // Whether such a piece is awaited.
  Status Check(uint64_t offset, uint64_t bytes) const;
  // REQUIRES: Check says Ok.
  void Received(uint64_t offset);
  bool done() const { return next_ == object_bytes_ && in_flight_.empty(); }

 private:
  const uint64_t object_bytes_;
  const uint32_t chunk_bytes_;
  const size_t in_flight_max_;
  uint64_t next_ = 0;
  std::map<uint64_t, uint32_t> in_flight_;
};

}  // namespace skyray::object_manager
