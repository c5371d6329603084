// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "plasma/object_store.h"

namespace skyray::plasma {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A store of 1024 bytes; ann and bob ask again for what is unfinished.
class CreatesTest : public ::testing::Test {
 protected:
  // What the store says at once: "room", "unfinished", nothing, or an error's name.
  std::string Said(const Outcome& outcome, ClientId client, uint64_t request_id) {
    std::string said;
    for (const CreateDone& done : outcome.created) {
      if (done.client != client || done.request_id != request_id) continue;
      EXPECT_EQ(said, "") << "answered twice";
      if (done.unfinished) {
        said = "unfinished";
      } else {
        said = done.place ? "room" : fb::EnumNameErrorCode(done.place.error().code());
      }
    }
    return said;
  }
  std::string Create(ClientId client, uint64_t request_id, const ObjectId& id, uint64_t bytes,
                     bool try_immediately = false) {
    const NewObject object{id, owner, bytes, 0, true};
    return Said(store.Create(client, request_id, object, try_immediately, now), client, request_id);
  }
  std::string Create(ClientId client, uint64_t request_id, uint64_t bytes) {
    return Create(client, request_id, ObjectId::FromRandom(), bytes);
  }
  std::string Retry(ClientId client, uint64_t create, uint64_t request_id, uint64_t wait_ms = 0) {
    return Said(store.CreateRetry(client, request_id, create, wait_ms, now), client, request_id);
  }

  int64_t now = 1000;
  ObjectStore store{{.segment_bytes = {1024}, .create_grace_ms = 100}};
  const ClientId ann = store.AddClient(/*asks_again=*/true);
  const ClientId bob = store.AddClient(/*asks_again=*/true);
  const WorkerId owner = WorkerId::FromRandom();
  const ObjectId a = ObjectId::FromRandom();
  const ObjectId b = ObjectId::FromRandom();
  const ObjectId c = ObjectId::FromRandom();
};

TEST_F(CreatesTest, TheHeadHoldsBackThoseBehindIt) {
  EXPECT_EQ(Create(ann, 1, a, 600), "room");
  EXPECT_EQ(Create(bob, 2, b, 600), "unfinished");
  EXPECT_EQ(Create(ann, 3, c, 10), "unfinished") << "there is room for it, but bob was first";
  EXPECT_EQ(Retry(ann, 3, 4), "unfinished");
  store.Abort(ann, a, now);
  EXPECT_EQ(Retry(bob, 2, 5), "room");
  EXPECT_EQ(Retry(ann, 3, 6), "room");
  EXPECT_EQ(store.Stats().waiting_creates, 0u);
}

TEST_F(CreatesTest, AResultIsGivenOnce) {
  Create(ann, 1, a, 600);
  Create(bob, 2, b, 600);
  store.Abort(ann, a, now);
  EXPECT_EQ(Retry(ann, 2, 3), "ObjectNotFound") << "it is bob's";
  EXPECT_EQ(Retry(bob, 2, 3), "room");
  EXPECT_EQ(Retry(bob, 2, 4), "ObjectNotFound");
  EXPECT_EQ(Retry(bob, 99, 5), "ObjectNotFound") << "never created";
}

TEST_F(CreatesTest, WhoAsksAndWaitsIsAnsweredInTheStepThatFreesRoom) {
  Create(ann, 1, a, 600);
  Create(bob, 2, b, 600);
  EXPECT_EQ(Retry(bob, 2, 3, 50), "");
  EXPECT_EQ(Said(store.Abort(ann, a, now), bob, 3), "room");
  EXPECT_EQ(Retry(bob, 2, 4), "ObjectNotFound");
}

TEST_F(CreatesTest, WhoAsksAndWaitsInVainHearsSoInTime) {
  Create(ann, 1, a, 600);
  Create(bob, 2, b, 600);
  EXPECT_EQ(Retry(bob, 2, 3, 50), "");
  EXPECT_EQ(store.NextDeadline(), now + 50);
  EXPECT_EQ(Said(store.Tick(now + 49), bob, 3), "");
  EXPECT_EQ(Said(store.Tick(now + 50), bob, 3), "unfinished");
  EXPECT_EQ(store.NextDeadline(), now + 100) << "the grace";
}

TEST_F(CreatesTest, AfterTheGraceItIsOutOfMemory) {
  Create(ann, 1, a, 600);
  Create(bob, 2, b, 600);
  Create(bob, 3, c, 500);
  EXPECT_EQ(Retry(bob, 2, 4, 100), "");
  const Outcome outcome = store.Tick(now + 100);
  EXPECT_EQ(Said(outcome, bob, 4), "OutOfMemory") << "the end and not `unfinished` again";
  ASSERT_EQ(outcome.created.size(), 1u);
  EXPECT_THAT(outcome.created[0].place.error().message(), HasSubstr("600 bytes"));
  EXPECT_THAT(outcome.created[0].place.error().message(), HasSubstr("largest holders"));
  EXPECT_EQ(Retry(bob, 3, 5), "OutOfMemory") << "it waited as long";
}

TEST_F(CreatesTest, AFullStoreCostsTheGraceOnce) {
  Create(ann, 1, a, 600);
  Create(bob, 2, 600);
  now += 100;
  store.Tick(now);
  EXPECT_EQ(Retry(bob, 2, 3), "OutOfMemory");
  EXPECT_EQ(Create(bob, 4, 600), "OutOfMemory") << "another waited in vain just now";
  now += 100;
  EXPECT_EQ(Create(ann, 5, 600), "OutOfMemory") << "and that was just now, too";
  now += 101;
  EXPECT_EQ(Create(bob, 6, 600), "unfinished") << "that is a while ago";
}

TEST_F(CreatesTest, OnceThereWasRoomTheGraceIsGivenAgain) {
  Create(ann, 1, a, 600);
  Create(bob, 2, 600);
  now += 100;
  store.Tick(now);
  store.Abort(ann, a, now);
  now += 1;
  EXPECT_EQ(Create(ann, 3, b, 600), "room");
  EXPECT_EQ(Create(bob, 4, 600), "unfinished");
}

TEST_F(CreatesTest, WhatFreesMemoryServesTheQueueInTheSameStep) {
  const ObjectId* held = &a;
  const auto fill = [&](bool primary) {
    EXPECT_EQ(Said(store.Create(ann, 1, {a, owner, 600, 0, primary}, false, now), ann, 1), "room");
  };
  const auto wait = [&] {
    const NewObject object{b, WorkerId::FromRandom(), 600, 0, true};
    EXPECT_EQ(Said(store.Create(bob, 2, object, false, now), bob, 2), "unfinished");
    EXPECT_EQ(Retry(bob, 2, 3, 50), "");
  };
  const auto served = [&](const Outcome& outcome) {
    EXPECT_EQ(Said(outcome, bob, 3), "room");
    store.Abort(bob, b, now);
  };
  fill(true);
  wait();
  served(store.Abort(ann, a, now));

  fill(true);
  store.Seal(ann, a, false, now);
  wait();
  served(store.Delete(std::span(held, 1), now));

  fill(false);
  store.Seal(ann, a, /*keep_reference=*/true, now);
  wait();
  served(store.Release(ann, a, now));  // Evicted in the same step.

  fill(false);
  wait();
  served(store.Seal(ann, a, false, now));

  fill(true);
  store.Seal(ann, a, false, now);
  wait();
  served(store.OwnerDied(owner, now));
}

TEST_F(CreatesTest, AClientsDeathServesTheQueue) {
  Create(ann, 1, a, 600);
  Create(bob, 2, b, 600);
  Retry(bob, 2, 3, 50);
  EXPECT_EQ(Said(store.RemoveClient(ann, now), bob, 3), "room");
}

TEST_F(CreatesTest, AClientThatDiesInTheQueueHoldsNobodyBack) {
  Create(ann, 1, a, 600);
  Create(bob, 2, b, 600);
  Create(ann, 3, c, 100);
  Retry(ann, 3, 4, 50);
  EXPECT_EQ(Said(store.RemoveClient(bob, now), ann, 4), "room");
  EXPECT_EQ(store.Stats().waiting_creates, 0u);
}

TEST_F(CreatesTest, AClientThatDiesBeforeItAskedLeavesNothing) {
  Create(ann, 1, a, 600);
  Create(bob, 2, b, 600);
  store.Abort(ann, a, now);
  EXPECT_NE(store.objects().Find(b), nullptr);
  store.RemoveClient(bob, now);
  EXPECT_EQ(store.Stats().allocated_bytes, 0u);
}

TEST_F(CreatesTest, AnObjectAbortedBeforeItWasAskedForIsGone) {
  Create(ann, 1, a, 600);
  Create(bob, 2, b, 600);
  store.Abort(ann, a, now);
  store.Abort(bob, b, now);
  EXPECT_EQ(Retry(bob, 2, 3), "ObjectNotFound");
}

TEST_F(CreatesTest, AnAbortWithdrawsACreateThatWaits) {
  Create(ann, 1, a, 600);
  Create(bob, 2, b, 600);
  EXPECT_EQ(Create(ann, 3, c, 100), "unfinished");
  EXPECT_EQ(Retry(ann, 3, 4, 50), "");
  EXPECT_EQ(Said(store.Abort(bob, b, now), ann, 4), "room") << "bob held her back";
  EXPECT_EQ(Retry(bob, 2, 5), "ObjectNotFound");
  EXPECT_EQ(store.Stats().ignored_requests_total, 0u);
}

TEST_F(CreatesTest, AWithdrawnCreateAnswersWhoAsked) {
  Create(ann, 1, a, 600);
  Create(bob, 2, b, 600);
  EXPECT_EQ(Retry(bob, 2, 3, 50), "");
  EXPECT_EQ(Said(store.Abort(bob, b, now), bob, 3), "Cancelled");
}

TEST_F(CreatesTest, WithdrawnCreatesTakeNoneOfTheClientsRoom) {
  Create(ann, 1, a, 1024);
  for (uint64_t i = 0; i < 3 * kUnfinishedPerClientMax; ++i) {
    ASSERT_EQ(Create(bob, i, b, 600), "unfinished");
    if (i % 2 == 0) {  // Its room comes, but it is never asked for.
      store.Abort(ann, a, now);
      ASSERT_TRUE(store.objects().Find(b) != nullptr);
      store.Abort(bob, b, now);
      ASSERT_EQ(Create(ann, 1, a, 1024), "room");
    } else {
      store.Abort(bob, b, now);
    }
  }
}

TEST_F(CreatesTest, TryImmediatelyTakesNothingFromThoseWhoWait) {
  Create(ann, 1, a, 600);
  EXPECT_EQ(Create(ann, 2, c, 100, true), "room");
  EXPECT_EQ(Create(bob, 3, b, 600), "unfinished");
  EXPECT_EQ(Create(ann, 4, ObjectId::FromRandom(), 100, true), "OutOfMemory");
  EXPECT_EQ(Create(ann, 5, c, 100, true), "ObjectExists");
  EXPECT_EQ(store.Stats().waiting_creates, 1u);
}

TEST_F(CreatesTest, WhatCanNeverFitDoesNotWait) {
  Create(ann, 1, a, 600);
  EXPECT_EQ(Create(bob, 2, b, 1025), "OutOfMemory");
  EXPECT_EQ(Create(bob, 2, b, UINT64_MAX), "OutOfMemory");
  const NewObject huge{b, owner, UINT64_MAX, UINT64_MAX, true};
  EXPECT_EQ(Said(store.Create(bob, 3, huge, false, now), bob, 3), "OutOfMemory");
  EXPECT_EQ(store.Stats().waiting_creates, 0u);
}

TEST_F(CreatesTest, ADeadOwnersCreatesLeaveTheQueue) {
  Create(ann, 1, a, 600);
  const WorkerId dead = WorkerId::FromRandom();
  const Outcome waits = store.Create(bob, 2, {b, dead, 600, 0, true}, false, now);
  EXPECT_EQ(Said(waits, bob, 2), "unfinished");
  Retry(bob, 2, 3, 50);
  EXPECT_EQ(Said(store.OwnerDied(dead, now), bob, 3), "OwnerDied");
}

TEST_F(CreatesTest, ARequestIdInUseIsRefused) {
  Create(ann, 1, a, 600);
  EXPECT_EQ(Create(bob, 2, b, 600), "unfinished");
  EXPECT_EQ(Create(bob, 2, c, 600), "InvalidRequest");
}

TEST_F(CreatesTest, WaitingCreatesAreBoundedForEachClientAlone) {
  Create(ann, 1, a, 1024);
  const ClientId old = store.AddClient(/*asks_again=*/false);
  for (uint64_t i = 0; i < kUnfinishedPerClientMax; ++i) {
    ASSERT_EQ(Create(bob, i, 100), "unfinished");
  }
  for (uint64_t i = 0; i < kWaitingCreatesPerClientMax; ++i) ASSERT_EQ(Create(old, i, 100), "");
  EXPECT_EQ(Create(bob, 9999, 100), "InvalidRequest");
  EXPECT_EQ(Create(old, 9999, 100), "OutOfMemory");
  // However many others wait, there is a place for who comes next.
  const ClientId next = store.AddClient(/*asks_again=*/true);
  EXPECT_EQ(Create(next, 1, 100), "unfinished");

  store.RemoveClient(old, now);
  store.RemoveClient(bob, now);
  EXPECT_EQ(store.Stats().waiting_creates, 1u);
}

TEST_F(CreatesTest, AnEndedCreateMakesRoomForAnotherOfItsClient) {
  Create(ann, 1, a, 1024);
  const ClientId old = store.AddClient(/*asks_again=*/false);
  uint64_t last = 0;
  while (last < kWaitingCreatesPerClientMax) ASSERT_EQ(Create(old, ++last, 128), "");
  EXPECT_EQ(Create(old, last + 1, 128), "OutOfMemory");
  store.Abort(ann, a, now);  // Eight of them fit.
  for (int i = 0; i < 8; ++i) EXPECT_EQ(Create(old, ++last, 128), "");
  EXPECT_EQ(Create(old, last + 1, 128), "OutOfMemory");
  now += 100;  // None of the others will find room.
  store.Tick(now);
  EXPECT_EQ(store.Stats().waiting_creates, 0u);
  now += 101;  // They waited in vain a while ago: others may hope again.
  EXPECT_EQ(Create(old, ++last, 128), "");
}

TEST_F(CreatesTest, OneThatDoesNotAskAgainHearsOfTheEnd) {
  const ClientId old = store.AddClient(/*asks_again=*/false);
  Create(ann, 1, a, 600);
  EXPECT_EQ(Create(old, 2, b, 600), "");
  EXPECT_EQ(Said(store.Abort(ann, a, now), old, 2), "room");
}

}  // namespace
}  // namespace skyray::plasma
