// SPDX-License-Identifier: Apache-2.0
#include "plasma/prefault.h"

#include <errno.h>
#include <sys/mman.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "common/logging.h"
#include "plasma/helper_thread.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

namespace skyray::plasma {
namespace {

constexpr uint64_t kGranuleBytes = 64 << 10;

}  // namespace

Prefault::Prefault(std::shared_ptr<Mapping> mapping, Access access)
    : mapping_(std::move(mapping)), access_(access), touched_(mapping_->bytes() / kGranuleBytes) {}

// Only granules within the range: its ends may be shared with other objects.
Prefault::Work Prefault::Take(uint64_t offset, uint64_t bytes) {
  SKYRAY_CHECK(offset <= mapping_->bytes() && bytes <= mapping_->bytes() - offset);
  Work work;
  if (bytes < kPrefaultBytesMin) return work;
  const uint64_t end = (offset + bytes) / kGranuleBytes;
  for (uint64_t granule = (offset + kGranuleBytes - 1) / kGranuleBytes; granule < end; ++granule) {
    if (touched_[granule]) continue;
    touched_[granule] = true;
    const uint64_t at = granule * kGranuleBytes;
    if (!work.pieces_.empty() && work.pieces_.back().offset + work.pieces_.back().bytes == at) {
      work.pieces_.back().bytes += kGranuleBytes;
    } else {
      work.pieces_.push_back({at, kGranuleBytes});
    }
  }
  if (work.pieces_.empty()) return work;
  work.mapping_ = mapping_;
  work.access_ = access_;
  return work;
}

uint64_t Prefault::Work::bytes() const {
  uint64_t total = 0;
  for (const Piece& piece : pieces_) total += piece.bytes;
  return total;
}

void Prefault::Work::Do() const {
  const uint64_t total = bytes();
  // More than two are no faster.
  if (total < kHelpedBytesMin || std::thread::hardware_concurrency() < 2) {
    (void)PopulateAll(pieces_);
    return;
  }
  // Each thread takes about half of the bytes.
  std::vector<Piece> first = pieces_;
  std::vector<Piece> second;
  for (uint64_t second_bytes = 0; second_bytes < total / 2;) {
    Piece& last = first.back();
    const uint64_t wanted = total / 2 - second_bytes;
    const uint64_t part = std::min(last.bytes, wanted / kGranuleBytes * kGranuleBytes);
    if (part == 0) break;
    second.push_back({last.offset + last.bytes - part, part});
    second_bytes += part;
    last.bytes -= part;
    if (last.bytes == 0) first.pop_back();
  }
  std::thread helper = StartHelper([this, &second] { (void)PopulateAll(second); });
  (void)PopulateAll(first);
  if (helper.joinable()) helper.join();
}

bool Prefault::Work::PopulateAll(const std::vector<Piece>& pieces) const {
  return std::all_of(pieces.begin(), pieces.end(),
                     [this](const Piece& piece) { return Populate(piece); });
}

bool Prefault::Work::Populate(const Piece& piece) const {
  const int advice = access_ == Access::Write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ;
  // Anything else may go better next time.
  return madvise(mapping_->data() + piece.offset, piece.bytes, advice) == 0 || errno != EINVAL;
}

}  // namespace skyray::plasma
