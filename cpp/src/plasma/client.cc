// SPDX-License-Identifier: Apache-2.0
#include "plasma/client.h"

#include <errno.h>

#include <cstring>
#include <type_traits>
#include <utility>

#include "ipc/fd_passing.h"
#include "ipc/socket.h"
#include "ipc/verify.h"
#include "plasma/wire.h"

namespace skyray::plasma {
namespace {

using fb::plasma::Body;

constexpr size_t kReadBytes = 16 << 10;
constexpr uint32_t kSegmentsMax = 1024;

Status NotHere(const ObjectId& id, const char* what) {
  return Status(ErrorCode::ObjectNotFound, "object " + id.Hex() + " " + what);
}

Status Protocol(const std::string& what) {
  return Status(ErrorCode::Disconnected, "the store broke the protocol: " + what);
}

std::vector<fb::plasma::Id> ToWireIds(std::span<const ObjectId> ids) {
  std::vector<fb::plasma::Id> wire;
  wire.reserve(ids.size());
  for (const ObjectId& id : ids) wire.push_back(*ToWire(id));
  return wire;
}

}  // namespace

Client::Client(UniqueFd socket) : socket_(std::move(socket)) {}

Client::~Client() = default;

Result<std::unique_ptr<Client>> Client::Connect(const std::string& path) {
  auto socket = ipc::ConnectUnix(path);
  if (!socket) {
    return Status(socket.error().code(), "no plasma store to talk to: " + socket.error().message() +
                                             "; is the raylet (or plasma_store) running?");
  }
  std::unique_ptr<Client> client(new Client(std::move(*socket)));
  if (Status status = client->Hello(); !status.ok()) return status;
  return client;
}

Status Client::Hello() {
  const auto reply = Ask<fb::plasma::ConnectReply>(
      Body::Connect, fb::plasma::CreateConnect(builder_, kProtocolVersion));
  if (!reply) return reply.error();
  if ((*reply)->error() != ErrorCode::Ok) {
    return Broken(Status((*reply)->error(), (*reply)->message() ? (*reply)->message()->str() : ""));
  }
  capacity_bytes_ = (*reply)->capacity_bytes();
  return Status();
}

Result<MutableObject> Client::Create(const ObjectId& id, uint64_t data_bytes, const WorkerId& owner,
                                     bool primary) {
  const auto reply = Ask<fb::plasma::CreateReply>(
      Body::CreateObject,
      fb::plasma::CreateCreateObject(builder_, ToWire(id), ToWire(owner), data_bytes, primary));
  if (!reply) return reply.error();
  const fb::plasma::CreateReply& created = **reply;
  if (created.error() != ErrorCode::Ok) {
    return Status(created.error(), created.message() ? created.message()->str() : "");
  }
  if (Status status = TakeSegments(created); !status.ok()) return status;
  if (created.place() == nullptr || created.place()->bytes() != data_bytes) {
    return Broken(Protocol("a created object has no place, or another size"));
  }
  auto mapping = MappingOf(*created.place(), /*writable=*/true);
  if (!mapping) return mapping.error();
  creating_.insert(id);
  return MutableObject{(*mapping)->data() + created.place()->offset(), data_bytes,
                       std::move(*mapping)};
}

Status Client::Seal(const ObjectId& id) {
  if (creating_.erase(id) == 0) return NotHere(id, "is not being created by this client");
  return Send(0, Body::Seal, fb::plasma::CreateSeal(builder_, ToWire(id)));
}

Status Client::Abort(const ObjectId& id) {
  if (creating_.erase(id) == 0) return NotHere(id, "is not being created by this client");
  return Send(0, Body::Abort, fb::plasma::CreateAbort(builder_, ToWire(id)));
}

Result<std::vector<std::optional<ObjectView>>> Client::Get(std::span<const ObjectId> ids,
                                                           int64_t timeout_ms) {
  if (ids.size() > kIdsPerRequestMax) {
    return Status(ErrorCode::InvalidArgument, "get of " + std::to_string(ids.size()) +
                                                  " objects at once; at most " +
                                                  std::to_string(kIdsPerRequestMax));
  }
  std::vector<ObjectId> missing;
  for (const ObjectId& id : ids) {
    // Each only once: the store counts one reference of ours, held_ the rest.
    if (!held_.contains(id)) missing.push_back(id);
  }
  if (!missing.empty()) {
    if (Status status = GetMissing(missing, timeout_ms); !status.ok()) return status;
  }
  std::vector<std::optional<ObjectView>> views;
  views.reserve(ids.size());
  for (const ObjectId& id : ids) {
    const auto held = held_.find(id);
    if (held == held_.end()) {
      views.emplace_back(std::nullopt);
      continue;
    }
    ++held->second.references;
    views.emplace_back(held->second.view);
  }
  return views;
}

Status Client::GetMissing(std::span<const ObjectId> missing, int64_t timeout_ms) {
  const auto ids = builder_.CreateVectorOfStructs(ToWireIds(missing));
  const auto reply =
      Ask<fb::plasma::GetReply>(Body::Get, fb::plasma::CreateGet(builder_, ids, timeout_ms));
  if (!reply) return reply.error();
  const auto& places = *(*reply)->places();
  if (Status status = TakeSegments(**reply); !status.ok()) return status;
  if (places.size() != missing.size()) return Broken(Protocol("a get was answered in part"));
  std::vector<ObjectId> repeated;
  for (flatbuffers::uoffset_t i = 0; i < places.size(); ++i) {
    const fb::plasma::Place& place = *places.Get(i);
    if (!place.found()) continue;
    if (held_.contains(missing[i])) {
      repeated.push_back(missing[i]);
      continue;
    }
    auto mapping = MappingOf(place, /*writable=*/false);
    if (!mapping) return mapping.error();
    const uint8_t* data = (*mapping)->data() + place.offset();
    held_[missing[i]].view = ObjectView{data, place.bytes(), std::move(*mapping)};
  }
  for (const ObjectId& id : repeated) {
    Status status = Send(0, Body::Release, fb::plasma::CreateRelease(builder_, ToWire(id)));
    if (!status.ok()) return status;
  }
  return Status();
}

Status Client::Release(const ObjectId& id) {
  const auto held = held_.find(id);
  if (held == held_.end()) return NotHere(id, "is not held by this client");
  if (--held->second.references > 0) return Status();
  held_.erase(held);
  return Send(0, Body::Release, fb::plasma::CreateRelease(builder_, ToWire(id)));
}

Status Client::Delete(std::span<const ObjectId> ids) {
  for (size_t at = 0; at < ids.size(); at += kIdsPerRequestMax) {
    const auto part = ids.subspan(at, std::min(kIdsPerRequestMax, ids.size() - at));
    const auto wire = builder_.CreateVectorOfStructs(ToWireIds(part));
    Status status = Send(0, Body::Delete, fb::plasma::CreateDelete(builder_, wire));
    if (!status.ok()) return status;
  }
  return Status();
}

Result<bool> Client::Contains(const ObjectId& id) {
  const auto reply = Ask<fb::plasma::ContainsReply>(
      Body::Contains, fb::plasma::CreateContains(builder_, ToWire(id)));
  if (!reply) return reply.error();
  return (*reply)->found();
}

Result<std::string> Client::DebugState() {
  const auto reply = Ask<fb::plasma::DebugStateReply>(Body::GetDebugState,
                                                      fb::plasma::CreateGetDebugState(builder_));
  if (!reply) return reply.error();
  return (*reply)->text()->str();
}

template <class Table>
Status Client::Send(uint64_t request_id, Body type, flatbuffers::Offset<Table> body) {
  builder_.Finish(fb::plasma::CreateMessage(builder_, request_id, type, body.Union()));
  Status status = broken_;
  if (status.ok()) {
    status = ipc::SendFrame(socket_.get(), ipc::kFlatBuffer,
                            {builder_.GetBufferPointer(), builder_.GetSize()});
    if (!status.ok()) status = Broken(status);
  }
  builder_.Clear();
  return status;
}

template <class Reply, class Table>
Result<const Reply*> Client::Ask(Body type, flatbuffers::Offset<Table> body) {
  const uint64_t request_id = next_request_id_++;
  if (Status status = Send(request_id, type, body); !status.ok()) return status;
  if (Status status = ReceiveFrame(); !status.ok()) return Broken(status);
  const auto* message = ipc::Verified<fb::plasma::Message>(reply_);
  if (message == nullptr) return Broken(Protocol("a malformed message"));
  const auto* reply = message->template body_as<Reply>();
  if (message->request_id() != request_id || reply == nullptr) {
    return Broken(Protocol(std::string("an answer nobody asked for: ") +
                           fb::plasma::EnumNameBody(message->body_type())));
  }
  return reply;
}

// Like ipc::ReceiveFrame, but a whole reply usually takes one system call.
Status Client::ReceiveFrame() {
  for (;;) {
    ipc::FrameHeader header;
    if (input_.size() >= sizeof header) {
      std::memcpy(&header, input_.data(), sizeof header);
      const size_t frame_bytes = sizeof header + size_t{header.body_bytes};
      if (header.body_bytes > ipc::kFrameBytesMax) return Protocol("an oversized frame");
      if (input_.size() >= frame_bytes) {
        if (input_fds_.size() < header.fds) return Protocol("a frame without its descriptors");
        const auto body = input_.begin() + sizeof header;
        const auto end = input_.begin() + static_cast<ptrdiff_t>(frame_bytes);
        reply_.kind = header.kind;
        reply_.body.assign(body, end);
        reply_.fds.assign(std::make_move_iterator(input_fds_.begin()),
                          std::make_move_iterator(input_fds_.begin() + header.fds));
        input_fds_.erase(input_fds_.begin(), input_fds_.begin() + header.fds);
        input_.erase(input_.begin(), end);
        return Status();
      }
    }
    const size_t before = input_.size();
    input_.resize(before + kReadBytes);
    const ssize_t got =
        ipc::ReceiveWithFds(socket_.get(), input_.data() + before, kReadBytes, input_fds_, 0);
    const int error = errno;
    input_.resize(before + static_cast<size_t>(got > 0 ? got : 0));
    if (got == 0) return Status(ErrorCode::Disconnected, "the plasma store closed the connection");
    if (got < 0 && error != EINTR) {
      return Status(ErrorCode::Disconnected,
                    ErrnoStatus("reading from the plasma store", error).message());
    }
  }
}

template <class Reply>
Status Client::TakeSegments(const Reply& reply) {
  if (reply.new_segments() == nullptr) return Status();
  const auto& listed = *reply.new_segments();
  if (listed.size() != reply_.fds.size()) return Broken(Protocol("segments without descriptors"));
  for (flatbuffers::uoffset_t i = 0; i < listed.size(); ++i) {
    const fb::plasma::NewSegment& segment = *listed.Get(i);
    if (segment.index() >= kSegmentsMax) return Broken(Protocol("too many segments"));
    if (segments_.size() <= segment.index()) segments_.resize(segment.index() + 1);
    segments_[segment.index()].fd = std::move(reply_.fds[i]);
    segments_[segment.index()].bytes = segment.bytes();
  }
  return Status();
}

Result<std::shared_ptr<Mapping>> Client::MappingOf(const fb::plasma::Place& place, bool writable) {
  if (place.segment() >= segments_.size() || !segments_[place.segment()].fd.valid()) {
    return Broken(Protocol("an object in a segment that was never sent"));
  }
  SharedSegment& segment = segments_[place.segment()];
  if (place.offset() > segment.bytes || place.bytes() > segment.bytes - place.offset()) {
    return Broken(Protocol("an object outside its segment"));
  }
  std::shared_ptr<Mapping>& mapping = writable ? segment.writable : segment.read_only;
  if (mapping == nullptr) {
    auto mapped = Mapping::Map(segment.fd.get(), segment.bytes, writable);
    if (!mapped) return Broken(mapped.error());
    mapping = std::move(*mapped);
  }
  return mapping;
}

Status Client::Broken(const Status& why) {
  broken_ = Status(why.code() == ErrorCode::IoError ? ErrorCode::Disconnected : why.code(),
                   why.message());
  socket_.Reset();
  return broken_;
}

}  // namespace skyray::plasma
