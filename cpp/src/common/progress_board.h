// SPDX-License-Identifier: Apache-2.0
// How far each worker of a node has got with its calls, seen from outside when it is gone.
//
// Calls wait in a worker's socket behind the one that runs. Should that one end the process,
// nobody else can tell which of the others had been started; so each worker marks its own
// place in memory that it shares with its raylet.
//
//   unknown ─Bind─► 0 ─Start(0)─► 1 ─Start(1)─► 2 ...      any ─Clear─► unknown
//
// Threading:  a place may be written by one thread and read by others, in any process.
// Ownership:  owns the mapping and, where it was made, the descriptor; the pages live as
//             long as any of either does, in any process.
// Errors:     Create and Map return them.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "common/status.h"
#include "common/unique_fd.h"

namespace skyray {

class alignas(64) Progress {  // A cache line each: they are written all the time.
 public:
  // Its process runs a new lease's calls from here on.
  void Bind() { value_.store(1, std::memory_order_relaxed); }
  void Start(uint64_t sequence) { value_.store(sequence + 2, std::memory_order_relaxed); }
  void Clear() { value_.store(0, std::memory_order_relaxed); }
  // The calls of which numbers below this have been started.
  std::optional<uint64_t> started() const {
    const uint64_t value = value_.load(std::memory_order_relaxed);
    if (value == 0) return std::nullopt;
    return value - 1;
  }

 private:
  std::atomic<uint64_t> value_;
};
static_assert(std::atomic<uint64_t>::is_always_lock_free && sizeof(Progress) == 64);

class ProgressBoard {
 public:
  static constexpr size_t kPlaces = 4096;

  // All places unknown. Errors: IoError.
  static Result<ProgressBoard> Create();
  // That of another process. Errors: IoError; InvalidArgument: it is not one.
  static Result<ProgressBoard> Map(int fd);
  ~ProgressBoard();
  ProgressBoard(ProgressBoard&& other) noexcept;
  ProgressBoard& operator=(ProgressBoard&& other) noexcept;

  int fd() const { return fd_.get(); }
  // Null if there is no such place.
  Progress* At(size_t place) const { return place < kPlaces ? places_ + place : nullptr; }

 private:
  ProgressBoard(UniqueFd fd, Progress* places) : fd_(std::move(fd)), places_(places) {}

  UniqueFd fd_;
  Progress* places_ = nullptr;
};

}  // namespace skyray
