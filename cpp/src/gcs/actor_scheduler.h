// SPDX-License-Identifier: Apache-2.0
// Finds nodes for actors, and keeps those that wait for one.
//
// A node's report is older than the orders that are on their way to it. So what
// an order will take is counted as taken until a report takes it into account.
// Waiting actors that ask for the same wait in one line, in order of arrival: a
// cluster that is full costs one look per line, not one per actor.
//
// Threading:  pure; lives on the GCS's loop.
// Ownership:  owns its view of the nodes and the waiting lines.
// Errors:     none; what cannot be placed is part of the answer.
#pragma once

#include <deque>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/id.h"
#include "protos/gcs.pb.h"
#include "scheduling/policy.h"

namespace skyray::gcs {

struct ActorPlacement {
  enum class Kind {
    Place,         // Order `node` to start it.
    Infeasible,    // It goes on waiting; tell why.
    Unschedulable  // It waits no more: no node can ever be the one it asks for.
  };
  Kind kind;
  ActorId actor;
  NodeId node;
  std::string why;
};

class ActorScheduler {
 public:
  // The actor waits for a node from now on.
  void Add(const ActorId& actor, const pb::ActorSpec& spec);
  // It waits no more, and what was ordered for it is not taken (any more).
  void Remove(const ActorId& actor);
  // Its process has started, so the node's next report counts it.
  void Started(const ActorId& actor);

  void NodeAdded(const pb::NodeInfo& node);
  void NodeReported(const NodeId& node, const pb::ResourceReport& report);
  void NodeRemoved(const NodeId& node);

  // Places what can be placed now. An actor is reported infeasible once, until
  // the nodes change.
  std::vector<ActorPlacement> Schedule();

  size_t waiting_count() const { return class_of_.size(); }

 private:
  struct Line {
    scheduling::Request request;
    NodeId preferred;
    std::deque<ActorId> actors;
    bool told_infeasible = false;
  };
  struct Order {
    ActorId actor;
    uint64_t number;  // Counted from 1 for each node.
    ResourceSet held;
    bool started;
  };
  struct Node {
    ResourceSet reported;
    uint64_t orders_given = 0;
    std::deque<Order> orders;
  };

  void Refresh(const NodeId& id, const Node& node, uint64_t version, uint64_t pending_leases);
  void TakeUntilReported(const NodeId& id, const ActorId& actor, const ResourceSet& held);
  void ScheduleLine(Line& line, std::vector<ActorPlacement>& placements);

  scheduling::ClusterView view_;
  std::map<NodeId, Node> nodes_;
  std::map<std::string, Line> lines_;                  // By what is asked for.
  std::unordered_map<ActorId, std::string> class_of_;  // The line it waits in.
  std::unordered_map<ActorId, NodeId> ordered_on_;
  uint64_t turn_ = 0;
};

}  // namespace skyray::gcs
