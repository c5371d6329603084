// SPDX-License-Identifier: Apache-2.0
#include "plasma/prefault.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <memory>

#include "common/sanitizers.h"
#include "common/sizes.h"

namespace skyray::plasma {
namespace {

// For each MiB, of the 256 that it would be; a sanitizer's shadow takes 32.
constexpr uint64_t kFewFaults = 40;
using Access = Prefault::Access;

uint64_t FaultsSoFar() {
  rusage usage = {};
  EXPECT_EQ(getrusage(RUSAGE_THREAD, &usage), 0);
  return static_cast<uint64_t>(usage.ru_minflt);
}

// How many page faults this thread takes to write a byte to each page.
uint64_t FaultsToWrite(uint8_t* data, uint64_t bytes) {
  const uint64_t before = FaultsSoFar();
  for (uint64_t at = 0; at < bytes; at += 4096) {
    static_cast<volatile uint8_t*>(data)[at] = 7;
  }
  return FaultsSoFar() - before;
}

uint64_t FaultsToRead(const uint8_t* data, uint64_t bytes) {
  const uint64_t before = FaultsSoFar();
  for (uint64_t at = 0; at < bytes; at += 4096) {
    (void)static_cast<const volatile uint8_t*>(data)[at];
  }
  return FaultsSoFar() - before;
}

uint64_t Cover(Prefault& prefault, uint64_t offset, uint64_t bytes) {
  const Prefault::Work work = prefault.Take(offset, bytes);
  work.Do();
  return work.bytes();
}

class PrefaultTest : public ::testing::Test {
 protected:
  PrefaultTest() {
    auto made = Segment::Create({.bytes = 128 * kMiB});
    EXPECT_TRUE(made);
    segment_ = std::move(*made);
    // MADV_POPULATE_WRITE, which the system's headers may not know yet.
    possible_ = madvise(segment_.mapping->data(), kMiB, 23) == 0;
  }
  void SetUp() override {
    if (SKYRAY_TSAN) GTEST_SKIP() << "TSan's own memory is faulted in too";
    if (!possible_) GTEST_SKIP() << "this kernel has no MADV_POPULATE_WRITE";
  }
  std::shared_ptr<Mapping> Map(Access access) {
    auto mapping =
        Mapping::Map(segment_.fd->get(), segment_.mapping->bytes(), access == Access::Write);
    EXPECT_TRUE(mapping);
    return *mapping;
  }
  Segment segment_;
  bool possible_ = true;
};

TEST_F(PrefaultTest, WhatIsCoveredIsWrittenWithoutFaults) {
  for (const uint64_t bytes : {4 * kMiB, 64 * kMiB}) {  // By one thread, and by two.
    const auto mapping = Map(Access::Write);
    Prefault prefault(mapping, Access::Write);
    EXPECT_EQ(Cover(prefault, kMiB, bytes), bytes);
    EXPECT_LT(FaultsToWrite(mapping->data() + kMiB, bytes), kFewFaults * bytes / kMiB);
    EXPECT_GT(FaultsToWrite(mapping->data() + kMiB + bytes, kMiB), 128u) << "nothing behind it";
  }
}

TEST_F(PrefaultTest, WhatWasWrittenElsewhereIsReadWithoutFaults) {
  if (SKYRAY_ASAN) {
    GTEST_SKIP() << "ASan's own memory is faulted in too, more of it than is measured";
  }
  FaultsToWrite(segment_.mapping->data(), 8 * kMiB);
  const auto mapping = Map(Access::Read);
  Prefault prefault(mapping, Access::Read);
  EXPECT_EQ(Cover(prefault, 0, 8 * kMiB), 8 * kMiB);
  EXPECT_LT(FaultsToRead(mapping->data(), 8 * kMiB), 64u) << "of 128: a read maps 16 pages";
}

TEST_F(PrefaultTest, WhatWasTouchedIsNotDoneAgain) {
  Prefault prefault(Map(Access::Write), Access::Write);
  EXPECT_EQ(Cover(prefault, 0, 2 * kMiB), 2 * kMiB);
  EXPECT_EQ(Cover(prefault, 0, 2 * kMiB), 0u);
  EXPECT_EQ(Cover(prefault, 4 * kMiB, 2 * kMiB), 2 * kMiB);
  EXPECT_EQ(Cover(prefault, 0, 96 * kMiB), 92 * kMiB) << "two holes, and two threads";
}

TEST_F(PrefaultTest, OnlyWhatBelongsToTheRangeIsMapped) {
  Prefault prefault(Map(Access::Write), Access::Write);
  EXPECT_EQ(Cover(prefault, 64, kMiB), kMiB - (64 << 10)) << "neither end, shared with others";
  EXPECT_EQ(Cover(prefault, 0, 64 << 10), 0u) << "too small to be worth it";
  EXPECT_EQ(Cover(prefault, 0, kMiB), 64u << 10);
  EXPECT_EQ(Cover(prefault, 127 * kMiB, kMiB), kMiB);
}

using PrefaultDeathTest = PrefaultTest;
TEST_F(PrefaultDeathTest, ARangeOutsideIsABug) {
  Prefault prefault(Map(Access::Write), Access::Write);
  EXPECT_DEATH(Cover(prefault, 127 * kMiB, 2 * kMiB), "check failed");
  EXPECT_DEATH(Cover(prefault, UINT64_MAX, 2), "check failed");
}

}  // namespace
}  // namespace skyray::plasma
