// SPDX-License-Identifier: Apache-2.0
#include "raylet/resource_ledger.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "resources.h"

namespace skyray::raylet {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class ResourceLedgerTest : public ::testing::Test {
 protected:
  ResourceLedger ledger{Resources({{"CPU", 2}, {"GPU", 2}, {"oil", 1}}), {"4", "7"}};
  LeaseId a = LeaseId::FromRandom(), b = LeaseId::FromRandom(), c = LeaseId::FromRandom();
};

TEST_F(ResourceLedgerTest, WhatIsTakenIsMissingUntilItIsGivenBack) {
  EXPECT_TRUE(ledger.Allocate(a, Resources({{"CPU", 1.5}, {"oil", 1}})));
  EXPECT_FALSE(ledger.Allocate(b, Resources({{"CPU", 1}})));
  EXPECT_FALSE(ledger.Allocate(b, Resources({{"oil", 0.1}})));
  EXPECT_EQ(ledger.available(), Resources({{"CPU", 0.5}, {"GPU", 2}}));
  EXPECT_TRUE(ledger.Release(a));
  EXPECT_FALSE(ledger.Release(a));
  EXPECT_EQ(ledger.available(), ledger.total());
}

TEST_F(ResourceLedgerTest, FractionsShareOneGpuAndWholeOnesStayWhole) {
  EXPECT_TRUE(ledger.Allocate(a, Resources({{"GPU", 0.5}})));
  EXPECT_TRUE(ledger.Allocate(b, Resources({{"GPU", 0.5}})));
  EXPECT_THAT(ledger.GpuIds(a), ElementsAre("4"));
  EXPECT_THAT(ledger.GpuIds(b), ElementsAre("4"));
  EXPECT_TRUE(ledger.Allocate(c, Resources({{"GPU", 1}})));
  EXPECT_THAT(ledger.GpuIds(c), ElementsAre("7"));
}

TEST_F(ResourceLedgerTest, HalvesOfTwoGpusAreNotAWholeOne) {
  EXPECT_TRUE(ledger.Allocate(a, Resources({{"GPU", 0.6}})));
  EXPECT_TRUE(ledger.Allocate(b, Resources({{"GPU", 0.6}})));
  EXPECT_THAT(ledger.GpuIds(b), ElementsAre("7"));
  EXPECT_FALSE(ledger.Allocate(c, Resources({{"GPU", 0.8}})));
  EXPECT_TRUE(ledger.Feasible(Resources({{"GPU", 0.8}})));
}

TEST_F(ResourceLedgerTest, TheBlockedLendTheirCpuAndKeepTheirGpu) {
  EXPECT_TRUE(ledger.Allocate(a, Resources({{"CPU", 2}, {"GPU", 2}})));
  EXPECT_TRUE(ledger.Block(a));
  EXPECT_FALSE(ledger.Block(a));
  EXPECT_FALSE(ledger.Fits(Resources({{"GPU", 0.1}})));
  EXPECT_TRUE(ledger.Allocate(b, Resources({{"CPU", 2}})));

  // Both run for a while; nobody else gets in until the borrower is done.
  EXPECT_TRUE(ledger.Unblock(a));
  EXPECT_EQ(ledger.available().Get("CPU"), -2 * kResourceUnit);
  EXPECT_FALSE(ledger.Fits(Resources({{"CPU", 0.1}})));
  EXPECT_TRUE(ledger.Fits(Resources({})));
  EXPECT_TRUE(ledger.Release(b));
  EXPECT_TRUE(ledger.Release(a));
  EXPECT_EQ(ledger.available(), ledger.total());
}

TEST_F(ResourceLedgerTest, AHolderThatEndsWhileBlockedGivesNothingBackTwice) {
  EXPECT_TRUE(ledger.Allocate(a, Resources({{"CPU", 2}})));
  EXPECT_TRUE(ledger.Block(a));
  EXPECT_TRUE(ledger.Release(a));
  EXPECT_EQ(ledger.available(), ledger.total());
}

TEST_F(ResourceLedgerTest, GpusWithoutANameAreNumbered) {
  ResourceLedger unnamed(Resources({{"GPU", 2}}), {});
  EXPECT_TRUE(unnamed.Allocate(a, Resources({{"GPU", 2}})));
  EXPECT_THAT(unnamed.GpuIds(a), ElementsAre("0", "1"));
  EXPECT_THAT(unnamed.GpuIds(b), IsEmpty());
}

TEST(ResourceLedgerWalkTest, TheBooksBalanceAfterEveryStep) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  ResourceLedger ledger(Resources({{"CPU", 8}, {"GPU", 3}, {"x", 2.5}}), {});
  std::vector<LeaseId> holders;
  const auto one_of = [&] { return holders[random() % holders.size()]; };
  for (int step = 0; step < 20000; ++step) {
    switch (random() % 4) {
      case 0: {
        ResourceSet demand;
        if (random() % 2) demand.Set("CPU", static_cast<int64_t>(random() % 25000));
        if (random() % 3 == 0) demand.Set("GPU", static_cast<int64_t>(random() % 20000));
        if (random() % 3 == 0) demand.Set("x", static_cast<int64_t>(random() % 9000));
        const LeaseId lease = LeaseId::FromRandom();
        const bool fits = ledger.Fits(demand);
        ASSERT_EQ(ledger.Allocate(lease, demand), fits);
        if (fits) holders.push_back(lease);
        break;
      }
      case 1:
        if (!holders.empty()) {
          const size_t i = random() % holders.size();
          ASSERT_TRUE(ledger.Release(holders[i]));
          holders.erase(holders.begin() + static_cast<ptrdiff_t>(i));
        }
        break;
      case 2:
        if (!holders.empty()) ledger.Block(one_of());
        break;
      default:
        if (!holders.empty()) ledger.Unblock(one_of());
    }
    ASSERT_TRUE(ledger.Recount()) << "step " << step;
    ASSERT_GE(ledger.available().Get("GPU"), 0) << "step " << step;
    ASSERT_GE(ledger.available().Get("x"), 0) << "step " << step;
  }
  for (const LeaseId& lease : holders) ASSERT_TRUE(ledger.Release(lease));
  EXPECT_EQ(ledger.available(), ledger.total());
}

}  // namespace
}  // namespace skyray::raylet
