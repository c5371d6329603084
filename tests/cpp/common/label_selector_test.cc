// SPDX-License-Identifier: Apache-2.0
#include "common/label_selector.h"

#include <gtest/gtest.h>

namespace skyray {
namespace {

using Op = LabelTerm::Op;

const Labels kNode{{"zone", "a"}, {"disk", "ssd"}};

TEST(LabelSelectorTest, ListedValues) {
  EXPECT_TRUE(Matches({{"zone", Op::In, {"a", "b"}}}, kNode));
  EXPECT_FALSE(Matches({{"zone", Op::In, {"b", "c"}}}, kNode));
  EXPECT_FALSE(Matches({{"zone", Op::NotIn, {"a"}}}, kNode));
  EXPECT_TRUE(Matches({{"zone", Op::NotIn, {"b"}}}, kNode));
}

TEST(LabelSelectorTest, AMissingLabelIsInNoList) {
  EXPECT_FALSE(Matches({{"rack", Op::In, {"a"}}}, kNode));
  EXPECT_TRUE(Matches({{"rack", Op::NotIn, {"a"}}}, kNode));
  EXPECT_FALSE(Matches({{"rack", Op::Exists, {}}}, kNode));
  EXPECT_TRUE(Matches({{"rack", Op::Missing, {}}}, kNode));
  EXPECT_TRUE(Matches({{"zone", Op::Exists, {}}}, kNode));
  EXPECT_FALSE(Matches({{"zone", Op::Missing, {}}}, kNode));
}

TEST(LabelSelectorTest, AllTermsMustHold) {
  EXPECT_TRUE(Matches({}, kNode));
  EXPECT_TRUE(Matches({{"zone", Op::In, {"a"}}, {"disk", Op::NotIn, {"hdd"}}}, kNode));
  EXPECT_FALSE(Matches({{"zone", Op::In, {"a"}}, {"disk", Op::In, {"hdd"}}}, kNode));
}

TEST(LabelSelectorTest, ReadsAsTheUserWroteIt) {
  EXPECT_EQ(ToString({{"zone", Op::In, {"a", "b"}}, {"disk", Op::NotIn, {"hdd"}}}),
            "zone=in(a,b), disk=!hdd");
  EXPECT_EQ(ToString({{"rack", Op::Exists, {}}}), "rack present");
}

}  // namespace
}  // namespace skyray
