// SPDX-License-Identifier: Apache-2.0
// The checksum of a spilled object: XXH3 in 128 bits, taken piece by piece on
// the bytes' way to or from disk, with the widest instructions this CPU has.
//
// Threading:  values; not shared. Ownership: values. Errors: none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace skyray::object_manager {

struct SpillSum {
  uint64_t low = 0;
  uint64_t high = 0;
  friend bool operator==(const SpillSum&, const SpillSum&) = default;
};

// One way to compute it, compiled for one instruction set.
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

  void Add(std::span<const uint8_t> bytes) { kernel_.add(state_, bytes.data(), bytes.size()); }
  SpillSum Finish() const { return kernel_.finish(state_); }

  static SpillSum Of(std::span<const uint8_t> bytes);

 private:
  static constexpr size_t kStateBytes = 576;
  const ChecksumKernel& kernel_;
  alignas(64) uint8_t state_[kStateBytes];
};

}  // namespace skyray::object_manager
