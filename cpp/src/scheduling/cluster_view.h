// SPDX-License-Identifier: Apache-2.0
// What a scheduler believes of the nodes: what each has, and what is free there.
//
// A view is as old as the last report, so whoever places something also takes it
// out of the view at once (Debit), and a burst does not all go to one node.
//
// Threading:  pure; used on its owner's loop.
// Ownership:  owns the views. Pointers are good until the next non-const call.
// Errors:     a report of an unknown node, or an old one, is ignored (false).
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "common/id.h"
#include "common/label_selector.h"
#include "common/resource_set.h"

namespace skyray::scheduling {

struct NodeView {
  NodeId id;
  std::string name;  // For people; may be empty.
  ResourceSet total;
  ResourceSet available;
  Labels labels;
  uint64_t pending_leases = 0;  // Requests queued there.
  uint64_t version = 0;         // Of available and pending_leases.
};

class ClusterView {
 public:
  // Adds the node, or replaces all that is known of it.
  void Put(NodeView node);
  bool Update(const NodeId& id, uint64_t version, ResourceSet available, uint64_t pending_leases);
  bool Remove(const NodeId& id);

  // Takes `demand` out of what is available there, down to nothing.
  void Debit(const NodeId& id, const ResourceSet& demand);

  const NodeView* Find(const NodeId& id) const;
  // Only nodes that are alive; in the order of their ids.
  const std::map<NodeId, NodeView>& nodes() const { return nodes_; }

 private:
  std::map<NodeId, NodeView> nodes_;
};

}  // namespace skyray::scheduling
