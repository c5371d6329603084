// SPDX-License-Identifier: Apache-2.0
// A random walk: clients create and kill, processes crash, nodes come and die, and
// everything is on its way for a while. Whatever the order, an actor has at most
// one process, a dead one never comes back, and no name belongs to two.
#include <gmock/gmock.h>

#include <algorithm>
#include <deque>
#include <random>

#include "gcs/cluster.h"
#include "gcs/messages.h"

namespace skyray::gcs {
namespace {

// A raylet with what is on its way from and to it.
struct SimulatedNode {
  std::deque<pb::NodeCommand> inbox;
  std::deque<pb::NodeEvent> outbox;
  std::set<ActorId> born;    // Processes whose __init__ has returned.
  std::set<ActorId> unborn;  // Processes whose __init__ runs.
  double cpus = 4;
  uint64_t version = 0;
  uint64_t starts_seen = 0;
};

class Walk {
 public:
  explicit Walk(uint32_t seed) : random_(seed) {
    AddNode();
    job_ =
        *JobId::FromBinary(cluster_.AddJob(Job(owners_[0], nodes_.begin()->first), now_).job_id());
  }

  void Step() {
    now_.monotonic_ms += Below(50);
    switch (Below(12)) {
      case 0:
      case 1:
        return Create();
      case 2:
        return Kill();
      case 3:
        return CrashOne();
      case 4:
        return Below(10) == 0 ? AddNode() : RunOne();
      case 5:
        return Below(40) == 0 ? KillNode() : DeliverEvent();
      case 6:
        return Below(60) == 0 ? EndOwner() : DeliverEvent();
      case 7:
        return cluster_.OnTime(now_);
      case 8:
        return DeliverEvent();
      default:
        return RunOne();
    }
  }

  // Lets everything that is on its way arrive.
  void Settle() {
    for (bool moved = true; moved;) {
      moved = false;
      Collect();
      for (auto& [id, node] : nodes_) {
        while (!node.inbox.empty()) Obey(node), moved = true;
        while (!node.unborn.empty()) Born(node, *node.unborn.begin(), false), moved = true;
        SendReport(node);
        while (!node.outbox.empty()) Deliver(id, node), moved = true;
      }
      now_.monotonic_ms += kRetryRefusedMs;
      cluster_.OnTime(now_);
      moved = moved && ++settled_ % 1000 != 0;
    }
  }

  // Collects what the GCS says, checking it.
  void Collect() {
    for (auto& [id, command] : cluster_.TakeEffects().commands) {
      if (command.has_start_actor()) {
        const ActorId actor = *ActorId::FromBinary(command.start_actor().spec().actor_id());
        EXPECT_FALSE(dead_.contains(actor)) << "an order to start a dead actor";
      }
      if (const auto it = nodes_.find(id); it != nodes_.end()) {
        it->second.inbox.push_back(std::move(command));
      }
    }
  }

  void Check() {
    Collect();
    std::map<std::string, ActorId> names;
    for (const ActorId& actor : actors_) {
      const pb::ActorInfo info = Info(actor);
      EXPECT_GE(info.version(), versions_[actor]) << "a version went back";
      versions_[actor] = info.version();
      if (info.state() == pb::DEAD) dead_.insert(actor);
      EXPECT_EQ(dead_.contains(actor), info.state() == pb::DEAD) << "a dead actor came back";
      if (!info.name().empty() && info.state() != pb::DEAD) {
        EXPECT_TRUE(names.emplace(info.name(), actor).second) << "two actors have one name";
      }
      EXPECT_LE(Processes(actor), 1) << "an actor has two processes";
    }
  }

  void CheckSettled() {
    Check();
    for (const ActorId& actor : actors_) {
      const pb::ActorInfo info = Info(actor);
      if (info.state() == pb::DEAD) {
        EXPECT_EQ(Processes(actor), 0) << "a dead actor has a process";
      }
      if (info.state() == pb::ALIVE) {
        EXPECT_EQ(Processes(actor), 1) << "a live actor has none";
      }
      EXPECT_LE(info.restarts(), 2u);
      if (info.state() != pb::DEAD && info.state() != pb::ALIVE) {
        EXPECT_TRUE(Full()) << "an actor waits though a node is free";
      }
    }
  }

 private:
  uint32_t Below(uint32_t bound) {
    return std::uniform_int_distribution<uint32_t>(0, bound - 1)(random_);
  }

  template <class Container>
  auto Any(Container& container) {
    return std::next(container.begin(), Below(static_cast<uint32_t>(container.size())));
  }

  pb::ActorInfo Info(const ActorId& actor) {
    pb::GetActorRequest request;
    request.set_actor_id(Bytes(actor));
    return cluster_.GetActor(request).actor();
  }

  // Those that run, and those that are ordered and will.
  int Processes(const ActorId& actor) {
    int count = 0;
    for (const auto& [id, node] : nodes_) {
      count += static_cast<int>(node.born.count(actor) + node.unborn.count(actor));
      for (const pb::NodeCommand& command : node.inbox) {
        count +=
            command.has_start_actor() && command.start_actor().spec().actor_id() == actor.Binary();
      }
    }
    return count;
  }

  bool Full() {
    return std::all_of(nodes_.begin(), nodes_.end(),
                       [](const auto& entry) { return entry.second.cpus < 1; });
  }

  void AddNode() {
    if (nodes_.size() >= 4) return;
    const NodeId id = NumberedId<NodeId>(++last_node_);
    nodes_[id];
    ASSERT_TRUE(cluster_.Register(Node(id, 4)).has_value());
  }

  void KillNode() {
    // The first holds the owners; without it the walk would be over.
    if (nodes_.size() < 2) return;
    const auto it = std::next(nodes_.begin(), 1 + Below(static_cast<uint32_t>(nodes_.size() - 1)));
    const NodeId id = it->first;
    nodes_.erase(it);
    cluster_.OnNodeLost(id, "the walk ended it", now_);
  }

  void Create() {
    if (actors_.size() >= 2000) return;
    const ActorId id = NumberedId<ActorId>(++last_actor_);
    pb::ActorSpec spec = Actor(id, job_, owners_[Below(static_cast<uint32_t>(owners_.size()))],
                               nodes_.begin()->first, Below(2));
    spec.set_max_restarts(static_cast<int>(Below(3)));
    spec.set_detached(Below(3) == 0);
    if (Below(2) == 0) spec.set_name("name" + std::to_string(Below(5)));
    if (Below(4) == 0) spec.mutable_strategy()->set_kind(pb::Strategy::SPREAD);
    pb::CreateActorRequest request;
    *request.mutable_spec() = spec;
    request.set_get_if_exists(Below(2) == 0);
    const auto reply = cluster_.CreateActor(request);
    if (reply.status().code() == 0 && !reply.has_existing()) actors_.push_back(id);
  }

  void Kill() {
    if (actors_.empty()) return;
    pb::KillActorRequest request;
    request.set_actor_id(Bytes(*Any(actors_)));
    request.set_no_restart(Below(2) == 0);
    EXPECT_EQ(cluster_.KillActor(request).status().code(), 0u);
  }

  void EndOwner() {
    const size_t index = 1 + Below(static_cast<uint32_t>(owners_.size() - 1));
    nodes_.begin()->second.outbox.push_back(WorkerDied(owners_[index], false));
    owners_[index] = NumberedId<WorkerId>(++last_worker_);
  }

  // A node takes one order, or one process of it comes to life.
  void RunOne() {
    SimulatedNode& node = Any(nodes_)->second;
    if (!node.unborn.empty() && Below(2) == 0) {
      return Born(node, *Any(node.unborn), Below(10) == 0);
    }
    if (!node.inbox.empty()) Obey(node);
    if (Below(3) == 0) SendReport(node);
  }

  void Obey(SimulatedNode& node) {
    const pb::NodeCommand command = std::move(node.inbox.front());
    node.inbox.pop_front();
    if (command.has_start_actor()) {
      ++node.starts_seen;
      const pb::ActorSpec& spec = command.start_actor().spec();
      const ActorId actor = *ActorId::FromBinary(spec.actor_id());
      const double held = spec.resources().amounts_size() > 0 ? 1 : 0;
      if (node.cpus < held || Below(20) == 0) {
        node.outbox.push_back(NotPlaced(actor));
        return;
      }
      node.cpus -= held;
      held_[actor] = held;
      node.unborn.insert(actor);
    } else if (command.has_stop_actor()) {
      EndProcess(node, *ActorId::FromBinary(command.stop_actor().actor_id()), true);
    }
  }

  void Born(SimulatedNode& node, const ActorId actor, bool raises) {
    if (raises) {
      node.outbox.push_back(FailedToStart(actor, "boom"));
      return EndProcess(node, actor, false);
    }
    node.unborn.erase(actor);
    node.born.insert(actor);
    node.outbox.push_back(Started(actor, NumberedId<WorkerId>(++last_worker_)));
  }

  void EndProcess(SimulatedNode& node, const ActorId actor, bool expected) {
    if (node.unborn.erase(actor) + node.born.erase(actor) == 0) return;
    node.cpus += held_[actor];
    node.outbox.push_back(Exited(actor, 9, expected));
  }

  void CrashOne() {
    SimulatedNode& node = Any(nodes_)->second;
    if (!node.born.empty()) EndProcess(node, *Any(node.born), Below(4) == 0);
  }

  void SendReport(SimulatedNode& node) {
    node.outbox.push_back(Report(++node.version, node.cpus, node.starts_seen));
  }

  void DeliverEvent() {
    const auto it = Any(nodes_);
    if (!it->second.outbox.empty()) Deliver(it->first, it->second);
  }

  void Deliver(const NodeId& id, SimulatedNode& node) {
    const pb::NodeEvent event = std::move(node.outbox.front());
    node.outbox.pop_front();
    cluster_.OnNodeEvent(id, event, now_);
  }

  std::mt19937 random_;
  Now now_{1, 1};
  MemoryStorage storage_;
  Cluster cluster_{storage_};
  JobId job_;
  std::map<NodeId, SimulatedNode> nodes_;
  std::vector<ActorId> actors_;
  std::set<ActorId> dead_;
  std::map<ActorId, uint64_t> versions_;
  std::map<ActorId, double> held_;
  int last_node_ = 0;
  int last_actor_ = 0;
  int last_worker_ = 100;
  uint64_t settled_ = 0;
  std::vector<WorkerId> owners_{NumberedId<WorkerId>(1), NumberedId<WorkerId>(2),
                                NumberedId<WorkerId>(3)};
};

class ClusterWalkTest : public testing::TestWithParam<uint32_t> {};

TEST_P(ClusterWalkTest, HoldsItsPromises) {
  // One seed of every run is new; a failure names it.
  const uint32_t seed = GetParam() != 0 ? GetParam() : std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  Walk walk(seed);
  for (int step = 0; step < 3000; ++step) {
    walk.Step();
    if (step % 4 == 0) walk.Check();  // Looks at every actor; each step would be slow.
    if (testing::Test::HasFailure()) FAIL() << "at step " << step << " of seed " << seed;
    if (step % 500 == 499) {
      walk.Settle();
      walk.CheckSettled();
      if (testing::Test::HasFailure()) FAIL() << "settled at " << step << " of seed " << seed;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, ClusterWalkTest, testing::Values(1, 2, 3, 4, 5, 6, 7, 8, 0));

}  // namespace
}  // namespace skyray::gcs
