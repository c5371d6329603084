// SPDX-License-Identifier: Apache-2.0
#include "object_manager/spill_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <utility>
#include <vector>

#include "common/logging.h"
#include "common/signals_blocked.h"
#include "object_manager/spill_checksum.h"
#include "object_manager/spill_file.h"

namespace skyray::object_manager {
namespace {

// Less is over before another thread is awake.
constexpr size_t kHelpedFrom = 2 * kSpillChunkBytes;

// Fills `into`, or as much as there is before the file ends.
Result<size_t> Fill(FileCalls& calls, int fd, const std::string& path, std::span<uint8_t> into,
                    uint64_t offset) {
  size_t done = 0;
  while (done < into.size()) {
    const ssize_t got = calls.Read(fd, into.subspan(done), offset + done);
    if (got == -EINTR) continue;
    if (got == -EFAULT) return StoreMemoryGone();
    if (got < 0) return ErrnoStatus("reading " + path, static_cast<int>(-got));
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  return done;
}

}  // namespace

// One object's bytes, which any number of threads read at once.
class SpillReader::Chunks {
 public:
  Chunks(FileCalls& calls, int fd, const SpillPlace& place, std::span<uint8_t> into,
         const std::stop_token& stop)
      : calls_(calls),
        fd_(fd),
        place_(place),
        into_(into),
        stop_(stop),
        sums_((into.size() + kSpillChunkBytes - 1) / kSpillChunkBytes) {}

  // Takes part until there is nothing left to take.
  void Work() {
    while (!failed_.load(std::memory_order_relaxed)) {
      const size_t i = next_.fetch_add(1, std::memory_order_relaxed);
      if (i >= sums_.size()) return;
      if (Status status = ReadOne(i); !status.ok() && !failed_.exchange(true)) {
        failure_ = std::move(status);
      }
    }
  }

  // REQUIRES: nobody is at work.
  Result<SpillSum> Sum() const {
    if (!failure_.ok()) return failure_;
    return SpillChecksum::OfChunks(sums_);
  }

 private:
  Status ReadOne(size_t i) {
    if (stop_.stop_requested()) return Status(ErrorCode::Cancelled, "this node is stopping");
    const size_t at = i * kSpillChunkBytes;
    const auto chunk = into_.subspan(at, std::min(kSpillChunkBytes, into_.size() - at));
    const auto got = Fill(calls_, fd_, place_.path, chunk, place_.offset + kSpillHeaderBytes + at);
    if (!got) return got.error();
    if (*got < chunk.size()) {
      return Status(ErrorCode::ObjectLost, "the file ends before the object does");
    }
    const auto sum = SpillChecksum::OfShared(chunk);
    if (!sum) return StoreMemoryGone();
    sums_[i] = *sum;
    return Status();
  }

  FileCalls& calls_;
  const int fd_;
  const SpillPlace& place_;
  const std::span<uint8_t> into_;
  const std::stop_token& stop_;
  std::atomic<size_t> next_ = 0;
  std::atomic<bool> failed_ = false;
  Status failure_;              // Written by who sets `failed_`.
  std::vector<SpillSum> sums_;  // Each written by who has taken its chunk.
};

SpillReader::SpillReader(FileCalls& calls) : calls_(calls) {
  const SignalsBlocked blocked;  // They belong to the owner's thread.
  helper_ = std::jthread([this] { Help(); });
}

SpillReader::~SpillReader() {
  const std::lock_guard lock(mutex_);
  ended_ = true;
  changed_.notify_one();
}

void SpillReader::Help() {
  pthread_setname_np(pthread_self(), "spill read too");
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return ended_ || offered_ != nullptr; });
    if (ended_) return;
    Chunks* chunks = std::exchange(offered_, nullptr);
    helping_ = true;
    lock.unlock();
    chunks->Work();
    lock.lock();
    helping_ = false;
    changed_.notify_one();
  }
}

void SpillReader::ReadAll(Chunks& chunks) {
  {
    const std::lock_guard lock(mutex_);
    offered_ = &chunks;
    changed_.notify_one();
  }
  chunks.Work();
  std::unique_lock lock(mutex_);
  offered_ = nullptr;
  changed_.wait(lock, [this] { return !helping_; });
}

Status SpillReader::ReadFrom(int fd, const SpillPlace& place, std::span<uint8_t> into,
                             const std::stop_token& stop) {
  SpillHeader header;
  const auto header_bytes = Fill(calls_, fd, place.path, header, place.offset);
  if (!header_bytes) return header_bytes.error();
  const auto want = CheckSpillHeader(std::span(header).first(*header_bytes), place.record);
  if (!want) return want.error();
  Chunks chunks(calls_, fd, place, into, stop);
  if (into.size() < kHelpedFrom) {
    chunks.Work();
  } else {
    ReadAll(chunks);
  }
  const auto sum = chunks.Sum();
  return sum ? CheckSpillBytes(*sum, *want) : sum.error();
}

Status SpillReader::Read(const SpillPlace& place, std::span<uint8_t> into,
                         const std::stop_token& stop) {
  SKYRAY_CHECK(into.size() == place.record.bytes());
  const int fd = calls_.Open(place.path, O_RDONLY | O_NOFOLLOW);
  Status status;
  if (fd >= 0) {
    status = ReadFrom(fd, place, into, stop);
    calls_.Close(fd);  // Nothing was written: what it says has no consequence.
  } else {
    status = ErrnoStatus("opening " + place.path, -fd);
    if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP) {
      status = Status(ErrorCode::ObjectLost, status.message());
    }
  }
  return status.ok() ? status : RestoreFailed(place, status);
}

}  // namespace skyray::object_manager
