// SPDX-License-Identifier: Apache-2.0
#include "plasma/object_table.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace skyray::plasma {
namespace {

NewObject Named(const ObjectId& id) {
  NewObject object;
  object.id = id;
  return object;
}

TEST(ObjectTableTest, WhatIsPutInIsFoundUntilItIsErased) {
  ObjectTable table;
  const ObjectId id = ObjectId::FromRandom();
  EXPECT_EQ(table.Find(id), nullptr);
  const ObjectIndex index = table.Insert(Named(id)).index;
  EXPECT_EQ(table.Find(id), &table.at(index));
  EXPECT_EQ(table.Peek(index), &table.at(index));
  table.Erase(index);
  EXPECT_EQ(table.Find(id), nullptr);
  EXPECT_EQ(table.Peek(index), nullptr);
  EXPECT_EQ(table.size(), 0u);
}

TEST(ObjectTableTest, APlaceIsUsedAgain) {
  ObjectTable table;
  for (int round = 0; round < 1000; ++round) {
    const ObjectIndex index = table.Insert(Named(ObjectId::FromRandom())).index;
    EXPECT_EQ(index, 0u);
    table.Erase(index);
  }
  EXPECT_EQ(table.end_index(), 1u);
}

TEST(ObjectTableTest, ItAgreesWithAMapThroughoutARandomWalk) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  ObjectTable table;
  std::map<ObjectId, const LocalObject*> expected;
  std::vector<ObjectId> ids;
  for (int i = 0; i < 3000; ++i) ids.push_back(ObjectId::FromRandom());
  for (int step = 0; step < 100000; ++step) {
    // Now it grows, now it shrinks.
    const bool insert = random() % 4 != 0 ? step / 20000 % 2 == 0 : step / 20000 % 2 != 0;
    const ObjectId& id = ids[random() % ids.size()];
    const auto known = expected.find(id);
    if (insert && known == expected.end()) {
      expected[id] = &table.Insert(Named(id));
    } else if (!insert && known != expected.end()) {
      table.Erase(known->second->index);
      expected.erase(known);
    }
    const ObjectId& other = ids[random() % ids.size()];
    const auto found = expected.find(other);
    ASSERT_EQ(table.Find(other), found == expected.end() ? nullptr : found->second);
    ASSERT_EQ(table.size(), expected.size());
  }
  for (const ObjectId& id : ids) {
    const auto found = expected.find(id);
    ASSERT_EQ(table.Find(id), found == expected.end() ? nullptr : found->second);
  }
}

TEST(ObjectTableDeathTest, AnIdIsInsertedOnce) {
  ObjectTable table;
  const NewObject object = Named(ObjectId::FromRandom());
  table.Insert(object);
  EXPECT_DEATH(table.Insert(object), "check failed");
}

}  // namespace
}  // namespace skyray::plasma
