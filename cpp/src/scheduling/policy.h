// SPDX-License-Identifier: Apache-2.0
// Which node is to run something.
//
//   Default       the preferred node while it is less than half used, then the
//                 least used ones; nodes with GPUs last for what needs none
//   Spread        one node after the other
//   NodeAffinity  that node; if soft and it is gone or too small, as Default
//
// Label selectors say among which nodes: the first selector of which a node has
// room, else the first of which a node could ever run it.
//
// Threading: pure functions. Ownership: values.
// Errors:    a demand that no node can ever meet is an answer (Never), with a
//            sentence for the user.
#pragma once

#include <string>
#include <vector>

#include "common/id.h"
#include "common/label_selector.h"
#include "common/resource_set.h"
#include "scheduling/cluster_view.h"

namespace skyray::scheduling {

struct Strategy {
  enum class Kind { Default, Spread, NodeAffinity };
  Kind kind = Kind::Default;
  NodeId node;                                // NodeAffinity.
  bool soft = false;                          // NodeAffinity.
  std::vector<LabelSelector> selectors = {};  // The best choice first; none: all nodes.
  friend auto operator<=>(const Strategy&, const Strategy&) = default;
};

// True if the labels are those of a node that the strategy may choose.
bool Allows(const Strategy& strategy, const Labels& labels);

struct Request {
  ResourceSet held;  // Must be free; taken while it runs.
  // The node must have it in total; one where it is free is better. For a task
  // the same as `held`; an actor needs a CPU to be placed and none to live.
  ResourceSet placement;
  Strategy strategy;
};

struct Choice {
  enum class Kind {
    Now,    // `node` has it free.
    Later,  // `node` can run it, but is busy.
    Never,  // No node can; `why` says so.
  };
  Kind kind = Kind::Never;
  NodeId node;
  std::string why;
};

// What breaks ties. Both numbers only steer; any values are right.
struct Tie {
  NodeId preferred;   // The requester's node; nil: none.
  uint64_t turn = 0;  // Grows by one with each request: Spread goes round by it.
};

constexpr double kPackBelow = 0.5;    // Nodes less used than this count as equally good.
constexpr double kTopFraction = 0.2;  // Default chooses among this part of the best nodes.

Choice Choose(const Request& request, const ClusterView& cluster, const Tie& tie);

// How much of the node's scarcest resource (CPU, memory, and what is asked for)
// is in use: 0..1.
double Utilisation(const NodeView& node, const ResourceSet& demand);

// REQUIRES: no single node has `demand` in total.
// "GPU: 2 is asked for, but the most any node has is 1 (node head)".
std::string WhyNever(const ResourceSet& demand, const ClusterView& cluster);

}  // namespace skyray::scheduling
