// SPDX-License-Identifier: Apache-2.0
#include "scheduling/cluster_view.h"

#include <algorithm>

namespace skyray::scheduling {

void ClusterView::Put(NodeView node) {
  const NodeId id = node.id;
  nodes_.insert_or_assign(id, std::move(node));
}

bool ClusterView::Update(const NodeId& id, uint64_t version, ResourceSet available,
                         uint64_t pending_leases) {
  const auto it = nodes_.find(id);
  if (it == nodes_.end() || version <= it->second.version) return false;
  it->second.version = version;
  it->second.available = std::move(available);
  it->second.pending_leases = pending_leases;
  return true;
}

bool ClusterView::Remove(const NodeId& id) { return nodes_.erase(id) > 0; }

void ClusterView::Debit(const NodeId& id, const ResourceSet& demand) {
  const auto it = nodes_.find(id);
  if (it == nodes_.end()) return;
  ResourceSet& available = it->second.available;
  for (const auto& [name, amount] : demand.amounts()) {
    available.Set(name, std::max<ResourceAmount>(0, available.Get(name) - amount));
  }
}

const NodeView* ClusterView::Find(const NodeId& id) const {
  const auto it = nodes_.find(id);
  return it == nodes_.end() ? nullptr : &it->second;
}

}  // namespace skyray::scheduling
