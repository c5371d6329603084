// SPDX-License-Identifier: Apache-2.0
#include "plasma/copy.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <mutex>

#include "plasma/copy_choice.h"
#include "plasma/copy_kernels.h"

namespace skyray::plasma {
namespace {

// 25 to 100 µs: long beside the clock, short beside what else the machine does.
constexpr size_t kTrialBytes = kStreamingBytesMin / 2;
// From here on a copy does not fit in a cache, whoever has used the memory before. Below, it
// depends on that, too: a program that puts and drops one array gets the same memory again.
constexpr size_t kHugeBytesMin = 8 << 20;

int64_t NowNs() {
  return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// For copies of about a size. One thread at a time tries; the others go the first way meanwhile.
class Copier {
 public:
  // REQUIRES: as a kernel's.
  void Copy(uint8_t* to, const uint8_t* from, size_t bytes) {
    const CopyKernel* kernel = chosen_.load(std::memory_order_relaxed);
    if (kernel == nullptr) {
      const size_t tried = Try(to, from, bytes);
      to += tried;
      from += tried;
      bytes -= tried;
      kernel = chosen_.load(std::memory_order_relaxed);
    }
    (kernel == nullptr ? kernels_.front() : *kernel).copy(to, from, bytes);
  }

 private:
  // So many bytes are copied by that.
  size_t Try(uint8_t* to, const uint8_t* from, size_t bytes) {
    const std::unique_lock lock(mutex_, std::try_to_lock);
    size_t done = 0;
    if (!lock) return done;
    for (; !choice_.chosen() && bytes - done >= kTrialBytes; done += kTrialBytes) {
      const int64_t begin = NowNs();
      kernels_[choice_.next()].copy(to + done, from + done, kTrialBytes);
      choice_.Took(NowNs() - begin);
    }
    if (const auto chosen = choice_.chosen()) {
      chosen_.store(&kernels_[*chosen], std::memory_order_relaxed);
    }
    return done;
  }

  const std::span<const CopyKernel> kernels_ = CopyKernels();
  std::atomic<const CopyKernel*> chosen_ = nullptr;  // Of a constant table.
  std::mutex mutex_;                                 // Of choice_.
  CopyChoice choice_{kernels_.size()};
};

}  // namespace

void CopyToShared(void* destination, const void* source, size_t bytes) {
  static Copier large;
  static Copier huge;
  auto* to = static_cast<uint8_t*>(destination);
  const auto* from = static_cast<const uint8_t*>(source);
  if (bytes < kStreamingBytesMin) {
    std::memcpy(to, from, bytes);
    return;
  }
  // Plain copies up to the first aligned line and behind the last whole block.
  const size_t head = (64 - reinterpret_cast<uintptr_t>(to) % 64) % 64;
  const size_t body = (bytes - head) / kCopyBlockBytes * kCopyBlockBytes;
  std::memcpy(to, from, head);
  (bytes < kHugeBytesMin ? large : huge).Copy(to + head, from + head, body);
  std::memcpy(to + head + body, from + head + body, bytes - head - body);
}

}  // namespace skyray::plasma
