// SPDX-License-Identifier: Apache-2.0
#include "plasma/allocator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <random>
#include <vector>

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

TEST(AllocatorTest, WhatIsGivenBackIsCold) {
  Allocator allocator({16 * kPageBytes});
  const auto first = allocator.Allocate(kPageBytes + 64);
  const auto object = allocator.Allocate(6 * kPageBytes);
  const auto last = allocator.Allocate(64);
  EXPECT_FALSE(allocator.TakeColdest(UINT64_MAX)) << "nothing is free but what is cold";
  allocator.Free(*object);
  // Only pages that are free as a whole, and a bounded piece at a time.
  EXPECT_EQ(allocator.TakeColdest(2 * kPageBytes), (Range{0, 2 * kPageBytes, 2 * kPageBytes}));
  EXPECT_EQ(allocator.TakeColdest(1), (Range{0, 4 * kPageBytes, kPageBytes}));
  EXPECT_EQ(allocator.TakeColdest(UINT64_MAX), (Range{0, 5 * kPageBytes, 2 * kPageBytes}));
  EXPECT_FALSE(allocator.TakeColdest(UINT64_MAX));
  EXPECT_EQ(allocator.touched_bytes(), first->bytes + last->bytes);
  EXPECT_EQ(allocator.allocated_bytes(), first->bytes + last->bytes);
  allocator.Free(*last);
  EXPECT_EQ(allocator.TakeColdest(UINT64_MAX), (Range{0, 7 * kPageBytes, 9 * kPageBytes}))
      << "the page is free now that its last user has gone";
  allocator.Free(*first);
  EXPECT_EQ(allocator.TakeColdest(UINT64_MAX)->offset, 0u);
  EXPECT_EQ(allocator.touched_bytes(), 0u);
  EXPECT_EQ(allocator.Allocate(16 * kPageBytes)->offset, 0u);
}

TEST(AllocatorTest, AWarmRangeIsTakenEvenIfAColdOneFitsBetter) {
  Allocator allocator({4096});
  const auto warm = allocator.Allocate(1024);
  allocator.Allocate(4096 - 1024 - 64);
  allocator.Free(*warm);
  EXPECT_EQ(allocator.Allocate(64)->offset, warm->offset) << "and not the exact fit at the end";
}

TEST(AllocatorTest, ARunOfWarmAndColdPartsIsOneRange) {
  Allocator allocator({16 * kPageBytes});
  const auto a = allocator.Allocate(4 * kPageBytes);
  const auto b = allocator.Allocate(4 * kPageBytes);
  const auto c = allocator.Allocate(8 * kPageBytes);
  allocator.Free(*a);
  ASSERT_TRUE(allocator.TakeColdest(UINT64_MAX));
  allocator.Free(*b);
  EXPECT_EQ(allocator.largest_free_bytes(), 8 * kPageBytes);
  EXPECT_EQ(allocator.Allocate(kPageBytes)->offset, 7 * kPageBytes) << "the warm end first";
  EXPECT_EQ(allocator.Allocate(7 * kPageBytes)->offset, 0u) << "cold and warm together";
  allocator.Free(*c);
  EXPECT_EQ(allocator.touched_bytes(), 16 * kPageBytes);
}

// The allocator, told in the plainest words: a state for each 64 bytes.
class Model {
 public:
  enum class State { Used, Warm, Cold };
  static constexpr uint64_t kUnitsPerPage = kPageBytes / kAlignment;
  struct Run {
    uint64_t bytes;
    uint32_t segment;
    uint64_t offset;
    uint64_t cold_bytes;
    bool warm() const { return cold_bytes == 0; }
    bool mixed() const { return cold_bytes != 0 && cold_bytes != bytes; }
    auto operator<=>(const Run&) const = default;
  };

  explicit Model(const std::vector<uint64_t>& sizes) {
    for (const uint64_t bytes : sizes) segments_.emplace_back(bytes / kAlignment, State::Cold);
  }

  std::vector<Run> Runs() const {
    std::vector<Run> runs;
    for (uint32_t segment = 0; segment < segments_.size(); ++segment) {
      bool open = false;
      for (uint64_t unit = 0; unit < segments_[segment].size(); ++unit) {
        const State state = segments_[segment][unit];
        if (state != State::Used && !open) runs.push_back({0, segment, unit * kAlignment, 0});
        open = state != State::Used;
        if (open) runs.back().bytes += kAlignment;
        if (state == State::Cold) runs.back().cold_bytes += kAlignment;
      }
    }
    std::sort(runs.begin(), runs.end());
    return runs;
  }

  std::optional<Allocation> Allocate(uint64_t bytes) {
    const std::vector<Run> runs = Runs();
    const auto fits = [&](const Run& run) { return run.bytes >= bytes; };
    const Run* best = nullptr;
    for (const Run& run : runs) {
      if (!fits(run)) continue;
      const bool better =
          best == nullptr || (run.warm() && !best->warm()) ||
          (run.mixed() && !best->mixed() && !best->warm() && run.bytes == best->bytes);
      if (better) best = &run;
    }
    if (best == nullptr) return std::nullopt;
    uint64_t offset = best->offset;
    const uint64_t end = offset + best->bytes;
    if (At(best->segment, offset) == State::Cold &&
        At(best->segment, end - kAlignment) == State::Warm) {
      offset = end - bytes;
    }
    Set(best->segment, offset, offset + bytes, State::Used);
    return Allocation{best->segment, offset, bytes};
  }

  void Free(const Allocation& allocation) {
    Set(allocation.segment, allocation.offset, allocation.offset + allocation.bytes, State::Warm);
  }

  std::optional<Range> TakeColdest(uint64_t bytes_max) {
    for (;;) {
      const std::vector<Run> runs = Runs();
      const Run* chosen = nullptr;
      for (const Run& run : runs) {
        if (run.warm() && run.bytes >= 2 * kPageBytes) chosen = &run;
      }
      for (const Run& run : runs) {
        if (run.mixed() && (chosen == nullptr || !chosen->warm())) chosen = &run;
      }
      if (chosen == nullptr) return std::nullopt;
      const uint64_t end = chosen->offset + chosen->bytes;
      uint64_t warm = chosen->offset;
      while (At(chosen->segment, warm) == State::Cold) warm += kAlignment;
      uint64_t first = warm / kPageBytes * kPageBytes;
      if (first < chosen->offset) first += kPageBytes;
      uint64_t last = first;
      while (last + kPageBytes <= end &&
             (last == first || last + kPageBytes - first <= bytes_max)) {
        last += kPageBytes;
      }
      Set(chosen->segment, warm, last + kPageBytes > end ? end : last, State::Cold);
      if (last != first) return Range{chosen->segment, first, last - first};
    }
  }

  uint64_t CountBytes(State state) const {
    uint64_t bytes = 0;
    for (const auto& units : segments_) {
      bytes += kAlignment * static_cast<uint64_t>(std::count(units.begin(), units.end(), state));
    }
    return bytes;
  }

 private:
  State At(uint32_t segment, uint64_t offset) const {
    return segments_[segment][offset / kAlignment];
  }
  void Set(uint32_t segment, uint64_t begin, uint64_t end, State state) {
    for (uint64_t at = begin; at < end; at += kAlignment) {
      State& unit = segments_[segment][at / kAlignment];
      // Never handed out twice, never freed twice, never given back in use.
      EXPECT_EQ(unit == State::Used, state == State::Warm) << segment << ":" << at;
      unit = state;
    }
  }

  std::vector<std::vector<State>> segments_;
};

TEST(AllocatorTest, ARandomWalkAgreesWithTheModelAndEndsEmpty) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const std::vector<uint64_t> sizes{15 * kPageBytes + 64, 4 * kPageBytes};
  Allocator allocator(sizes);
  Model model(sizes);
  std::vector<Allocation> live;
  for (int step = 0; step < 20000 && !::testing::Test::HasFailure(); ++step) {
    const uint64_t choice = random() % 20;
    if (choice == 0) {
      const uint64_t bytes_max = random() % (8 * kPageBytes);
      const bool promised = allocator.has_warm_run();
      const auto taken = allocator.TakeColdest(bytes_max);
      ASSERT_EQ(taken, model.TakeColdest(bytes_max)) << "step " << step;
      ASSERT_TRUE(promised || !taken);
      ASSERT_TRUE(taken || !allocator.has_warm_run());
    } else if (choice < 10 || live.empty()) {
      const uint64_t bytes = random() % (random() % 4 == 0 ? 16000 : 1000);
      const auto made = allocator.Allocate(bytes);
      ASSERT_EQ(made, model.Allocate(Allocator::Rounded(bytes))) << "step " << step;
      if (made) live.push_back(*made);
    } else {
      std::swap(live[random() % live.size()], live.back());
      allocator.Free(live.back());
      model.Free(live.back());
      live.pop_back();
    }
    ASSERT_EQ(allocator.allocated_bytes(), model.CountBytes(Model::State::Used));
    ASSERT_EQ(allocator.touched_bytes(),
              allocator.capacity_bytes() - model.CountBytes(Model::State::Cold));
    const auto runs = model.Runs();
    ASSERT_EQ(allocator.free_runs(), runs.size());
    ASSERT_EQ(allocator.largest_free_bytes(), runs.empty() ? 0 : runs.back().bytes);
  }
  for (const Allocation& allocation : live) allocator.Free(allocation);
  EXPECT_EQ(allocator.allocated_bytes(), 0u);
  EXPECT_EQ(allocator.free_runs(), sizes.size());
  while (allocator.TakeColdest(kPageBytes)) {
  }
  EXPECT_EQ(allocator.touched_bytes(), 0u);
  for (const uint64_t bytes : sizes) EXPECT_TRUE(allocator.Allocate(bytes));
}

}  // namespace
}  // namespace skyray::plasma
