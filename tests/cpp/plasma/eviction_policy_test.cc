// SPDX-License-Identifier: Apache-2.0
#include "plasma/eviction_policy.h"

#include <gtest/gtest.h>

namespace skyray::plasma {
namespace {

TEST(EvictionPolicyTest, TheOneUnusedForLongestGoesFirst) {
  EvictionPolicy policy;
  const ObjectId a = ObjectId::FromRandom();
  const ObjectId b = ObjectId::FromRandom();
  EXPECT_FALSE(policy.Oldest().has_value());
  policy.Add(a);
  policy.Add(b);
  EXPECT_EQ(policy.Oldest(), a);
  policy.Remove(a);  // Used again,
  policy.Add(a);     // and let go.
  EXPECT_EQ(policy.Oldest(), b);
  policy.Remove(b);
  EXPECT_EQ(policy.Oldest(), a);
  policy.Remove(a);
  EXPECT_EQ(policy.size(), 0u);
}

TEST(EvictionPolicyDeathTest, RemovingWhatIsNotThereIsABug) {
  EvictionPolicy policy;
  EXPECT_DEATH(policy.Remove(ObjectId::FromRandom()), "check failed");
}

}  // namespace
}  // namespace skyray::plasma
