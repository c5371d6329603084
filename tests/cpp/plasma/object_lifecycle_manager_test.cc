// SPDX-License-Identifier: Apache-2.0
#include "plasma/object_lifecycle_manager.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace skyray::plasma {
namespace {

using ::testing::IsEmpty;

class ObjectLifecycleTest : public ::testing::Test {
 protected:
  Result<const LocalObject*> Create(const ObjectId& id, uint64_t bytes, bool primary = false) {
    return objects.Create({id, owner, bytes, primary});
  }
  void CreateAndSeal(const ObjectId& id, uint64_t bytes = 100, bool primary = false) {
    ASSERT_TRUE(Create(id, bytes, primary).has_value());
    ASSERT_TRUE(objects.Seal(id).has_value());
  }
  void CreateSealAndRelease(const ObjectId& id, uint64_t bytes = 100, bool primary = false) {
    CreateAndSeal(id, bytes, primary);
    objects.RemoveReference(id);
  }
  std::vector<ObjectId> Freed() {
    std::vector<ObjectId> ids;
    for (const NewObject& object : objects.TakeFreed()) ids.push_back(object.id);
    return ids;
  }

  Allocator allocator{{1024}};
  ObjectLifecycleManager objects{allocator};
  const WorkerId owner = WorkerId::FromRandom();
  const ObjectId a = ObjectId::FromRandom();
  const ObjectId b = ObjectId::FromRandom();
  const ObjectId c = ObjectId::FromRandom();
};

TEST_F(ObjectLifecycleTest, DeleteOfAnObjectInUseWaitsForItsLastReference) {
  CreateAndSeal(a);  // The creator still refers to it.
  EXPECT_TRUE(objects.Delete(a).ok());
  EXPECT_THAT(Freed(), IsEmpty());
  objects.RemoveReference(a);
  EXPECT_EQ(Freed(), std::vector{a});
  EXPECT_EQ(objects.Find(a), nullptr);
}

TEST_F(ObjectLifecycleTest, DeleteOfAnUnusedObjectIsAtOnce) {
  CreateSealAndRelease(a, 100, true);
  EXPECT_TRUE(objects.Delete(a).ok());
  EXPECT_EQ(Freed(), std::vector{a});
  EXPECT_EQ(objects.Delete(a).code(), ErrorCode::ObjectNotFound);
}

TEST_F(ObjectLifecycleTest, EachMisuseHasItsCode) {
  EXPECT_EQ(objects.Seal(a).error().code(), ErrorCode::ObjectNotFound);
  EXPECT_EQ(objects.Abort(a).code(), ErrorCode::ObjectNotFound);
  CreateAndSeal(a);
  EXPECT_EQ(Create(a, 1).error().code(), ErrorCode::ObjectExists);
  EXPECT_EQ(objects.Seal(a).error().code(), ErrorCode::ObjectSealed);
  EXPECT_EQ(objects.Abort(a).code(), ErrorCode::ObjectSealed);
}

TEST_F(ObjectLifecycleTest, AbortFreesWithoutTelling) {
  ASSERT_TRUE(Create(a, 1000).has_value());
  EXPECT_TRUE(objects.Abort(a).ok());
  EXPECT_THAT(Freed(), IsEmpty()) << "nobody ever heard of it";
  EXPECT_TRUE(Create(b, 1000).has_value());
}

TEST_F(ObjectLifecycleTest, RoomIsMadeByEvictingTheLeastRecentlyUsed) {
  CreateSealAndRelease(a, 320);
  CreateSealAndRelease(b, 320);
  CreateSealAndRelease(c, 320);
  objects.AddReference(a);
  objects.RemoveReference(a);  // Now b is the oldest.
  ASSERT_TRUE(Create(ObjectId::FromRandom(), 320).has_value());
  EXPECT_EQ(Freed(), std::vector{b});
}

TEST_F(ObjectLifecycleTest, NeitherPrimaryNorUsedNorUnsealedIsEvicted) {
  CreateSealAndRelease(a, 320, true);
  CreateAndSeal(b, 320);
  ASSERT_TRUE(Create(c, 320).has_value());
  EXPECT_EQ(Create(ObjectId::FromRandom(), 320).error().code(), ErrorCode::OutOfMemory);
  EXPECT_THAT(Freed(), IsEmpty());
}

TEST_F(ObjectLifecycleTest, NothingIsEvictedInVain) {
  CreateSealAndRelease(a, 320, true);
  CreateSealAndRelease(b, 320);
  EXPECT_EQ(Create(c, 960).error().code(), ErrorCode::OutOfMemory);
  EXPECT_THAT(Freed(), IsEmpty());
  EXPECT_FALSE(objects.CouldEverFit(1025));
  EXPECT_TRUE(objects.CouldEverFit(1024));
}

TEST_F(ObjectLifecycleTest, WhatAnOwnerOwnedGoesWithIt) {
  const WorkerId other = WorkerId::FromRandom();
  CreateSealAndRelease(a, 100, true);
  CreateAndSeal(b, 100, true);
  ASSERT_TRUE(objects.Create({c, other, 100, true}).has_value());
  objects.DeleteOwnedBy(owner);
  EXPECT_EQ(Freed(), std::vector{a});
  objects.RemoveReference(b);
  EXPECT_EQ(Freed(), std::vector{b});
  EXPECT_NE(objects.Find(c), nullptr);
}

TEST_F(ObjectLifecycleTest, UseIsDescribedByItsLargestHolders) {
  CreateAndSeal(a, 500);
  EXPECT_THAT(objects.DescribeUse(), ::testing::HasSubstr("512 bytes of 1024 bytes"));
  EXPECT_THAT(objects.DescribeUse(), ::testing::HasSubstr(owner.Hex().substr(0, 16)));
}

ObjectStats Recount(const ObjectLifecycleManager& objects) {
  ObjectStats stats;
  const auto add = [](ObjectCount& count, const LocalObject& object) {
    count.objects += 1;
    count.bytes += object.allocation.bytes;
  };
  for (const auto& [id, object] : objects.objects()) {
    add(stats.all, object);
    const bool used = object.references > 0;
    if (used) add(stats.in_use, object);
    if (!object.sealed()) add(stats.unsealed, object);
    if (object.sealed() && used) add(stats.sealed_in_use, object);
    if (object.sealed() && !used && object.object.primary) add(stats.spillable, object);
    if (object.sealed() && !used && !object.object.primary) add(stats.evictable, object);
  }
  return stats;
}

TEST(ObjectStatsTest, TotalsEqualARecountAfterEveryStepOfARandomWalk) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  Allocator allocator({1 << 14});
  ObjectLifecycleManager objects(allocator);
  std::vector<ObjectId> ids;
  std::vector<WorkerId> owners;
  for (int i = 0; i < 40; ++i) ids.push_back(ObjectId::FromRandom());
  for (int i = 0; i < 4; ++i) owners.push_back(WorkerId::FromRandom());
  for (int step = 0; step < 20000; ++step) {
    const ObjectId& id = ids[random() % ids.size()];
    const LocalObject* object = objects.Find(id);
    switch (random() % 7) {
      case 0:
        (void)objects.Create({id, owners[random() % 4], random() % 2000, random() % 2 == 0});
        break;
      case 1:
        (void)objects.Seal(id);
        break;
      case 2:
        (void)objects.Abort(id);
        break;
      case 3:
        if (random() % 4 == 0) (void)objects.Delete(id);
        break;
      case 4:
        if (object != nullptr && object->sealed()) objects.AddReference(id);
        break;
      case 5:
        // An unsealed object's only reference goes with Seal or Abort.
        if (object != nullptr && object->sealed() && object->references > 0) {
          objects.RemoveReference(id);
        }
        break;
      case 6:
        if (random() % 50 == 0) objects.DeleteOwnedBy(owners[random() % 4]);
        break;
    }
    ASSERT_EQ(objects.stats(), Recount(objects)) << "step " << step;
    ASSERT_EQ(objects.stats().all.bytes, allocator.allocated_bytes()) << "step " << step;
  }
}

}  // namespace
}  // namespace skyray::plasma
