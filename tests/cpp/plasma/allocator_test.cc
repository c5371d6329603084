// SPDX-License-Identifier: Apache-2.0
#include "plasma/allocator.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace skyray::plasma {
namespace {

TEST(AllocatorTest, RangesAreAlignedAndDistinct) {
  Allocator allocator({1024});
  const auto a = allocator.Allocate(1);
  const auto b = allocator.Allocate(0);
  const auto c = allocator.Allocate(65);
  ASSERT_TRUE(a && b && c);
  EXPECT_EQ(a->offset, 0u);
  EXPECT_EQ(b->offset, 64u);
  EXPECT_EQ(c->offset, 128u);
  EXPECT_EQ(c->bytes, 128u);
  EXPECT_EQ(allocator.allocated_bytes(), 256u);
}

TEST(AllocatorTest, AFreedRangeIsUsedBeforeUntouchedMemory) {
  Allocator allocator({1024});
  const auto a = allocator.Allocate(128);
  const auto b = allocator.Allocate(128);
  allocator.Free(*a);
  EXPECT_EQ(allocator.Allocate(64)->offset, a->offset);
  EXPECT_EQ(allocator.Allocate(64)->offset, a->offset + 64);
  EXPECT_EQ(allocator.touched_bytes(), 256u);
  EXPECT_EQ(allocator.Allocate(64)->offset, b->offset + 128);
}

TEST(AllocatorTest, TheSmallestRangeThatFitsIsTaken) {
  Allocator allocator({4096});
  const auto large = allocator.Allocate(512);
  allocator.Allocate(64);
  const auto small = allocator.Allocate(128);
  allocator.Allocate(64);
  allocator.Free(*large);
  allocator.Free(*small);
  EXPECT_EQ(allocator.Allocate(128)->offset, small->offset);
  EXPECT_EQ(allocator.Allocate(128)->offset, large->offset);
}

TEST(AllocatorTest, FreeNeighboursAreJoinedOnBothSides) {
  Allocator allocator({256});
  const auto a = allocator.Allocate(64);
  const auto b = allocator.Allocate(64);
  const auto c = allocator.Allocate(64);
  const auto d = allocator.Allocate(64);
  allocator.Free(*a);
  allocator.Free(*c);
  EXPECT_EQ(allocator.largest_free_bytes(), 64u);
  allocator.Free(*b);
  EXPECT_EQ(allocator.largest_free_bytes(), 192u);
  allocator.Free(*d);
  EXPECT_EQ(allocator.Allocate(256)->offset, 0u);
}

TEST(AllocatorTest, TheLastFreeRangeGrowsIntoUntouchedMemory) {
  Allocator allocator({1024});
  allocator.Allocate(64);
  const auto last = allocator.Allocate(128);
  allocator.Free(*last);
  EXPECT_EQ(allocator.Allocate(512)->offset, last->offset);
  EXPECT_EQ(allocator.largest_free_bytes(), 1024u - 64 - 512);
}

TEST(AllocatorTest, NoRoomIsAnEmptyAnswer) {
  Allocator allocator({256, 128});
  EXPECT_FALSE(allocator.Allocate(320)) << "no segment is that large";
  EXPECT_EQ(allocator.Allocate(256)->segment, 0u);
  EXPECT_EQ(allocator.Allocate(128)->segment, 1u);
  EXPECT_FALSE(allocator.Allocate(1));
  EXPECT_FALSE(allocator.Allocate(UINT64_MAX));
  EXPECT_FALSE(allocator.Allocate(UINT64_MAX - 100));
}

TEST(AllocatorDeathTest, FreeingTwiceIsABug) {
  Allocator allocator({1024});
  const auto a = allocator.Allocate(64);
  allocator.Allocate(64);
  allocator.Free(*a);
  EXPECT_DEATH(allocator.Free(*a), "check failed");
}

TEST(AllocatorTest, ARandomWalkNeverOverlapsAndEndsEmpty) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  Allocator allocator({1 << 16, 1 << 14});
  std::map<std::pair<uint32_t, uint64_t>, Allocation> live;
  uint64_t live_bytes = 0;
  for (int step = 0; step < 20000; ++step) {
    if (random() % 2 == 0 || live.empty()) {
      const auto made = allocator.Allocate(random() % 4000);
      if (!made) continue;
      const auto next = live.lower_bound({made->segment, made->offset});
      if (next != live.end() && next->first.first == made->segment) {
        ASSERT_LE(made->offset + made->bytes, next->first.second);
      }
      if (next != live.begin() && std::prev(next)->first.first == made->segment) {
        const Allocation& before = std::prev(next)->second;
        ASSERT_LE(before.offset + before.bytes, made->offset);
      }
      live.emplace(std::make_pair(made->segment, made->offset), *made);
      live_bytes += made->bytes;
    } else {
      auto victim = std::next(live.begin(), static_cast<int>(random() % live.size()));
      allocator.Free(victim->second);
      live_bytes -= victim->second.bytes;
      live.erase(victim);
    }
    ASSERT_EQ(allocator.allocated_bytes(), live_bytes);
  }
  for (const auto& [place, allocation] : live) allocator.Free(allocation);
  EXPECT_EQ(allocator.allocated_bytes(), 0u);
  EXPECT_EQ(allocator.largest_free_bytes(), 1u << 16);
  EXPECT_TRUE(allocator.Allocate(1 << 16));
  EXPECT_TRUE(allocator.Allocate(1 << 14));
}

}  // namespace
}  // namespace skyray::plasma
