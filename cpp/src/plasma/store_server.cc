// SPDX-License-Identifier: Apache-2.0
#include "plasma/store_server.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "common/fd_limit.h"
#include "common/logging.h"
#include "ipc/verify.h"
#include "plasma/wire.h"

namespace skyray::plasma {
int64_t StoreNowMs() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

Result<std::unique_ptr<StoreServer>> StoreServer::Start(boost::asio::io_context& loop,
                                                        const StoreOptions& options,
                                                        EventHandler on_events) {
  const auto plan = PlanStore(options, LookAtSystem(options.directory, options.fallback_directory));
  if (!plan) return plan.error();
  std::vector<Segment> segments;
  for (const SegmentOptions& wanted : plan->segments) {
    auto segment = Segment::Create(wanted);
    if (!segment) return segment.error();
    segments.push_back(std::move(*segment));
  }
  std::unique_ptr<StoreServer> server(
      new StoreServer(loop, options, std::move(segments), std::move(on_events)));
  if (Status status = server->server_.ListenUnix(options.socket_path); !status.ok()) return status;
  SKYRAY_LOG(Info) << "plasma store: serving " << plan->sentence << "; on " << options.socket_path;
  for (const std::string& warning : plan->warnings) {
    SKYRAY_LOG(Warning) << "plasma store: " << warning;
  }
  return server;
}

// Descriptors that fallback segments may not take, or half of what there is.
constexpr int kReservedFdsMax = 256;

// A get that lost more hears of these, and that the others are not there.
constexpr size_t kLossesToldMax = 4096;

static std::vector<uint64_t> SizesOf(const std::vector<Segment>& segments) {
  std::vector<uint64_t> sizes;
  sizes.reserve(segments.size());
  for (const Segment& segment : segments) sizes.push_back(segment.mapping->bytes());
  return sizes;
}

static CoreOptions CoreOptionsOf(const StoreOptions& options,
                                 const std::vector<Segment>& segments) {
  CoreOptions core;
  core.segment_bytes = SizesOf(segments);
  const bool can_give_back = std::all_of(segments.begin(), segments.end(),
                                         [](const Segment& each) { return each.can_give_back; });
  core.give_back_after_ms = can_give_back ? options.give_back_after_ms : 0;
  core.create_grace_ms = options.create_grace_ms;
  core.full_delay_ms = options.full_delay_ms;
  core.spilling = options.spilling;
  core.spill_threshold = options.spill_threshold;
  core.fallback = !options.fallback_directory.empty();
  return core;
}

StoreServer::StoreServer(boost::asio::io_context& loop, const StoreOptions& options,
                         std::vector<Segment> segments, EventHandler on_events)
    : segments_(std::move(segments)),
      fallback_directory_(options.fallback_directory),
      store_(CoreOptionsOf(options, segments_)),
      on_events_(std::move(on_events)),
      timer_(loop),
      local_client_(store_.AddOwnProcess()),
      server_(loop, "plasma store", *this) {}

StoreServer::~StoreServer() = default;

void StoreServer::Create(const NewObject& object,
                         std::function<void(Result<std::span<uint8_t>>)> done) {
  const uint64_t request_id = next_local_request_++;
  local_creates_.emplace(request_id, [this, done = std::move(done)](Result<ObjectPlace> place) {
    if (!place) return done(place.error());
    done(MemoryOf(*place));
  });
  Deliver(
      store_.Create(local_client_, request_id, object, /*try_immediately=*/false, StoreNowMs()));
}

void StoreServer::Seal(const ObjectId& id) {
  const int64_t now = StoreNowMs();
  Deliver(store_.IsRestoring(id) ? store_.SealRestored(id, now)
                                 : store_.Seal(local_client_, id, /*keep_reference=*/false, now));
}

void StoreServer::Abort(const ObjectId& id) {
  Deliver(store_.Abort(local_client_, id, StoreNowMs()));
}

void StoreServer::Get(const ObjectId& id, int64_t timeout_ms,
                      std::function<void(std::optional<PinnedObject>)> done) {
  const uint64_t request_id = next_local_request_++;
  local_gets_.emplace(request_id, LocalGet{id, std::move(done)});
  Deliver(store_.Get(local_client_, request_id, {id}, timeout_ms, StoreNowMs()));
}

void StoreServer::Release(const ObjectId& id) {
  Deliver(store_.Release(local_client_, id, StoreNowMs()));
}

void StoreServer::Delete(std::span<const ObjectId> ids) {
  Deliver(store_.Delete(ids, StoreNowMs()));
}

void StoreServer::OwnerDied(const WorkerId& owner) {
  Deliver(store_.OwnerDied(owner, StoreNowMs()));
}

std::vector<SpillableObject> StoreServer::TakeSpillable(uint64_t bytes_min, size_t objects_max) {
  std::vector<SpillableObject> spillable;
  for (const LocalObject* object : store_.TakeSpillable(bytes_min, objects_max)) {
    const ObjectPlace place = PlaceOf(*object);
    spillable.push_back({object->object, MemoryOf(place), place});
  }
  return spillable;
}

void StoreServer::Spilled(std::span<const ObjectId> ids) {
  Deliver(store_.Spilled(ids, StoreNowMs()));
}

void StoreServer::SpillFailed(std::span<const ObjectId> ids, const Status& why) {
  Deliver(store_.SpillFailed(ids, why, StoreNowMs()));
}

void StoreServer::Restore(const ObjectId& id, std::function<void(Result<RestoreRoom>)> done) {
  const uint64_t request_id = next_local_request_++;
  local_creates_.emplace(request_id, [this, done = std::move(done)](Result<ObjectPlace> place) {
    if (!place) return done(place.error());
    done(RestoreRoom{MemoryOf(*place), *place});
  });
  Deliver(store_.Restore(local_client_, request_id, id, StoreNowMs()));
}

void StoreServer::Lose(const ObjectId& id, const Status& why) {
  Deliver(store_.Lose(id, why, StoreNowMs()));
}

Result<SharedFd> StoreServer::SegmentFd(uint32_t segment) const {
  const Segment* found = FindSegment(segment);
  if (found == nullptr) {
    return Status(ErrorCode::NotFound, "the store has no segment " + std::to_string(segment));
  }
  return found->fd;
}

void StoreServer::OnConnect(ipc::ConnectionId connection, const ipc::PeerCredentials&) {
  sessions_.emplace(connection, Session());
}

void StoreServer::OnFrame(ipc::ConnectionId connection, ipc::Frame frame) {
  const auto session = sessions_.find(connection);
  if (session == sessions_.end()) return;
  const auto* message = ipc::Verified<fb::plasma::Message>(frame);
  if (message == nullptr) return Drop(connection, "it sent a malformed message");
  if (!Handle(connection, session->second, *message)) {
    Drop(connection, std::string("its message ") + fb::plasma::EnumNameBody(message->body_type()) +
                         " makes no sense here");
  }
}

void StoreServer::OnDisconnect(ipc::ConnectionId connection) {
  auto session = sessions_.extract(connection);
  if (session.empty() || session.mapped().client == 0) return;
  const ClientId client = session.mapped().client;
  connections_.erase(client);
  // Dropping this client's references may let others' creates go ahead.
  Deliver(store_.RemoveClient(client, StoreNowMs()));
}

void StoreServer::Drop(ipc::ConnectionId connection, const std::string& why) {
  SKYRAY_LOG(Warning) << "plasma store: dropped connection " << connection << ": " << why;
  server_.Close(connection);
  OnDisconnect(connection);
}

uint64_t StoreServer::Deliver(Outcome outcome) {
  const uint64_t evicted_bytes = outcome.evicted_bytes;
  Carry(outcome);
  // The making of one may free, or want, another.
  std::vector<FallbackWanted> wanted = std::move(outcome.fallback_wanted);
  for (size_t next = 0; next < wanted.size(); ++next) {
    const Status status = MakeFallback(wanted[next]);
    Outcome made = store_.FallbackMade(wanted[next].segment, status, StoreNowMs());
    Carry(made);
    wanted.insert(wanted.end(), made.fallback_wanted.begin(), made.fallback_wanted.end());
  }
  ArmTimer();
  return evicted_bytes;
}

Status StoreServer::MakeFallback(const FallbackWanted& wanted) {
  auto made = Segment::CreateFallback(fallback_directory_, wanted.bytes);
  if (!made) return made.error();
  // The rest of them is for clients.
  if (made->fd->get() >= FdLimitLess(2, kReservedFdsMax)) {
    return Status(ErrorCode::OutOfMemory,
                  std::to_string(fallback_segments_.size()) +
                      " objects are there already, and each takes one of the file descriptors "
                      "that the store's process may have (raise its limit: ulimit -n)");
  }
  fallback_segments_.emplace(wanted.segment, std::move(*made));
  return Status();
}

void StoreServer::Carry(Outcome& outcome) {
  // Before anybody hears of room that may be the same.
  GiveBack(outcome.give_back);
  for (const ForgottenSegment& forgotten : outcome.forgotten) {
    const auto connection = connections_.find(forgotten.client);
    if (connection == connections_.end()) continue;
    sessions_.at(connection->second).segments.erase(forgotten.segment);
  }
  for (const CreateDone& done : outcome.created) DeliverCreate(done);
  for (const GetDone& done : outcome.got) DeliverGet(done);
  if (on_events_ && !outcome.events.empty()) on_events_(std::move(outcome.events));
  for (const uint32_t segment : outcome.emptied) fallback_segments_.erase(segment);
}

void StoreServer::GiveBack(const std::vector<Range>& ranges) const {
  for (const Range& range : ranges) {
    const Status status = segments_[range.segment].GiveBack(range.offset, range.bytes);
    // Its pages stay, and are used again: nothing is lost by it.
    if (!status.ok()) SKYRAY_LOG(Warning) << "plasma store: " << status.message();
  }
}

void StoreServer::DeliverCreate(const CreateDone& done) {
  if (done.client == local_client_) {
    auto callback = local_creates_.extract(done.request_id);
    if (callback.empty()) return;
    return callback.mapped()(done.place);
  }
  const auto connection = connections_.find(done.client);
  if (connection == connections_.end()) return;  // It left while its reply was made.
  if (!done.place) {
    const Status& error = done.place.error();
    return Send(connection->second, done.request_id, fb::plasma::Body::CreateReply,
                fb::plasma::CreateCreateReply(builder_, error.code(),
                                              builder_.CreateString(error.message())));
  }
  if (done.unfinished) {
    return Send(connection->second, done.request_id, fb::plasma::Body::CreateReply,
                fb::plasma::CreateCreateReply(builder_, ErrorCode::Ok, 0, nullptr, 0,
                                              /*unfinished=*/true));
  }
  NewSegments added{connection->second, done.request_id};
  AddNewSegment(added, done.place->segment);
  const fb::plasma::Place place = ToWire(*done.place);
  const auto segments = added.listed.empty() ? 0 : builder_.CreateVectorOfStructs(added.listed);
  Send(connection->second, done.request_id, fb::plasma::Body::CreateReply,
       fb::plasma::CreateCreateReply(builder_, ErrorCode::Ok, 0, &place, segments),
       std::move(added.fds));
}

void StoreServer::DeliverGet(const GetDone& done) {
  if (done.client == local_client_) {
    auto get = local_gets_.extract(done.request_id);
    if (get.empty()) return;
    const std::optional<ObjectPlace>& place = done.places.front();
    if (!place) return get.mapped().done(std::nullopt);
    const NewObject& object = store_.objects().Find(get.mapped().id)->object;
    return get.mapped().done(PinnedObject{
        MemoryAt(place->segment, place->offset, place->bytes), object,
        MemoryAt(place->segment, place->offset + place->bytes, place->metadata_bytes)});
  }
  const auto connection = connections_.find(done.client);
  if (connection == connections_.end()) return;
  NewSegments added{connection->second, done.request_id};
  std::vector<fb::plasma::Place> places;
  std::vector<uint64_t> metadata;
  places.reserve(done.places.size());
  for (const std::optional<ObjectPlace>& place : done.places) {
    if (place && !AddNewSegment(added, place->segment)) {
      return Drop(added.connection, "its get gives more segments than its version can hear of");
    }
    places.push_back(place ? ToWire(*place) : fb::plasma::Place());
    if (place && place->metadata_bytes != 0) {
      metadata.resize(done.places.size());
      metadata[places.size() - 1] = place->metadata_bytes;
    }
  }
  std::vector<flatbuffers::Offset<fb::plasma::Loss>> losses;
  for (const LostPosition& loss : done.losses) {
    if (losses.size() == kLossesToldMax) break;
    losses.push_back(fb::plasma::CreateLoss(builder_, loss.position, loss.why.code(),
                                            builder_.CreateString(loss.why.message())));
  }
  const auto wire_places = builder_.CreateVectorOfStructs(places);
  const auto segments = added.listed.empty() ? 0 : builder_.CreateVectorOfStructs(added.listed);
  const auto wire_metadata = metadata.empty() ? 0 : builder_.CreateVector(metadata);
  const auto wire_losses = losses.empty() ? 0 : builder_.CreateVector(losses);
  Send(connection->second, done.request_id, fb::plasma::Body::GetReply,
       fb::plasma::CreateGetReply(builder_, wire_places, segments, wire_metadata, wire_losses),
       std::move(added.fds));
}

const Segment* StoreServer::FindSegment(uint32_t segment) const {
  if (segment < segments_.size()) return &segments_[segment];
  const auto found = fallback_segments_.find(segment);
  return found == fallback_segments_.end() ? nullptr : &found->second;
}

std::span<uint8_t> StoreServer::MemoryAt(uint32_t segment, uint64_t offset, uint64_t bytes) const {
  return {FindSegment(segment)->mapping->data() + offset, bytes};
}

std::span<uint8_t> StoreServer::MemoryOf(const ObjectPlace& place) const {
  return MemoryAt(place.segment, place.offset, place.bytes + place.metadata_bytes);
}

bool StoreServer::AddNewSegment(NewSegments& added, uint32_t segment) {
  Session& session = sessions_.at(added.connection);
  if (session.segments.contains(segment)) return true;
  if (added.fds.size() == ipc::kFrameFdsMax) {
    if (session.version < kProtocolVersionManySegments) return false;
    const auto listed = builder_.CreateVectorOfStructs(std::exchange(added.listed, {}));
    Send(added.connection, added.request_id, fb::plasma::Body::Segments,
         fb::plasma::CreateSegments(builder_, listed), std::exchange(added.fds, {}));
  }
  const Segment& given = *FindSegment(segment);
  session.segments.insert(segment);
  added.listed.emplace_back(given.mapping->bytes(), segment);
  added.fds.push_back(given.fd);
  return true;
}

void StoreServer::ArmTimer() {
  const auto deadline = store_.NextDeadline();
  if (deadline == armed_ms_) return;
  armed_ms_ = deadline;
  if (!deadline) {
    timer_.cancel();
    return;
  }
  timer_.expires_at(std::chrono::steady_clock::time_point(std::chrono::milliseconds(*deadline)));
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (error) return;
    armed_ms_.reset();
    Deliver(store_.Tick(StoreNowMs()));
  });
}

}  // namespace skyray::plasma
