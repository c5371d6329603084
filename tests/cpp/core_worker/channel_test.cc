// SPDX-License-Identifier: Apache-2.0
#include "core_worker/channel.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "core_worker/task.h"
#include "core_worker/words.h"

namespace skyray::core_worker {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

MATCHER_P2(Numbered, sequence, task, "") { return arg.sequence == sequence && arg.task == task; }

// --- InFlight ---

class InFlightTest : public ::testing::Test {
 protected:
  InFlight in_flight;
  Task tasks[4];
};

TEST_F(InFlightTest, SequenceNumbersAreConsecutiveFromZero) {
  for (uint64_t i = 0; i < 4; ++i) EXPECT_EQ(in_flight.Add(&tasks[i]), i);
  EXPECT_EQ(in_flight.size(), 4u);
}

TEST_F(InFlightTest, AnsweredInOrder) {
  for (Task& task : tasks) in_flight.Add(&task);
  for (uint64_t i = 0; i < 4; ++i) EXPECT_EQ(in_flight.Take(i), &tasks[i]);
  EXPECT_EQ(in_flight.size(), 0u);
  EXPECT_EQ(in_flight.Add(&tasks[0]), 4u);
}

TEST_F(InFlightTest, AnsweredOutOfOrder) {
  for (Task& task : tasks) in_flight.Add(&task);
  EXPECT_EQ(in_flight.Take(2), &tasks[2]);
  EXPECT_EQ(in_flight.Take(0), &tasks[0]);
  EXPECT_EQ(in_flight.size(), 2u);
  EXPECT_EQ(in_flight.Add(&tasks[0]), 4u) << "numbers go on whatever was answered";
  EXPECT_EQ(in_flight.Take(3), &tasks[3]);
  EXPECT_EQ(in_flight.Take(1), &tasks[1]);
  EXPECT_EQ(in_flight.Take(4), &tasks[0]);
  EXPECT_EQ(in_flight.size(), 0u);
}

TEST_F(InFlightTest, WhatWasNotAskedOrIsAnsweredIsNobodys) {
  EXPECT_EQ(in_flight.Take(0), nullptr);
  in_flight.Add(&tasks[0]);
  in_flight.Add(&tasks[1]);
  EXPECT_EQ(in_flight.Take(2), nullptr);
  EXPECT_EQ(in_flight.Take(UINT64_MAX), nullptr);
  EXPECT_EQ(in_flight.Take(1), &tasks[1]);
  EXPECT_EQ(in_flight.Take(1), nullptr);
  EXPECT_EQ(in_flight.Take(0), &tasks[0]);
  EXPECT_EQ(in_flight.Take(0), nullptr);
  EXPECT_EQ(in_flight.Take(1), nullptr);
}

TEST_F(InFlightTest, TakingAllLeavesNothingAndKeepsCounting) {
  for (Task& task : tasks) in_flight.Add(&task);
  in_flight.Take(1);
  EXPECT_THAT(in_flight.TakeAll(), ElementsAre(Numbered(0u, &tasks[0]), Numbered(2u, &tasks[2]),
                                               Numbered(3u, &tasks[3])));
  EXPECT_EQ(in_flight.size(), 0u);
  EXPECT_EQ(in_flight.Take(2), nullptr);
  EXPECT_EQ(in_flight.Add(&tasks[0]), 4u);
  EXPECT_EQ(in_flight.Take(4), &tasks[0]);
}

TEST_F(InFlightTest, AnyOrderOfAnswersFindsEveryTask) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  std::vector<Task> many(500);
  std::vector<size_t> order;
  for (size_t i = 0; i < many.size(); ++i) order.push_back(in_flight.Add(&many[i]));
  std::shuffle(order.begin(), order.end(), random);
  for (const size_t sequence : order) EXPECT_EQ(in_flight.Take(sequence), &many[sequence]);
  EXPECT_EQ(in_flight.size(), 0u);
}

// --- InputBuffer ---

class InputBufferTest : public ::testing::Test {
 protected:
  void Add(std::string_view bytes) {
    const auto space = input.Space(bytes.size());
    ASSERT_GE(space.size(), bytes.size());
    if (!bytes.empty()) std::memcpy(space.data(), bytes.data(), bytes.size());
    input.Added(bytes.size());
  }
  NextFrameResult Next() { return input.Next(cap, frame); }
  std::string Body() const {
    return {reinterpret_cast<const char*>(frame.body.data()), frame.body.size()};
  }

  uint32_t cap = 1 << 20;
  InputBuffer input;
  FrameView frame;
};

TEST_F(InputBufferTest, AnEmptyBufferHasNoFrame) { EXPECT_EQ(Next(), NextFrameResult::Incomplete); }

TEST_F(InputBufferTest, SeveralFramesInOneRead) {
  Add(FrameOf("one", 1) + FrameOf("", 2) + FrameOf("three", 3));
  ASSERT_EQ(Next(), NextFrameResult::Frame);
  EXPECT_EQ(Body(), "one");
  EXPECT_EQ(frame.kind, 1);
  ASSERT_EQ(Next(), NextFrameResult::Frame);
  EXPECT_EQ(Body(), "");
  EXPECT_EQ(frame.kind, 2);
  ASSERT_EQ(Next(), NextFrameResult::Frame);
  EXPECT_EQ(Body(), "three");
  EXPECT_EQ(Next(), NextFrameResult::Incomplete);
}

TEST_F(InputBufferTest, FramesMayBeSplitAtAnyByte) {
  const std::string wire = FrameOf("first", 1) + FrameOf("second", 2);
  for (size_t cut = 0; cut <= wire.size(); ++cut) {
    std::vector<std::string> bodies;
    for (const auto& piece : {wire.substr(0, cut), wire.substr(cut)}) {
      Add(piece);
      while (Next() == NextFrameResult::Frame) bodies.push_back(Body());
    }
    EXPECT_THAT(bodies, ElementsAre("first", "second")) << "cut at " << cut;
  }
}

TEST_F(InputBufferTest, FramesMayComeByteByByte) {
  const std::string wire = FrameOf("first", 1) + FrameOf(std::string(300, 'x'), 2);
  std::vector<std::string> bodies;
  for (const char byte : wire) {
    Add({&byte, 1});
    while (Next() == NextFrameResult::Frame) bodies.push_back(Body());
  }
  EXPECT_THAT(bodies, ElementsAre("first", std::string(300, 'x')));
}

TEST_F(InputBufferTest, HowMuchIsMissingIsKnown) {
  const std::string wire = FrameOf(std::string(1000, 'x'));
  Add(wire.substr(0, 4));
  EXPECT_EQ(Next(), NextFrameResult::Incomplete);
  EXPECT_EQ(input.missing(), 0u) << "the header is not complete";
  Add(wire.substr(4, 96));
  EXPECT_EQ(Next(), NextFrameResult::Incomplete);
  EXPECT_EQ(input.missing(), wire.size() - 100);
  Add(wire.substr(100));
  EXPECT_EQ(Next(), NextFrameResult::Frame);
  EXPECT_EQ(input.missing(), 0u);
}

TEST_F(InputBufferTest, AFrameOfExactlyTheCapIsTaken) {
  cap = 10;
  Add(FrameOf("0123456789"));
  EXPECT_EQ(Next(), NextFrameResult::Frame);
}

TEST_F(InputBufferTest, AFrameOverTheCapIsBadBeforeItsBodyComes) {
  cap = 10;
  Add(FrameOf("0123456789x").substr(0, sizeof(ipc::FrameHeader)));
  EXPECT_EQ(Next(), NextFrameResult::Bad);
  EXPECT_EQ(input.missing(), 0u);
}

TEST_F(InputBufferTest, TheLargestLengthIsNoOverflow) {
  std::string header;
  AppendStruct(header, ipc::FrameHeader{UINT32_MAX, 0, 0});
  Add(header);
  EXPECT_EQ(Next(), NextFrameResult::Bad);
}

TEST_F(InputBufferTest, TooManyDescriptorsAreBad) {
  Add(FrameOf("x", 0, ipc::kFrameFdsMax + 1));
  EXPECT_EQ(Next(), NextFrameResult::Bad);
}

TEST_F(InputBufferTest, AFrameWhoseDescriptorsAreMissingIsBad) {
  Add(FrameOf("x", 0, 1));
  EXPECT_EQ(Next(), NextFrameResult::Bad);
}

TEST_F(InputBufferTest, EveryFrameGetsItsOwnDescriptors) {
  std::vector<int> numbers;
  for (int i = 0; i < 3; ++i) {
    UniqueFd fd(open("/dev/null", O_RDONLY | O_CLOEXEC));
    ASSERT_TRUE(fd.valid());
    numbers.push_back(fd.get());
    input.fds().push_back(std::move(fd));
  }
  Add(FrameOf("a", 0, 2) + FrameOf("b") + FrameOf("c", 0, 1));
  ASSERT_EQ(Next(), NextFrameResult::Frame);
  ASSERT_EQ(frame.fds.size(), 2u);
  EXPECT_EQ(frame.fds[0].get(), numbers[0]);
  EXPECT_EQ(frame.fds[1].get(), numbers[1]);
  ASSERT_EQ(Next(), NextFrameResult::Frame);
  EXPECT_THAT(frame.fds, IsEmpty());
  ASSERT_EQ(Next(), NextFrameResult::Frame);
  ASSERT_EQ(frame.fds.size(), 1u);
  EXPECT_EQ(frame.fds[0].get(), numbers[2]);
  EXPECT_THAT(input.fds(), IsEmpty());
}

}  // namespace
}  // namespace skyray::core_worker
