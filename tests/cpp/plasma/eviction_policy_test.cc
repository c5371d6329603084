// SPDX-License-Identifier: Apache-2.0
#include "plasma/eviction_policy.h"

#include <gtest/gtest.h>

namespace skyray::plasma {
namespace {

class EvictionPolicyTest : public ::testing::Test {
 protected:
  LocalObject& Insert() {
    NewObject object;
    object.id = ObjectId::FromRandom();
    return table.Insert(object);
  }
  ObjectTable table;
  EvictionPolicy policy{table};
};

TEST_F(EvictionPolicyTest, TheOneUnusedForLongestGoesFirst) {
  LocalObject& a = Insert();
  LocalObject& b = Insert();
  EXPECT_EQ(policy.Oldest(), nullptr);
  policy.Add(a);
  policy.Add(b);
  EXPECT_EQ(policy.Oldest(), &a);
  policy.Remove(a);  // Used again,
  policy.Add(a);     // and let go.
  EXPECT_EQ(policy.Oldest(), &b);
  policy.Remove(b);
  EXPECT_EQ(policy.Oldest(), &a);
  policy.Remove(a);
  EXPECT_EQ(policy.size(), 0u);
}

TEST_F(EvictionPolicyTest, OneInTheMiddleMayLeave) {
  LocalObject& a = Insert();
  LocalObject& b = Insert();
  LocalObject& c = Insert();
  for (LocalObject* object : {&a, &b, &c}) policy.Add(*object);
  policy.Remove(b);
  policy.Remove(a);
  EXPECT_EQ(policy.Oldest(), &c);
  policy.Add(b);
  EXPECT_EQ(policy.Oldest(), &c);
}

using EvictionPolicyDeathTest = EvictionPolicyTest;

TEST_F(EvictionPolicyDeathTest, RemovingWhatIsNotThereIsABug) {
  policy.Add(Insert());
  EXPECT_DEATH(policy.Remove(Insert()), "check failed");
}

TEST_F(EvictionPolicyDeathTest, AddingTwiceIsABug) {
  LocalObject& a = Insert();
  policy.Add(a);
  EXPECT_DEATH(policy.Add(a), "check failed");
  policy.Add(Insert());
  EXPECT_DEATH(policy.Add(a), "check failed");
}

}  // namespace
}  // namespace skyray::plasma
