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
  const size_t all = 4 * kLineBytesMax + 1000;
  size_t bytes = 0;
  for (size_t fed = 0; fed < all; fed += 1000) {
    for (const auto& group :
         output.Feed(false, std::string(std::min<size_t>(1000, all - fed), 'x'))) {
      for (const auto& line : group.lines) {
        EXPECT_LE(line.size(), kLineBytesMax);
        bytes += line.size();
      }
    }
  }
  for (const auto& group : output.Finish()) bytes += group.lines[0].size();
  EXPECT_EQ(bytes, all);
}

TEST(WorkerOutputTest, ALineAsLongAsMayBeIsFollowedByNoEmptyOne) {
  WorkerOutput output;
  const std::string line(kLineBytesMax, 'x');
  EXPECT_THAT(output.Feed(false, line)[0].lines, ElementsAre(line));
  EXPECT_THAT(output.Feed(false, "\n"), IsEmpty());
  EXPECT_THAT(output.Feed(false, "\n")[0].lines, ElementsAre(""));
}

TEST(WorkerOutputTest, ACutTakesNoCharacterApart) {
  WorkerOutput output;
  const std::string cut(kLineBytesMax - 1, 'x');
  EXPECT_THAT(output.Feed(false, cut + "\xc3")[0].lines, ElementsAre(cut));
  EXPECT_THAT(output.Feed(false, "\xbc\n")[0].lines, ElementsAre("\xc3\xbc"));
}

TEST(WorkerOutputTest, WhatHasNoEndYetCanBeTaken) {
  WorkerOutput output;
  EXPECT_FALSE(output.HasUnended());
  EXPECT_THAT(output.Feed(false, "\x01name:f\nworking\xe2\x82"), IsEmpty());
  EXPECT_TRUE(output.HasUnended());
  const auto begun = output.TakeUnended();
  ASSERT_THAT(begun, SizeIs(1));
  EXPECT_EQ(begun[0].name, "f");
  EXPECT_THAT(begun[0].lines, ElementsAre("working"));
  EXPECT_THAT(output.Feed(false, "\xac done\n\n")[0].lines, ElementsAre("\xe2\x82\xac done", ""));
  EXPECT_FALSE(output.HasUnended());
}

TEST(WorkerOutputTest, TheEndOfWhatWasTakenIsNoLine) {
  WorkerOutput output;
  output.Feed(true, "working");
  EXPECT_THAT(output.TakeUnended()[0].lines, ElementsAre("working"));
  EXPECT_THAT(output.TakeUnended(), IsEmpty());
  EXPECT_THAT(output.Feed(true, "\n\x01name:f\n"), IsEmpty());
  EXPECT_THAT(output.Feed(true, "next\n")[0].lines, ElementsAre("next"));
  EXPECT_THAT(output.stderr_tail(), ElementsAre("working", "next"));
}

TEST(WorkerOutputTest, ANameThatHasNotEndedIsNotTaken) {
  WorkerOutput output;
  output.Feed(false, "text\x01name:");
  EXPECT_THAT(output.TakeUnended()[0].lines, ElementsAre("text"));
  EXPECT_THAT(output.Feed(false, "f\n"), IsEmpty());
  EXPECT_EQ(output.Feed(false, "x\n")[0].name, "f");
}

TEST(WorkerOutputTest, ACarriageReturnBelongsToTheEndOfALine) {
  WorkerOutput output;
  EXPECT_THAT(output.Feed(false, "a\rb\r\n")[0].lines, ElementsAre("a\rb"));
}

TEST(WorkerOutputTest, TheTailHasWhatWasTakenAndItsRestInOneLine) {
  WorkerOutput output;
  output.Feed(true, "half");
  output.TakeUnended();
  output.Feed(true, " and half\n" + std::string(2 * kStderrTailLineBytesMax, 'x') + "\n");
  EXPECT_THAT(output.stderr_tail(),
              ElementsAre("half and half", std::string(kStderrTailLineBytesMax, 'x')));
}

TEST(Utf8Test, WhatIsNotTextBecomesQuestionMarks) {
  EXPECT_EQ(ToValidUtf8("gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80"),
            "gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80");
  EXPECT_EQ(ToValidUtf8("\xff\xc3"), "??");
  EXPECT_EQ(ToValidUtf8("a\xed\xa0\x80z"), "a???z") << "a surrogate";
  EXPECT_EQ(ToValidUtf8("\xc0\xaf"), "??") << "overlong";
}

TEST(Utf8Test, ACharacterIsWholeOrNotThere) {
  EXPECT_EQ(WholeCharacterBytes(""), 0u);
  EXPECT_EQ(WholeCharacterBytes("ab"), 2u);
  EXPECT_EQ(WholeCharacterBytes("a\xc3"), 1u);
  EXPECT_EQ(WholeCharacterBytes("a\xc3\xbc"), 3u);
  EXPECT_EQ(WholeCharacterBytes("a\xf0\x9f\x98"), 1u);
  EXPECT_EQ(WholeCharacterBytes("a\xf0\x9f\x98\x80"), 5u);
  EXPECT_EQ(WholeCharacterBytes("\x80\x80\x80\x80"), 4u) << "the inside of none";
}

}  // namespace
}  // namespace skyray::raylet
