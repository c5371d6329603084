// SPDX-License-Identifier: Apache-2.0
#include "plasma/store_server.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <utility>

#include "common/logging.h"
#include "ipc/verify.h"
#include "plasma/wire.h"

namespace skyray::plasma {
namespace {

constexpr uint64_t kCapacityBytesMin = 1u << 20;
constexpr uint64_t kCapacityBytesMax = uint64_t{1} << 46;

int64_t NowMs() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

template <class IdType>
std::vector<IdType> IdsFromWire(const flatbuffers::Vector<const fb::plasma::Id*>& wire) {
  std::vector<IdType> ids;
  ids.reserve(wire.size());
  for (const fb::plasma::Id* id : wire) ids.push_back(FromWire<IdType>(*id));
  return ids;
}

}  // namespace

Status Validate(const StoreOptions& options) {
  if (options.capacity_bytes < kCapacityBytesMin || options.capacity_bytes > kCapacityBytesMax) {
    return Status(ErrorCode::InvalidArgument,
                  "the store's memory of " + std::to_string(options.capacity_bytes) +
                      " bytes is not in " + std::to_string(kCapacityBytesMin) + ".." +
                      std::to_string(kCapacityBytesMax));
  }
  if (options.socket_path.empty()) {
    return Status(ErrorCode::InvalidArgument, "the store needs a socket path");
  }
  return Status();
}

Result<std::unique_ptr<StoreServer>> StoreServer::Start(boost::asio::io_context& loop,
                                                        const StoreOptions& options,
                                                        EventHandler on_events) {
  if (Status status = Validate(options); !status.ok()) return status;
  auto segment = Segment::Create({.bytes = options.capacity_bytes / kPageBytes * kPageBytes});
  if (!segment) return segment.error();
  std::vector<Segment> segments;
  segments.push_back(std::move(*segment));
  std::unique_ptr<StoreServer> server(
      new StoreServer(loop, options, std::move(segments), std::move(on_events)));
  if (Status status = server->server_.ListenUnix(options.socket_path); !status.ok()) return status;
  return server;
}

static std::vector<uint64_t> SizesOf(const std::vector<Segment>& segments) {
  std::vector<uint64_t> sizes;
  for (const Segment& segment : segments) sizes.push_back(segment.mapping->bytes());
  return sizes;
}

StoreServer::StoreServer(boost::asio::io_context& loop, const StoreOptions& options,
                         std::vector<Segment> segments, EventHandler on_events)
    : segments_(std::move(segments)),
      store_(SizesOf(segments_), options.create_grace_ms),
      on_events_(std::move(on_events)),
      timer_(loop),
      local_client_(store_.AddClient()),
      server_(loop, "plasma store", *this) {}

StoreServer::~StoreServer() = default;

void StoreServer::Create(const NewObject& object,
                         std::function<void(Result<std::span<uint8_t>>)> done) {
  const uint64_t request_id = next_local_request_++;
  local_creates_.emplace(request_id, std::move(done));
  Deliver(store_.Create(local_client_, request_id, object, NowMs()));
}

void StoreServer::Seal(const ObjectId& id) { Deliver(store_.Seal(local_client_, id, NowMs())); }

void StoreServer::Abort(const ObjectId& id) { Deliver(store_.Abort(local_client_, id, NowMs())); }

void StoreServer::Get(const ObjectId& id, int64_t timeout_ms,
                      std::function<void(std::optional<PinnedObject>)> done) {
  const uint64_t request_id = next_local_request_++;
  local_gets_.emplace(request_id, LocalGet{id, std::move(done)});
  Deliver(store_.Get(local_client_, request_id, {id}, timeout_ms, NowMs()));
}

void StoreServer::Release(const ObjectId& id) {
  Deliver(store_.Release(local_client_, id, NowMs()));
}

void StoreServer::Delete(std::span<const ObjectId> ids) { Deliver(store_.Delete(ids, NowMs())); }

void StoreServer::OwnerDied(const WorkerId& owner) { Deliver(store_.OwnerDied(owner, NowMs())); }

void StoreServer::OnConnect(ipc::ConnectionId connection, const ipc::PeerCredentials&) {
  sessions_.emplace(connection, Session{0, std::vector<bool>(segments_.size())});
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
  Deliver(store_.RemoveClient(client, NowMs()));
}

void StoreServer::Drop(ipc::ConnectionId connection, const std::string& why) {
  SKYRAY_LOG(Warning) << "plasma store: dropped connection " << connection << ": " << why;
  server_.Close(connection);
  OnDisconnect(connection);
}

bool StoreServer::Handle(ipc::ConnectionId connection, Session& session,
                         const fb::plasma::Message& message) {
  using fb::plasma::Body;
  if (session.client == 0) return HandleConnect(connection, session, message);
  const ClientId client = session.client;
  const uint64_t request_id = message.request_id();
  switch (message.body_type()) {
    case Body::CreateObject: {
      const auto& create = *message.body_as_CreateObject();
      const NewObject object{FromWire<ObjectId>(*create.object_id()),
                             FromWire<WorkerId>(*create.owner_id()), create.data_bytes(),
                             create.primary()};
      Deliver(store_.Create(client, request_id, object, NowMs()));
      return true;
    }
    case Body::Seal: {
      const auto id = FromWire<ObjectId>(*message.body_as_Seal()->object_id());
      Deliver(store_.Seal(client, id, NowMs()));
      return true;
    }
    case Body::Abort: {
      const auto id = FromWire<ObjectId>(*message.body_as_Abort()->object_id());
      Deliver(store_.Abort(client, id, NowMs()));
      return true;
    }
    case Body::Get:
      HandleGet(session, request_id, *message.body_as_Get());
      return true;
    case Body::Release: {
      const auto id = FromWire<ObjectId>(*message.body_as_Release()->object_id());
      Deliver(store_.Release(client, id, NowMs()));
      return true;
    }
    case Body::Delete:
      Deliver(
          store_.Delete(IdsFromWire<ObjectId>(*message.body_as_Delete()->object_ids()), NowMs()));
      return true;
    case Body::Contains: {
      const auto id = FromWire<ObjectId>(*message.body_as_Contains()->object_id());
      const bool found = store_.Contains(id);
      Send(connection, request_id, Body::ContainsReply,
           fb::plasma::CreateContainsReply(builder_, found));
      return true;
    }
    case Body::GetDebugState:
      Send(connection, request_id, Body::DebugStateReply,
           fb::plasma::CreateDebugStateReply(builder_, builder_.CreateString(DebugState())));
      return true;
    default:
      return false;
  }
}

bool StoreServer::HandleConnect(ipc::ConnectionId connection, Session& session,
                                const fb::plasma::Message& message) {
  const auto* connect = message.body_as_Connect();
  if (connect == nullptr) return false;
  const bool same_version = connect->protocol_version() == kProtocolVersion;
  const std::string text = same_version ? ""
                                        : "the store speaks protocol version " +
                                              std::to_string(kProtocolVersion) + ", the client " +
                                              std::to_string(connect->protocol_version()) +
                                              "; install the same skyray on both sides";
  const auto reply = fb::plasma::CreateConnectReply(
      builder_, same_version ? ErrorCode::Ok : ErrorCode::VersionMismatch,
      builder_.CreateString(text), kProtocolVersion, store_.Stats().capacity_bytes);
  Send(connection, message.request_id(), fb::plasma::Body::ConnectReply, reply);
  ipc::Connection* peer = server_.Find(connection);
  if (peer == nullptr) return true;
  if (!same_version) {
    peer->CloseAfterSend();
    sessions_.erase(connection);
    return true;
  }
  session.client = store_.AddClient();
  connections_.emplace(session.client, connection);
  peer->SetFrameBytesMax(kRequestBytesMax);
  return true;
}

void StoreServer::HandleGet(const Session& session, uint64_t request_id,
                            const fb::plasma::Get& get) {
  Deliver(store_.Get(session.client, request_id, IdsFromWire<ObjectId>(*get.object_ids()),
                     get.timeout_ms(), NowMs()));
}

void StoreServer::Deliver(Outcome outcome) {
  for (const CreateDone& done : outcome.created) DeliverCreate(done);
  for (const GetDone& done : outcome.got) DeliverGet(done);
  if (on_events_ && !outcome.events.empty()) on_events_(std::move(outcome.events));
  ArmTimer();
}

void StoreServer::DeliverCreate(const CreateDone& done) {
  if (done.client == local_client_) {
    auto callback = local_creates_.extract(done.request_id);
    if (callback.empty()) return;
    if (done.place) return callback.mapped()(MemoryAt(*done.place));
    return callback.mapped()(done.place.error());
  }
  const auto connection = connections_.find(done.client);
  if (connection == connections_.end()) return;  // It left while its reply was made.
  if (!done.place) {
    const Status& error = done.place.error();
    return Send(connection->second, done.request_id, fb::plasma::Body::CreateReply,
                fb::plasma::CreateCreateReply(builder_, error.code(),
                                              builder_.CreateString(error.message())));
  }
  NewSegments listed;
  std::vector<UniqueFd> fds;
  AddNewSegment(sessions_.at(connection->second), done.place->segment, listed, fds);
  const fb::plasma::Place place = ToWire(*done.place);
  const auto segments = listed.empty() ? 0 : builder_.CreateVectorOfStructs(listed);
  Send(connection->second, done.request_id, fb::plasma::Body::CreateReply,
       fb::plasma::CreateCreateReply(builder_, ErrorCode::Ok, 0, &place, segments), std::move(fds));
}

void StoreServer::DeliverGet(const GetDone& done) {
  if (done.client == local_client_) {
    auto get = local_gets_.extract(done.request_id);
    if (get.empty()) return;
    const std::optional<ObjectPlace>& place = done.places.front();
    if (!place) return get.mapped().done(std::nullopt);
    const NewObject& object = store_.objects().Find(get.mapped().id)->object;
    return get.mapped().done(PinnedObject{MemoryAt(*place), object});
  }
  const auto connection = connections_.find(done.client);
  if (connection == connections_.end()) return;
  NewSegments listed;
  std::vector<UniqueFd> fds;
  std::vector<fb::plasma::Place> places;
  places.reserve(done.places.size());
  for (const std::optional<ObjectPlace>& place : done.places) {
    if (place) AddNewSegment(sessions_.at(connection->second), place->segment, listed, fds);
    places.push_back(place ? ToWire(*place) : fb::plasma::Place());
  }
  const auto wire_places = builder_.CreateVectorOfStructs(places);
  const auto segments = listed.empty() ? 0 : builder_.CreateVectorOfStructs(listed);
  Send(connection->second, done.request_id, fb::plasma::Body::GetReply,
       fb::plasma::CreateGetReply(builder_, wire_places, segments), std::move(fds));
}

std::span<uint8_t> StoreServer::MemoryAt(const ObjectPlace& place) const {
  return {segments_[place.segment].mapping->data() + place.offset, place.bytes};
}

void StoreServer::AddNewSegment(Session& session, uint32_t segment, NewSegments& listed,
                                std::vector<UniqueFd>& fds) const {
  if (session.has_segment[segment]) return;
  UniqueFd copy(fcntl(segments_[segment].fd.get(), F_DUPFD_CLOEXEC, 0));
  if (!copy.valid()) {
    // Out of descriptors: the client hears of a segment it does not have, and says so.
    SKYRAY_LOG(Error) << "plasma store: " << ErrnoStatus("passing a segment", errno).message();
    return;
  }
  session.has_segment[segment] = true;
  listed.emplace_back(segments_[segment].mapping->bytes(), segment);
  fds.push_back(std::move(copy));
}

template <class Table>
void StoreServer::Send(ipc::ConnectionId connection, uint64_t request_id, fb::plasma::Body type,
                       flatbuffers::Offset<Table> body, std::vector<UniqueFd> fds) {
  builder_.Finish(fb::plasma::CreateMessage(builder_, request_id, type, body.Union()));
  server_.Send(connection, builder_, std::move(fds));
  builder_.Clear();
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
    Deliver(store_.Tick(NowMs()));
  });
}

}  // namespace skyray::plasma
