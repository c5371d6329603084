// SPDX-License-Identifier: Apache-2.0
// Messages between raylets that are opaque here: one-way, or calls with a reply.
//
// Threading:  lives on the raylet's loop; handlers run there, never inside a call.
// Ownership:  owns its connections: one outgoing to each node it speaks to, and
//             those other nodes opened.
// Errors:     a call's callback gets NodeDied or Disconnected if no reply can
//             come any more. A one-way message that cannot be sent is lost and logged.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "object_manager/object_puller.h"
#include "object_manager/peer_link.h"

namespace skyray::object_manager {

// May be called once, later; does nothing if the asker has gone.
using Reply = std::function<void(std::span<const uint8_t>)>;

struct MessageHandlers {
  std::function<void(const NodeId& from, std::span<const uint8_t> data)> on_message;
  std::function<void(const NodeId& from, std::span<const uint8_t> data, Reply reply)> on_call;
  std::function<void(std::vector<ObjectId>)> on_free;
};

class MessageLinks {
 public:
  // `addresses` must outlive *this.
  MessageLinks(boost::asio::io_context& loop, const AddressBook& addresses, const NodeId& self,
               const ClusterToken& token, MessageHandlers handlers);

  void Send(const NodeId& node, std::span<const uint8_t> data);
  void Call(const NodeId& node, std::span<const uint8_t> data,
            std::function<void(Result<std::vector<uint8_t>>)> done);
  void Free(const NodeId& node, std::span<const ObjectId> objects);
  // Serves a peer that has introduced itself.
  void Serve(const NodeId& peer, UniqueFd socket);
  void NodeDead(const NodeId& node);

 private:
  struct PendingCall {
    NodeId node;
    std::function<void(Result<std::vector<uint8_t>>)> done;
  };
  struct Incoming {
    NodeId node;
    std::unique_ptr<FrameStream> stream;
  };
  // Null if the node is not known.
  PeerLink* LinkTo(const NodeId& node);
  void SendTo(const NodeId& node, const flatbuffers::FlatBufferBuilder& message);
  void OnReply(const NodeId& node, const ipc::Frame& frame);
  void OnLinkClosed(const NodeId& node, const Status& why);
  void OnRequest(uint64_t incoming, const ipc::Frame& frame);
  bool Deliver(uint64_t incoming, const NodeId& from, const ipc::Frame& frame);

  boost::asio::io_context& loop_;
  const AddressBook& addresses_;
  const NodeId self_;
  const ClusterToken token_;
  const MessageHandlers handlers_;
  std::unordered_map<NodeId, std::unique_ptr<PeerLink>> links_;
  uint64_t next_call_ = 1;
  std::unordered_map<uint64_t, PendingCall> calls_;
  uint64_t next_incoming_ = 1;
  std::unordered_map<uint64_t, Incoming> incoming_;
  const std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace skyray::object_manager
