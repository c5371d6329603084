// SPDX-License-Identifier: Apache-2.0
// A process's door to its store, over one unix socket.
//
//   auto client = Client::Connect("/tmp/store.sock");
//   CreateOptions options;
//   options.data_bytes = 5;
//   auto object = (*client)->Create(id, options);     // waits while the store is full
//   std::memcpy(object->data, "hello", 5);            // shared memory, 64-byte aligned
//   (*client)->Seal(id);                              // now immutable, for all to read
//
//   const ObjectId ids[] = {id};
//   auto found = (*client)->Get(ids, /*timeout_ms=*/1000);
//   if (found && found->front()) Use(found->front()->data, found->front()->data_bytes);
//   (*client)->Release(id);                           // once for each time it was got
//   (*client)->Delete(ids);                           // once nobody uses it
//
// Create, Get, Contains, Evict, List, Stats and DebugState are one round trip (Get of
// what this client holds is none). Seal, Release, Delete and Abort are notices:
// sent at once, never waited for, obeyed in order.
//
// Threading:  one caller at a time; which thread does not matter. No thread of its
//             own. With a ReplyWaiter that lets go of its caller's lock while it
//             sleeps, other threads' calls go on while one waits. Not across fork:
//             a child makes its own.
// Ownership:  what Create returned is the caller's to write until Seal or Abort,
//             what Get found may be read until Release. The `mapping` of either
//             keeps the address range (not the contents) for as long as it is
//             held, even longer than the client.
// Errors:     Disconnected once the store has gone, from then on always; Cancelled if
//             the ReplyWaiter gave up (what was asked for is then given back); else as
//             told. A store that breaks the protocol is disconnected.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "common/id.h"
#include "common/status.h"
#include "common/unique_fd.h"
#include "fbs/plasma_generated.h"
#include "plasma/prefault.h"
#include "plasma/segment.h"
#include "plasma/store_channel.h"

namespace skyray::plasma {

struct CreateOptions {
  uint64_t data_bytes = 0;
  uint64_t metadata_bytes = 0;
  WorkerId owner;                // Whose end ends the object too. Nil: nobody's.
  bool primary = false;          // Stays until Delete; others may be evicted.
  bool try_immediately = false;  // Do not wait for room.
};

// The metadata lies directly behind the data.
struct MutableObject {
  uint8_t* data = nullptr;  // 64-byte aligned; never null, also when it is empty.
  uint64_t data_bytes = 0;
  uint64_t metadata_bytes = 0;
  std::shared_ptr<const void> mapping;
  // The pages this process has not touched yet: pages.Do() before a large copy saves
  // most of its page faults. Nothing if it is small or touched.
  Prefault::Work pages;

  uint8_t* metadata() const { return data + data_bytes; }
};

struct ObjectView {
  const uint8_t* data = nullptr;  // Read-only memory: writing there faults.
  uint64_t data_bytes = 0;
  uint64_t metadata_bytes = 0;
  std::shared_ptr<const void> mapping;

  const uint8_t* metadata() const { return data + data_bytes; }
};

// A reply, and what it lies in.
template <class Reply>
struct Answer {
  const Reply* body = nullptr;
  StoreChannel::Reply reply;

  const Reply* operator->() const { return body; }
};

class Client : private StoreChannelUser {
 public:
  // Errors: IoError (nobody listens there); VersionMismatch; Unauthenticated as
  // Disconnected, since the store hangs up on other users without a word.
  // `waiter`, if not null, outlives the client.
  static Result<std::unique_ptr<Client>> Connect(const std::string& path,
                                                 ReplyWaiter* waiter = nullptr);
  // The store releases what this client held and aborts what it never sealed.
  virtual ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Room for an object. While the store is full, waits for room for as long as the
  // store allows, unless `try_immediately`.
  // Errors: ObjectExists; OutOfMemory (the message names the largest holders); OwnerDied.
  Result<MutableObject> Create(const ObjectId& id, const CreateOptions& options);
  // Makes it readable by all; the memory is no longer the caller's to write. With
  // `keep`, this client holds it as if it had got it, and releases it likewise.
  // Errors: ObjectNotFound: not created here, or sealed or aborted already.
  Status Seal(const ObjectId& id, bool keep = false);
  // Gives an object up that this client created and did not seal. Errors: ObjectNotFound.
  Status Abort(const ObjectId& id);

  // Waits until all are sealed or lost, or `timeout_ms` (negative: no limit) have gone
  // by; what is there then, in the order of `ids`. Each view is one reference.
  // Errors: InvalidArgument for more than kIdsPerRequestMax ids.
  // Of an object: ObjectNotFound (not here in time; with `created_only` also, at once,
  // if nobody has begun to create it); ObjectLost, with the reason; IoError: this process
  // cannot map it.
  Result<std::vector<Result<ObjectView>>> Get(std::span<const ObjectId> ids, int64_t timeout_ms,
                                              bool created_only = false);
  // One reference less. Errors: ObjectNotFound: this client holds none.
  Status Release(const ObjectId& id);

  // Nobody needs these any more; one that is in use goes with its last reference.
  Status Delete(std::span<const ObjectId> ids);
  // Whether it is in the store and sealed, in memory or on disk.
  Result<bool> Contains(const ObjectId& id);
  // Frees at least so much, if so much is evictable; what was freed, in bytes.
  Result<uint64_t> Evict(uint64_t bytes);
  // Everything in the store, in no order. What comes or goes meanwhile may be missing.
  Result<std::vector<fb::plasma::ObjectInfo>> List();
  Result<Answer<fb::plasma::StatsReply>> Stats();
  // What is in the store, for people.
  Result<std::string> DebugState();

  // Ends the connection, as its destruction would; later calls: NotConnected. What was
  // created and is still written to from now on is this process's alone.
  void Disconnect();

  uint64_t capacity_bytes() const { return capacity_bytes_; }
  // The socket, for a process that is forked off and must not speak on it.
  int fd() const { return channel_.fd(); }
  // Whether this client holds the object, got or kept.
  bool Holds(const ObjectId& id) const { return held_.contains(id); }
  // What this client holds under `id`, without one reference more; null if nothing.
  const ObjectView* View(const ObjectId& id) const;
  // `part` of what this client holds under `id`, to be written as well: what is written
  // is seen through this pointer alone. To be dropped before the object is released.
  // Errors: ObjectNotFound: not held, or the part is of something else; InvalidArgument,
  // IoError: it cannot be had without a copy.
  Result<std::shared_ptr<uint8_t>> CopyOnWrite(const ObjectId& id, std::span<const uint8_t> part);

 private:
  struct SharedSegment {
    UniqueFd fd;  // Given up where there are few, of those that are only read.
    uint64_t bytes = 0;
    std::shared_ptr<Mapping> read_only;
    std::shared_ptr<Mapping> writable;
    std::unique_ptr<Prefault> untouched;  // Of `writable`.
  };
  struct Held {
    ObjectView view;
    uint32_t segment = 0;
    uint64_t references = 0;  // Of our callers; the store knows of one.
  };
  struct Created {
    fb::plasma::Place place;
    uint64_t metadata_bytes = 0;
  };

  Client(UniqueFd socket, ReplyWaiter* waiter);
  Status Hello();
  flatbuffers::FlatBufferBuilder& builder() { return channel_.builder(); }
  template <class Table>
  Status Notify(fb::plasma::Body type, flatbuffers::Offset<Table> body);
  // Sends a request and waits for its reply, of type `Reply`.
  template <class Reply, class Table>
  Result<Answer<Reply>> Ask(fb::plasma::Body type, flatbuffers::Offset<Table> body);
  template <class Reply>
  Result<Answer<Reply>> Await(uint64_t request_id);
  Result<MutableObject> TakeCreated(const ObjectId& id, const CreateOptions& options,
                                    Answer<fb::plasma::CreateReply>& created);
  Status GetMissing(std::span<const ObjectId> missing, int64_t timeout_ms, bool created_only,
                    std::unordered_map<ObjectId, Status>& losses);
  Status TakeGot(std::span<const ObjectId> missing, Answer<fb::plasma::GetReply>& answer,
                 std::unordered_map<ObjectId, Status>& losses);
  // Gives back what came for gets that were given up.
  void ReturnAbandoned();
  Status TakeSegments(const Listed& listed, std::vector<UniqueFd>& fds, bool to_write) override;
  void OnBroken() override;
  Result<std::shared_ptr<Mapping>> MappingOf(const fb::plasma::Place& place,
                                             uint64_t metadata_bytes, bool writable);
  // If it is not mapped like that already.
  Status Map(uint32_t index, SharedSegment& segment, bool writable);
  // Forgets a fallback segment whose object this client refers to no more.
  void Forget(uint32_t segment);

  StoreChannel channel_;
  uint64_t capacity_bytes_ = 0;
  std::unordered_map<uint32_t, SharedSegment> segments_;
  std::vector<uint32_t> to_forget_;
  std::unordered_map<ObjectId, Held> held_;
  std::unordered_map<ObjectId, Created> creating_;
  // What was asked for by the gets that were given up.
  std::unordered_map<uint64_t, std::vector<ObjectId>> abandoned_gets_;
};

}  // namespace skyray::plasma
