// SPDX-License-Identifier: Apache-2.0
#include "plasma/idle_trimmer.h"

#include <gtest/gtest.h>

namespace skyray::plasma {
namespace {

TEST(IdleTrimmerTest, WithoutAnythingToGiveBackNobodyIsWoken) {
  IdleTrimmer trimmer(1000);
  EXPECT_FALSE(trimmer.NextDeadline());
  trimmer.Created(10);
  trimmer.Observe(false, 10);
  EXPECT_FALSE(trimmer.NextDeadline());
  EXPECT_FALSE(trimmer.MayGiveBack(1'000'000));
}

TEST(IdleTrimmerTest, MemoryIsGivenBackPieceByPieceUntilNoneIsLeft) {
  IdleTrimmer trimmer(1000);
  trimmer.Created(10);
  trimmer.Observe(false, 10);
  trimmer.Observe(true, 5000);
  EXPECT_EQ(trimmer.NextDeadline(), 6000) << "it was in use until then";
  EXPECT_FALSE(trimmer.MayGiveBack(5999));
  EXPECT_TRUE(trimmer.MayGiveBack(6000));
  trimmer.Observe(true, 6000);
  EXPECT_EQ(trimmer.NextDeadline(), 6010);
  EXPECT_TRUE(trimmer.MayGiveBack(6010));
  trimmer.Observe(false, 6010);
  EXPECT_FALSE(trimmer.NextDeadline());
}

TEST(IdleTrimmerTest, ABusyStoreKeepsItsPagesAndIsWokenSeldom) {
  IdleTrimmer trimmer(1000);
  trimmer.Observe(true, 0);
  int wakeups = 0;
  for (int64_t now = 0; now < 100'000; now += 10) {
    trimmer.Created(now);
    trimmer.Observe(true, now);
    ASSERT_TRUE(trimmer.NextDeadline());
    if (now >= *trimmer.NextDeadline()) {
      ++wakeups;
      EXPECT_FALSE(trimmer.MayGiveBack(now)) << now;
    }
  }
  EXPECT_LE(wakeups, 100);
  // The last create was at 99990.
  EXPECT_FALSE(trimmer.MayGiveBack(100'980));
  EXPECT_EQ(trimmer.NextDeadline(), 100'990);
  EXPECT_TRUE(trimmer.MayGiveBack(100'990));
}

TEST(IdleTrimmerTest, ACreateInBetweenEndsIt) {
  IdleTrimmer trimmer(1000);
  trimmer.Observe(true, 0);
  EXPECT_TRUE(trimmer.MayGiveBack(1000));
  trimmer.Created(1005);
  trimmer.Observe(true, 1005);
  EXPECT_FALSE(trimmer.MayGiveBack(1010));
  EXPECT_EQ(trimmer.NextDeadline(), 2005);
}

TEST(IdleTrimmerTest, ZeroMeansNever) {
  IdleTrimmer trimmer(0);
  trimmer.Observe(true, 0);
  EXPECT_FALSE(trimmer.NextDeadline());
  EXPECT_FALSE(trimmer.MayGiveBack(INT64_MAX / 2));
}

}  // namespace
}  // namespace skyray::plasma
