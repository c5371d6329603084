// SPDX-License-Identifier: Apache-2.0
#include "common/resource_set.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace skyray {
namespace {

ResourceSet Of(std::initializer_list<std::pair<const char*, double>> amounts) {
  ResourceSet set;
  for (const auto& [name, amount] : amounts) set.Set(name, *ResourceAmountFromDouble(amount));
  return set;
}

TEST(ResourceAmountTest, IsExactToATenThousandth) {
  EXPECT_EQ(ResourceAmountFromDouble(0.1), 1000);
  EXPECT_EQ(ResourceAmountFromDouble(0.0001), 1);
  EXPECT_EQ(ResourceAmountFromDouble(3), 30000);
  EXPECT_EQ(ResourceAmountToDouble(25000), 2.5);
}

TEST(ResourceAmountTest, NegativeAndUnreasonableAmountsAreNone) {
  EXPECT_FALSE(ResourceAmountFromDouble(-1).has_value());
  EXPECT_FALSE(ResourceAmountFromDouble(std::nan("")).has_value());
  EXPECT_FALSE(ResourceAmountFromDouble(std::numeric_limits<double>::infinity()).has_value());
  EXPECT_FALSE(ResourceAmountFromDouble(1e30).has_value());
}

TEST(ResourceSetTest, TenTenthsAreOneWhole) {
  ResourceSet available = Of({{"CPU", 1}});
  const ResourceSet tenth = Of({{"CPU", 0.1}});
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(available.Subtract(tenth)) << i;
  EXPECT_TRUE(available.empty());
  EXPECT_FALSE(available.Subtract(tenth));
}

TEST(ResourceSetTest, SubtractTakesAllOrNothing) {
  ResourceSet available = Of({{"CPU", 2}, {"GPU", 1}});
  const ResourceSet before = available;
  EXPECT_FALSE(available.Subtract(Of({{"CPU", 1}, {"GPU", 2}})));
  EXPECT_FALSE(available.Subtract(Of({{"CPU", 1}, {"TPU", 1}})));
  EXPECT_EQ(available, before);
  EXPECT_TRUE(available.Subtract(Of({{"CPU", 1}, {"GPU", 1}})));
  EXPECT_EQ(available, Of({{"CPU", 1}}));
  available.Add(Of({{"GPU", 1}, {"CPU", 1}}));
  EXPECT_EQ(available, before);
}

TEST(ResourceSetTest, AZeroAmountIsAsGoodAsNone) {
  ResourceSet set = Of({{"CPU", 1}});
  set.Set("CPU", 0);
  EXPECT_EQ(set, ResourceSet());
  EXPECT_TRUE(ResourceSet().Contains(Of({{"CPU", 0}})));
}

TEST(ResourceSetTest, IsReadable) {
  EXPECT_EQ(Of({{"GPU", 0.5}, {"CPU", 2}}).ToString(), "{CPU: 2, GPU: 0.5}");
  EXPECT_EQ(ResourceSet().ToString(), "{}");
}

}  // namespace
}  // namespace skyray
