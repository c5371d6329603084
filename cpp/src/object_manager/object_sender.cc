// SPDX-License-Identifier: Apache-2.0
#include "object_manager/object_sender.h"

#include <utility>
#include <vector>

#include "common/logging.h"
#include "ipc/verify.h"
#include "object_manager/chunk_window.h"
#include "object_manager/transfer_message.h"

namespace skyray::object_manager {
namespace {

namespace wire = fb::transfer;

constexpr uint32_t kRequestBytesMax = 4 << 10;

flatbuffers::FlatBufferBuilder OpenedMessage(TransferId transfer, const ObjectId& object,
                                             const std::optional<plasma::PinnedObject>& pinned) {
  flatbuffers::FlatBufferBuilder builder;
  flatbuffers::Offset<wire::ObjectOpened> opened;
  if (pinned) {
    const auto owner = builder.CreateVector(pinned->object.owner.data(), WorkerId::kSize);
    opened =
        wire::CreateObjectOpened(builder, transfer, ErrorCode::Ok, 0, pinned->bytes.size(), owner);
  } else {
    const auto text = builder.CreateString("object " + object.Hex() + " is not in its store");
    opened = wire::CreateObjectOpened(builder, transfer, ErrorCode::ObjectNotFound, text);
  }
  return TransferMessage(std::move(builder), wire::Body::ObjectOpened, opened);
}

}  // namespace

ObjectSender::Stream::Stream(boost::asio::io_context& loop, UniqueFd socket, const NodeId& peer)
    : node(peer), frames(loop, std::move(socket), kRequestBytesMax) {}

ObjectSender::ObjectSender(boost::asio::io_context& loop, plasma::StoreRunner& store,
                           std::chrono::milliseconds seal_timeout)
    : loop_(loop), store_(store), seal_timeout_(seal_timeout) {}

void ObjectSender::Serve(const NodeId& peer, UniqueFd socket) {
  const StreamId id = next_id_++;
  auto& stream =
      *streams_.emplace(id, std::make_unique<Stream>(loop_, std::move(socket), peer)).first->second;
  StreamHandlers handlers;
  handlers.on_frame = [this, id](const ipc::Frame& frame) { OnFrame(id, frame); };
  handlers.on_closed = [this, id](const Status& why) { Drop(id, why); };
  stream.frames.Start(std::move(handlers));
}

void ObjectSender::NodeDead(const NodeId& node) {
  std::vector<StreamId> dead;
  for (const auto& [id, stream] : streams_) {
    if (stream->node == node) dead.push_back(id);
  }
  for (const StreamId id : dead) Drop(id, Status(ErrorCode::NodeDied, "the node is dead"));
}

void ObjectSender::OnFrame(StreamId id, const ipc::Frame& frame) {
  const auto found = streams_.find(id);
  if (found == streams_.end()) return;
  Stream& stream = *found->second;
  const auto* message = ipc::Verified<wire::Message>(frame);
  bool sensible = false;
  if (message != nullptr) {
    if (const auto* open = message->body_as_OpenObject()) sensible = OnOpen(id, stream, *open);
    if (const auto* read = message->body_as_ReadChunk()) sensible = OnRead(id, stream, *read);
    if (const auto* close = message->body_as_CloseObject()) {
      OnClose(stream, close->transfer_id());
      sensible = true;
    }
  }
  if (!sensible) Drop(id, Status(ErrorCode::InvalidRequest, "its request makes no sense"));
}

bool ObjectSender::OnOpen(StreamId id, Stream& stream, const wire::OpenObject& open) {
  if (open.object_id()->size() != ObjectId::kSize || stream.open.size() >= kOpenPerStreamMax) {
    return false;
  }
  const ObjectId object = ObjectId::FromBytes(open.object_id()->data());
  const TransferId transfer = open.transfer_id();
  Open entry;
  entry.object = object;
  const auto [opened, is_new] = stream.open.emplace(transfer, entry);
  if (is_new) Pin(id, transfer, opened->second);
  return is_new;
}

void ObjectSender::Pin(StreamId id, TransferId transfer, Open& open) {
  open.asked = std::chrono::steady_clock::now();
  store_.PinCreated(open.object, seal_timeout_.count(),
                    [this, token = std::weak_ptr<int>(alive_), id, transfer,
                     object = open.object](const std::optional<plasma::PinnedObject>& pinned) {
                      if (!token.expired()) OnPinned(id, transfer, object, pinned);
                    });
}

void ObjectSender::OnPinned(StreamId id, TransferId transfer, const ObjectId& object,
                            const std::optional<plasma::PinnedObject>& pinned) {
  const auto found = streams_.find(id);
  const bool wanted = found != streams_.end() && found->second->open.contains(transfer);
  if (!wanted) {
    if (pinned) store_.Unpin(object);  // The peer has gone meanwhile.
    return;
  }
  Stream& stream = *found->second;
  Open& open = stream.open.at(transfer);
  // The store counts in whole milliseconds, and from when it heard of it.
  if (!pinned && std::chrono::steady_clock::now() - open.asked >= seal_timeout_ / 2) {
    return store_.Contains(object,
                           [this, token = std::weak_ptr<int>(alive_), id, transfer](bool there) {
                             if (!token.expired()) OnLate(id, transfer, there);
                           });
  }
  stream.frames.Send(OpenedMessage(transfer, object, pinned));
  if (!pinned) {
    stream.open.erase(transfer);
    return;
  }
  open.pinned = true;
  open.bytes = pinned->bytes;
}

void ObjectSender::OnLate(StreamId id, TransferId transfer, bool there) {
  const auto found = streams_.find(id);
  if (found == streams_.end()) return;
  const auto open = found->second->open.find(transfer);
  if (open == found->second->open.end()) return;
  if (there) return Pin(id, transfer, open->second);
  found->second->frames.Send(OpenedMessage(transfer, open->second.object, std::nullopt));
  found->second->open.erase(open);
}

bool ObjectSender::OnRead(StreamId id, Stream& stream, const wire::ReadChunk& read) {
  const auto found = stream.open.find(read.transfer_id());
  if (found == stream.open.end()) return false;
  Open& open = found->second;
  const uint64_t size = open.bytes.size();
  if (!open.pinned || open.closed || read.bytes() == 0 || read.bytes() > kChunkBytes ||
      read.offset() > size || read.bytes() > size - read.offset()) {
    return false;
  }
  ++open.sending;
  stream.frames.SendChunk({read.transfer_id(), read.offset()},
                          open.bytes.subspan(read.offset(), read.bytes()),
                          [this, id, transfer = read.transfer_id()] { OnSent(id, transfer); });
  return true;
}

void ObjectSender::OnSent(StreamId id, TransferId transfer) {
  const auto found = streams_.find(id);
  if (found == streams_.end()) return;
  Stream& stream = *found->second;
  Open& open = stream.open.at(transfer);
  --open.sending;
  if (open.closed) OnClose(stream, transfer);
}

void ObjectSender::OnClose(Stream& stream, TransferId transfer) {
  const auto found = stream.open.find(transfer);
  if (found == stream.open.end()) return;
  Open& open = found->second;
  open.closed = true;
  if (open.sending > 0) return;
  if (open.pinned) store_.Unpin(open.object);
  stream.open.erase(found);
}

void ObjectSender::Drop(StreamId id, const Status& why) {
  auto found = streams_.extract(id);
  if (found.empty()) return;
  Stream& stream = *found.mapped();
  if (why.code() != ErrorCode::Disconnected) {
    SKYRAY_LOG(Warning) << "object manager: hung up on node " << stream.node.Hex().substr(0, 16)
                        << ": " << why.message();
  }
  // Nothing is sent any more; only then may the memory go.
  stream.frames.Close();
  for (const auto& [transfer, open] : stream.open) {
    if (open.pinned) store_.Unpin(open.object);
  }
}

}  // namespace skyray::object_manager
