// SPDX-License-Identifier: Apache-2.0
#include "gcs/node_table.h"

namespace skyray::gcs {
namespace {

bool HasNegative(const pb::Resources& resources) {
  for (const auto& [name, amount] : resources.amounts()) {
    if (amount < 0) return true;
  }
  return false;
}

}  // namespace

ResourceSet ResourcesFromMessage(const pb::Resources& message) {
  ResourceSet set;
  for (const auto& [name, amount] : message.amounts()) {
    if (amount > 0) set.Set(name, amount);
  }
  return set;
}

Status NodeTable::Load() {
  bool well_formed = true;
  Status status = storage_.Load(Table::Nodes, [&](std::string_view key, std::string_view value) {
    const auto id = NodeId::FromBinary(key);
    pb::NodeInfo node;
    if (!id || !node.ParseFromArray(value.data(), static_cast<int>(value.size()))) {
      well_formed = false;
      return;
    }
    node.set_alive(false);
    if (!node.death_reason().empty()) dead_.push_back(*id);
    nodes_[*id] = std::move(node);
  });
  if (status.ok() && !well_formed) {
    return Status(ErrorCode::IoError, "the GCS's store holds a malformed node; it is damaged");
  }
  return status;
}

Result<NodeId> NodeTable::Register(pb::NodeInfo node) {
  const auto id = NodeId::FromBinary(node.node_id());
  if (!id || id->IsNil()) {
    return Status(ErrorCode::InvalidArgument, "a node registers with its 28-byte id");
  }
  if (HasNegative(node.total()) || HasNegative(node.available())) {
    return Status(ErrorCode::InvalidArgument,
                  "node " + id->Hex() + " registers with a negative amount of a resource");
  }
  if (const pb::NodeInfo* known = Find(*id)) {
    if (known->alive()) {
      return Status(ErrorCode::AlreadyExists,
                    "node " + id->Hex() + " is registered and alive; start this raylet with " +
                        "another node id");
    }
    if (!known->death_reason().empty()) {
      return Status(ErrorCode::NodeDied, "node " + id->Hex() + " was declared dead (" +
                                             known->death_reason() +
                                             "); start its raylet anew, with a new node id");
    }
  }
  node.set_alive(true);
  node.clear_death_reason();
  Store(*id, node);
  nodes_[*id] = std::move(node);
  return *id;
}

bool NodeTable::Report(const NodeId& id, const pb::ResourceReport& report) {
  const auto it = nodes_.find(id);
  if (it == nodes_.end() || !it->second.alive() || report.version() <= it->second.version() ||
      HasNegative(report.available())) {
    return false;
  }
  // Not stored: after a restart the node says it anew.
  it->second.set_version(report.version());
  *it->second.mutable_available() = report.available();
  it->second.set_pending_leases(report.pending_leases());
  return true;
}

bool NodeTable::MarkDead(const NodeId& id, const std::string& reason) {
  const auto it = nodes_.find(id);
  if (it == nodes_.end() || !it->second.death_reason().empty()) return false;
  it->second.set_alive(false);
  it->second.set_death_reason(reason.empty() ? "unknown" : reason);
  it->second.clear_available();
  it->second.set_pending_leases(0);
  Store(id, it->second);
  dead_.push_back(id);
  if (dead_.size() > kDeadNodesMax) {
    storage_.Delete(Table::Nodes, std::string(dead_.front().Binary()));
    nodes_.erase(dead_.front());
    dead_.pop_front();
  }
  return true;
}

const pb::NodeInfo* NodeTable::Find(const NodeId& node) const {
  const auto it = nodes_.find(node);
  return it == nodes_.end() ? nullptr : &it->second;
}

bool NodeTable::IsAlive(const NodeId& node) const {
  const pb::NodeInfo* found = Find(node);
  return found != nullptr && found->alive();
}

std::vector<NodeId> NodeTable::AbsentNodes() const {
  std::vector<NodeId> absent;
  for (const auto& [id, node] : nodes_) {
    if (!node.alive() && node.death_reason().empty()) absent.push_back(id);
  }
  return absent;
}

void NodeTable::Store(const NodeId& id, const pb::NodeInfo& node) {
  storage_.Put(Table::Nodes, std::string(id.Binary()), node.SerializeAsString());
}

}  // namespace skyray::gcs
