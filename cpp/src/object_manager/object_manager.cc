// SPDX-License-Identifier: Apache-2.0
#include "object_manager/object_manager.h"

#include <boost/asio/post.hpp>
#include <unordered_map>
#include <utility>

#include "object_manager/object_puller.h"
#include "object_manager/object_sender.h"
#include "object_manager/peer_handshake.h"

namespace skyray::object_manager {

struct ObjectManager::State {
  State(boost::asio::io_context& event_loop, plasma::StoreRunner& object_store,
        const ObjectManagerOptions& manager_options, ObjectManagerHandlers manager_handlers)
      : loop(event_loop),
        store(object_store),
        options(manager_options),
        handlers(std::move(manager_handlers)),
        puller(loop, store, addresses, options.node_id, options.token,
               options.pull_bytes_in_flight_max),
        sender(loop, store, options.seal_timeout),
        messages(loop, addresses, options.node_id, options.token, MakeMessageHandlers()),
        acceptor(loop, options.token,
                 {[this](const Introduction& peer) { return Admit(peer); },
                  [this](const Introduction& peer, UniqueFd socket) {
                    OnPeer(peer, std::move(socket));
                  }}) {}

  MessageHandlers MakeMessageHandlers() {
    MessageHandlers made;
    made.on_message = handlers.on_message;
    made.on_call = handlers.on_call;
    made.on_free = [this](std::vector<ObjectId> ids) { store.Delete(std::move(ids)); };
    return made;
  }

  Status Admit(const Introduction& peer) const {
    if (peer.purpose != Purpose::Worker) return Status();
    if (handlers.has_worker && handlers.on_handoff && handlers.has_worker(peer.worker)) {
      return Status();
    }
    return Status(ErrorCode::NotFound,
                  "no worker " + peer.worker.Hex() + " on this node; it may have ended");
  }

  void OnPeer(const Introduction& peer, UniqueFd socket) {
    switch (peer.purpose) {
      case Purpose::Objects:
        return sender.Serve(peer.node, std::move(socket));
      case Purpose::Messages:
        return messages.Serve(peer.node, std::move(socket));
      case Purpose::Worker:
        return handlers.on_handoff(peer.worker, std::move(socket));
    }
  }

  boost::asio::io_context& loop;
  plasma::StoreRunner& store;
  const ObjectManagerOptions options;
  const ObjectManagerHandlers handlers;
  AddressBook addresses;
  ObjectPuller puller;
  ObjectSender sender;
  MessageLinks messages;
  uint64_t next_connector = 1;
  struct Connecting {
    NodeId node;
    std::function<void(Result<UniqueFd>)> done;
    std::unique_ptr<PeerConnector> connector;
  };
  std::unordered_map<uint64_t, Connecting> connecting;
  PeerAcceptor acceptor;
  const std::shared_ptr<int> alive = std::make_shared<int>(0);
};

ObjectManager::ObjectManager(boost::asio::io_context& loop, plasma::StoreRunner& store,
                             const ObjectManagerOptions& options, ObjectManagerHandlers handlers)
    : state_(std::make_unique<State>(loop, store, options, std::move(handlers))) {}

ObjectManager::~ObjectManager() = default;

Result<uint16_t> ObjectManager::Listen(const std::string& host, uint16_t port) {
  return state_->acceptor.Listen(host, port);
}

void ObjectManager::SetNodeAddress(const NodeId& node, const std::string& ip, uint16_t port) {
  state_->addresses[node] = PeerAddress{ip, port};
}

void ObjectManager::NodeDead(const NodeId& node) {
  state_->addresses.erase(node);
  state_->puller.NodeDead(node);
  state_->sender.NodeDead(node);
  state_->messages.NodeDead(node);
  std::vector<std::function<void(Result<UniqueFd>)>> failed;
  for (auto it = state_->connecting.begin(); it != state_->connecting.end();) {
    if (it->second.node != node) {
      ++it;
      continue;
    }
    failed.push_back(std::move(it->second.done));
    it = state_->connecting.erase(it);
  }
  for (auto& done : failed) {
    boost::asio::post(state_->loop,
                      [token = std::weak_ptr<int>(state_->alive), node, done = std::move(done)] {
                        if (!token.expired())
                          done(Status(ErrorCode::NodeDied, "node " + node.Hex() + " is dead"));
                      });
  }
}

void ObjectManager::Pull(const ObjectId& object, const std::vector<NodeId>& nodes,
                         uint64_t size_bytes, std::function<void(const Status&)> done) {
  state_->puller.Pull(object, nodes, size_bytes, std::move(done));
}

void ObjectManager::Free(std::span<const ObjectId> objects, std::span<const NodeId> nodes) {
  for (const NodeId& node : nodes) {
    if (node == state_->options.node_id) {
      state_->store.Delete({objects.begin(), objects.end()});
    } else {
      state_->messages.Free(node, objects);
    }
  }
}

void ObjectManager::Connect(const NodeId& node, const WorkerId& worker,
                            std::function<void(Result<UniqueFd>)> done) {
  State& state = *state_;
  const auto address = state.addresses.find(node);
  if (address == state.addresses.end()) {
    boost::asio::post(
        state.loop, [token = std::weak_ptr<int>(state.alive), node, done = std::move(done)] {
          if (token.expired()) return;
          done(Status(ErrorCode::NodeDied, "node " + node.Hex() + " is not known here, or dead"));
        });
    return;
  }
  const uint64_t id = state.next_connector++;
  State::Connecting& connecting = state.connecting[id];
  connecting.node = node;
  connecting.done = std::move(done);
  connecting.connector =
      std::make_unique<PeerConnector>(state.loop, state.options.token, address->second,
                                      Introduction{Purpose::Worker, state.options.node_id, worker},
                                      [this, id](Result<UniqueFd> socket) {
                                        auto finished = state_->connecting.extract(id);
                                        finished.mapped().done(std::move(socket));
                                      });
}

void ObjectManager::SendToNode(const NodeId& node, std::span<const uint8_t> data) {
  state_->messages.Send(node, data);
}

void ObjectManager::CallNode(const NodeId& node, std::span<const uint8_t> data,
                             std::function<void(Result<std::vector<uint8_t>>)> done) {
  state_->messages.Call(node, data, std::move(done));
}

}  // namespace skyray::object_manager
