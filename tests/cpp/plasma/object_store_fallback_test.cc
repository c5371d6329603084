// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "plasma/object_store.h"

namespace skyray::plasma {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A store of 1024 bytes and a disk beside it.
class FallbackTest : public ::testing::Test {
 protected:
  Outcome Create(uint64_t request_id, const ObjectId& id, uint64_t bytes, bool primary = true,
                 bool try_immediately = false) {
    return store.Create(ann, request_id, {id, owner, bytes, 0, primary}, try_immediately, now);
  }
  // Creates and makes the one fallback segment that this takes.
  Outcome CreateInFallback(const ObjectId& id, uint64_t bytes, bool primary = true) {
    const Outcome wanted = Create(1, id, bytes, primary, /*try_immediately=*/true);
    EXPECT_EQ(wanted.fallback_wanted.size(), 1u);
    segment = wanted.fallback_wanted.at(0).segment;
    return store.FallbackMade(segment, Status(), now);
  }

  int64_t now = 1000;
  ObjectStore store{{.segment_bytes = {1024}, .create_grace_ms = 100, .fallback = true}};
  const ClientId ann = store.AddClient(/*asks_again=*/true);
  const ClientId bob = store.AddClient(/*asks_again=*/true);
  const WorkerId owner = WorkerId::FromRandom();
  const ObjectId a = ObjectId::FromRandom();
  const ObjectId b = ObjectId::FromRandom();
  const ObjectId c = ObjectId::FromRandom();
  uint32_t segment = 0;
};

TEST_F(FallbackTest, AfterTheGraceACreateGoesToDisk) {
  Create(1, a, 1000);
  Create(2, b, 1000);
  store.CreateRetry(ann, 3, 2, 1000, now);
  const Outcome wanted = store.Tick(now + 100);
  EXPECT_THAT(wanted.created, IsEmpty());
  ASSERT_EQ(wanted.fallback_wanted.size(), 1u);
  EXPECT_EQ(wanted.fallback_wanted[0].segment, kFallbackSegmentFirst);
  EXPECT_EQ(wanted.fallback_wanted[0].bytes, 1024u);
  const Outcome made = store.FallbackMade(kFallbackSegmentFirst, Status(), now + 100);
  ASSERT_EQ(made.created.size(), 1u);
  EXPECT_EQ(made.created[0].request_id, 3u);
  EXPECT_EQ(made.created[0].place->segment, kFallbackSegmentFirst);
  EXPECT_EQ(made.created[0].place->offset, 0u);
  EXPECT_EQ(store.Stats().objects.fallback.bytes, 1024u);
  EXPECT_EQ(store.Stats().allocated_bytes, 1024u) << "only what is in memory";
}

TEST_F(FallbackTest, WhatIsLargerThanTheStoreGoesThereAtOnce) {
  EXPECT_EQ(Create(1, a, 5000).fallback_wanted.size(), 1u);
  EXPECT_EQ(Create(2, b, UINT64_MAX).created.at(0).place.error().code(), ErrorCode::OutOfMemory);
}

TEST_F(FallbackTest, TryImmediatelyGoesThereAlsoWhenOthersWait) {
  Create(1, a, 1000);
  Create(2, b, 1000);
  EXPECT_EQ(Create(3, c, 10, true, true).fallback_wanted.size(), 1u);
  EXPECT_EQ(store.Stats().waiting_creates, 1u);
}

TEST_F(FallbackTest, AFullDiskIsSaidWithItsReason) {
  const Outcome wanted = Create(1, a, 5000);
  const Outcome made =
      store.FallbackMade(wanted.fallback_wanted.at(0).segment,
                         Status(ErrorCode::OutOfDisk, "only 12 bytes are free in /scratch"), now);
  ASSERT_EQ(made.created.size(), 1u);
  const Status& error = made.created[0].place.error();
  EXPECT_EQ(error.code(), ErrorCode::OutOfMemory);
  EXPECT_THAT(error.message(), HasSubstr("only 12 bytes are free in /scratch"));
  EXPECT_THAT(error.message(), HasSubstr("the store holds 0 bytes of 1024 bytes"));
  EXPECT_EQ(store.objects().Find(a), nullptr);
}

TEST_F(FallbackTest, ASegmentGoesWithItsObjectAndIsNeverUsedAgain) {
  CreateInFallback(a, 5000);
  store.Seal(ann, a, false, now);
  const ObjectId gone = a;
  EXPECT_THAT(store.Delete(std::span(&gone, 1), now).emptied, ElementsAre(segment));
  CreateInFallback(b, 5000);
  EXPECT_EQ(segment, kFallbackSegmentFirst + 1);
  EXPECT_THAT(store.Abort(ann, b, now).emptied, ElementsAre(segment));
  EXPECT_EQ(store.Stats().objects.fallback.objects, 0u);
}

TEST_F(FallbackTest, AnotherClientsReferenceKeepsIt) {
  CreateInFallback(a, 5000);
  store.Get(bob, 7, {a}, -1, now);
  const Outcome sealed = store.Seal(ann, a, false, now);
  EXPECT_EQ(sealed.got.size(), 1u);
  ASSERT_EQ(sealed.forgotten.size(), 1u);
  EXPECT_EQ(sealed.forgotten[0].client, ann);
  const ObjectId gone = a;
  EXPECT_THAT(store.Delete(std::span(&gone, 1), now).emptied, IsEmpty());
  const Outcome released = store.Release(bob, a, now);
  EXPECT_THAT(released.emptied, ElementsAre(segment));
  ASSERT_EQ(released.forgotten.size(), 1u);
  EXPECT_EQ(released.forgotten[0].client, bob);
}

TEST_F(FallbackTest, OnlyTheLastReferenceForgetsTheDescriptor) {
  CreateInFallback(a, 5000);
  EXPECT_THAT(store.Seal(ann, a, /*keep_reference=*/true, now).forgotten, IsEmpty());
  store.Get(ann, 7, {a}, 0, now);
  EXPECT_THAT(store.Release(ann, a, now).forgotten, IsEmpty());
  EXPECT_EQ(store.Release(ann, a, now).forgotten.size(), 1u);
}

TEST_F(FallbackTest, AClientThatLeftMeanwhileGetsNothing) {
  const Outcome wanted = Create(1, a, 5000);
  store.RemoveClient(ann, now);
  const uint32_t made = wanted.fallback_wanted.at(0).segment;
  EXPECT_THAT(store.FallbackMade(made, Status(), now).emptied, ElementsAre(made));
  EXPECT_EQ(store.objects().Find(a), nullptr);
}

TEST_F(FallbackTest, OneThatIsCreatedElsewhereMeanwhileIsRefused) {
  const Outcome wanted = Create(1, a, 5000);
  Create(2, a, 10);
  const Outcome made = store.FallbackMade(wanted.fallback_wanted.at(0).segment, Status(), now);
  EXPECT_EQ(made.created.at(0).place.error().code(), ErrorCode::ObjectExists);
  EXPECT_EQ(made.emptied.size(), 1u);
}

TEST_F(FallbackTest, AClientsDeathDropsWhatItCreatedThere) {
  CreateInFallback(a, 5000);
  EXPECT_THAT(store.RemoveClient(ann, now).emptied, ElementsAre(segment));
}

TEST_F(FallbackTest, WhatIsThereIsNotSpilledAndEvictedLikeTheRest) {
  CreateInFallback(a, 5000);
  store.Seal(ann, a, false, now);
  EXPECT_THAT(store.TakeSpillable(1, 10), IsEmpty());
  EXPECT_EQ(store.Stats().objects.stranded.objects, 1u);
  CreateInFallback(b, 5000, /*primary=*/false);
  store.Seal(ann, b, false, now);
  Create(3, c, 1024);
  EXPECT_NE(store.objects().Find(b), nullptr) << "there was room without it";
  EXPECT_THAT(store.Evict(1, now).emptied, ElementsAre(segment));
}

TEST_F(FallbackTest, EvictingItMakesNoRoomInMemory) {
  CreateInFallback(a, 5000, /*primary=*/false);
  store.Seal(ann, a, false, now);
  Create(2, b, 1000);
  EXPECT_TRUE(Create(3, c, 1000).created.at(0).unfinished);
  EXPECT_NE(store.objects().Find(a), nullptr) << "not evicted in vain";
}

}  // namespace
}  // namespace skyray::plasma
