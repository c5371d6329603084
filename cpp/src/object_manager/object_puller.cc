// SPDX-License-Identifier: Apache-2.0
#include "object_manager/object_puller.h"

#include <boost/asio/post.hpp>
#include <utility>

#include "common/logging.h"
#include "ipc/verify.h"
#include "object_manager/transfer_message.h"

namespace skyray::object_manager {
namespace {

namespace wire = fb::transfer;

constexpr uint32_t kAnswerBytesMax = 64 << 10;
// An object that a process of this node is creating itself is awaited so long.
constexpr int64_t kLocalSealTimeoutMs = 10000;

flatbuffers::FlatBufferBuilder OpenMessage(TransferId id, const ObjectId& object) {
  flatbuffers::FlatBufferBuilder builder;
  const auto bytes = builder.CreateVector(object.data(), ObjectId::kSize);
  const auto open = wire::CreateOpenObject(builder, id, bytes);
  return TransferMessage(std::move(builder), wire::Body::OpenObject, open);
}

flatbuffers::FlatBufferBuilder ReadMessage(TransferId id, const ChunkRange& range) {
  flatbuffers::FlatBufferBuilder builder;
  const auto read = wire::CreateReadChunk(builder, id, range.offset, range.bytes);
  return TransferMessage(std::move(builder), wire::Body::ReadChunk, read);
}

flatbuffers::FlatBufferBuilder CloseMessage(TransferId id) {
  flatbuffers::FlatBufferBuilder builder;
  const auto close = wire::CreateCloseObject(builder, id);
  return TransferMessage(std::move(builder), wire::Body::CloseObject, close);
}

}  // namespace

ObjectPuller::ObjectPuller(boost::asio::io_context& loop, plasma::StoreRunner& store,
                           const AddressBook& addresses, const NodeId& self,
                           const ClusterToken& token, uint64_t bytes_in_flight_max)
    : loop_(loop),
      store_(store),
      addresses_(addresses),
      self_(self),
      token_(token),
      pulls_(bytes_in_flight_max) {}

void ObjectPuller::Pull(const ObjectId& object, const std::vector<NodeId>& nodes,
                        uint64_t size_bytes, Done done) {
  std::vector<NodeId> others;
  for (const NodeId& node : nodes) {
    if (node != self_) others.push_back(node);
  }
  if (pulls_.Wants(object)) return Want(object, others, size_bytes, std::move(done));
  // Asked first: it may have been made here, or be about to be sealed.
  store_.PinCreated(
      object, kLocalSealTimeoutMs,
      [this, token = std::weak_ptr<int>(alive_), object, size_bytes, others = std::move(others),
       done = std::move(done)](const std::optional<plasma::PinnedObject>& pinned) {
        if (token.expired()) return;
        if (!pinned) return Want(object, others, size_bytes, done);
        store_.Unpin(object);
        done(Status());
      });
}

void ObjectPuller::Want(const ObjectId& object, const std::vector<NodeId>& nodes,
                        uint64_t size_bytes, Done done) {
  const uint64_t request = next_request_++;
  waiting_.emplace(request, std::move(done));
  Perform(pulls_.Want(request, object, nodes, size_bytes));
}

void ObjectPuller::NodeDead(const NodeId& node) {
  OnLinkClosed(node, Status(ErrorCode::NodeDied, "the node is dead"));
}

void ObjectPuller::Perform(PullSteps steps) {
  for (PullDone& pull : steps.done) {
    for (const uint64_t request : pull.requests) {
      auto done = waiting_.extract(request);
      if (done.empty()) continue;
      boost::asio::post(loop_, [token = std::weak_ptr<int>(alive_), done = std::move(done.mapped()),
                                status = pull.status] {
        if (!token.expired()) done(status);
      });
    }
  }
  for (const PullStart& start : steps.start) Start(start);
}

void ObjectPuller::Start(const PullStart& start) {
  if (!addresses_.contains(start.node)) {
    return Perform(
        pulls_.Failed(start.transfer, Status(ErrorCode::NodeDied, "the node is not known here")));
  }
  Transfer transfer;
  transfer.object = start.object;
  transfer.node = start.node;
  transfers_.emplace(start.transfer, std::move(transfer));
  LinkTo(start.node).Send(OpenMessage(start.transfer, start.object));
}

PeerLink& ObjectPuller::LinkTo(const NodeId& node) {
  std::unique_ptr<PeerLink>& link = links_[node];
  if (link == nullptr) {
    StreamHandlers handlers;
    handlers.on_frame = [this, node](const ipc::Frame& frame) { OnFrame(node, frame); };
    handlers.on_chunk = [this, node](const ChunkHeader& header, uint64_t bytes) {
      return OnChunk(node, header, bytes);
    };
    handlers.on_chunk_done = [this](const ChunkHeader& header) { OnChunkDone(header); };
    handlers.on_closed = [this, node](const Status& why) { OnLinkClosed(node, why); };
    link = std::make_unique<PeerLink>(loop_, token_, addresses_.at(node),
                                      Introduction{Purpose::Objects, self_, WorkerId()},
                                      kAnswerBytesMax, std::move(handlers));
  }
  return *link;
}

void ObjectPuller::OnFrame(const NodeId& node, const ipc::Frame& frame) {
  const auto* message = ipc::Verified<wire::Message>(frame);
  const auto* opened = message == nullptr ? nullptr : message->body_as_ObjectOpened();
  const Status status = opened == nullptr
                            ? Status(ErrorCode::InvalidRequest, "it sent a malformed message")
                            : OnOpened(node, *opened);
  if (!status.ok()) OnLinkClosed(node, status);
}

void ObjectPuller::OnLinkClosed(const NodeId& node, const Status& why) {
  // Gone first, so that nothing more is written into memory that is given up.
  const auto link = links_.extract(node);
  std::vector<TransferId> failed;
  for (auto& [id, transfer] : transfers_) {
    if (transfer.node != node || transfer.failed) continue;
    if (transfer.creating && !transfer.window) {
      transfer.failed = why;
    } else {
      failed.push_back(id);
    }
  }
  if (!failed.empty()) {
    SKYRAY_LOG(Warning) << "fetching " << failed.size() << " objects from node "
                        << node.Hex().substr(0, 16) << " failed: " << why.message();
  }
  for (const TransferId id : failed) {
    const auto transfer = transfers_.extract(id);
    if (transfer.mapped().window) store_.Abort(transfer.mapped().object);
  }
  for (const TransferId id : failed) Perform(pulls_.Failed(id, why));
}

Status ObjectPuller::OnOpened(const NodeId& node, const wire::ObjectOpened& opened) {
  const TransferId id = opened.transfer_id();
  const auto found = transfers_.find(id);
  if (found == transfers_.end()) return Status();  // It arrived some other way meanwhile.
  Transfer& transfer = found->second;
  if (transfer.node != node || transfer.creating || transfer.failed) {
    return Status(ErrorCode::InvalidRequest, "it answers what it was not asked");
  }
  if (opened.error() != ErrorCode::Ok) {
    const Status why(opened.error(), opened.message() ? opened.message()->str() : "refused");
    transfers_.erase(found);
    Perform(pulls_.Failed(id, why));
    return Status();
  }
  if (opened.owner_id() == nullptr || opened.owner_id()->size() != WorkerId::kSize) {
    return Status(ErrorCode::InvalidRequest, "it names no owner of the object");
  }
  plasma::NewObject object;
  object.id = transfer.object;
  object.owner = WorkerId::FromBytes(opened.owner_id()->data());
  object.data_bytes = opened.data_bytes();
  transfer.creating = true;
  store_.Create(object, [this, token = std::weak_ptr<int>(alive_), id,
                         object_id = object.id](Result<std::span<uint8_t>> memory) {
    if (!token.expired()) OnCreated(id, object_id, std::move(memory));
  });
  return Status();
}

void ObjectPuller::OnCreated(TransferId id, const ObjectId& object,
                             Result<std::span<uint8_t>> memory) {
  const auto found = transfers_.find(id);
  SKYRAY_CHECK(found != transfers_.end());
  Transfer& transfer = found->second;
  if (transfer.failed) {
    const Status why = *transfer.failed;
    transfers_.erase(found);
    if (memory) store_.Abort(object);
    return Perform(pulls_.Failed(id, why));
  }
  if (memory) {
    transfer.memory = *memory;
    transfer.window.emplace(memory->size());
    return AskForMore(id, transfer);
  }
  Close(id, transfer.node);
  transfers_.erase(found);
  if (memory.error().code() == ErrorCode::ObjectExists) return AwaitLocalSeal(id, object);
  Perform(pulls_.Abandon(id, memory.error()));
}

void ObjectPuller::AwaitLocalSeal(TransferId id, const ObjectId& object) {
  store_.Pin(object, kLocalSealTimeoutMs,
             [this, token = std::weak_ptr<int>(alive_), id,
              object](std::optional<plasma::PinnedObject> pinned) {
               if (token.expired()) return;
               if (pinned) {
                 store_.Unpin(object);
                 return Perform(pulls_.Arrived(object));
               }
               Perform(pulls_.Abandon(
                   id, Status(ErrorCode::TimedOut, "object " + object.Hex() +
                                                       " is being made on this node, but was not "
                                                       "finished in time")));
             });
}

std::optional<std::span<uint8_t>> ObjectPuller::OnChunk(const NodeId& node,
                                                        const ChunkHeader& header, uint64_t bytes) {
  const auto found = transfers_.find(header.transfer_id);
  if (found == transfers_.end() || found->second.node != node || !found->second.window) {
    return std::nullopt;
  }
  Transfer& transfer = found->second;
  if (!transfer.window->Check(header.offset, bytes).ok()) return std::nullopt;
  return transfer.memory.subspan(header.offset, bytes);
}

void ObjectPuller::OnChunkDone(const ChunkHeader& header) {
  const auto found = transfers_.find(header.transfer_id);
  if (found == transfers_.end()) return;
  found->second.window->Received(header.offset);
  AskForMore(header.transfer_id, found->second);
}

void ObjectPuller::AskForMore(TransferId id, Transfer& transfer) {
  const NodeId node = transfer.node;
  while (const auto range = transfer.window->Next()) LinkTo(node).Send(ReadMessage(id, *range));
  if (!transfer.window->done()) return;
  const ObjectId object = transfer.object;
  transfers_.erase(id);
  store_.Seal(object);
  Close(id, node);
  Perform(pulls_.Arrived(object));
}

void ObjectPuller::Close(TransferId id, const NodeId& node) {
  if (const auto link = links_.find(node); link != links_.end()) {
    link->second->Send(CloseMessage(id));
  }
}

}  // namespace skyray::object_manager
