// SPDX-License-Identifier: Apache-2.0
#include "object_manager/message_links.h"

#include <boost/asio/post.hpp>
#include <utility>

#include "common/logging.h"
#include "ipc/verify.h"
#include "object_manager/transfer_message.h"

namespace skyray::object_manager {
namespace {

namespace wire = fb::transfer;

flatbuffers::FlatBufferBuilder CallMessage(uint64_t call_id, std::span<const uint8_t> data) {
  flatbuffers::FlatBufferBuilder builder(data.size() + 256);
  const auto bytes = builder.CreateVector(data.data(), data.size());
  const auto call = wire::CreateCall(builder, call_id, bytes);
  return TransferMessage(std::move(builder), wire::Body::Call, call);
}

flatbuffers::FlatBufferBuilder ReplyMessage(uint64_t call_id, std::span<const uint8_t> data) {
  flatbuffers::FlatBufferBuilder builder(data.size() + 256);
  const auto bytes = builder.CreateVector(data.data(), data.size());
  const auto reply = wire::CreateCallReply(builder, call_id, bytes);
  return TransferMessage(std::move(builder), wire::Body::CallReply, reply);
}

}  // namespace

MessageLinks::MessageLinks(boost::asio::io_context& loop, const AddressBook& addresses,
                           const NodeId& self, const ClusterToken& token, MessageHandlers handlers)
    : loop_(loop),
      addresses_(addresses),
      self_(self),
      token_(token),
      handlers_(std::move(handlers)) {}

void MessageLinks::Send(const NodeId& node, std::span<const uint8_t> data) {
  SendTo(node, CallMessage(0, data));
}

void MessageLinks::Call(const NodeId& node, std::span<const uint8_t> data,
                        std::function<void(Result<std::vector<uint8_t>>)> done) {
  PeerLink* link = LinkTo(node);
  if (link == nullptr) {
    boost::asio::post(loop_, [token = std::weak_ptr<int>(alive_), done = std::move(done), node] {
      if (token.expired()) return;
      done(Status(ErrorCode::NodeDied, "node " + node.Hex() + " is not known here, or dead"));
    });
    return;
  }
  const uint64_t call_id = next_call_++;
  calls_.emplace(call_id, PendingCall{node, std::move(done)});
  link->Send(CallMessage(call_id, data));
}

void MessageLinks::Free(const NodeId& node, std::span<const ObjectId> objects) {
  flatbuffers::FlatBufferBuilder builder;
  std::vector<flatbuffers::Offset<wire::Bytes>> ids;
  ids.reserve(objects.size());
  for (const ObjectId& id : objects) {
    ids.push_back(
        wire::CreateBytes(builder, builder.CreateVector(id.data(), size_t{ObjectId::kSize})));
  }
  const auto free = wire::CreateFreeObjects(builder, builder.CreateVector(ids));
  SendTo(node, TransferMessage(std::move(builder), wire::Body::FreeObjects, free));
}

PeerLink* MessageLinks::LinkTo(const NodeId& node) {
  const auto address = addresses_.find(node);
  if (address == addresses_.end()) return nullptr;
  std::unique_ptr<PeerLink>& link = links_[node];
  if (link == nullptr) {
    StreamHandlers handlers;
    handlers.on_frame = [this, node](const ipc::Frame& frame) { OnReply(node, frame); };
    handlers.on_closed = [this, node](const Status& why) { OnLinkClosed(node, why); };
    link = std::make_unique<PeerLink>(loop_, token_, address->second,
                                      Introduction{Purpose::Messages, self_, WorkerId()},
                                      ipc::kFrameBytesMax, std::move(handlers));
  }
  return link.get();
}

void MessageLinks::SendTo(const NodeId& node, const flatbuffers::FlatBufferBuilder& message) {
  if (PeerLink* link = LinkTo(node)) return link->Send(message);
  SKYRAY_LOG(Warning) << "a message to node " << node.Hex().substr(0, 16)
                      << " is lost: the node is not known here, or dead";
}

void MessageLinks::OnReply(const NodeId& node, const ipc::Frame& frame) {
  const auto* message = ipc::Verified<wire::Message>(frame);
  const auto* reply = message == nullptr ? nullptr : message->body_as_CallReply();
  const auto call = reply == nullptr ? calls_.end() : calls_.find(reply->call_id());
  if (call == calls_.end() || call->second.node != node) {
    return OnLinkClosed(node, Status(ErrorCode::InvalidRequest, "it sent no sensible reply"));
  }
  auto pending = calls_.extract(call);
  pending.mapped().done(std::vector<uint8_t>(reply->data()->begin(), reply->data()->end()));
}

void MessageLinks::OnLinkClosed(const NodeId& node, const Status& why) {
  const auto link = links_.extract(node);
  if (!link.empty()) {
    SKYRAY_LOG(Warning) << "messages to node " << node.Hex().substr(0, 16) << ": " << why.message();
  }
  std::vector<uint64_t> lost;
  for (const auto& [id, call] : calls_) {
    if (call.node == node) lost.push_back(id);
  }
  for (const uint64_t id : lost) {
    auto call = calls_.extract(id);
    boost::asio::post(loop_, [token = std::weak_ptr<int>(alive_),
                              done = std::move(call.mapped().done), why, node] {
      if (token.expired()) return;
      done(Status(why.code(), "node " + node.Hex() + ": " + why.message()));
    });
  }
}

void MessageLinks::Serve(const NodeId& peer, UniqueFd socket) {
  const uint64_t id = next_incoming_++;
  auto stream = std::make_unique<FrameStream>(loop_, std::move(socket), ipc::kFrameBytesMax);
  StreamHandlers handlers;
  handlers.on_frame = [this, id](const ipc::Frame& frame) { OnRequest(id, frame); };
  handlers.on_closed = [this, id](const Status&) { incoming_.erase(id); };
  stream->Start(std::move(handlers));
  incoming_.emplace(id, Incoming{peer, std::move(stream)});
}

void MessageLinks::NodeDead(const NodeId& node) {
  OnLinkClosed(node, Status(ErrorCode::NodeDied, "the node is dead"));
  std::erase_if(incoming_, [&node](const auto& entry) { return entry.second.node == node; });
}

void MessageLinks::OnRequest(uint64_t incoming, const ipc::Frame& frame) {
  const auto found = incoming_.find(incoming);
  if (found == incoming_.end()) return;
  const NodeId from = found->second.node;
  if (Deliver(incoming, from, frame)) return;
  SKYRAY_LOG(Warning) << "object manager: hung up on node " << from.Hex().substr(0, 16)
                      << ": its message makes no sense";
  incoming_.erase(incoming);
}

bool MessageLinks::Deliver(uint64_t incoming, const NodeId& from, const ipc::Frame& frame) {
  const auto* message = ipc::Verified<wire::Message>(frame);
  if (message == nullptr) return false;
  if (const auto* free = message->body_as_FreeObjects()) {
    std::vector<ObjectId> ids;
    for (const wire::Bytes* id : *free->object_ids()) {
      if (id->data()->size() != ObjectId::kSize) return false;
      ids.push_back(ObjectId::FromBytes(id->data()->data()));
    }
    if (handlers_.on_free) handlers_.on_free(std::move(ids));
    return true;
  }
  const auto* call = message->body_as_Call();
  if (call == nullptr) return false;
  const std::span<const uint8_t> data(call->data()->data(), call->data()->size());
  if (call->call_id() == 0) {
    if (handlers_.on_message) handlers_.on_message(from, data);
    return true;
  }
  if (!handlers_.on_call) return false;
  handlers_.on_call(from, data,
                    [this, token = std::weak_ptr<int>(alive_), incoming,
                     call_id = call->call_id()](std::span<const uint8_t> answer) {
                      if (token.expired()) return;
                      const auto asker = incoming_.find(incoming);
                      if (asker == incoming_.end()) return;
                      asker->second.stream->Send(ReplyMessage(call_id, answer));
                    });
  return true;
}

}  // namespace skyray::object_manager
