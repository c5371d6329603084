// SPDX-License-Identifier: Apache-2.0
// Here, there, later, or nowhere: what becomes of a request, by this node's own
// ledger and what it last heard of the others (scheduling/policy.h decides).
//
// Threading:  lives on the raylet's loop; not thread-safe.
// Ownership:  values. Refers to the ledger, which must outlive it.
// Errors:     none; a request that no node can run is told apart by Decision.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "common/id.h"
#include "common/resource_set.h"
#include "raylet/resource_ledger.h"
#include "scheduling/cluster_view.h"
#include "scheduling/policy.h"

namespace skyray::raylet {

using scheduling::Strategy;
using TimePoint = std::chrono::steady_clock::time_point;

// A node that was sent something says within this time what it has left; if it
// is silent, the request never came or did not stay, and it has what it had.
constexpr std::chrono::milliseconds kDebitLasts{500};

// What becomes of a request at this moment.
struct Decision {
  enum class Kind {
    Local,       // Fits here now.
    Wait,        // Could run here; everyone is busy.
    SendOn,      // `node` is to be asked.
    Infeasible,  // No node known now could run it; `why` says so.
    NodeDied,    // It insists on a node that is dead.
  };
  Kind kind = Kind::Wait;
  NodeId node;
  std::string why;
};

class Placement {
 public:
  Placement(const NodeId& self, std::string name, const ResourceLedger& ledger, Labels labels = {});

  // News of another node. One older than what is known is ignored.
  void Update(scheduling::NodeView node);
  void NodeDied(const NodeId& node);
  bool Knows(const NodeId& node) const { return nodes_.Find(node) != nullptr; }
  bool IsDead(const NodeId& node) const { return dead_.contains(node); }

  // `spilled`: another raylet sent it here, so it stays unless it never could run here.
  Decision Decide(const scheduling::Request& request, bool spilled);
  // Counts `demand` as taken from `node` until it reports again, or kDebitLasts.
  void Debit(const NodeId& node, const ResourceSet& demand, TimePoint now);
  // Undoes old debits; when the next one will be old.
  std::optional<TimePoint> UndoDebits(TimePoint now);

 private:
  Decision DecideAmongAll(const scheduling::Request& request);
  // Brings this node's entry in nodes_ up to date.
  void LookAtSelf();

  NodeId self_;
  std::string name_;
  Labels labels_;
  const ResourceLedger& ledger_;
  scheduling::ClusterView nodes_;  // All that live, this one included.
  struct Debited {
    scheduling::NodeView reported;
    TimePoint last;
  };
  std::map<NodeId, Debited> debited_;
  std::set<NodeId> dead_;
  uint64_t seen_version_ = 0;
  uint64_t turn_ = 0;
};

}  // namespace skyray::raylet
