// SPDX-License-Identifier: Apache-2.0
// A node's side of everything between nodes: objects, messages of raylets, and
// sockets to workers elsewhere, all over the one data port.
//
// Threading:  lives on the raylet's loop; handlers and callbacks run there, and
//             never inside the call that asked for them.
// Ownership:  owns its connections. The store must outlive it. After its
//             destruction no callback runs.
// Errors:     in the callbacks, as told per method. What a peer does wrong ends
//             that connection; nothing waits on a peer that has died.
#pragma once

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/id.h"
#include "common/status.h"
#include "common/unique_fd.h"
#include "object_manager/authenticator.h"
#include "object_manager/message_links.h"
#include "plasma/store_runner.h"

namespace skyray::object_manager {

struct ObjectManagerOptions {
  NodeId node_id;
  ClusterToken token{};  // See ReadClusterToken.
  // Fetched at a time; one object is always let through.
  uint64_t pull_bytes_in_flight_max = 256u << 20;
  // An object that is being created here is waited for so long when another node asks
  // for it; one that is being restored as long as that takes.
  std::chrono::milliseconds seal_timeout{10000};
};

// What other nodes ask of this raylet. Any may be empty: refused, or dropped.
struct ObjectManagerHandlers {
  // Whether that worker is on this node and can be handed a connection.
  std::function<bool(const WorkerId&)> has_worker;
  // An authenticated, blocking socket to be passed to the worker (SCM_RIGHTS).
  std::function<void(const WorkerId&, UniqueFd)> on_handoff;
  // From another raylet's SendToNode. `data` is good until the handler returns.
  std::function<void(const NodeId& from, std::span<const uint8_t> data)> on_message;
  // From another raylet's CallNode; `reply` may be called later, once.
  std::function<void(const NodeId& from, std::span<const uint8_t> data, Reply reply)> on_call;
};

class ObjectManager {
 public:
  ObjectManager(boost::asio::io_context& loop, plasma::StoreRunner& store,
                const ObjectManagerOptions& options, ObjectManagerHandlers handlers);
  ~ObjectManager();
  ObjectManager(const ObjectManager&) = delete;
  ObjectManager& operator=(const ObjectManager&) = delete;

  // Opens the data port; without it, this node can only connect to others.
  // `host` is a numeric address; port 0 binds any. Returns the port bound.
  Result<uint16_t> Listen(const std::string& host, uint16_t port);

  void SetNodeAddress(const NodeId& node, const std::string& ip, uint16_t port);
  // Everything that waits for it fails or moves to another node, at once.
  void NodeDead(const NodeId& node);

  // Brings an object into the local store as a secondary copy, from one of
  // `nodes`, best first; Ok at once if it is here already. `size_bytes`: 0 if not known.
  // Errors: ObjectLost (with each node's reason); OutOfMemory; OwnerDied.
  void Pull(const ObjectId& object, const std::vector<NodeId>& nodes, uint64_t size_bytes,
            std::function<void(const Status&)> done);
  // Deletes the copies on these nodes, this one included if named.
  void Free(std::span<const ObjectId> objects, std::span<const NodeId> nodes);

  // An authenticated, blocking socket to a worker on another node.
  // Errors: NodeDied; NotFound: no such worker there; TimedOut; IoError; Unauthenticated.
  void Connect(const NodeId& node, const WorkerId& worker,
               std::function<void(Result<UniqueFd>)> done);

  // To the raylet of another node. Messages to one node arrive in order, calls
  // included; one that cannot be sent is lost and logged.
  void SendToNode(const NodeId& node, std::span<const uint8_t> data);
  // The same, with a reply. Errors: NodeDied, Disconnected: no reply will come.
  void CallNode(const NodeId& node, std::span<const uint8_t> data,
                std::function<void(Result<std::vector<uint8_t>>)> done);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace skyray::object_manager
