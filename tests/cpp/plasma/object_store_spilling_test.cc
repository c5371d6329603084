// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "plasma/object_store.h"

namespace skyray::plasma {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using Kind = StoreEvent::Kind;

// A store of 1024 bytes with somebody who spills, and a client, ann.
class SpillingTest : public ::testing::Test {
 protected:
  Outcome Create(uint64_t request_id, const ObjectId& id, uint64_t bytes, bool primary = true) {
    return store.Create(ann, request_id, {id, owner, bytes, 0, primary}, false, now);
  }
  Outcome Put(const ObjectId& id, uint64_t bytes, bool primary = true) {
    EXPECT_TRUE(Create(1, id, bytes, primary).created.at(0).place.has_value());
    return store.Seal(ann, id, false, now);
  }
  std::vector<ObjectId> Take(uint64_t bytes_min, size_t objects_max = 100) {
    std::vector<ObjectId> ids;
    for (const LocalObject* object : store.TakeSpillable(bytes_min, objects_max)) {
      ids.push_back(object->object.id);
    }
    return ids;
  }
  Outcome Spilled(const ObjectId& id) { return store.Spilled(std::span(&id, 1), now); }
  Outcome SpillFailed(const ObjectId& id, const char* why = "no disk") {
    return store.SpillFailed(std::span(&id, 1), Status(ErrorCode::IoError, why), now);
  }
  Outcome Delete(const ObjectId& id) { return store.Delete(std::span(&id, 1), now); }
  Outcome Get(const ObjectId& id, int64_t timeout_ms = -1) {
    return store.Get(ann, 7, {id}, timeout_ms, now);
  }
  // On disk and not in memory.
  void SpillAway(const ObjectId& id, uint64_t bytes) {
    Put(id, bytes);
    EXPECT_THAT(Take(1), ElementsAre(id));
    Spilled(id);
    EXPECT_GT(store.Evict(1, now).evicted_bytes, 0u);
    EXPECT_EQ(StateOf(id), ObjectState::Spilled);
  }
  std::optional<ObjectState> StateOf(const ObjectId& id) const {
    const LocalObject* object = store.objects().Find(id);
    return object == nullptr ? std::nullopt : std::optional(object->state);
  }
  static std::vector<Kind> Kinds(const Outcome& outcome) {
    std::vector<Kind> kinds;
    for (const StoreEvent& event : outcome.events) kinds.push_back(event.kind);
    return kinds;
  }
  static uint64_t Wanted(const Outcome& outcome) {
    uint64_t bytes = 0;
    for (const StoreEvent& event : outcome.events) {
      if (event.kind == Kind::SpaceWanted) bytes += event.bytes;
    }
    return bytes;
  }

  int64_t now = 100000;
  ObjectStore store{{.segment_bytes = {1024},
                     .create_grace_ms = 100,
                     .full_delay_ms = 10,
                     .spill_threshold = 0.5,
                     .spilling = true}};
  const ClientId ann = store.AddClient(/*asks_again=*/true);
  const ClientId carrier = store.AddClient();
  const WorkerId owner = WorkerId::FromRandom();
  const ObjectId a = ObjectId::FromRandom();
  const ObjectId b = ObjectId::FromRandom();
  const ObjectId c = ObjectId::FromRandom();
};

TEST_F(SpillingTest, WhatIsInUseBeyondTheThresholdIsWanted) {
  EXPECT_EQ(Wanted(Put(a, 512)), 0u) << "just at the threshold";
  EXPECT_EQ(Wanted(Create(2, b, 128)), 128u);
  EXPECT_EQ(Wanted(store.Tick(now)), 0u) << "said already";
  EXPECT_EQ(store.NextDeadline(), now + 100);
  EXPECT_EQ(Wanted(store.Tick(now + 100)), 128u) << "not under way yet";
  EXPECT_THAT(Take(128), ElementsAre(a));
  EXPECT_FALSE(store.NextDeadline().has_value()) << "enough is under way";
  EXPECT_EQ(Wanted(Spilled(a)), 0u);
  EXPECT_EQ(StateOf(a), ObjectState::Sealed) << "stays while nobody needs the room";
}

TEST_F(SpillingTest, NothingIsWantedWhereNothingCanBeSpilled) {
  EXPECT_THAT(Kinds(Create(1, a, 1000)), IsEmpty()) << "not sealed";
  EXPECT_THAT(Kinds(Create(2, b, 1000)), IsEmpty());
  EXPECT_EQ(store.NextDeadline(), now + 100) << "only the grace";
}

TEST_F(SpillingTest, TheLeastRecentlyUsedIsTakenFirst) {
  Put(a, 64);
  Put(b, 64);
  Put(c, 64);
  Get(a);
  store.Release(ann, a, now);
  EXPECT_THAT(Take(65), ElementsAre(b, c));
  EXPECT_THAT(Take(65), ElementsAre(a));
  EXPECT_THAT(Take(65), IsEmpty());
}

TEST_F(SpillingTest, NeitherSecondaryNorUsedNorStoredIsTaken) {
  Put(a, 64, /*primary=*/false);
  Put(b, 64);
  Get(b);
  Put(c, 64);
  EXPECT_THAT(Take(1000, 1), ElementsAre(c));
  Spilled(c);
  EXPECT_THAT(Take(1000), IsEmpty());
}

TEST_F(SpillingTest, TheHeadWantsWhatItLacks) {
  Put(a, 600);
  const Outcome full = Create(2, b, 600);
  EXPECT_TRUE(full.created.at(0).unfinished);
  EXPECT_EQ(Wanted(store.Tick(now + 10)), 256u) << "640 + 640 - 1024";
}

TEST_F(SpillingTest, TheHeadAsksAgainEachDelayUntilEnoughIsUnderWay) {
  Put(a, 400);
  Put(b, 500);
  now += 1000;
  EXPECT_GT(Wanted(Create(2, c, 600)), 0u);
  EXPECT_EQ(Wanted(store.Tick(now + 9)), 0u);
  EXPECT_EQ(store.NextDeadline(), now + 10);
  EXPECT_GT(Wanted(store.Tick(now + 10)), 0u);
  EXPECT_THAT(Take(1000), ElementsAre(a, b));
  EXPECT_EQ(Wanted(store.Tick(now + 20)), 0u);
  store.CreateRetry(ann, 3, 2, 1000, now);
  EXPECT_THAT(Spilled(a).created, IsEmpty()) << "not enough";
  const Outcome outcome = Spilled(b);
  ASSERT_EQ(outcome.created.size(), 1u);
  EXPECT_TRUE(outcome.created[0].place.has_value());
  EXPECT_EQ(StateOf(a), ObjectState::Spilled) << "the older one went";
  EXPECT_THAT(Kinds(outcome), Not(::testing::Contains(Kind::Deleted)));
  EXPECT_TRUE(store.Contains(a));
}

TEST_F(SpillingTest, TheGraceBeginsAnewWhenSomethingIsSpilled) {
  Put(a, 64);
  Put(b, 900);
  Get(b);  // In use: it cannot go.
  Create(2, c, 500);
  EXPECT_THAT(Take(1), ElementsAre(a));
  now += 90;
  Spilled(a);
  EXPECT_EQ(store.NextDeadline(), now + 100);
  store.CreateRetry(ann, 3, 2, 1000, now);
  EXPECT_THAT(store.Tick(now + 99).created, IsEmpty());
  const Outcome end = store.Tick(now + 100);
  ASSERT_EQ(end.created.size(), 1u);
  EXPECT_EQ(end.created[0].place.error().code(), ErrorCode::OutOfMemory);
}

TEST_F(SpillingTest, WhatCanBeSpilledIsWaitedForAlsoJustAfterAWaitInVain) {
  Put(a, 900);
  Get(a);  // In use: it cannot go.
  Create(2, b, 900);
  now += 100;
  store.Tick(now);
  ASSERT_EQ(store.CreateRetry(ann, 3, 2, 0, now).created.at(0).place.error().code(),
            ErrorCode::OutOfMemory);
  store.Release(ann, a, now);
  EXPECT_TRUE(Create(4, b, 900).created.at(0).unfinished);
  EXPECT_THAT(Take(1), ElementsAre(a));
  Spilled(a);
  EXPECT_TRUE(store.CreateRetry(ann, 5, 4, 0, now).created.at(0).place.has_value());
}

TEST_F(SpillingTest, ASpillUnderWayIsWaitedForButNotForEver) {
  Put(a, 900);
  Create(2, b, 900);
  Take(1);
  EXPECT_EQ(store.NextDeadline(), now + kSpillStalledMs);
  store.CreateRetry(ann, 3, 2, 60000, now);
  EXPECT_THAT(store.Tick(now + 100).created, IsEmpty());
  EXPECT_EQ(store.Tick(now + kSpillStalledMs).created.size(), 1u);
}

TEST_F(SpillingTest, AFailedSpillIsWhyThereIsNoMemory) {
  Put(a, 900);
  Create(2, b, 900);
  Take(1);
  SpillFailed(a, "the disk is full");
  EXPECT_EQ(StateOf(a), ObjectState::Sealed);
  EXPECT_EQ(store.objects().stats().spillable.objects, 1u) << "may be tried again";
  store.CreateRetry(ann, 3, 2, 1000, now);
  const Outcome end = store.Tick(now + 100);
  ASSERT_EQ(end.created.size(), 1u);
  EXPECT_THAT(end.created[0].place.error().message(), HasSubstr("the disk is full"));
  EXPECT_THAT(Take(1), ElementsAre(a));
  Spilled(a);
  EXPECT_THAT(store.DebugState(), Not(HasSubstr("the disk is full"))) << "it works again";
}

TEST_F(SpillingTest, AnObjectTakenWhileItIsSpilledStays) {
  Put(a, 600);
  Take(1);
  EXPECT_TRUE(Get(a).got.at(0).places.at(0).has_value());
  Spilled(a);
  EXPECT_EQ(store.Evict(1000, now).evicted_bytes, 0u) << "ann reads it";
  store.Release(ann, a, now);
  EXPECT_EQ(store.Evict(1000, now).evicted_bytes, 640u);
}

TEST_F(SpillingTest, OneDeletedWhileItIsSpilledGoesWithItsCopy) {
  Put(a, 600);
  Take(1);
  EXPECT_THAT(Kinds(Delete(a)), IsEmpty()) << "it is being read";
  const Outcome outcome = Spilled(a);
  ASSERT_THAT(Kinds(outcome), ElementsAre(Kind::Deleted));
  EXPECT_TRUE(outcome.events[0].stored);
  EXPECT_EQ(StateOf(a), std::nullopt);
}

TEST_F(SpillingTest, OneDeletedWhileItsSpillFailsHasNoCopy) {
  Put(a, 600);
  Take(1);
  store.OwnerDied(owner, now);
  const Outcome outcome = SpillFailed(a);
  ASSERT_THAT(Kinds(outcome), ElementsAre(Kind::Deleted));
  EXPECT_FALSE(outcome.events[0].stored);
}

TEST_F(SpillingTest, ReportsOfWhatIsNotSpilledAreCounted) {
  Put(a, 64);
  Spilled(a);
  SpillFailed(b);
  store.Lose(a, Status(ErrorCode::ObjectLost, "gone"), now);
  store.SealRestored(a, now);
  EXPECT_EQ(store.Stats().ignored_requests_total, 4u);
  EXPECT_EQ(StateOf(a), ObjectState::Sealed);
}

TEST_F(SpillingTest, WhatCannotBeSpilledForItsMemoryIsGoneIsLost) {
  Put(a, 64);
  Put(b, 64);
  Get(b);
  ASSERT_EQ(Take(1000), (std::vector<ObjectId>{a}));
  const Outcome lost = store.Lose(a, Status(ErrorCode::ObjectLost, "no memory"), now);
  EXPECT_THAT(Kinds(lost), ElementsAre(Kind::Deleted));
  EXPECT_EQ(StateOf(a), std::nullopt);
  Spilled(a);
  EXPECT_EQ(store.Stats().ignored_requests_total, 1u) << "it is not there to be spilled";
}

TEST_F(SpillingTest, WhoReadsWhatIsLostKeepsItUntilItLetsGo) {
  Put(a, 64);
  ASSERT_EQ(Take(1000), (std::vector<ObjectId>{a}));
  Get(a);
  store.Lose(a, Status(ErrorCode::ObjectLost, "no memory"), now);
  ASSERT_NE(StateOf(a), std::nullopt);
  store.Release(ann, a, now);
  EXPECT_EQ(StateOf(a), std::nullopt);
  Put(b, 64);
  EXPECT_EQ(Wanted(store.Tick(now + 1000)), 0u) << "nor is it on its way to disk any more";
}

TEST_F(SpillingTest, AGetOfASpilledObjectBringsItBack) {
  SpillAway(a, 600);
  const Outcome asked = Get(a);
  EXPECT_THAT(asked.got, IsEmpty());
  ASSERT_THAT(Kinds(asked), ElementsAre(Kind::RestoreWanted));
  EXPECT_EQ(asked.events[0].object.id, a);
  EXPECT_THAT(Kinds(Get(a)), IsEmpty()) << "asked once";
  const Outcome room = store.Restore(carrier, 9, a, now);
  ASSERT_EQ(room.created.size(), 1u);
  EXPECT_EQ(room.created[0].place->bytes, 600u);
  EXPECT_EQ(StateOf(a), ObjectState::Restoring);
  const Outcome sealed = store.SealRestored(a, now);
  EXPECT_EQ(sealed.got.size(), 2u);
  EXPECT_TRUE(sealed.got[0].places[0].has_value());
  EXPECT_THAT(Kinds(sealed), IsEmpty()) << "nothing new to the world";
  EXPECT_EQ(store.objects().Find(a)->object.source, ObjectSource::Storage);
  EXPECT_EQ(store.objects().Find(a)->references, 2u);
  store.Release(ann, a, now);
  store.Release(ann, a, now);
  EXPECT_THAT(Take(1), IsEmpty()) << "its copy is still there";
  EXPECT_EQ(store.Evict(1, now).evicted_bytes, 640u);
  EXPECT_EQ(Delete(a).events.at(0).stored, true);
}

TEST_F(SpillingTest, ALookAsksForARestoreToo) {
  SpillAway(a, 600);
  EXPECT_TRUE(store.Contains(a));
  const Outcome look = Get(a, 0);
  EXPECT_FALSE(look.got.at(0).places.at(0).has_value());
  EXPECT_THAT(Kinds(look), ElementsAre(Kind::RestoreWanted));
}

TEST_F(SpillingTest, ARestoreWaitsForRoomLikeACreate) {
  SpillAway(a, 600);
  Put(b, 600);
  Get(b);
  Get(a);
  EXPECT_THAT(store.Restore(carrier, 9, a, now).created, IsEmpty());
  EXPECT_EQ(store.Stats().waiting_creates, 1u);
  const Outcome freed = Delete(b);
  EXPECT_THAT(freed.created, IsEmpty());
  const Outcome released = store.Release(ann, b, now);
  ASSERT_EQ(released.created.size(), 1u);
  EXPECT_EQ(released.created[0].client, carrier);
  EXPECT_TRUE(released.created[0].place.has_value());
}

TEST_F(SpillingTest, ARestoreWithoutRoomTellsItsGetsAndStaysOnDisk) {
  SpillAway(a, 600);
  Put(b, 600);
  Get(b);
  Get(a);
  store.Restore(carrier, 9, a, now);
  const Outcome end = store.Tick(now + 100);
  ASSERT_EQ(end.created.size(), 1u);
  EXPECT_EQ(end.created[0].place.error().code(), ErrorCode::OutOfMemory);
  ASSERT_EQ(end.got.size(), 1u);
  EXPECT_FALSE(end.got[0].places[0].has_value());
  ASSERT_EQ(end.got[0].losses.size(), 1u);
  EXPECT_EQ(end.got[0].losses[0].why.code(), ErrorCode::OutOfMemory);
  EXPECT_EQ(StateOf(a), ObjectState::Spilled);
  EXPECT_THAT(Kinds(Get(a)), ElementsAre(Kind::RestoreWanted)) << "tried again";
}

TEST_F(SpillingTest, OneDeletedWhileItIsRestoredReachesWhoWaited) {
  SpillAway(a, 600);
  Get(a);
  EXPECT_THAT(Kinds(Delete(a)), IsEmpty());
  store.Restore(carrier, 9, a, now);
  EXPECT_TRUE(store.SealRestored(a, now).got.at(0).places.at(0).has_value());
  const Outcome released = store.Release(ann, a, now);
  ASSERT_THAT(Kinds(released), ElementsAre(Kind::Deleted));
  EXPECT_TRUE(released.events[0].stored);
}

TEST_F(SpillingTest, ADeadOwnersObjectIsNotRestoredInVain) {
  SpillAway(a, 600);
  store.OwnerDied(owner, now);
  EXPECT_EQ(StateOf(a), std::nullopt);
  EXPECT_EQ(store.Restore(carrier, 9, a, now).created.at(0).place.error().code(),
            ErrorCode::ObjectNotFound);
}

TEST_F(SpillingTest, OneWhoseOwnerDiesWhileItIsRestoredGoesAfterwards) {
  SpillAway(a, 600);
  Get(a, 50);
  store.Restore(carrier, 9, a, now);
  store.OwnerDied(owner, now);
  store.Tick(now + 50);  // The get has gone.
  EXPECT_EQ(StateOf(a), ObjectState::Restoring) << "its memory is being written";
  EXPECT_THAT(Kinds(store.SealRestored(a, now)), ElementsAre(Kind::Deleted));
  EXPECT_EQ(store.Stats().allocated_bytes, 0u);
}

TEST_F(SpillingTest, ALostObjectEndsItsGetsWithTheReason) {
  SpillAway(a, 600);
  Get(a);
  store.Restore(carrier, 9, a, now);
  const Outcome lost = store.Lose(a, Status(ErrorCode::ObjectLost, "a flipped bit"), now);
  ASSERT_EQ(lost.got.size(), 1u);
  ASSERT_EQ(lost.got[0].losses.size(), 1u);
  EXPECT_EQ(lost.got[0].losses[0].position, 0u);
  EXPECT_EQ(lost.got[0].losses[0].why.message(), "a flipped bit");
  ASSERT_THAT(Kinds(lost), ElementsAre(Kind::Deleted));
  EXPECT_TRUE(lost.events[0].stored) << "its place on disk may go";
  EXPECT_EQ(StateOf(a), std::nullopt);
  EXPECT_EQ(store.Stats().allocated_bytes, 0u);
}

TEST_F(SpillingTest, OneLostWhileItsRestoreWaitsForRoomLeavesTheQueue) {
  SpillAway(a, 600);
  Put(b, 600);
  Get(b);
  Get(a);
  store.Restore(carrier, 9, a, now);
  const Outcome lost = store.Lose(a, Status(ErrorCode::ObjectLost, "gone"), now);
  ASSERT_EQ(lost.created.size(), 1u);
  EXPECT_EQ(lost.created[0].place.error().code(), ErrorCode::ObjectNotFound);
  EXPECT_EQ(store.Stats().waiting_creates, 0u);
}

TEST_F(SpillingTest, ASpilledObjectExists) {
  SpillAway(a, 600);
  EXPECT_EQ(Create(5, a, 10).created.at(0).place.error().code(), ErrorCode::ObjectExists);
  EXPECT_EQ(store.Stats().objects.spilled.objects, 1u);
  EXPECT_EQ(store.Stats().objects.all.objects, 0u);
}

TEST_F(SpillingTest, ASecondRestoreOfTheSameObjectIsRefused) {
  SpillAway(a, 600);
  EXPECT_TRUE(store.Restore(carrier, 9, a, now).created.at(0).place.has_value())
      << "before anybody asked";
  EXPECT_EQ(store.Restore(carrier, 10, a, now).created.at(0).place.error().code(),
            ErrorCode::ObjectNotFound);
}

}  // namespace
}  // namespace skyray::plasma
