// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "plasma/clients.h"
#include "plasma/create_queue.h"
#include "plasma/get_queue.h"

namespace skyray::plasma {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class GetQueueTest : public ::testing::Test {
 protected:
  void Wait(ClientId client, uint64_t request_id, std::vector<ObjectId> ids,
            std::optional<int64_t> deadline_ms = std::nullopt) {
    WaitingGet get;
    get.client = client;
    get.request_id = request_id;
    get.found.resize(ids.size());
    get.ids = std::move(ids);
    get.deadline_ms = deadline_ms;
    queue.Add(std::move(get));
  }

  GetQueue queue;
  const ObjectId a = ObjectId::FromRandom();
  const ObjectId b = ObjectId::FromRandom();
};

TEST_F(GetQueueTest, AGetIsCompleteWhenItsLastObjectIsSealed) {
  Wait(kAnn, 7, {a, b});
  const auto first = queue.OnSealed(a);
  EXPECT_THAT(first.finders, ElementsAre(kAnn));
  EXPECT_THAT(first.complete, IsEmpty());
  const auto second = queue.OnSealed(b);
  ASSERT_EQ(second.complete.size(), 1u);
  EXPECT_EQ(second.complete[0].request_id, 7u);
  EXPECT_THAT(second.complete[0].found, ElementsAre(true, true));
  EXPECT_EQ(queue.size(), 0u);
}

TEST_F(GetQueueTest, OneSealServesAllWhoWait) {
  Wait(kAnn, 1, {a});
  Wait(kBob, 2, {a, a});
  const auto filled = queue.OnSealed(a);
  EXPECT_THAT(filled.finders, ElementsAre(kAnn, kBob, kBob)) << "a reference for each position";
  EXPECT_EQ(filled.complete.size(), 2u);
  EXPECT_THAT(queue.OnSealed(a).finders, IsEmpty());
}

TEST_F(GetQueueTest, AtItsDeadlineAGetHasWhatWasFound) {
  Wait(kAnn, 1, {a, b}, 100);
  Wait(kBob, 2, {b}, 50);
  EXPECT_EQ(queue.NextDeadline(), 50);
  queue.OnSealed(a);
  EXPECT_THAT(queue.TakeExpired(49), IsEmpty());
  const auto expired = queue.TakeExpired(100);
  ASSERT_EQ(expired.size(), 2u);
  EXPECT_EQ(expired[0].request_id, 2u);
  EXPECT_THAT(expired[1].found, ElementsAre(true, false));
  EXPECT_THAT(queue.OnSealed(b).finders, IsEmpty());
  EXPECT_FALSE(queue.NextDeadline().has_value());
}

TEST_F(GetQueueTest, AClientThatLeavesWaitsForNothing) {
  Wait(kAnn, 1, {a, a, b}, 100);
  Wait(kBob, 2, {a});
  EXPECT_EQ(queue.LoadOf(kAnn).gets, 1u);
  EXPECT_EQ(queue.LoadOf(kAnn).ids, 3u);
  queue.RemoveClient(kAnn);
  EXPECT_EQ(queue.LoadOf(kAnn).gets, 0u);
  EXPECT_FALSE(queue.NextDeadline().has_value());
  EXPECT_THAT(queue.OnSealed(a).finders, ElementsAre(kBob));
  EXPECT_THAT(queue.OnSealed(b).finders, IsEmpty());
}

// Once each position looked at all that wait for its object: a client that said
// the same id half a million times, twice, stopped the store when it left.
TEST_F(GetQueueTest, RepeatedIdsOfManyGetsLeaveInNoTime) {
  const std::vector<ObjectId> many(200000, a);
  for (uint64_t i = 0; i < 4; ++i) Wait(kAnn, i, many);
  Wait(kBob, 9, {a});
  queue.RemoveClient(kAnn);
  EXPECT_EQ(queue.size(), 1u);
  EXPECT_THAT(queue.OnSealed(a).finders, ElementsAre(kBob));
}

TEST_F(GetQueueTest, WhatIsLostIsNotWaitedFor) {
  Wait(kAnn, 1, {a, b});
  Wait(kBob, 2, {a, a});
  const auto complete = queue.OnLost(a, Status(ErrorCode::ObjectLost, "gone"));
  ASSERT_EQ(complete.size(), 1u);
  EXPECT_EQ(complete[0].request_id, 2u);
  ASSERT_EQ(complete[0].losses.size(), 2u);
  EXPECT_EQ(complete[0].losses[1].position, 1u);
  EXPECT_EQ(complete[0].losses[1].why.message(), "gone");
  const auto filled = queue.OnSealed(b);
  ASSERT_EQ(filled.complete.size(), 1u);
  EXPECT_THAT(filled.complete[0].found, ElementsAre(false, true));
  EXPECT_EQ(filled.complete[0].losses.size(), 1u);
  EXPECT_THAT(queue.OnSealed(a).finders, IsEmpty());
}

TEST(CreateQueueTest, FirstComeFirstServed) {
  CreateQueue queue;
  EXPECT_EQ(queue.Front(), nullptr);
  queue.Push({kAnn, 1, {}, 10});
  queue.Push({kBob, 2, {}, 20});
  queue.Push({kAnn, 3, {}, 30});
  EXPECT_TRUE(queue.EndsWith(kAnn, 3));
  queue.RemoveClient(kAnn);
  ASSERT_NE(queue.Front(), nullptr);
  EXPECT_EQ(queue.Front()->request_id, 2u);
  EXPECT_TRUE(queue.EndsWith(kBob, 2));
  queue.PopFront();
  EXPECT_EQ(queue.size(), 0u);
  EXPECT_FALSE(queue.EndsWith(kBob, 2));
}

}  // namespace
}  // namespace skyray::plasma
