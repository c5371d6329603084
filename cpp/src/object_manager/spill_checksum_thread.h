// SPDX-License-Identifier: Apache-2.0
// Takes the checksum of bytes in a thread of its own while their owner brings the
// next ones, so that a restore takes little longer than reading alone.
//
//   checksums.Begin();
//   while (...) checksums.Add(piece);    // returns at once, if it is not far behind
//   const SpillSum sum = checksums.Finish();
//
// Finish takes on itself what the thread has not begun: where the CPU is busy
// nothing waits for the thread to have its turn.
//
// Threading:  one owner thread calls; one sequence at a time.
// Ownership:  owns the thread. Bytes are borrowed until Finish or Drop returns.
// Errors:     none.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <span>
#include <thread>

#include "object_manager/spill_checksum.h"

namespace skyray::object_manager {

class SpillChecksumThread {
 public:
  SpillChecksumThread();
  ~SpillChecksumThread();
  SpillChecksumThread(const SpillChecksumThread&) = delete;
  SpillChecksumThread& operator=(const SpillChecksumThread&) = delete;

  // REQUIRES: the last sequence was finished or dropped.
  void Begin();
  void Add(std::span<const uint8_t> bytes);
  SpillSum Finish();
  // Nobody wants the sum. No byte is looked at after this.
  void Drop();

 private:
  void Run();
  // Waits, or takes sums, until so many pieces are left.
  void CatchUp(std::unique_lock<std::mutex>& lock, size_t behind_max);
  // Takes the sum of the first piece. REQUIRES: there is one, and nobody else is at it.
  void TakeOne(std::unique_lock<std::mutex>& lock);

  std::mutex mutex_;
  std::condition_variable wanted_;
  std::condition_variable taken_;
  std::deque<std::span<const uint8_t>> pieces_;
  std::optional<SpillChecksum> sum_;  // Touched by who has set `busy_`, or if nobody has.
  bool busy_ = false;
  bool stop_ = false;
  std::jthread thread_;  // Last: joined first.
};

}  // namespace skyray::object_manager
