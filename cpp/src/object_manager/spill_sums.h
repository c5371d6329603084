// SPDX-License-Identifier: Apache-2.0
// The checksums of the objects of one spill file. Of much a helper takes them ahead of the
// thread that writes, so that writing and summing, both bounded by the CPU, go side by side.
//
//   chunk: Free ──Take, by either thread──► Taken ──► Summed
//
// The helper takes what nobody has: where it never gets a CPU, the writer takes all itself.
//
// Threading:  one thread constructs, calls and destroys.
// Ownership:  the pieces' memory is borrowed as long as *this lives; owns the helper, which
//             ends before the destructor does.
// Errors:     no sum: some of an object's memory cannot be read.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "object_manager/spill_checksum.h"
#include "object_manager/spill_storage.h"

namespace skyray::object_manager {

class SpillSums {
 public:
  explicit SpillSums(std::span<const SpillPiece> pieces);
  ~SpillSums();
  SpillSums(const SpillSums&) = delete;
  SpillSums& operator=(const SpillSums&) = delete;

  // Whether it is better to ask late than early: a helper is at work.
  bool helped() const { return helper_.joinable(); }
  // Of that piece's bytes.
  std::optional<SpillSum> Of(size_t piece);

 private:
  enum class State : uint8_t { Free, Taken, Summed };
  struct Chunk {
    std::span<const uint8_t> bytes;
    std::optional<SpillSum> sum;  // Written by who has taken it.
    std::atomic<State> state = State::Free;
  };

  // Sums it unless it is taken.
  static void Take(Chunk& chunk);
  void Help();

  std::vector<size_t> begins_;  // Each piece's first chunk, and the end.
  std::vector<Chunk> chunks_;
  std::atomic<bool> ended_ = false;
  std::thread helper_;
};

}  // namespace skyray::object_manager
