// SPDX-License-Identifier: Apache-2.0
#include "plasma/prefault.h"

#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>

#include <algorithm>
#include <csignal>
#include <system_error>
#include <thread>
#include <utility>

#include "common/logging.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

namespace skyray::plasma {
namespace {

constexpr uint64_t kGranuleBytes = 64 << 10;
// A thread costs some 50 us, as much as mapping 100 KB; one more is no faster.
constexpr uint64_t kTwoThreadsBytesMin = 16 << 20;

// Runs `work` on a thread that no signal is delivered to, or here if there can be none.
template <class Work>
std::thread StartThread(Work work) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread;
  bool started = true;
  try {
    thread = std::thread(work);
  } catch (const std::system_error&) {
    started = false;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (!started) work();
  return thread;
}

}  // namespace

Prefault::Prefault(std::shared_ptr<Mapping> mapping, Access access)
    : mapping_(std::move(mapping)), access_(access), touched_(mapping_->bytes() / kGranuleBytes) {}

uint64_t Prefault::Cover(uint64_t offset, uint64_t bytes) {
  SKYRAY_CHECK(offset <= mapping_->bytes() && bytes <= mapping_->bytes() - offset);
  if (!possible_ || bytes < kPrefaultBytesMin) return 0;
  std::vector<Piece> pieces = TakeUntouched(offset, bytes);
  uint64_t total = 0;
  for (const Piece& piece : pieces) total += piece.bytes;
  if (total == 0) return 0;
  if (total < kTwoThreadsBytesMin || std::thread::hardware_concurrency() < 2) {
    for (const Piece& piece : pieces) possible_ = possible_ && Populate(piece);
    return possible_ ? total : 0;
  }
  // Each thread takes about half of the bytes.
  std::vector<Piece> second;
  for (uint64_t second_bytes = 0; second_bytes < total / 2;) {
    Piece& last = pieces.back();
    const uint64_t wanted = total / 2 - second_bytes;
    const uint64_t part = std::min(last.bytes, wanted / kGranuleBytes * kGranuleBytes);
    if (part == 0) break;
    second.push_back({last.offset + last.bytes - part, part});
    second_bytes += part;
    last.bytes -= part;
    if (last.bytes == 0) pieces.pop_back();
  }
  std::thread helper = StartThread([this, &second] {
    for (const Piece& piece : second) {
      if (!Populate(piece)) break;
    }
  });
  for (const Piece& piece : pieces) possible_ = possible_ && Populate(piece);
  if (helper.joinable()) helper.join();
  return possible_ ? total : 0;
}

// Only granules within the range: its ends may be shared with other objects.
std::vector<Prefault::Piece> Prefault::TakeUntouched(uint64_t offset, uint64_t bytes) {
  std::vector<Piece> pieces;
  const uint64_t end = (offset + bytes) / kGranuleBytes;
  for (uint64_t granule = (offset + kGranuleBytes - 1) / kGranuleBytes; granule < end; ++granule) {
    if (touched_[granule]) continue;
    touched_[granule] = true;
    const uint64_t at = granule * kGranuleBytes;
    if (!pieces.empty() && pieces.back().offset + pieces.back().bytes == at) {
      pieces.back().bytes += kGranuleBytes;
    } else {
      pieces.push_back({at, kGranuleBytes});
    }
  }
  return pieces;
}

bool Prefault::Populate(const Piece& piece) const {
  const int advice = access_ == Access::Write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ;
  // Anything else may go better next time.
  return madvise(mapping_->data() + piece.offset, piece.bytes, advice) == 0 || errno != EINVAL;
}

}  // namespace skyray::plasma
