// SPDX-License-Identifier: Apache-2.0
// The nodes, alive and dead.
//
//   registered ─► alive ─its stream ends─► dead, for good
//   loaded from the store ─registers again─► alive;  ─grace over─► dead
//
// A dead node's id never comes back: a raylet that was declared dead is told so
// when it registers, and can complete nothing.
//
// Threading:  pure; lives on the GCS's loop.
// Ownership:  owns the records; the last kDeadNodesMax dead ones are kept.
// Errors:     AlreadyExists: the id is in use; NodeDied: it was declared dead;
//             InvalidArgument: not a node's id, or negative resources.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <vector>

#include "common/id.h"
#include "common/resource_set.h"
#include "common/status.h"
#include "gcs/storage.h"
#include "protos/gcs.pb.h"

namespace skyray::gcs {

constexpr size_t kDeadNodesMax = 1000;

ResourceSet ResourcesFromMessage(const pb::Resources& message);

class NodeTable {
 public:
  // `storage` must outlive *this.
  explicit NodeTable(Storage& storage) : storage_(storage) {}
  // Nodes that were alive become absent: expected to register again.
  Status Load();

  Result<NodeId> Register(pb::NodeInfo node);
  // False: no such node, or older than what is known.
  bool Report(const NodeId& node, const pb::ResourceReport& report);
  // True if it was alive (or absent) until now.
  bool MarkDead(const NodeId& node, const std::string& reason);

  const pb::NodeInfo* Find(const NodeId& node) const;
  bool IsAlive(const NodeId& node) const;
  std::vector<NodeId> AbsentNodes() const;
  const std::map<NodeId, pb::NodeInfo>& nodes() const { return nodes_; }

 private:
  void Store(const NodeId& id, const pb::NodeInfo& node);

  Storage& storage_;
  std::map<NodeId, pb::NodeInfo> nodes_;
  std::deque<NodeId> dead_;  // The longest dead first.
};

}  // namespace skyray::gcs
