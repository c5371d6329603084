// SPDX-License-Identifier: Apache-2.0
#include "common/rounds.h"

#include <gmock/gmock.h>

namespace skyray {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(RoundsTest, OneIsOverWhenAllHaveAnsweredOrLeft) {
  Rounds<int> rounds;
  EXPECT_FALSE(rounds.Begin(1, {7, 8, 9}));
  EXPECT_THAT(rounds.Answered(7, 1), IsEmpty());
  EXPECT_THAT(rounds.Answered(7, 1), IsEmpty()) << "twice is once";
  EXPECT_THAT(rounds.Left(9), IsEmpty());
  EXPECT_THAT(rounds.Answered(5, 1), IsEmpty()) << "it was not asked";
  EXPECT_THAT(rounds.Answered(8, 1), ElementsAre(1));
  EXPECT_EQ(rounds.size(), 0u);
}

TEST(RoundsTest, WithNobodyToAskItIsOverAtOnce) {
  Rounds<int> rounds;
  EXPECT_TRUE(rounds.Begin(1, {}));
  EXPECT_EQ(rounds.size(), 0u);
}

TEST(RoundsTest, AnAnswerIsOneToTheRoundsBeforeItToo) {
  Rounds<int> rounds;
  rounds.Begin(1, {7});
  rounds.Begin(2, {7, 8});
  rounds.Begin(3, {7});
  EXPECT_THAT(rounds.Answered(7, 2), ElementsAre(1));
  EXPECT_THAT(rounds.Answered(8, 2), ElementsAre(2));
  EXPECT_THAT(rounds.Left(7), ElementsAre(3));
}

TEST(RoundsTest, OfThoseThatNobodyAnswersTheOldestAreForgotten) {
  Rounds<int> rounds;
  for (uint64_t i = 1; i <= Rounds<int>::kRoundsMax + 2; ++i) rounds.Begin(i, {7});
  EXPECT_EQ(rounds.size(), Rounds<int>::kRoundsMax);
  EXPECT_THAT(rounds.Answered(7, 3), ElementsAre(3));
  rounds.Forget(4);
  EXPECT_THAT(rounds.Answered(7, 5), ElementsAre(5));
}

}  // namespace
}  // namespace skyray
