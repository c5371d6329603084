// SPDX-License-Identifier: Apache-2.0
#include "raylet/worker_output.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "raylet/utf8.h"

namespace skyray::raylet {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST(WorkerOutputTest, LinesComeOutWhole) {
  WorkerOutput output;
  EXPECT_THAT(output.Feed(false, "he"), IsEmpty());
  const auto lines = output.Feed(false, "llo\nwor");
  ASSERT_THAT(lines, SizeIs(1));
  EXPECT_THAT(lines[0].lines, ElementsAre("hello"));
  EXPECT_THAT(output.Finish()[0].lines, ElementsAre("wor"));
  EXPECT_THAT(output.Finish(), IsEmpty());
}

TEST(WorkerOutputTest, ANameHoldsForWhatFollows) {
  WorkerOutput output;
  const auto lines = output.Feed(false, "early\n\x01name:f\none\ntwo\n\x01name:g\nthree\n");
  ASSERT_THAT(lines, SizeIs(3));
  EXPECT_EQ(lines[0].name, "");
  EXPECT_EQ(lines[1].name, "f");
  EXPECT_THAT(lines[1].lines, ElementsAre("one", "two"));
  EXPECT_EQ(lines[2].name, "g");
  EXPECT_EQ(output.Feed(true, "oops\n")[0].name, "g") << "stderr has no name of its own";
}

TEST(WorkerOutputTest, APrintWithoutNewlineBeforeTheNameIsNotLost) {
  WorkerOutput output;
  const auto lines = output.Feed(false, "dangling\x01name:f\nx\n");
  ASSERT_THAT(lines, SizeIs(2));
  EXPECT_THAT(lines[0].lines, ElementsAre("dangling"));
  EXPECT_EQ(lines[1].name, "f");
}

TEST(WorkerOutputTest, KeepsTheLastLinesOfStderr) {
  WorkerOutput output;
  for (int i = 0; i < 50; ++i) output.Feed(true, "line " + std::to_string(i) + "\n");
  output.Feed(false, "not this\n");
  const auto tail = output.stderr_tail();
  ASSERT_THAT(tail, SizeIs(kStderrTailLines));
  EXPECT_EQ(tail.back(), "line 49");
}

TEST(WorkerOutputTest, AnEndlessLineIsCut) {
  WorkerOutput output;
  size_t bytes = 0;
  for (int i = 0; i < 64; ++i) {
    for (const auto& group : output.Feed(false, std::string(1000, 'x'))) {
      for (const auto& line : group.lines) {
        EXPECT_LE(line.size(), kLineBytesMax);
        bytes += line.size();
      }
    }
  }
  for (const auto& group : output.Finish()) bytes += group.lines[0].size();
  EXPECT_EQ(bytes, 64000u);
}

TEST(Utf8Test, WhatIsNotTextBecomesQuestionMarks) {
  EXPECT_EQ(ToValidUtf8("gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80"),
            "gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80");
  EXPECT_EQ(ToValidUtf8("\xff\xc3"), "??");
  EXPECT_EQ(ToValidUtf8("a\xed\xa0\x80z"), "a???z") << "a surrogate";
  EXPECT_EQ(ToValidUtf8("\xc0\xaf"), "??") << "overlong";
}

}  // namespace
}  // namespace skyray::raylet
