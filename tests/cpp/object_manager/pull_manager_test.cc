// SPDX-License-Identifier: Apache-2.0
#include "object_manager/pull_manager.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "object_manager/chunk_window.h"

namespace skyray::object_manager {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class PullManagerTest : public ::testing::Test {
 protected:
  PullManager pulls{100};
  const ObjectId x = ObjectId::FromRandom();
  const ObjectId y = ObjectId::FromRandom();
  const NodeId a = NodeId::FromRandom();
  const NodeId b = NodeId::FromRandom();
  const Status no{ErrorCode::ObjectNotFound, "not here"};
};

TEST_F(PullManagerTest, TheBestNodeIsAskedFirst) {
  const PullSteps steps = pulls.Want(1, x, {a, b}, 10);
  ASSERT_EQ(steps.start.size(), 1u);
  EXPECT_EQ(steps.start[0].node, a);
  EXPECT_EQ(steps.start[0].object, x);
}

TEST_F(PullManagerTest, AFailureMovesOnToTheNextNodeUntilItIsLost) {
  const PullSteps first = pulls.Want(1, x, {a, b}, 10);
  const PullSteps second = pulls.Failed(first.start[0].transfer, no);
  ASSERT_EQ(second.start.size(), 1u);
  EXPECT_EQ(second.start[0].node, b);
  EXPECT_NE(second.start[0].transfer, first.start[0].transfer);
  const PullSteps third = pulls.Failed(second.start[0].transfer, no);
  EXPECT_THAT(third.start, IsEmpty());
  ASSERT_EQ(third.done.size(), 1u);
  EXPECT_EQ(third.done[0].status.code(), ErrorCode::ObjectLost);
  EXPECT_THAT(third.done[0].status.message(), HasSubstr(a.Hex().substr(0, 16)));
  EXPECT_THAT(third.done[0].status.message(), HasSubstr("not here"));
  EXPECT_EQ(pulls.active(), 0u);
}

TEST_F(PullManagerTest, NoNodeMeansLost) {
  const PullSteps steps = pulls.Want(1, x, {}, 10);
  ASSERT_EQ(steps.done.size(), 1u);
  EXPECT_EQ(steps.done[0].status.code(), ErrorCode::ObjectLost);
}

TEST_F(PullManagerTest, WantedTwiceIsFetchedOnceAndToldTwice) {
  pulls.Want(1, x, {a}, 10);
  EXPECT_THAT(pulls.Want(2, x, {a}, 10).start, IsEmpty());
  const PullSteps steps = pulls.Arrived(x);
  ASSERT_EQ(steps.done.size(), 1u);
  EXPECT_THAT(steps.done[0].requests, ElementsAre(1, 2));
  EXPECT_TRUE(steps.done[0].status.ok());
}

TEST_F(PullManagerTest, ASecondWantAddsItsNodes) {
  const PullSteps first = pulls.Want(1, x, {a}, 10);
  pulls.Want(2, x, {a, b}, 10);
  const PullSteps second = pulls.Failed(first.start[0].transfer, no);
  ASSERT_EQ(second.start.size(), 1u);
  EXPECT_EQ(second.start[0].node, b);
}

TEST_F(PullManagerTest, BytesInFlightAreBoundedInOrder) {
  const PullSteps first = pulls.Want(1, x, {a}, 60);
  EXPECT_THAT(pulls.Want(2, y, {a}, 60).start, IsEmpty());
  const ObjectId small = ObjectId::FromRandom();
  EXPECT_THAT(pulls.Want(3, small, {a}, 1).start, IsEmpty()) << "it came later";
  const PullSteps steps = pulls.Arrived(x);
  ASSERT_EQ(steps.start.size(), 2u);
  EXPECT_EQ(steps.start[0].object, y);
  EXPECT_EQ(steps.start[1].object, small);
}

TEST_F(PullManagerTest, AnObjectOverTheBoundIsLetThroughAlone) {
  EXPECT_EQ(pulls.Want(1, x, {a}, 1000).start.size(), 1u);
  EXPECT_THAT(pulls.Want(2, y, {a}, 1).start, IsEmpty());
  EXPECT_EQ(pulls.Arrived(x).start.size(), 1u);
}

TEST_F(PullManagerTest, AbandonEndsItWithThatReason) {
  const PullSteps first = pulls.Want(1, x, {a, b}, 10);
  const PullSteps steps =
      pulls.Abandon(first.start[0].transfer, Status(ErrorCode::OutOfMemory, "full"));
  EXPECT_THAT(steps.start, IsEmpty());
  ASSERT_EQ(steps.done.size(), 1u);
  EXPECT_EQ(steps.done[0].status.code(), ErrorCode::OutOfMemory);
}

TEST_F(PullManagerTest, AnswersThatComeLateAreIgnored) {
  const PullSteps first = pulls.Want(1, x, {a, b}, 10);
  pulls.Failed(first.start[0].transfer, no);
  EXPECT_THAT(pulls.Failed(first.start[0].transfer, no).start, IsEmpty());
  pulls.Arrived(x);
  EXPECT_THAT(pulls.Arrived(x).done, IsEmpty());
  EXPECT_EQ(pulls.active(), 0u);
  EXPECT_EQ(pulls.Want(2, x, {a}, 100).start.size(), 1u) << "the bytes were given back";
}

TEST(ChunkWindowTest, AsksForEveryByteOnceWithinTheBound) {
  ChunkWindow window(25, 10, 2);
  const auto first = window.Next();
  const auto second = window.Next();
  EXPECT_EQ(first->offset, 0u);
  EXPECT_EQ(second->offset, 10u);
  EXPECT_FALSE(window.Next().has_value());
  window.Received(10);
  const auto third = window.Next();
  EXPECT_EQ(third->offset, 20u);
  EXPECT_EQ(third->bytes, 5u);
  window.Received(20);
  EXPECT_FALSE(window.done());
  window.Received(0);
  EXPECT_TRUE(window.done());
  EXPECT_FALSE(window.Next().has_value());
}

TEST(ChunkWindowTest, WhatWasNotAskedForIsRefused) {
  ChunkWindow window(25, 10, 2);
  EXPECT_FALSE(window.Check(0, 10).ok());
  window.Next();
  EXPECT_TRUE(window.Check(0, 10).ok());
  EXPECT_FALSE(window.Check(0, 9).ok());
  EXPECT_FALSE(window.Check(1, 10).ok());
  window.Received(0);
  EXPECT_FALSE(window.Check(0, 10).ok()) << "once only";
}

TEST(ChunkWindowTest, AnEmptyObjectIsDoneAtOnce) { EXPECT_TRUE(ChunkWindow(0).done()); }

}  // namespace
}  // namespace skyray::object_manager
