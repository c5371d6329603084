// SPDX-License-Identifier: Apache-2.0
// What the GCS decides, event by event: actors' lives, jobs, nodes.
#include "gcs/cluster.h"

#include <gmock/gmock.h>

#include "gcs/messages.h"

namespace skyray::gcs {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class ClusterTest : public testing::Test {
 protected:
  ClusterTest() {
    EXPECT_TRUE(cluster.Register(Node(n1, 4)).has_value());
    job = *JobId::FromBinary(cluster.AddJob(Job(driver, n1), now).job_id());
    cluster.TakeEffects();
  }

  pb::ActorSpec Spec(const ActorId& id, double cpus = 0) {
    return Actor(id, job, driver, n1, cpus);
  }

  pb::CreateActorReply Create(const pb::ActorSpec& spec, bool get_if_exists = false) {
    pb::CreateActorRequest request;
    *request.mutable_spec() = spec;
    request.set_get_if_exists(get_if_exists);
    return cluster.CreateActor(request);
  }

  void CreateAlive(const pb::ActorSpec& spec) {
    ASSERT_EQ(Create(spec).status().code(), 0u);
    Event(n1, Started(*ActorId::FromBinary(spec.actor_id()), worker));
    cluster.TakeEffects();
  }

  void Kill(const ActorId& actor, bool no_restart = true) {
    pb::KillActorRequest request;
    request.set_actor_id(Bytes(actor));
    request.set_no_restart(no_restart);
    ASSERT_EQ(cluster.KillActor(request).status().code(), 0u);
  }

  void Event(const NodeId& node, const pb::NodeEvent& event) {
    cluster.OnNodeEvent(node, event, now);
  }

  pb::ActorInfo Info(const ActorId& actor) {
    pb::GetActorRequest request;
    request.set_actor_id(Bytes(actor));
    return cluster.GetActor(request).actor();
  }

  ErrorCode Lookup(const std::string& name) {
    pb::GetNamedActorRequest request;
    request.set_name(name);
    request.set_namespace_("ns");
    return static_cast<ErrorCode>(cluster.GetNamedActor(request).status().code());
  }

  // The commands since the last call, in short: "start 1 @1", "stop 1 @1".
  std::vector<std::string> Orders() {
    std::vector<std::string> orders;
    for (const auto& [node, command] : cluster.TakeEffects().commands) {
      std::string text;
      if (command.has_start_actor()) {
        text = "start " + std::to_string(command.start_actor().spec().actor_id()[1]);
      } else if (command.has_stop_actor()) {
        text = "stop " + std::to_string(command.stop_actor().actor_id()[1]);
      } else {
        continue;
      }
      orders.push_back(text + " @" + std::to_string(node.data()[1]));
    }
    return orders;
  }

  const NodeId n1 = NumberedId<NodeId>(1), n2 = NumberedId<NodeId>(2);
  const WorkerId driver = NumberedId<WorkerId>(1), worker = NumberedId<WorkerId>(2);
  const WorkerId other_worker = NumberedId<WorkerId>(3);
  const ActorId a = NumberedId<ActorId>(1), b = NumberedId<ActorId>(2);
  Now now{1000, 0};
  MemoryStorage storage;
  Cluster cluster{storage};
  JobId job;
};

TEST_F(ClusterTest, CreateIsIdempotent) {
  Create(Spec(a));
  EXPECT_THAT(Orders(), ElementsAre("start 1 @1"));
  EXPECT_EQ(Create(Spec(a)).status().code(), 0u);
  EXPECT_THAT(Orders(), IsEmpty());
  Event(n1, Started(a, worker));
  Kill(a);
  EXPECT_EQ(Create(Spec(a)).status().code(), 0u);
  EXPECT_EQ(Info(a).state(), pb::DEAD);
}

TEST_F(ClusterTest, ItIsKnownBeforeTheArgumentsOfItsInitAre) {
  pb::ActorSpec early = Spec(a);
  early.set_name("alice");
  early.clear_creation_task();
  pb::ActorSpec complete = early;
  complete.set_creation_task("task");
  EXPECT_EQ(Create(early).status().code(), 0u);
  EXPECT_EQ(Lookup("alice"), ErrorCode::Ok);
  EXPECT_EQ(Create(early).status().code(), 0u);
  EXPECT_THAT(Orders(), IsEmpty()) << "there is nothing to start yet";
  EXPECT_TRUE(cluster.Register(Node(n2, 4)).has_value());
  EXPECT_THAT(Orders(), IsEmpty());
  EXPECT_EQ(Create(complete).status().code(), 0u);
  EXPECT_THAT(Orders(), ElementsAre("start 1 @1"));
  EXPECT_EQ(Create(complete).status().code(), 0u);
  EXPECT_THAT(Orders(), IsEmpty());
}

TEST_F(ClusterTest, AnArgumentThatFailedIsItsDeath) {
  pb::ActorSpec early = Spec(a);
  early.clear_creation_task();
  Create(early);
  early.set_creation_error("why");
  EXPECT_EQ(Create(early).status().code(), 0u);
  EXPECT_EQ(Info(a).state(), pb::DEAD);
  EXPECT_EQ(Info(a).creation_error(), "why");
  EXPECT_EQ(Create(Spec(a)).status().code(), 0u);
  EXPECT_THAT(Orders(), IsEmpty()) << "too late";
}

TEST_F(ClusterTest, EvenADetachedOneEndsWithTheOwnerThatAloneKnowsItsArguments) {
  pb::ActorSpec early = Actor(a, job, worker, n1);
  early.set_detached(true);
  pb::ActorSpec late = early;
  late.set_actor_id(Bytes(b));
  Create(late);
  early.clear_creation_task();
  Create(early);
  Event(n1, WorkerDied(worker, /*is_driver=*/false));
  EXPECT_EQ(Info(a).state(), pb::DEAD);
  EXPECT_EQ(Info(b).state(), pb::PENDING) << "that one's are known";
  early.set_actor_id(Bytes(NumberedId<ActorId>(3)));
  EXPECT_EQ(Create(early).status().code(), static_cast<uint32_t>(ErrorCode::OwnerDied));
}

TEST_F(ClusterTest, TheNameIsFreeAgainWhenTheActorIsDead) {
  pb::ActorSpec spec = Spec(a);
  spec.set_name("alice");
  CreateAlive(spec);
  EXPECT_EQ(Lookup("alice"), ErrorCode::Ok);
  Kill(a);
  EXPECT_EQ(Lookup("alice"), ErrorCode::NotFound);
  spec.set_actor_id(Bytes(b));
  EXPECT_EQ(Create(spec).status().code(), 0u);
}

TEST_F(ClusterTest, TheNameStaysTakenWhileTheActorRestarts) {
  pb::ActorSpec spec = Spec(a);
  spec.set_name("alice");
  spec.set_max_restarts(1);
  CreateAlive(spec);
  Event(n1, Exited(a, 9));
  spec.set_actor_id(Bytes(b));
  const auto reply = Create(spec);
  EXPECT_EQ(reply.status().code(), static_cast<uint32_t>(ErrorCode::AlreadyExists));
  EXPECT_THAT(reply.status().message(), HasSubstr("get_if_exists=True"));
  EXPECT_EQ(Create(spec, /*get_if_exists=*/true).existing().actor_id(), Bytes(a));
}

TEST_F(ClusterTest, ACrashRestartsItUntilItsRestartsAreUsedUp) {
  pb::ActorSpec spec = Spec(a);
  spec.set_max_restarts(2);
  CreateAlive(spec);
  for (uint32_t restart = 1; restart <= 2; ++restart) {
    Event(n1, Exited(a, 11));
    EXPECT_EQ(Info(a).state(), pb::RESTARTING);
    EXPECT_THAT(Orders(), ElementsAre("start 1 @1"));
    Event(n1, Started(a, worker));
    EXPECT_EQ(Info(a).state(), pb::ALIVE);
    EXPECT_EQ(Info(a).restarts(), restart);
  }
  Event(n1, Exited(a, 11));
  EXPECT_EQ(Info(a).state(), pb::DEAD);
  EXPECT_EQ(Info(a).exit().signal(), 11);
  EXPECT_THAT(Info(a).death_message(), HasSubstr("signal 11"));
  EXPECT_THAT(Info(a).death_message(), HasSubstr("max_restarts=2"));
  EXPECT_THAT(Orders(), IsEmpty());
}

TEST_F(ClusterTest, AnExitOnPurposeIsNotRestarted) {
  pb::ActorSpec spec = Spec(a);
  spec.set_max_restarts(-1);
  CreateAlive(spec);
  Event(n1, Exited(a, 0, /*expected=*/true));
  EXPECT_EQ(Info(a).state(), pb::DEAD);
}

TEST_F(ClusterTest, AnExceptionInInitIsNotRestarted) {
  pb::ActorSpec spec = Spec(a);
  spec.set_max_restarts(-1);
  Create(spec);
  Event(n1, FailedToStart(a, "pickled"));
  EXPECT_EQ(Info(a).state(), pb::DEAD);
  EXPECT_EQ(Info(a).creation_error(), "pickled");
  Event(n1, Exited(a, 0));
  EXPECT_EQ(Info(a).state(), pb::DEAD);
  EXPECT_THAT(Orders(), ElementsAre("start 1 @1"));
}

TEST_F(ClusterTest, KillWithRestartRestarts) {
  pb::ActorSpec spec = Spec(a);
  spec.set_max_restarts(1);
  CreateAlive(spec);
  Kill(a, /*no_restart=*/false);
  EXPECT_EQ(Info(a).state(), pb::ALIVE);
  EXPECT_THAT(Orders(), ElementsAre("stop 1 @1"));
  Event(n1, Exited(a, 9, /*expected=*/true));  // Expected, because it was ordered.
  EXPECT_EQ(Info(a).state(), pb::RESTARTING);
  EXPECT_THAT(Orders(), ElementsAre("start 1 @1"));
}

TEST_F(ClusterTest, KillWithRestartOfOneThatWaitsIsARestart) {
  pb::ActorSpec spec = Spec(a, /*cpus=*/8);  // More than there are.
  spec.set_max_restarts(1);
  Create(spec);
  Kill(a, /*no_restart=*/false);
  EXPECT_EQ(Info(a).state(), pb::PENDING);
  EXPECT_EQ(Info(a).restarts(), 1u);
  EXPECT_THAT(Orders(), IsEmpty());
  Kill(a, /*no_restart=*/false);
  EXPECT_EQ(Info(a).state(), pb::DEAD);
  EXPECT_THAT(Info(a).death_message(), HasSubstr("killed by skyray.kill() before it had started"));
}

TEST_F(ClusterTest, KilledWhileItIsBornItIsStoppedWhenItIs) {
  Create(Spec(a));
  Kill(a);
  EXPECT_EQ(Info(a).state(), pb::DEAD);
  EXPECT_THAT(Orders(), ElementsAre("start 1 @1", "stop 1 @1"));
  Event(n1, Started(a, worker));  // It had started before the order came.
  EXPECT_EQ(Info(a).state(), pb::DEAD);
  EXPECT_THAT(Orders(), ElementsAre("stop 1 @1"));
}

TEST_F(ClusterTest, KillOfAnUnknownActorIsNotFound) {
  pb::KillActorRequest request;
  request.set_actor_id(Bytes(a));
  EXPECT_EQ(cluster.KillActor(request).status().code(), static_cast<uint32_t>(ErrorCode::NotFound));
}

TEST_F(ClusterTest, ItDiesWithItsOwner) {
  pb::ActorSpec spec = Actor(a, job, worker, n1);
  spec.set_max_restarts(-1);
  CreateAlive(spec);
  pb::ActorSpec detached = Actor(b, job, worker, n1);
  detached.set_detached(true);
  CreateAlive(detached);
  Event(n1, WorkerDied(worker, /*is_driver=*/false));
  EXPECT_EQ(Info(a).state(), pb::DEAD);
  EXPECT_EQ(Info(b).state(), pb::ALIVE);
  EXPECT_THAT(Orders(), ElementsAre("stop 1 @1"));
  // A creation that was under way when its owner died.
  const auto late = Create(Actor(NumberedId<ActorId>(3), job, worker, n1));
  EXPECT_EQ(late.status().code(), static_cast<uint32_t>(ErrorCode::OwnerDied));
}

TEST_F(ClusterTest, TheEndOfTheJobEndsAllButDetachedActors) {
  CreateAlive(Spec(a));
  pb::ActorSpec detached = Spec(b);
  detached.set_detached(true);
  CreateAlive(detached);
  Event(n1, WorkerDied(driver, /*is_driver=*/true));
  EXPECT_EQ(Info(a).state(), pb::DEAD);
  EXPECT_EQ(Info(b).state(), pb::ALIVE);
  EXPECT_TRUE(cluster.GetJobs().jobs(0).finished());
  Event(n1, WorkerDied(driver, /*is_driver=*/true));
  pb::FinishJobRequest finish;
  finish.set_job_id(Bytes(job));
  EXPECT_EQ(cluster.FinishJob(finish, now).status().code(), 0u);
}

TEST_F(ClusterTest, ADetachedActorMakesOthersAfterItsDriversEnd) {
  pb::ActorSpec detached = Spec(a);
  detached.set_detached(true);
  CreateAlive(detached);
  Event(n1, WorkerDied(driver, /*is_driver=*/true));
  EXPECT_EQ(Create(Actor(b, job, worker, n1)).status().code(), 0u);
  Orders();
  Event(n1, Started(b, other_worker));
  EXPECT_EQ(Info(b).state(), pb::ALIVE);
  const WorkerId stranger = NumberedId<WorkerId>(77);
  EXPECT_THAT(Create(Actor(NumberedId<ActorId>(3), job, stranger, n1)).status().message(),
              HasSubstr("not running"));
  // It owns what it made.
  Event(n1, WorkerDied(worker, /*is_driver=*/false));
  EXPECT_EQ(Info(b).state(), pb::DEAD);
}

TEST_F(ClusterTest, TheDeathOfItsNodeMovesItToAnother) {
  pb::ActorSpec spec = Spec(a, /*cpus=*/4);
  spec.set_detached(true);
  spec.set_max_restarts(1);
  CreateAlive(spec);
  ASSERT_TRUE(cluster.Register(Node(n2, 4)).has_value());
  cluster.OnNodeLost(n1, "unplugged", now);
  EXPECT_EQ(Info(a).state(), pb::RESTARTING);
  EXPECT_THAT(Info(a).exit().reason(), HasSubstr("unplugged"));
  EXPECT_THAT(Orders(), ElementsAre("start 1 @2"));
}

TEST_F(ClusterTest, TheDeathOfTheOwnersNodeEndsIt) {
  ASSERT_TRUE(cluster.Register(Node(n2, 8)).has_value());
  CreateAlive(Spec(a));
  const NodeId far = NumberedId<NodeId>(3);
  ASSERT_TRUE(cluster.Register(Node(far, 1)).has_value());
  pb::ActorSpec spec = Actor(b, job, other_worker, far);
  spec.set_max_restarts(-1);
  spec.mutable_strategy()->set_kind(pb::Strategy::NODE_AFFINITY);
  spec.mutable_strategy()->set_node_id(Bytes(n1));
  CreateAlive(spec);
  cluster.OnNodeLost(far, "unplugged", now);
  EXPECT_EQ(Info(b).state(), pb::DEAD);
  EXPECT_EQ(Info(a).state(), pb::ALIVE);
}

TEST_F(ClusterTest, WhatDoesNotFitWaitsAndIsPlacedLater) {
  CreateAlive(Spec(a, 3));
  Create(Spec(b, 2));
  EXPECT_THAT(Orders(), IsEmpty());
  Event(n1, Report(1, 1));
  EXPECT_THAT(Orders(), IsEmpty());
  Event(n1, Report(2, 2));
  EXPECT_THAT(Orders(), ElementsAre("start 2 @1"));
}

TEST_F(ClusterTest, WhatNoNodeCanRunSaysWhyUntilOneCan) {
  Create(Spec(a, 8));
  Event(n1, SubscribeTo(a));
  EXPECT_EQ(Info(a).state(), pb::PENDING);
  EXPECT_EQ(Info(a).pending_reason(),
            "CPU: 8 is asked for, but the most any node has is 4 (node 127.0.0.1)");
  ASSERT_TRUE(cluster.Register(Node(n2, 8)).has_value());
  EXPECT_THAT(Orders(), ElementsAre("start 1 @2"));
  EXPECT_EQ(Info(a).pending_reason(), "");
}

TEST_F(ClusterTest, AffinityToADeadNodeIsUnschedulable) {
  pb::ActorSpec spec = Spec(a);
  spec.mutable_strategy()->set_kind(pb::Strategy::NODE_AFFINITY);
  spec.mutable_strategy()->set_node_id(Bytes(n2));
  Create(spec);
  EXPECT_EQ(Info(a).state(), pb::DEAD);
  EXPECT_EQ(Info(a).death_code(), static_cast<uint32_t>(ErrorCode::Unschedulable));
}

TEST_F(ClusterTest, ARefusedActorIsOfferedAgainAfterAWhile) {
  Create(Spec(a, 1));
  EXPECT_THAT(Orders(), ElementsAre("start 1 @1"));
  Event(n1, NotPlaced(a));
  EXPECT_THAT(Orders(), IsEmpty());
  EXPECT_EQ(cluster.NextDeadlineMs(), now.monotonic_ms + kRetryRefusedMs);
  now.monotonic_ms += kRetryRefusedMs;
  cluster.OnTime(now);
  EXPECT_THAT(Orders(), ElementsAre("start 1 @1"));
  EXPECT_EQ(cluster.NextDeadlineMs(), std::nullopt);
}

TEST_F(ClusterTest, SubscribersAreToldWithGrowingVersions) {
  Create(Spec(a));
  cluster.TakeEffects();
  Event(n1, SubscribeTo(a));
  Event(n1, Started(a, worker));
  Event(n1, Exited(a, 9));
  std::vector<pb::ActorState> states;
  uint64_t version = 0;
  for (const auto& [node, command] : cluster.TakeEffects().commands) {
    if (!command.has_actor()) continue;
    states.push_back(command.actor().state());
    EXPECT_GT(command.actor().version(), version);
    version = command.actor().version();
    EXPECT_EQ(command.actor().handle(), "");
    EXPECT_EQ(command.actor().has_address(), command.actor().state() == pb::ALIVE);
  }
  EXPECT_THAT(states, ElementsAre(pb::PENDING, pb::ALIVE, pb::DEAD));
}

TEST_F(ClusterTest, ASubscriberThatIsAheadOfTheCreatorWaitsForIt) {
  Event(n1, SubscribeTo(a));
  EXPECT_THAT(cluster.TakeEffects().commands, IsEmpty());
  Create(Spec(a));
  Event(n1, Started(a, worker));
  std::vector<pb::ActorState> states;
  now.monotonic_ms += kUnknownActorGraceMs;
  cluster.OnTime(now);
  for (const auto& [node, command] : cluster.TakeEffects().commands) {
    if (command.has_actor()) states.push_back(command.actor().state());
  }
  EXPECT_THAT(states, ElementsAre(pb::PENDING, pb::ALIVE));
}

TEST_F(ClusterTest, ASubscriberToAnActorThatNobodyCreatesIsToldThatItIsDead) {
  Event(n1, SubscribeTo(b));
  EXPECT_EQ(cluster.NextDeadlineMs(), now.monotonic_ms + kUnknownActorGraceMs);
  now.monotonic_ms += kUnknownActorGraceMs - 1;
  cluster.OnTime(now);
  EXPECT_THAT(cluster.TakeEffects().commands, IsEmpty());
  now.monotonic_ms += 1;
  cluster.OnTime(now);
  EXPECT_EQ(cluster.NextDeadlineMs(), std::nullopt);
  const auto effects = cluster.TakeEffects();
  ASSERT_EQ(effects.commands.size(), 1u);
  EXPECT_EQ(effects.commands[0].second.actor().state(), pb::DEAD);
  EXPECT_EQ(effects.commands[0].second.actor().death_code(),
            static_cast<uint32_t>(ErrorCode::NotFound));
}

TEST_F(ClusterTest, WhoUnsubscribedIsNotTold) {
  Create(Spec(a));
  Event(n1, SubscribeTo(a));
  pb::NodeEvent unsubscribe;
  unsubscribe.set_unsubscribe_actor(Bytes(a));
  Event(n1, unsubscribe);
  cluster.TakeEffects();
  Event(n1, Started(a, worker));
  EXPECT_THAT(cluster.TakeEffects().commands, IsEmpty());
}

TEST_F(ClusterTest, AnActorsSpecIsChecked) {
  pb::ActorSpec spec = Spec(a);
  spec.set_max_restarts(-2);
  EXPECT_THAT(Create(spec).status().message(), HasSubstr("max_restarts=-2"));
  spec = Spec(a);
  spec.set_actor_id("short");
  EXPECT_EQ(Create(spec).status().code(), static_cast<uint32_t>(ErrorCode::InvalidArgument));
  spec = Spec(a);
  spec.clear_owner();
  EXPECT_EQ(Create(spec).status().code(), static_cast<uint32_t>(ErrorCode::InvalidArgument));
  spec = Spec(a);
  spec.set_job_id(Bytes(JobIdFromInt(99)));
  EXPECT_THAT(Create(spec).status().message(), HasSubstr("not running"));
}

TEST_F(ClusterTest, EventsAboutWhatIsNotThereAreIgnored) {
  for (const pb::NodeEvent& event :
       {Exited(a, 9), NotPlaced(a), WorkerDied(other_worker, true), pb::NodeEvent(),
        Register(n2, 1), Report(0, 1), Exited(ActorId(), 1)}) {
    Event(n1, event);
  }
  CreateAlive(Spec(a));
  Event(n1, NotPlaced(a));  // Too late.
  EXPECT_EQ(Info(a).state(), pb::ALIVE);
  ASSERT_TRUE(cluster.Register(Node(n2, 1)).has_value());
  Event(n2, Exited(a, 9));  // It is not there.
  EXPECT_EQ(Info(a).state(), pb::ALIVE);
}

TEST_F(ClusterTest, NegativeResourcesAreRefused) {
  pb::NodeInfo node = Node(n2, 1);
  (*node.mutable_total()->mutable_amounts())["GPU"] = -1;
  EXPECT_EQ(cluster.Register(node).error().code(), ErrorCode::InvalidArgument);
}

TEST_F(ClusterTest, ANodesReportsArePassedOnOncePerTurn) {
  ASSERT_TRUE(cluster.Register(Node(n2, 4)).has_value());
  cluster.TakeEffects();
  for (uint64_t version = 1; version <= 5; ++version) Event(n2, Report(version, 1));
  const auto effects = cluster.TakeEffects();
  ASSERT_EQ(effects.commands.size(), 1u);
  EXPECT_EQ(effects.commands[0].first, n1);
  EXPECT_EQ(effects.commands[0].second.node().version(), 5u);
}

TEST_F(ClusterTest, FinishedJobsAreForgottenInTheEnd) {
  for (int i = 0; i < static_cast<int>(kFinishedJobsMax) + 10; ++i) {
    const WorkerId next = NumberedId<WorkerId>(1000 + i);
    cluster.AddJob(Job(next, n1), now);
    Event(n1, WorkerDied(next, /*is_driver=*/true));
  }
  EXPECT_EQ(cluster.GetJobs().jobs_size(), static_cast<int>(kFinishedJobsMax) + 1);
}

}  // namespace
}  // namespace skyray::gcs
