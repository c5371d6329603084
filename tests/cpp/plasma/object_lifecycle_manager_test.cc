// SPDX-License-Identifier: Apache-2.0
#include "plasma/object_lifecycle_manager.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace skyray::plasma {
namespace {

using ::testing::IsEmpty;

class ObjectLifecycleTest : public ::testing::Test {
 protected:
  Result<const LocalObject*> Create(const ObjectId& id, uint64_t bytes, bool primary = false) {
    return objects.Create({id, owner, bytes, 0, primary}, now);
  }
  void CreateAndSeal(const ObjectId& id, uint64_t bytes = 100, bool primary = false) {
    ASSERT_TRUE(Create(id, bytes, primary).has_value());
    ASSERT_TRUE(objects.Seal(id, now).has_value());
  }
  void CreateSealAndRelease(const ObjectId& id, uint64_t bytes = 100, bool primary = false) {
    CreateAndSeal(id, bytes, primary);
    Release(id);
  }
  std::vector<ObjectId> Freed() {
    std::vector<ObjectId> ids;
    for (const auto& freed : objects.TakeFreed()) ids.push_back(freed.object.id);
    return ids;
  }
  void Use(const ObjectId& id) { objects.AddReference(objects.Find(id)->index); }
  void Release(const ObjectId& id) { objects.RemoveReference(objects.Find(id)->index); }

  int64_t now = 1000;
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
  Release(a);
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
  EXPECT_EQ(objects.Seal(a, now).error().code(), ErrorCode::ObjectNotFound);
  EXPECT_EQ(objects.Abort(a).code(), ErrorCode::ObjectNotFound);
  CreateAndSeal(a);
  EXPECT_EQ(Create(a, 1).error().code(), ErrorCode::ObjectExists);
  EXPECT_EQ(objects.Seal(a, now).error().code(), ErrorCode::ObjectSealed);
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
  Use(a);
  Release(a);  // Now b is the oldest.
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
  ASSERT_TRUE(objects.Create({c, other, 100, 0, true}, now).has_value());
  objects.DeleteOwnedBy(owner);
  EXPECT_EQ(Freed(), std::vector{a});
  Release(b);
  EXPECT_EQ(Freed(), std::vector{b});
  EXPECT_NE(objects.Find(c), nullptr);
}

TEST_F(ObjectLifecycleTest, UseIsDescribedByItsLargestHolders) {
  CreateAndSeal(a, 500);
  EXPECT_THAT(objects.DescribeUse(), ::testing::HasSubstr("512 bytes of 1024 bytes"));
  EXPECT_THAT(objects.DescribeUse(), ::testing::HasSubstr(owner.Hex().substr(0, 16)));
}

}  // namespace
}  // namespace skyray::plasma
