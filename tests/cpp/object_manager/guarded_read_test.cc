// SPDX-License-Identifier: Apache-2.0
#include "object_manager/guarded_read.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <thread>
#include <vector>

#include "common/signals_blocked.h"
#include "object_manager/cut_memory.h"
#include "object_manager/spill_checksum.h"

namespace skyray::object_manager {
namespace {

constexpr size_t kPage = 4096;

bool CanBeRead(std::span<const uint8_t> bytes) {
  return SpillChecksum::OfShared(bytes).has_value();
}

TEST(GuardedRead, WhatIsThereIsReadToItsEnd) {
  const CutMemory memory(4 * kPage, 2 * kPage);
  EXPECT_TRUE(CanBeRead(memory.bytes().first(2 * kPage)));
  EXPECT_TRUE(CanBeRead({}));
  const std::vector<uint8_t> ordinary(1 << 20, 3);
  EXPECT_TRUE(CanBeRead(ordinary));
}

TEST(GuardedRead, WhatIsBehindTheEndOfItsFileIsSaidToBeUnreadable) {
  CutMemory memory(400 * kPage, 300 * kPage);
  for (int again = 0; again < 3; ++again) {
    EXPECT_FALSE(CanBeRead(memory.bytes()));
    EXPECT_FALSE(CanBeRead(memory.bytes().last(1)));
  }
  memory.Resize(400 * kPage);
  EXPECT_TRUE(CanBeRead(memory.bytes())) << "nothing of the mapping was replaced";
}

// A spill thread is started with its signals blocked; a blocked SIGBUS ends the process.
TEST(GuardedRead, ManyThreadsMayFindOutAtOnce) {
  const CutMemory memory(64 * kPage, 63 * kPage);
  std::vector<std::thread> threads;
  {
    const SignalsBlocked blocked;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&memory] {
        for (int round = 0; round < 500; ++round) {
          EXPECT_FALSE(CanBeRead(memory.bytes()));
          EXPECT_TRUE(CanBeRead(memory.bytes().first(kPage)));
        }
      });
    }
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(GuardedReadDeathTest, OtherMemoryFaultsAsEver) {
  const auto fault = [] {
    const CutMemory memory(2 * kPage, kPage);
    const std::vector<uint8_t> other(10);
    // The handler is there, and the load is not of what it guards.
    GuardedRead(
        other,
        [](void* context) {
          const volatile uint8_t* at = static_cast<CutMemory*>(context)->bytes().data();
          [[maybe_unused]] const uint8_t byte = at[kPage];
        },
        const_cast<CutMemory*>(&memory));
  };
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(fault(), "");
}

}  // namespace
}  // namespace skyray::object_manager
