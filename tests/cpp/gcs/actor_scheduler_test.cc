// SPDX-License-Identifier: Apache-2.0
#include "gcs/actor_scheduler.h"

#include <gmock/gmock.h>

#include "gcs/messages.h"

namespace skyray::gcs {
namespace {

using testing::HasSubstr;

class ActorSchedulerTest : public testing::Test {
 protected:
  void AddActors(int from, int to, double cpus) {
    for (int i = from; i < to; ++i) {
      const ActorId id = NumberedId<ActorId>(i);
      scheduler.Add(id, Actor(id, JobIdFromInt(1), NumberedId<WorkerId>(1), n1, cpus));
    }
  }

  // How many were placed, by node.
  std::map<NodeId, int> Schedule() {
    std::map<NodeId, int> placed;
    for (const ActorPlacement& placement : scheduler.Schedule()) {
      if (placement.kind == ActorPlacement::Kind::Place) {
        ++placed[placement.node];
        last = placement.actor;
      }
    }
    return placed;
  }

  void SetAvailable(uint64_t version, double cpus, uint64_t starts_seen = 0) {
    scheduler.NodeReported(n1, Report(version, cpus, starts_seen).resources());
  }

  const NodeId n1 = NumberedId<NodeId>(1), n2 = NumberedId<NodeId>(2);
  ActorId last;
  ActorScheduler scheduler;
};

TEST_F(ActorSchedulerTest, ABurstIsNotOverplaced) {
  scheduler.NodeAdded(Node(n1, 2));
  scheduler.NodeAdded(Node(n2, 3));
  AddActors(0, 200, 1);
  EXPECT_EQ(Schedule(), (std::map<NodeId, int>{{n1, 2}, {n2, 3}}));
  EXPECT_EQ(scheduler.waiting_count(), 195u);
}

TEST_F(ActorSchedulerTest, ABurstThatHoldsNothingIsPlacedAtOnce) {
  scheduler.NodeAdded(Node(n1, 2));
  AddActors(0, 200, 0);
  EXPECT_EQ(Schedule()[n1], 200);
}

TEST_F(ActorSchedulerTest, AReportFromBeforeTheOrdersDoesNotFreeWhatTheyTake) {
  scheduler.NodeAdded(Node(n1, 2));
  AddActors(0, 4, 1);
  EXPECT_EQ(Schedule()[n1], 2);
  SetAvailable(1, 2);  // Sent before the orders arrived.
  EXPECT_EQ(Schedule()[n1], 0);
}

TEST_F(ActorSchedulerTest, AReportThatCountsTheOrdersIsBelieved) {
  scheduler.NodeAdded(Node(n1, 3));
  AddActors(0, 2, 1);
  EXPECT_EQ(Schedule()[n1], 2);
  SetAvailable(1, 1, /*starts_seen=*/2);
  AddActors(2, 4, 1);
  EXPECT_EQ(Schedule()[n1], 1);
}

TEST_F(ActorSchedulerTest, AReportAfterTheStartIsBelievedToo) {
  scheduler.NodeAdded(Node(n1, 3));
  AddActors(0, 2, 1);
  EXPECT_EQ(Schedule()[n1], 2);
  scheduler.Started(NumberedId<ActorId>(0));
  scheduler.Started(NumberedId<ActorId>(1));
  AddActors(2, 4, 1);
  EXPECT_EQ(Schedule()[n1], 1);  // What is free was free before.
  SetAvailable(1, 1);
  EXPECT_EQ(Schedule()[n1], 0);  // That was taken by the third.
}

TEST_F(ActorSchedulerTest, ARemovedOrderGivesBackWhatItTook) {
  scheduler.NodeAdded(Node(n1, 1));
  AddActors(0, 2, 1);
  EXPECT_EQ(Schedule()[n1], 1);
  scheduler.Remove(NumberedId<ActorId>(0));
  EXPECT_EQ(Schedule()[n1], 1);
  EXPECT_EQ(last, NumberedId<ActorId>(1));
}

TEST_F(ActorSchedulerTest, ARemovedActorIsNotPlaced) {
  AddActors(0, 2, 1);
  scheduler.Remove(NumberedId<ActorId>(0));
  scheduler.Remove(NumberedId<ActorId>(7));
  scheduler.NodeAdded(Node(n1, 4));
  EXPECT_EQ(Schedule()[n1], 1);
  EXPECT_EQ(last, NumberedId<ActorId>(1));
}

TEST_F(ActorSchedulerTest, ABigOneDoesNotHoldUpTheSmall) {
  scheduler.NodeAdded(Node(n1, 4));
  AddActors(0, 1, 3);
  EXPECT_EQ(Schedule()[n1], 1);
  AddActors(1, 2, 2);
  AddActors(2, 3, 1);
  EXPECT_EQ(Schedule()[n1], 1);
  EXPECT_EQ(last, NumberedId<ActorId>(2));
}

TEST_F(ActorSchedulerTest, InfeasibleIsToldOnceUntilTheNodesChange) {
  scheduler.NodeAdded(Node(n1, 1));
  AddActors(0, 2, 5);
  const auto told = scheduler.Schedule();
  ASSERT_EQ(told.size(), 2u);
  EXPECT_EQ(told[0].kind, ActorPlacement::Kind::Infeasible);
  EXPECT_THAT(told[0].why, HasSubstr("CPU: 5"));
  EXPECT_EQ(scheduler.Schedule().size(), 0u);
  scheduler.NodeAdded(Node(n2, 2));
  EXPECT_EQ(scheduler.Schedule().size(), 2u);
}

TEST_F(ActorSchedulerTest, WithoutNodesEverythingWaits) {
  AddActors(0, 3, 1);
  EXPECT_TRUE(scheduler.Schedule().empty());
  EXPECT_EQ(scheduler.waiting_count(), 3u);
}

TEST_F(ActorSchedulerTest, WhatADeadNodeWasToTakeIsForgotten) {
  scheduler.NodeAdded(Node(n1, 1));
  AddActors(0, 1, 1);
  EXPECT_EQ(Schedule()[n1], 1);
  scheduler.NodeRemoved(n1);
  scheduler.NodeRemoved(n1);
  scheduler.Remove(NumberedId<ActorId>(0));
  scheduler.Started(NumberedId<ActorId>(0));
  AddActors(0, 1, 1);
  scheduler.NodeAdded(Node(n2, 1));
  EXPECT_EQ(Schedule()[n2], 1);
}

}  // namespace
}  // namespace skyray::gcs
