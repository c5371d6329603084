// SPDX-License-Identifier: Apache-2.0
// The other nodes as this one last heard of them, and where a request should go.
//
// Threading:  lives on the raylet's loop; not thread-safe.
// Ownership:  values.
// Errors:     none; a request no node can run is told apart by Decision.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "common/id.h"
#include "common/resource_set.h"
#include "raylet/resource_ledger.h"

namespace skyray::raylet {

struct Strategy {
  enum class Kind { Default, Spread, NodeAffinity };
  Kind kind = Kind::Default;
  NodeId node;        // NodeAffinity.
  bool soft = false;  // NodeAffinity: another node will do if that one is gone.
  friend auto operator<=>(const Strategy&, const Strategy&) = default;
};

struct PeerNode {
  NodeId id;
  std::string name;  // For people: its IP or name.
  bool alive = true;
  ResourceSet total;
  ResourceSet available;
  uint64_t version = 0;
};

// What becomes of a request at this moment.
struct Decision {
  enum class Kind {
    Local,       // Fits here now.
    Wait,        // Could run here; everyone is busy.
    SendOn,      // `node` is to be asked.
    Infeasible,  // No node known now could run it.
    NodeDied,    // It insists on a node that is dead.
  };
  Kind kind = Kind::Wait;
  NodeId node;
};

class ClusterView {
 public:
  explicit ClusterView(NodeId self) : self_(self) {}

  const NodeId& self() const { return self_; }
  // An older version than what is known is ignored.
  void Update(PeerNode node);
  const PeerNode* Find(const NodeId& node) const;
  const std::map<NodeId, PeerNode>& peers() const { return peers_; }

  // `spilled`: another raylet sent it here, so it stays unless it never could run here.
  Decision Decide(const ResourceLedger& local, const ResourceSet& demand, const Strategy& strategy,
                  bool spilled);
  // Counts `demand` as taken from `node`'s resources until it reports again.
  void Debit(const NodeId& node, const ResourceSet& demand);
  // One sentence: which resource is missing, and what the nodes have.
  std::string WhyInfeasible(const ResourceLedger& local, const ResourceSet& demand,
                            const Strategy& strategy) const;

 private:
  Decision DecideAnywhere(const ResourceLedger& local, const ResourceSet& demand, bool spilled);
  Decision DecideSpread(const ResourceLedger& local, const ResourceSet& demand);
  // The peer with most room for `demand` among those that have any; null if none.
  const PeerNode* Roomiest(const ResourceSet& demand, bool available_now) const;

  NodeId self_;
  std::map<NodeId, PeerNode> peers_;
  NodeId last_spread_;
};

}  // namespace skyray::raylet
