// SPDX-License-Identifier: Apache-2.0
#include "object_manager/spill_sums.h"

#include <algorithm>

#include "plasma/helper_thread.h"

namespace skyray::object_manager {
namespace {

// An empty object has one chunk, too.
size_t ChunksOf(const SpillPiece& piece) {
  return std::max<size_t>(1, (piece.bytes.size() + kSpillChunkBytes - 1) / kSpillChunkBytes);
}

}  // namespace

SpillSums::SpillSums(std::span<const SpillPiece> pieces) {
  begins_.reserve(pieces.size() + 1);
  size_t count = 0;
  uint64_t bytes = 0;
  for (const SpillPiece& piece : pieces) {
    begins_.push_back(count);
    count += ChunksOf(piece);
    bytes += piece.bytes.size();
  }
  begins_.push_back(count);
  chunks_ = std::vector<Chunk>(count);
  for (size_t i = 0; i < pieces.size(); ++i) {
    auto rest = pieces[i].bytes;
    for (size_t chunk = begins_[i]; chunk < begins_[i + 1]; ++chunk) {
      chunks_[chunk].bytes = rest.first(std::min(rest.size(), kSpillChunkBytes));
      rest = rest.subspan(chunks_[chunk].bytes.size());
    }
  }
  if (bytes >= plasma::kHelpedBytesMin && std::thread::hardware_concurrency() > 1) {
    helper_ = plasma::StartHelper([this] { Help(); });
  }
}

SpillSums::~SpillSums() {
  ended_.store(true, std::memory_order_relaxed);
  if (helper_.joinable()) helper_.join();
}

void SpillSums::Help() {
  for (Chunk& chunk : chunks_) {
    if (ended_.load(std::memory_order_relaxed)) return;
    Take(chunk);
  }
}

void SpillSums::Take(Chunk& chunk) {
  State free = State::Free;
  if (!chunk.state.compare_exchange_strong(free, State::Taken, std::memory_order_relaxed)) return;
  chunk.sum = SpillChecksum::OfShared(chunk.bytes);
  chunk.state.store(State::Summed, std::memory_order_release);
  chunk.state.notify_one();
}

std::optional<SpillSum> SpillSums::Of(size_t piece) {
  std::vector<SpillSum> sums;
  sums.reserve(begins_[piece + 1] - begins_[piece]);
  for (size_t i = begins_[piece]; i < begins_[piece + 1]; ++i) {
    Chunk& chunk = chunks_[i];
    Take(chunk);
    chunk.state.wait(State::Taken, std::memory_order_acquire);
    if (!chunk.sum) return std::nullopt;
    sums.push_back(*chunk.sum);
  }
  return SpillChecksum::OfChunks(sums);
}

}  // namespace skyray::object_manager
