// SPDX-License-Identifier: Apache-2.0
#include "plasma/copy.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "common/sizes.h"
#include "plasma/copy_kernels.h"
#include "plasma/helper_thread.h"

namespace skyray::plasma {
namespace {

constexpr size_t kMargin = 256;

std::vector<uint8_t> Pattern(size_t bytes) {
  std::vector<uint8_t> pattern(bytes);
  for (size_t i = 0; i < bytes; ++i) pattern[i] = static_cast<uint8_t>(i * 31 + i / 251);
  return pattern;
}

// Whether exactly [begin, begin + bytes) of `to` is what `from` holds.
::testing::AssertionResult IsCopied(std::span<const uint8_t> to, size_t begin, size_t bytes,
                                    const uint8_t* from) {
  for (size_t i = 0; i < to.size(); ++i) {
    const bool inside = i >= begin && i < begin + bytes;
    if (to[i] == (inside ? from[i - begin] : 0xee)) continue;
    return ::testing::AssertionFailure() << "at " << i << " of " << bytes << " bytes to +" << begin;
  }
  return ::testing::AssertionSuccess();
}

TEST(CopyToSharedTest, EveryByteArrivesAndNoneBesides) {
  for (const size_t bytes :
       {size_t{0}, size_t{1}, size_t{1000}, kStreamingBytesMin - 1, kStreamingBytesMin,
        kStreamingBytesMin + 1, kStreamingBytesMin + 255, 3 * kMiB}) {
    for (const size_t to_offset : {size_t{0}, size_t{1}, size_t{63}, size_t{64}}) {
      for (const size_t from_offset : {size_t{0}, size_t{7}}) {
        const auto from = Pattern(bytes + kMargin);
        std::vector<uint8_t> to(bytes + kMargin, 0xee);
        CopyToShared(to.data() + to_offset, from.data() + from_offset, bytes);
        ASSERT_TRUE(IsCopied(to, to_offset, bytes, from.data() + from_offset));
      }
    }
  }
}

TEST(CopyToSharedTest, EveryByteArrivesWithHowManyThreadsSoever) {
  const auto from = Pattern(kHelpedBytesMin + 3 * kMiB + 77);
  for (const size_t bytes : {size_t{kHelpedBytesMin}, from.size() - 7}) {
    for (const unsigned threads_max : {0u, 1u, 2u, kCopyThreadsMax, 1000u}) {
      std::vector<uint8_t> to(bytes + kMargin, 0xee);
      CopyToShared(to.data() + 3, from.data() + 7, bytes, threads_max);
      ASSERT_TRUE(IsCopied(to, 3, bytes, from.data() + 7)) << threads_max << " threads";
    }
  }
}

TEST(CopyToSharedTest, EveryByteArrivesWhileTheWaysAreTried) {
  const auto from = Pattern(40 * kMiB + 77);
  const auto copy = [&from] {
    for (int round = 0; round < 2; ++round) {
      std::vector<uint8_t> to(from.size() + kMargin, 0xee);
      CopyToShared(to.data() + 5, from.data(), from.size());
      EXPECT_TRUE(IsCopied(to, 5, from.size(), from.data()));
    }
  };
  std::thread other(copy);
  copy();
  other.join();
}

TEST(CopyKernelsTest, EachCopiesEveryByteAndNoneBesides) {
  const size_t group = 16 * 4096;
  for (const CopyKernel& kernel : CopyKernels()) {
    for (const size_t bytes : {size_t{0}, kCopyBlockBytes, group - kCopyBlockBytes, group,
                               group + kCopyBlockBytes, 5 * group + 3 * kCopyBlockBytes}) {
      for (const size_t from_offset : {size_t{0}, size_t{1}, size_t{64}}) {
        const auto from = Pattern(bytes + kMargin);
        const size_t room = (bytes + 2 * kMargin) / 64 * 64;
        const std::unique_ptr<uint8_t, decltype(&std::free)> memory(
            static_cast<uint8_t*>(std::aligned_alloc(64, room)), &std::free);
        const std::span<uint8_t> to(memory.get(), room);
        std::fill(to.begin(), to.end(), uint8_t{0xee});
        kernel.copy(to.data() + 128, from.data() + from_offset, bytes);
        ASSERT_TRUE(IsCopied(to, 128, bytes, from.data() + from_offset)) << kernel.name;
      }
    }
  }
}

}  // namespace
}  // namespace skyray::plasma
