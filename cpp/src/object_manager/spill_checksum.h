// SPDX-License-Identifier: Apache-2.0
// The checksum of a spilled object: XXH3 in 128 bits of each chunk, and XXH3 of those if
// there are several, so that threads can share the work. It is taken piece by piece on
// the bytes' way to or from disk, with the widest instructions this CPU has.
//
// Threading:  values; not shared. Ownership: values.
// Errors:     of memory that processes share some may not be there (guarded_read.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace skyray::object_manager {

struct SpillSum {
  uint64_t low = 0;
  uint64_t high = 0;
  friend bool operator==(const SpillSum&, const SpillSum&) = default;
};

// Of an object's bytes, from its first one on; the last chunk may be shorter.
inline constexpr size_t kSpillChunkBytes = 256 << 10;

// One way to compute XXH3, compiled for one instruction set.
struct ChecksumKernel {
  void (*start)(void* state);
  void (*add)(void* state, const void* bytes, size_t size);
  SpillSum (*finish)(const void* state);
};

// Those that this CPU can run, the fastest last.
std::span<const ChecksumKernel* const> ChecksumKernels();

class SpillChecksum {
 public:
  SpillChecksum() : SpillChecksum(*ChecksumKernels().back()) {}
  explicit SpillChecksum(const ChecksumKernel& kernel) : kernel_(kernel) { kernel_.start(state_); }

  void Add(std::span<const uint8_t> bytes);
  // Of the store's memory. False: some of it cannot be read, and the sum means nothing.
  [[nodiscard]] bool AddShared(std::span<const uint8_t> bytes);
  SpillSum Finish() const;

  static SpillSum Of(std::span<const uint8_t> bytes);
  static std::optional<SpillSum> OfShared(std::span<const uint8_t> bytes);
  // Of the whole, from those of its chunks.
  static SpillSum OfChunks(std::span<const SpillSum> chunks);

 private:
  static constexpr size_t kStateBytes = 576;
  const ChecksumKernel& kernel_;
  std::vector<SpillSum> chunks_;  // Those before this one.
  size_t chunk_bytes_ = 0;        // Of this one.
  alignas(64) uint8_t state_[kStateBytes];
};

}  // namespace skyray::object_manager
