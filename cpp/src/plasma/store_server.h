// SPDX-License-Identifier: Apache-2.0
// The store's network side: frames in, ObjectStore, frames out. Decides nothing.
//
// Threading:  lives on one loop; every call, handler and callback is there.
// Ownership:  owns the segments, the ObjectStore and its connections. Memory
//             handed to in-process callers stays mapped until it is destroyed,
//             a fallback segment's only while they refer to the object.
// Errors:     Start returns them. A peer that sends garbage, an oversized frame
//             or another protocol version is dropped, and nobody else notices.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "common/status.h"
#include "fbs/plasma_generated.h"
#include "ipc/server.h"
#include "plasma/object_store.h"
#include "plasma/segment.h"
#include "plasma/store_setup.h"

namespace skyray::plasma {

// A sealed object for a caller within the process.
struct PinnedObject {
  std::span<const uint8_t> bytes;  // Its data.
  NewObject object;
  std::span<const uint8_t> metadata;
};

// An object to be written to disk: its data, then its metadata.
struct SpillableObject {
  NewObject object;
  std::span<const uint8_t> bytes;
  ObjectPlace place;
};

// Where a spilled object's data and metadata are to be read to.
struct RestoreRoom {
  std::span<uint8_t> bytes;
  ObjectPlace place;
};

// The clock of a store's deadlines.
int64_t StoreNowMs();

class StoreServer : private ipc::ServerHandler {
 public:
  using EventHandler = std::function<void(std::vector<StoreEvent>)>;
  // Listens when it returns, and has told the log what memory it chose.
  // `on_events` may be empty.
  static Result<std::unique_ptr<StoreServer>> Start(boost::asio::io_context& loop,
                                                    const StoreOptions& options,
                                                    EventHandler on_events);
  ~StoreServer() override;

  // The process the store lives in is a client too, without a socket. Its
  // requests are obeyed at once; Create and Get may be answered later. What
  // Create gives is room for the data and the metadata behind it.
  void Create(const NewObject& object, std::function<void(Result<std::span<uint8_t>>)> done);
  void Seal(const ObjectId& id);
  void Abort(const ObjectId& id);
  // Empty if not sealed within `timeout_ms` (negative: no limit). What is given
  // is one reference, until Release.
  void Get(const ObjectId& id, int64_t timeout_ms,
           std::function<void(std::optional<PinnedObject>)> done);
  void Release(const ObjectId& id);
  void Delete(std::span<const ObjectId> ids);
  void OwnerDied(const WorkerId& owner);

  // The oldest that may be spilled, until they are so many bytes or objects; none
  // if there are none. They stay in place until Spilled or SpillFailed.
  std::vector<SpillableObject> TakeSpillable(uint64_t bytes_min, size_t objects_max);
  void Spilled(std::span<const ObjectId> ids);
  void SpillFailed(std::span<const ObjectId> ids, const Status& why);
  // Room for what is spilled; then Seal or Lose.
  // Errors: ObjectNotFound: it is not spilled any more; OutOfMemory: it stays spilled.
  void Restore(const ObjectId& id, std::function<void(Result<RestoreRoom>)> done);
  void Lose(const ObjectId& id, const Status& why);
  // Errors: NotFound.
  Result<SharedFd> SegmentFd(uint32_t segment) const;

  bool Contains(const ObjectId& id) const { return store_.Contains(id); }
  // Sealed or not.
  bool Exists(const ObjectId& id) const { return store_.objects().Find(id) != nullptr; }
  StoreStats Stats() const { return store_.Stats(); }
  std::string DebugState() const { return store_.DebugState(); }
  // For those who check the store from outside.
  const ObjectLifecycleManager& objects() const { return store_.objects(); }

 private:
  struct Session {
    ClientId client = 0;  // 0 until it has said Connect.
    uint32_t version = 0;
    std::unordered_set<uint32_t> segments;  // It has their descriptors.
  };
  struct LocalGet {
    ObjectId id;
    std::function<void(std::optional<PinnedObject>)> done;
  };
  // What a client hears of with the reply to its request.
  struct NewSegments {
    ipc::ConnectionId connection;
    uint64_t request_id;
    std::vector<fb::plasma::NewSegment> listed = {};
    std::vector<SharedFd> fds = {};
  };

  StoreServer(boost::asio::io_context& loop, const StoreOptions& options,
              std::vector<Segment> segments, EventHandler on_events);

  void OnConnect(ipc::ConnectionId connection, const ipc::PeerCredentials& peer) override;
  void OnFrame(ipc::ConnectionId connection, ipc::Frame frame) override;
  void OnDisconnect(ipc::ConnectionId connection) override;

  // False if the message has no place here and the peer is to be dropped.
  bool Handle(ipc::ConnectionId connection, Session& session, const fb::plasma::Message& message);
  bool HandleConnect(ipc::ConnectionId connection, Session& session,
                     const fb::plasma::Message& message);
  void HandleCreate(ClientId client, uint64_t request_id, const fb::plasma::CreateObject& create);
  // What asks and changes nothing. False as Handle.
  bool HandleInspection(ipc::ConnectionId connection, const fb::plasma::Message& message);
  void SendPage(ipc::ConnectionId connection, uint64_t request_id, const fb::plasma::List& list);
  void SendStats(ipc::ConnectionId connection, uint64_t request_id);
  void Drop(ipc::ConnectionId connection, const std::string& why);

  // Returns the bytes that Evict freed.
  uint64_t Deliver(Outcome outcome);
  void Carry(Outcome& outcome);
  Status MakeFallback(const FallbackWanted& wanted);
  const Segment* FindSegment(uint32_t segment) const;
  std::span<uint8_t> MemoryOf(const ObjectPlace& place) const;
  void DeliverCreate(const CreateDone& done);
  void DeliverGet(const GetDone& done);
  void GiveBack(const std::vector<Range>& ranges) const;
  std::span<uint8_t> MemoryAt(uint32_t segment, uint64_t offset, uint64_t bytes) const;
  // The descriptor of `segment`, if that client has not been sent it yet; those that
  // fill a frame are sent. False if they do and the client knows of one frame only.
  bool AddNewSegment(NewSegments& added, uint32_t segment);
  template <class Table>
  void Send(ipc::ConnectionId connection, uint64_t request_id, fb::plasma::Body type,
            flatbuffers::Offset<Table> body, std::vector<SharedFd> fds = {}) {
    builder_.Finish(fb::plasma::CreateMessage(builder_, request_id, type, body.Union()));
    server_.Send(connection, builder_, std::move(fds));
    builder_.Clear();
  }
  void ArmTimer();

  const std::vector<Segment> segments_;
  std::unordered_map<uint32_t, Segment> fallback_segments_;
  const std::string fallback_directory_;
  ObjectStore store_;
  EventHandler on_events_;
  flatbuffers::FlatBufferBuilder builder_;
  boost::asio::steady_timer timer_;
  std::optional<int64_t> armed_ms_;
  std::unordered_map<ipc::ConnectionId, Session> sessions_;
  std::unordered_map<ClientId, ipc::ConnectionId> connections_;
  const ClientId local_client_;
  uint64_t next_local_request_ = 1;
  std::unordered_map<uint64_t, std::function<void(Result<ObjectPlace>)>> local_creates_;
  std::unordered_map<uint64_t, LocalGet> local_gets_;
  ipc::Server server_;
};

}  // namespace skyray::plasma
