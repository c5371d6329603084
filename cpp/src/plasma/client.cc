// SPDX-License-Identifier: Apache-2.0
#include "plasma/client.h"

#include <limits.h>

#include <algorithm>
#include <type_traits>
#include <utility>

#include "common/fd_limit.h"
#include "ipc/socket.h"
#include "plasma/wire.h"

namespace skyray::plasma {
namespace {

using fb::plasma::Body;

constexpr uint32_t kMemorySegmentsMax = 1024;
// How long the store may hold an unfinished create before it says so again.
constexpr uint64_t kCreateRetryMs = 60'000;
constexpr uint32_t kListedAtOnce = 20'000;
constexpr uint64_t kObjectAlignment = 64;

// Half of the descriptors that a process may have stay its own.
bool FewFdsAfter(const UniqueFd& fd) { return fd.get() >= FdLimitLess(2, INT_MAX); }

Status NotHere(const ObjectId& id, const char* what) {
  return Status(ErrorCode::ObjectNotFound, "object " + id.Hex() + " " + what);
}

Status ErrorOf(ErrorCode code, const flatbuffers::String* message) {
  return Status(code, message == nullptr ? "" : message->str());
}

flatbuffers::Offset<flatbuffers::Vector<const fb::plasma::Id*>> WireIds(
    flatbuffers::FlatBufferBuilder& builder, std::span<const ObjectId> ids) {
  return builder.CreateVectorOfStructs(reinterpret_cast<const fb::plasma::Id*>(ids.data()),
                                       ids.size());
}

}  // namespace

Client::Client(UniqueFd socket, ReplyWaiter* waiter) : channel_(std::move(socket), waiter, *this) {}

Client::~Client() = default;

Result<std::unique_ptr<Client>> Client::Connect(const std::string& path, ReplyWaiter* waiter) {
  auto socket = ipc::ConnectUnix(path);
  if (!socket) {
    return Status(socket.error().code(), "no plasma store to talk to: " + socket.error().message() +
                                             "; is the raylet (or plasma_store) running?");
  }
  std::unique_ptr<Client> client(new Client(std::move(*socket), waiter));
  if (Status status = client->Hello(); !status.ok()) return status;
  return client;
}

Status Client::Hello() {
  const auto reply = Ask<fb::plasma::ConnectReply>(
      Body::Connect, fb::plasma::CreateConnect(builder(), kProtocolVersion, kProtocolVersion));
  if (!reply) return reply.error();
  const fb::plasma::ConnectReply& connected = *reply->body;
  if (connected.error() != ErrorCode::Ok) {
    return channel_.Break(ErrorOf(connected.error(), connected.message()));
  }
  capacity_bytes_ = connected.capacity_bytes();
  return Status();
}

Result<MutableObject> Client::Create(const ObjectId& id, const CreateOptions& options) {
  ReturnAbandoned();
  const auto body = fb::plasma::CreateCreateObject(builder(), ToWire(id), ToWire(options.owner),
                                                   options.data_bytes, options.primary,
                                                   options.metadata_bytes, options.try_immediately);
  const auto request = channel_.Request(Body::CreateObject, body.Union());
  if (!request) return request.error();
  auto answer = Await<fb::plasma::CreateReply>(*request);
  while (answer && answer->body->unfinished()) {
    answer = Ask<fb::plasma::CreateReply>(
        Body::CreateRetry, fb::plasma::CreateCreateRetry(builder(), *request, kCreateRetryMs));
  }
  if (answer) return TakeCreated(id, options, *answer);
  if (answer.error().code() == ErrorCode::Cancelled) {
    // Withdrawn, whether it waits or has its room by now.
    (void)Notify(Body::Abort, fb::plasma::CreateAbort(builder(), ToWire(id))).ok();
  }
  return answer.error();
}

Result<MutableObject> Client::TakeCreated(const ObjectId& id, const CreateOptions& options,
                                          Answer<fb::plasma::CreateReply>& answer) {
  const fb::plasma::CreateReply& created = *answer.body;
  if (created.error() != ErrorCode::Ok) return ErrorOf(created.error(), created.message());
  const fb::plasma::Place* place = created.place();
  if (place == nullptr || place->bytes() != options.data_bytes) {
    return channel_.Break(ProtocolBroken("a created object has no place, or another size"));
  }
  auto mapping = MappingOf(*place, options.metadata_bytes, /*writable=*/true);
  if (!mapping) {
    (void)Notify(Body::Abort, fb::plasma::CreateAbort(builder(), ToWire(id))).ok();
    Forget(place->segment());
    return mapping.error();
  }
  creating_[id] = {*place, options.metadata_bytes};
  uint8_t* data = (*mapping)->data() + place->offset();
  return MutableObject{
      data, options.data_bytes, options.metadata_bytes, std::move(*mapping),
      segments_[place->segment()].untouched->Take(place->offset(), place->bytes())};
}

Status Client::Seal(const ObjectId& id, bool keep) {
  auto created = creating_.extract(id);
  if (created.empty()) return NotHere(id, "is not being created by this client");
  const fb::plasma::Place& place = created.mapped().place;
  if (keep) {
    const uint64_t metadata_bytes = created.mapped().metadata_bytes;
    // Its creator too reads it where it cannot write.
    auto mapping = MappingOf(place, metadata_bytes, /*writable=*/false);
    if (!mapping) {
      creating_.insert(std::move(created));
      return mapping.error();
    }
    Held& held = held_[id];
    const uint8_t* data = (*mapping)->data() + place.offset();
    held = {{data, place.bytes(), metadata_bytes, std::move(*mapping)}, place.segment(), 1};
  }
  Status status = Notify(Body::Seal, fb::plasma::CreateSeal(builder(), ToWire(id), keep));
  if (!keep) Forget(place.segment());
  return status;
}

Status Client::Abort(const ObjectId& id) {
  auto created = creating_.extract(id);
  if (created.empty()) return NotHere(id, "is not being created by this client");
  Status status = Notify(Body::Abort, fb::plasma::CreateAbort(builder(), ToWire(id)));
  Forget(created.mapped().place.segment());
  return status;
}

Result<std::vector<Result<ObjectView>>> Client::Get(std::span<const ObjectId> ids,
                                                    int64_t timeout_ms, bool created_only) {
  if (ids.size() > kIdsPerRequestMax) {
    return Status(ErrorCode::InvalidArgument, "get of " + std::to_string(ids.size()) +
                                                  " objects at once; at most " +
                                                  std::to_string(kIdsPerRequestMax));
  }
  ReturnAbandoned();
  std::vector<ObjectId> missing;
  for (const ObjectId& id : ids) {
    // Each only once: the store counts one reference of ours, held_ the rest. What is
    // held already is held once more, lest another thread lets go of it meanwhile.
    const auto held = held_.find(id);
    if (held == held_.end()) {
      missing.push_back(id);
    } else {
      ++held->second.references;
    }
  }
  std::unordered_map<ObjectId, Status> losses;
  Status status;
  if (!missing.empty()) status = GetMissing(missing, timeout_ms, created_only, losses);
  std::vector<Result<ObjectView>> views;
  views.reserve(ids.size());
  size_t next_missing = 0;
  for (const ObjectId& id : ids) {
    const bool was_missing = next_missing < missing.size() && missing[next_missing] == id;
    next_missing += was_missing;
    const auto held = held_.find(id);
    if (!status.ok()) {
      if (!was_missing) (void)Release(id).ok();
    } else if (held != held_.end()) {
      held->second.references += was_missing;
      views.emplace_back(held->second.view);
    } else if (const auto loss = losses.find(id); loss != losses.end()) {
      views.emplace_back(loss->second);
    } else {
      views.emplace_back(NotHere(id, "is not in the store"));
    }
  }
  if (!status.ok()) return status;
  return views;
}

Status Client::GetMissing(std::span<const ObjectId> missing, int64_t timeout_ms, bool created_only,
                          std::unordered_map<ObjectId, Status>& losses) {
  const auto wire = WireIds(builder(), missing);
  const auto request = channel_.Request(
      Body::Get, fb::plasma::CreateGet(builder(), wire, timeout_ms, created_only).Union());
  if (!request) return request.error();
  auto answer = Await<fb::plasma::GetReply>(*request);
  if (answer) return TakeGot(missing, *answer, losses);
  if (answer.error().code() == ErrorCode::Cancelled) {
    abandoned_gets_[*request].assign(missing.begin(), missing.end());
  }
  return answer.error();
}

Status Client::TakeGot(std::span<const ObjectId> missing, Answer<fb::plasma::GetReply>& answer,
                       std::unordered_map<ObjectId, Status>& losses) {
  const fb::plasma::GetReply& got = *answer.body;
  const auto& places = *got.places();
  const auto* metadata = got.metadata_bytes();
  if (places.size() != missing.size() ||
      (metadata != nullptr && metadata->size() != missing.size())) {
    return channel_.Break(ProtocolBroken("a get was answered in part"));
  }
  std::vector<ObjectId> returned;
  for (flatbuffers::uoffset_t i = 0; i < places.size(); ++i) {
    const fb::plasma::Place& place = *places.Get(i);
    if (!place.found()) continue;
    if (held_.contains(missing[i])) {
      returned.push_back(missing[i]);
      continue;
    }
    const uint64_t metadata_bytes = metadata == nullptr ? 0 : metadata->Get(i);
    auto mapping = MappingOf(place, metadata_bytes, /*writable=*/false);
    if (!channel_.broken().ok()) return channel_.broken();
    if (!mapping) {
      losses.emplace(missing[i], mapping.error());
      returned.push_back(missing[i]);
      Forget(place.segment());
      continue;
    }
    const uint8_t* data = (*mapping)->data() + place.offset();
    held_[missing[i]] = {
        {data, place.bytes(), metadata_bytes, std::move(*mapping)}, place.segment(), 0};
  }
  for (const ObjectId& id : returned) {
    Status status = Notify(Body::Release, fb::plasma::CreateRelease(builder(), ToWire(id)));
    if (!status.ok()) return status;
  }
  if (got.losses() == nullptr) return Status();
  for (const fb::plasma::Loss* loss : *got.losses()) {
    if (loss->position() >= missing.size()) continue;
    if (loss->error() == ErrorCode::Ok) {
      return channel_.Break(ProtocolBroken("a loss without an error"));
    }
    losses.emplace(missing[loss->position()], ErrorOf(loss->error(), loss->message()));
  }
  return Status();
}

Status Client::Release(const ObjectId& id) {
  const auto held = held_.find(id);
  if (held == held_.end()) return NotHere(id, "is not held by this client");
  if (--held->second.references > 0) return Status();
  const uint32_t segment = held->second.segment;
  held_.erase(held);
  Status status = Notify(Body::Release, fb::plasma::CreateRelease(builder(), ToWire(id)));
  Forget(segment);
  return status;
}

Status Client::Delete(std::span<const ObjectId> ids) {
  for (size_t at = 0; at < ids.size(); at += kIdsPerRequestMax) {
    const auto part = ids.subspan(at, std::min(kIdsPerRequestMax, ids.size() - at));
    const auto wire = WireIds(builder(), part);
    Status status = Notify(Body::Delete, fb::plasma::CreateDelete(builder(), wire));
    if (!status.ok()) return status;
  }
  return Status();
}

Result<bool> Client::Contains(const ObjectId& id) {
  const auto reply = Ask<fb::plasma::ContainsReply>(
      Body::Contains, fb::plasma::CreateContains(builder(), ToWire(id)));
  if (!reply) return reply.error();
  return reply->body->found();
}

Result<uint64_t> Client::Evict(uint64_t bytes) {
  const auto reply =
      Ask<fb::plasma::EvictReply>(Body::Evict, fb::plasma::CreateEvict(builder(), bytes));
  if (!reply) return reply.error();
  return reply->body->bytes();
}

Result<std::vector<fb::plasma::ObjectInfo>> Client::List() {
  std::vector<fb::plasma::ObjectInfo> objects;
  uint64_t cursor = 0;
  do {
    const auto reply = Ask<fb::plasma::ListReply>(
        Body::List, fb::plasma::CreateList(builder(), cursor, kListedAtOnce));
    if (!reply) return reply.error();
    for (const fb::plasma::ObjectInfo* object : *reply->body->objects()) {
      objects.push_back(*object);
    }
    const uint64_t next = reply->body->next();
    if (next != 0 && next <= cursor) return channel_.Break(ProtocolBroken("a list goes backwards"));
    cursor = next;
  } while (cursor != 0);
  return objects;
}

Result<Answer<fb::plasma::StatsReply>> Client::Stats() {
  return Ask<fb::plasma::StatsReply>(Body::GetStats, fb::plasma::CreateGetStats(builder()));
}

Result<std::string> Client::DebugState() {
  const auto reply = Ask<fb::plasma::DebugStateReply>(Body::GetDebugState,
                                                      fb::plasma::CreateGetDebugState(builder()));
  if (!reply) return reply.error();
  return reply->body->text()->str();
}

void Client::Disconnect() {
  (void)channel_.Break(Status(ErrorCode::NotConnected, "this client is disconnected"));
}

void Client::OnBroken() {
  // The store gives what was never sealed to others: who still has an address
  // there must not write into what they put there.
  for (const auto& [index, segment] : segments_) {
    if (segment.writable != nullptr) segment.writable->MakePrivate(segment.fd.get());
  }
}

const ObjectView* Client::View(const ObjectId& id) const {
  const auto held = held_.find(id);
  return held == held_.end() ? nullptr : &held->second.view;
}

template <class Table>
Status Client::Notify(Body type, flatbuffers::Offset<Table> body) {
  return channel_.Notify(type, body.Union());
}

template <class Reply, class Table>
Result<Answer<Reply>> Client::Ask(Body type, flatbuffers::Offset<Table> body) {
  const auto request = channel_.Request(type, body.Union());
  if (!request) return request.error();
  return Await<Reply>(*request);
}

template <class Reply>
Result<Answer<Reply>> Client::Await(uint64_t request_id) {
  auto reply = channel_.Receive(request_id);
  if (!reply) return reply.error();
  const Reply* body = reply->message->template body_as<Reply>();
  if (body == nullptr) {
    return channel_.Break(ProtocolBroken(std::string("an answer of another kind: ") +
                                         fb::plasma::EnumNameBody(reply->message->body_type())));
  }
  return Answer<Reply>{body, std::move(*reply)};
}

void Client::ReturnAbandoned() {
  while (const auto reply = channel_.TakeAbandoned()) {
    const fb::plasma::Message& message = *reply->message;
    if (const auto* created = message.body_as_CreateReply(); created && created->place()) {
      Forget(created->place()->segment());  // It was withdrawn when it was given up.
    }
    const auto asked = abandoned_gets_.extract(message.request_id());
    const auto* got = message.body_as_GetReply();
    if (asked.empty() || got == nullptr || got->places()->size() != asked.mapped().size()) continue;
    for (flatbuffers::uoffset_t i = 0; i < got->places()->size(); ++i) {
      const fb::plasma::Place& place = *got->places()->Get(i);
      if (!place.found()) continue;
      const ObjectId& id = asked.mapped()[i];
      (void)Notify(Body::Release, fb::plasma::CreateRelease(builder(), ToWire(id))).ok();
      if (!held_.contains(id)) Forget(place.segment());
    }
  }
}

Status Client::TakeSegments(const Listed& listed, std::vector<UniqueFd>& fds, bool to_write) {
  if (listed.size() != fds.size()) {
    return channel_.Break(ProtocolBroken("segments without descriptors"));
  }
  for (flatbuffers::uoffset_t i = 0; i < listed.size(); ++i) {
    const fb::plasma::NewSegment& segment = *listed.Get(i);
    if (segment.index() >= kMemorySegmentsMax && segment.index() < kFallbackSegmentFirst) {
      return channel_.Break(ProtocolBroken("too many segments"));
    }
    std::erase(to_forget_, segment.index());
    SharedSegment& shared = segments_[segment.index()];
    shared = SharedSegment();
    shared.fd = std::move(fds[i]);
    shared.bytes = segment.bytes();
    // There may be more of them in one reply than this process may have open files. Who
    // cannot be mapped now is tried again when its object is.
    if (!to_write && segment.index() >= kFallbackSegmentFirst && FewFdsAfter(shared.fd)) {
      (void)Map(segment.index(), shared, /*writable=*/false).ok();
    }
  }
  return Status();
}

Result<std::shared_ptr<Mapping>> Client::MappingOf(const fb::plasma::Place& place,
                                                   uint64_t metadata_bytes, bool writable) {
  if (!channel_.broken().ok()) return channel_.broken();
  const auto found = segments_.find(place.segment());
  if (found == segments_.end()) {
    return channel_.Break(ProtocolBroken("an object in a segment that was never sent"));
  }
  std::erase(to_forget_, place.segment());
  SharedSegment& segment = found->second;
  if (place.offset() > segment.bytes || place.bytes() > segment.bytes - place.offset() ||
      metadata_bytes > segment.bytes - place.offset() - place.bytes()) {
    return channel_.Break(ProtocolBroken("an object outside its segment"));
  }
  if (place.offset() % kObjectAlignment != 0) {
    return channel_.Break(ProtocolBroken("an object that is not aligned"));
  }
  if (Status status = Map(place.segment(), segment, writable); !status.ok()) return status;
  return writable ? segment.writable : segment.read_only;
}

Status Client::Map(uint32_t index, SharedSegment& segment, bool writable) {
  std::shared_ptr<Mapping>& mapping = writable ? segment.writable : segment.read_only;
  if (mapping != nullptr) return Status();
  auto mapped = Mapping::Map(segment.fd.get(), segment.bytes, writable);
  if (!mapped && mapped.error().code() == ErrorCode::InvalidArgument) {
    return channel_.Break(ProtocolBroken(mapped.error().message()));
  }
  if (!mapped) return mapped.error();
  mapping = std::move(*mapped);
  if (writable) {
    segment.untouched = std::make_unique<Prefault>(mapping, Prefault::Access::Write);
  } else if (index >= kFallbackSegmentFirst) {
    // It is one object's: once that is read, nobody writes there any more.
    segment.writable.reset();
    segment.untouched.reset();
    if (FewFdsAfter(segment.fd)) segment.fd.Reset();
  }
  return Status();
}

Result<std::shared_ptr<uint8_t>> Client::CopyOnWrite(const ObjectId& id,
                                                     std::span<const uint8_t> part) {
  const auto held = held_.find(id);
  if (held == held_.end()) return Status(ErrorCode::ObjectNotFound, "the object is not held");
  const ObjectView& view = held->second.view;
  const auto found = segments_.find(held->second.segment);
  // After the store was told to use a segment's number anew, the view keeps the old one.
  if (found == segments_.end() || found->second.read_only.get() != view.mapping.get() ||
      part.data() < view.data || part.data() + part.size() > view.data + view.data_bytes) {
    return Status(ErrorCode::ObjectNotFound, "these bytes are not of that object");
  }
  if (!found->second.fd.valid()) {
    return Status(ErrorCode::InvalidArgument, "this process has too few descriptors for that");
  }
  const auto from = static_cast<uint64_t>(part.data() - found->second.read_only->data());
  const uint64_t before = from % kPageBytes;
  auto mapped =
      Mapping::MapCopyOnWrite(found->second.fd.get(), from - before, before + part.size());
  if (!mapped) return mapped.error();
  return std::shared_ptr<uint8_t>(*mapped, (*mapped)->data() + before);
}

void Client::Forget(uint32_t segment) {
  if (segment < kFallbackSegmentFirst) return;
  // Not while a reply is under way that may count on it.
  to_forget_.push_back(segment);
  if (channel_.waiting()) return;
  for (const uint32_t index : to_forget_) segments_.erase(index);
  to_forget_.clear();
}

}  // namespace skyray::plasma
