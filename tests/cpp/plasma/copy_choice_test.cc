// SPDX-License-Identifier: Apache-2.0
#include "plasma/copy_choice.h"

#include <gtest/gtest.h>

#include <random>

namespace skyray::plasma {
namespace {

// What is chosen of candidates that take so long, each trial up to `noise_ns` longer.
size_t ChosenOf(const std::vector<int64_t>& cost_ns, int64_t noise_ns = 0) {
  std::mt19937_64 random(7);
  CopyChoice choice(cost_ns.size());
  std::vector<size_t> turns(cost_ns.size());
  while (!choice.chosen()) {
    const size_t candidate = choice.next();
    ++turns[candidate];
    const auto noise = noise_ns == 0 ? 0 : static_cast<int64_t>(random() % noise_ns);
    choice.Took(cost_ns[candidate] + noise);
  }
  for (const size_t count : turns) EXPECT_EQ(count, CopyChoice::kTrialsEach);
  return *choice.chosen();
}

TEST(CopyChoiceTest, TheFastestIsChosen) {
  EXPECT_EQ(ChosenOf({100'000, 80'000, 90'000}), 1u);
  EXPECT_EQ(ChosenOf({100'000, 90'000, 80'000}), 2u);
  EXPECT_EQ(ChosenOf({80'000, 90'000, 100'000}), 0u);
}

TEST(CopyChoiceTest, WhatHappenedOnceDoesNotDecide) {
  CopyChoice choice(2);
  for (int trial = 0; trial < 16; ++trial) {
    const bool disturbed = trial == 3 || trial == 5;
    const bool lucky = trial == 4;
    choice.Took(disturbed ? 1'000'000 : lucky ? 10'000 : trial % 2 == 1 ? 80'000 : 100'000);
  }
  EXPECT_EQ(choice.chosen(), 1u);
  EXPECT_EQ(ChosenOf({100'000, 60'000, 70'000}, 10'000), 1u);
}

TEST(CopyChoiceTest, TheFirstStaysUnlessAnotherIsClearlyFaster) {
  EXPECT_EQ(ChosenOf({100'000, 97'000}), 0u);
  EXPECT_EQ(ChosenOf({100'000, 95'000}), 1u);
  EXPECT_EQ(ChosenOf({100'000, 100'000}), 0u);
  EXPECT_EQ(ChosenOf({0, 0}), 0u) << "a clock that stands still";
  EXPECT_EQ(ChosenOf({5}), 0u) << "there is one";
}

TEST(CopyChoiceTest, ThereIsNoChoiceBeforeTheLastTrial) {
  CopyChoice choice(2);
  for (size_t trial = 0; trial < 2 * CopyChoice::kTrialsEach; ++trial) {
    EXPECT_EQ(choice.chosen(), std::nullopt);
    EXPECT_EQ(choice.next(), trial % 2);
    choice.Took(10);
  }
  EXPECT_EQ(choice.chosen(), 0u);
}

}  // namespace
}  // namespace skyray::plasma
