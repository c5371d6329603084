// SPDX-License-Identifier: Apache-2.0
#include "plasma/reference_table.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace skyray::plasma {
namespace {

TEST(ReferenceTableTest, ItAgreesWithAMapThroughoutARandomWalk) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  ReferenceTable table;
  std::map<ObjectIndex, uint32_t> expected;
  for (int step = 0; step < 100000; ++step) {
    const auto object = static_cast<ObjectIndex>(random() % 2000);
    // Now it grows, now it shrinks.
    const bool insert = random() % 4 != 0 ? step / 20000 % 2 == 0 : step / 20000 % 2 != 0;
    if (insert) {
      Reference& reference = table.At(object);
      ASSERT_EQ(reference.count, expected[object]);
      reference.count = ++expected[object] & kReferenceCountMax;
    } else if (expected.erase(object) == 1) {
      table.Erase(object);
    }
    const auto other = static_cast<ObjectIndex>(random() % 2000);
    const Reference* found = table.Find(other);
    ASSERT_EQ(found == nullptr ? 0 : found->count, expected.contains(other) ? expected[other] : 0);
    ASSERT_EQ(table.size(), expected.size());
  }
  size_t visited = 0;
  table.ForEach([&](const Reference& reference) {
    ++visited;
    EXPECT_EQ(reference.count, expected.at(reference.object));
  });
  EXPECT_EQ(visited, expected.size());
}

TEST(ReferenceTableDeathTest, ErasingWhatIsNotThereIsABug) {
  ReferenceTable table;
  EXPECT_DEATH(table.Erase(7), "check failed");
}

}  // namespace
}  // namespace skyray::plasma
