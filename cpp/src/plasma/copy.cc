// SPDX-License-Identifier: Apache-2.0
#include "plasma/copy.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <thread>
#include <vector>

#include "plasma/copy_choice.h"
#include "plasma/copy_kernels.h"
#include "plasma/helper_thread.h"

namespace skyray::plasma {
namespace {

// 25 to 100 µs: long beside the clock, short beside what else the machine does.
constexpr size_t kTrialBytes = kStreamingBytesMin / 2;
// From here on a copy does not fit in a cache, whoever has used the memory before. Below, it
// depends on that, too: a program that puts and drops one array gets the same memory again.
constexpr size_t kHugeBytesMin = 8 << 20;

// What one thread takes at a time: long beside the taking, short beside the wait for a helper
// that has begun one and then has to wait for a CPU.
constexpr size_t kPieceBytes = 1 << 20;
static_assert(kPieceBytes % kCopyBlockBytes == 0);

// REQUIRES: as the kernel's.
void CopyTogether(const CopyKernel& kernel, uint8_t* to, const uint8_t* from, size_t bytes,
                  unsigned threads_max) {
  if (bytes < kHelpedBytesMin || threads_max < 2) return kernel.copy(to, from, bytes);
  const unsigned threads =
      std::min({threads_max, kCopyThreadsMax, std::thread::hardware_concurrency()});
  // A helper that never gets a CPU copies nothing, and is hardly waited for.
  std::atomic<size_t> taken = 0;
  const auto copy = [&] {
    for (size_t at; (at = taken.fetch_add(kPieceBytes, std::memory_order_relaxed)) < bytes;) {
      kernel.copy(to + at, from + at, std::min(kPieceBytes, bytes - at));
    }
  };
  std::vector<std::thread> helpers;
  for (unsigned i = 1; i < threads; ++i) helpers.push_back(StartHelper(copy));
  copy();
  for (std::thread& helper : helpers) {
    if (helper.joinable()) helper.join();
  }
}

int64_t NowNs() {
  return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// For copies of about a size. One thread at a time tries; the others go the first way meanwhile.
class Copier {
 public:
  // REQUIRES: as a kernel's.
  void Copy(uint8_t* to, const uint8_t* from, size_t bytes, unsigned threads_max) {
    const CopyKernel* kernel = chosen_.load(std::memory_order_relaxed);
    if (kernel == nullptr) {
      const size_t tried = Try(to, from, bytes);
      to += tried;
      from += tried;
      bytes -= tried;
      kernel = chosen_.load(std::memory_order_relaxed);
    }
    CopyTogether(kernel == nullptr ? kernels_.front() : *kernel, to, from, bytes, threads_max);
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

void CopyToShared(void* destination, const void* source, size_t bytes, unsigned threads_max) {
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
  (bytes < kHugeBytesMin ? large : huge).Copy(to + head, from + head, body, threads_max);
  std::memcpy(to + head + body, from + head + body, bytes - head - body);
}

}  // namespace skyray::plasma
