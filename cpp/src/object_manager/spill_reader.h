// SPDX-License-Identifier: Apache-2.0
// Reads objects back from spill files and checks them, a large one in two threads:
// the caller's and a helper, each of which takes the next chunk as soon as it is done
// with one. Copying out of the page cache and taking the checksum of what was copied
// are bounded by the CPU, so this is as fast as one thread that reads and checks nothing.
//
// The helper only takes what is left when it is awake: where the CPU is busy nothing
// waits for it to have its turn.
//
// Threading:  one thread calls Read, one object at a time. `calls` from both threads.
// Ownership:  owns the helper. Bytes are borrowed until Read returns.
// Errors:     ObjectLost: the copy is gone or damaged. IoError: it may work another
//             time. Cancelled once `stop` is requested.
#pragma once

#include <condition_variable>
#include <mutex>
#include <span>
#include <stop_token>
#include <thread>

#include "common/status.h"
#include "object_manager/spill_file_calls.h"
#include "object_manager/spill_storage.h"

namespace skyray::object_manager {

class SpillReader {
 public:
  // `calls` must outlive *this.
  explicit SpillReader(FileCalls& calls);
  ~SpillReader();
  SpillReader(const SpillReader&) = delete;
  SpillReader& operator=(const SpillReader&) = delete;

  // The object's bytes, checked, into `into`. REQUIRES: it is as large as they are.
  Status Read(const SpillPlace& place, std::span<uint8_t> into, const std::stop_token& stop);

 private:
  class Chunks;

  void Help();
  Status ReadFrom(int fd, const SpillPlace& place, std::span<uint8_t> into,
                  const std::stop_token& stop);
  // Reads all of them; returns when no thread is at it any more.
  void ReadAll(Chunks& chunks);

  FileCalls& calls_;
  std::mutex mutex_;
  std::condition_variable changed_;
  Chunks* offered_ = nullptr;  // The helper has not looked at them yet.
  bool helping_ = false;
  bool ended_ = false;
  std::jthread helper_;  // Last: joined first.
};

}  // namespace skyray::object_manager
