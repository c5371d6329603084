// SPDX-License-Identifier: Apache-2.0
#include "plasma/unfinished_creates.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "plasma/clients.h"

namespace skyray::plasma {
namespace {

using ::testing::IsEmpty;

class UnfinishedCreatesTest : public ::testing::Test {
 protected:
  std::optional<uint64_t> Finish(ClientId client, uint64_t create) {
    return creates.Finish(client, create, {id, Status()});
  }
  UnfinishedCreates creates;
  const ObjectId id = ObjectId::FromRandom();
};

TEST_F(UnfinishedCreatesTest, AResultIsKeptUntilAskedForAndGivenOnce) {
  creates.Add(kAnn, 7);
  EXPECT_FALSE(Finish(kAnn, 7).has_value());
  EXPECT_FALSE(creates.Ask(kBob, 7, 8, std::nullopt).known) << "it is ann's";
  const auto answer = creates.Ask(kAnn, 7, 8, 100);
  ASSERT_TRUE(answer.ending.has_value());
  EXPECT_EQ(answer.ending->id, id);
  EXPECT_FALSE(creates.Ask(kAnn, 7, 9, 100).known);
  EXPECT_FALSE(creates.NextDeadline().has_value());
}

TEST_F(UnfinishedCreatesTest, WhoAsksEarlyIsAnsweredWhenItEnds) {
  creates.Add(kAnn, 7);
  EXPECT_FALSE(creates.Ask(kAnn, 7, 8, 100).ending.has_value());
  EXPECT_EQ(creates.NextDeadline(), 100);
  EXPECT_EQ(Finish(kAnn, 7), 8u);
  EXPECT_FALSE(creates.NextDeadline().has_value());
  EXPECT_FALSE(creates.Ask(kAnn, 7, 9, 100).known) << "given already";
}

TEST_F(UnfinishedCreatesTest, AQuestionEndsAtItsDeadlineAndMayBeAskedAgain) {
  creates.Add(kAnn, 7);
  creates.Ask(kAnn, 7, 8, 100);
  EXPECT_THAT(creates.TakeExpired(99), IsEmpty());
  const auto expired = creates.TakeExpired(100);
  ASSERT_EQ(expired.size(), 1u);
  EXPECT_EQ(expired[0].request_id, 8u);
  EXPECT_THAT(creates.TakeExpired(200), IsEmpty());
  creates.Ask(kAnn, 7, 9, 300);
  EXPECT_EQ(Finish(kAnn, 7), 9u);
}

TEST_F(UnfinishedCreatesTest, ASecondQuestionTakesTheFirstOnesPlace) {
  creates.Add(kAnn, 7);
  creates.Ask(kAnn, 7, 8, 100);
  EXPECT_EQ(creates.Ask(kAnn, 7, 9, 200).replaced, 8u);
  EXPECT_EQ(creates.NextDeadline(), 200);
  EXPECT_EQ(Finish(kAnn, 7), 9u);
}

TEST_F(UnfinishedCreatesTest, AClientHasOnlySoManyAndNoneTwice) {
  for (uint64_t i = 0; i < kUnfinishedPerClientMax; ++i) creates.Add(kAnn, i);
  EXPECT_FALSE(creates.HasRoom(kAnn, 9999));
  EXPECT_TRUE(creates.HasRoom(kBob, 1));
  creates.Add(kBob, 1);
  EXPECT_FALSE(creates.HasRoom(kBob, 1)) << "that number is in use";
  Finish(kAnn, 3);
  creates.Ask(kAnn, 3, 10000, 1);
  EXPECT_TRUE(creates.HasRoom(kAnn, 9999));
}

TEST_F(UnfinishedCreatesTest, NothingIsLeftOfAClientThatLeft) {
  creates.Add(kAnn, 7);
  creates.Add(kAnn, 8);
  creates.Add(kBob, 7);
  creates.Ask(kAnn, 7, 9, 100);
  Finish(kAnn, 8);
  creates.RemoveClient(kAnn);
  EXPECT_FALSE(creates.NextDeadline().has_value());
  EXPECT_FALSE(creates.Contains(kAnn, 7));
  EXPECT_FALSE(creates.Contains(kAnn, 8));
  EXPECT_TRUE(creates.Contains(kBob, 7));
}

}  // namespace
}  // namespace skyray::plasma
