// SPDX-License-Identifier: Apache-2.0
#include "plasma/object_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace skyray::plasma {
namespace {

using ::testing::IsEmpty;

class ObjectStoreTest : public ::testing::Test {
 protected:
  Outcome Create(ClientId client, const ObjectId& id, uint64_t bytes, bool primary = true) {
    return store.Create(client, 1, {id, owner, bytes, 0, primary}, false, now);
  }
  void Put(ClientId client, const ObjectId& id, uint64_t bytes, bool primary = true) {
    const Outcome outcome = Create(client, id, bytes, primary);
    ASSERT_TRUE(outcome.created.size() == 1 && outcome.created[0].place.has_value());
    store.Seal(client, id, false, now);
  }

  int64_t now = 1000;
  ObjectStore store{{.segment_bytes = {1024}, .create_grace_ms = 100}};
  const ClientId ann = store.AddClient();
  const ClientId bob = store.AddClient();
  const WorkerId owner = WorkerId::FromRandom();
  const ObjectId a = ObjectId::FromRandom();
  const ObjectId b = ObjectId::FromRandom();
};

TEST_F(ObjectStoreTest, ASealAnswersWhoWaitedAndTellsTheRaylet) {
  Create(ann, a, 10);
  EXPECT_THAT(store.Get(bob, 5, {a}, -1, now).got, IsEmpty());
  const Outcome outcome = store.Seal(ann, a, false, now);
  ASSERT_EQ(outcome.got.size(), 1u);
  EXPECT_EQ(outcome.got[0].client, bob);
  EXPECT_EQ(outcome.got[0].request_id, 5u);
  EXPECT_EQ(outcome.got[0].places[0]->bytes, 10u);
  ASSERT_EQ(outcome.events.size(), 1u);
  EXPECT_EQ(outcome.events[0].kind, StoreEvent::Kind::Added);
  EXPECT_EQ(store.objects().Find(a)->references, 1u) << "bob's; ann's went with the seal";
}

TEST_F(ObjectStoreTest, AnObjectDeletedWhileAwaitedReachesWhoWaited) {
  Create(ann, a, 10);
  store.Get(bob, 5, {a}, -1, now);
  const std::vector<ObjectId> ids{a};
  store.Delete(ids, now);
  EXPECT_TRUE(store.Seal(ann, a, false, now).got[0].places[0].has_value());
  const Outcome outcome = store.Release(bob, a, now);
  ASSERT_EQ(outcome.events.size(), 1u);
  EXPECT_EQ(outcome.events[0].kind, StoreEvent::Kind::Deleted);
}

TEST_F(ObjectStoreTest, AGetOfWhatIsNotEvenBeingCreatedNeedNotWait) {
  const Outcome outcome = store.Get(bob, 5, {a}, -1, now, /*created_only=*/true);
  ASSERT_EQ(outcome.got.size(), 1u);
  EXPECT_EQ(outcome.got[0].losses.at(0).why.code(), ErrorCode::ObjectNotFound);
  Create(ann, a, 10);
  EXPECT_THAT(store.Get(bob, 6, {a}, -1, now, /*created_only=*/true).got, IsEmpty());
  EXPECT_TRUE(store.Seal(ann, a, false, now).got[0].places[0].has_value());
}

TEST_F(ObjectStoreTest, AGetAnswersInPartAtItsDeadline) {
  Put(ann, a, 10);
  EXPECT_THAT(store.Get(bob, 5, {b, a}, 50, now).got, IsEmpty());
  EXPECT_EQ(store.NextDeadline(), now + 50);
  EXPECT_THAT(store.Tick(now + 49).got, IsEmpty());
  const Outcome outcome = store.Tick(now + 50);
  ASSERT_EQ(outcome.got.size(), 1u);
  EXPECT_FALSE(outcome.got[0].places[0].has_value());
  EXPECT_TRUE(outcome.got[0].places[1].has_value());
  EXPECT_FALSE(store.NextDeadline().has_value());
}

TEST_F(ObjectStoreTest, ACreateWaitsForRoomAndHoldsThoseBehindIt) {
  Put(ann, a, 600);
  EXPECT_THAT(Create(bob, b, 600).created, IsEmpty());
  EXPECT_THAT(Create(ann, ObjectId::FromRandom(), 10).created, IsEmpty());
  EXPECT_EQ(store.Stats().waiting_creates, 2u);
  const std::vector<ObjectId> ids{a};
  const Outcome outcome = store.Delete(ids, now + 99);
  ASSERT_EQ(outcome.created.size(), 2u);
  EXPECT_EQ(outcome.created[0].client, bob);
  EXPECT_TRUE(outcome.created[0].place.has_value());
  EXPECT_TRUE(outcome.created[1].place.has_value());
}

TEST_F(ObjectStoreTest, ACreateThatFindsNoRoomInTimeIsOutOfMemory) {
  Put(ann, a, 600);
  Create(bob, b, 600);
  EXPECT_EQ(store.NextDeadline(), now + 100);
  const Outcome outcome = store.Tick(now + 100);
  ASSERT_EQ(outcome.created.size(), 1u);
  EXPECT_EQ(outcome.created[0].place.error().code(), ErrorCode::OutOfMemory);
  EXPECT_THAT(outcome.created[0].place.error().message(), ::testing::HasSubstr("largest holders"));
}

TEST_F(ObjectStoreTest, AnObjectLargerThanTheStoreIsRefusedAtOnce) {
  const Outcome outcome = Create(bob, b, 1025);
  ASSERT_EQ(outcome.created.size(), 1u);
  EXPECT_EQ(outcome.created[0].place.error().code(), ErrorCode::OutOfMemory);
}

TEST_F(ObjectStoreTest, AClientsDeathMakesRoomForOthers) {
  Create(ann, a, 600);
  EXPECT_THAT(Create(bob, b, 600).created, IsEmpty());
  const Outcome outcome = store.RemoveClient(ann, now);
  ASSERT_EQ(outcome.created.size(), 1u);
  EXPECT_TRUE(outcome.created[0].place.has_value());
  EXPECT_EQ(store.objects().Find(a), nullptr);
}

TEST_F(ObjectStoreTest, AClientsDeathReleasesWhatItHeldAndAwaited) {
  Put(ann, a, 10);
  store.Get(bob, 1, {a, a}, 0, now);
  store.Get(bob, 2, {a, b}, -1, now);
  EXPECT_EQ(store.objects().Find(a)->references, 3u);
  store.RemoveClient(bob, now);
  EXPECT_EQ(store.objects().Find(a)->references, 0u);
  EXPECT_EQ(store.Stats().waiting_gets, 0u);
  Create(ann, b, 10);
  EXPECT_THAT(store.Seal(ann, b, false, now).got, IsEmpty());
}

TEST_F(ObjectStoreTest, NonsenseIsCountedAndDoesNothing) {
  Create(ann, a, 10);
  store.Seal(bob, a, false, now);
  store.Abort(bob, a, now);
  store.Release(bob, a, now);
  store.Release(ann, a, now);  // The creator's reference goes with Seal or Abort only.
  store.Seal(ann, b, false, now);
  EXPECT_EQ(store.Stats().ignored_requests_total, 5u);
  EXPECT_EQ(store.objects().Find(a)->references, 1u);
  EXPECT_FALSE(store.Contains(a));
}

TEST_F(ObjectStoreTest, AReferenceReleasedWhileTheGetWaitsIsNotGivenOut) {
  Put(ann, a, 10);
  store.Get(bob, 5, {a, b}, 50, now);
  store.Release(bob, a, now);
  const std::vector<ObjectId> ids{a};
  store.Delete(ids, now);
  const Outcome outcome = store.Tick(now + 50);
  EXPECT_FALSE(outcome.got[0].places[0].has_value());
}

TEST_F(ObjectStoreTest, NothingIsCreatedForADeadOwner) {
  Put(ann, a, 10);
  Create(ann, b, 10);
  EXPECT_EQ(store.OwnerDied(owner, now).events.size(), 1u);
  EXPECT_EQ(Create(ann, ObjectId::FromRandom(), 10).created[0].place.error().code(),
            ErrorCode::OwnerDied);
  store.Seal(ann, b, false, now);
  EXPECT_EQ(store.Stats().objects.all.objects, 0u);
}

TEST_F(ObjectStoreTest, GetsThatWaitAreBoundedPerClient) {
  for (uint64_t i = 0; i < kWaitingGetsPerClientMax; ++i) {
    ASSERT_THAT(store.Get(ann, i, {a}, -1, now).got, IsEmpty());
  }
  EXPECT_EQ(store.Get(ann, 0, {a}, -1, now).got.size(), 1u);
  EXPECT_THAT(store.Get(bob, 0, {a}, -1, now).got, IsEmpty());
}

TEST_F(ObjectStoreTest, IdsThatWaitAreBoundedPerClient) {
  const std::vector<ObjectId> many(kWaitingIdsPerClientMax / 2, a);
  ASSERT_THAT(store.Get(ann, 1, many, -1, now).got, IsEmpty());
  ASSERT_THAT(store.Get(ann, 2, many, -1, now).got, IsEmpty());
  EXPECT_EQ(store.Get(ann, 3, {a}, -1, now).got.size(), 1u);
  EXPECT_THAT(store.Get(bob, 1, {a}, -1, now).got, IsEmpty());
}

TEST_F(ObjectStoreTest, TheStoresOwnProcessMayWaitForAsMuchAsItLikes) {
  const ClientId own = store.AddOwnProcess();
  for (uint64_t i = 0; i <= kWaitingGetsPerClientMax; ++i) {
    EXPECT_THAT(store.Get(own, i, {a}, -1, now).got, IsEmpty()) << i;
  }
  store.Create(ann, 1, {b, owner, 1000, 0, true}, false, now);
  for (uint64_t i = 0; i <= kWaitingCreatesPerClientMax; ++i) {
    const NewObject object{ObjectId::FromRandom(), owner, 1000, 0, true};
    ASSERT_THAT(store.Create(own, i, object, false, now).created, IsEmpty()) << i;
  }
}

TEST(ObjectStoreWalkTest, WhateverClientsDoNothingIsLeftWhenTheyAreGone) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  ObjectStore store({.segment_bytes = {1 << 14}, .create_grace_ms = 10});
  std::vector<ObjectId> ids;
  for (int i = 0; i < 30; ++i) ids.push_back(ObjectId::FromRandom());
  const WorkerId owner = WorkerId::FromRandom();
  std::vector<ClientId> clients;
  for (int i = 0; i < 5; ++i) clients.push_back(store.AddClient());
  for (int64_t now = 0; now < 20000; ++now) {
    ClientId& client = clients[random() % clients.size()];
    const ObjectId& id = ids[random() % ids.size()];
    switch (random() % 9) {
      case 0:
      case 1:
        store.Create(client, 1, {id, owner, random() % 3000, 0, random() % 2 == 0}, false, now);
        break;
      case 2:
      case 3:
        store.Seal(client, id, false, now);
        break;
      case 4:
        store.Get(client, 2, {id, ids[random() % ids.size()], id},
                  static_cast<int64_t>(random() % 20) - 1, now);
        break;
      case 5:
      case 6:
        store.Release(client, id, now);
        break;
      case 7:
        store.Delete(std::span(&id, 1), now);
        break;
      case 8:
        if (random() % 20 == 0) {
          store.RemoveClient(client, now);
          client = store.AddClient();
        }
        break;
    }
    store.Tick(now);
    const StoreStats stats = store.Stats();
    ASSERT_EQ(stats.allocated_bytes, stats.objects.all.bytes);
  }
  for (const ClientId client : clients) store.RemoveClient(client, 20000);
  EXPECT_EQ(store.Stats().objects.in_use.objects, 0u);
  EXPECT_EQ(store.Stats().waiting_gets, 0u);
  store.OwnerDied(owner, 20000);
  EXPECT_EQ(store.Stats().allocated_bytes, 0u);
}

}  // namespace
}  // namespace skyray::plasma
