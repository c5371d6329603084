// SPDX-License-Identifier: Apache-2.0
// A process's door to its store: synchronous, over one blocking unix socket.
//
//   auto client = Client::Connect(path);
//   auto object = (*client)->Create(id, bytes, owner, /*primary=*/true);
//   ... write to object->data ...
//   (*client)->Seal(id);
//
// Create, Get, Contains and DebugState are one round trip (Get of what this
// client holds already is none). Seal, Release, Delete and Abort are notices:
// sent at once, never waited for, obeyed in order.
//
// Threading:  one caller at a time; which thread does not matter. No thread of its own.
// Ownership:  what Create returned is the caller's to write until Seal or Abort,
//             what Get found may be read until Release. The `mapping` of either
//             keeps the address range (not the contents) for as long as it is
//             held, even longer than the client.
// Errors:     Disconnected once the store has gone, from then on always; else as
//             told. A store that breaks the protocol is disconnected.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "common/id.h"
#include "common/status.h"
#include "common/unique_fd.h"
#include "fbs/plasma_generated.h"
#include "ipc/frame.h"
#include "plasma/segment.h"

namespace skyray::plasma {

struct MutableObject {
  uint8_t* data = nullptr;  // 64-byte aligned; never null, also when `bytes` is 0.
  uint64_t bytes = 0;
  std::shared_ptr<const void> mapping;
};

struct ObjectView {
  const uint8_t* data = nullptr;  // Read-only memory: writing there faults.
  uint64_t bytes = 0;
  std::shared_ptr<const void> mapping;
};

class Client {
 public:
  // Errors: IoError (nobody listens there); VersionMismatch; Unauthenticated as
  // Disconnected, since the store hangs up on other users without a word.
  static Result<std::unique_ptr<Client>> Connect(const std::string& path);
  // The store releases what this client held and aborts what it never sealed.
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Room for an object of `owner`. While the store is full, waits for room for
  // as long as the store allows. `primary`: stays until Delete.
  // Errors: ObjectExists; OutOfMemory (the message names the largest holders); OwnerDied.
  Result<MutableObject> Create(const ObjectId& id, uint64_t data_bytes, const WorkerId& owner,
                               bool primary);
  // Makes it readable by all; the memory is no longer the caller's to write.
  // Errors: ObjectNotFound: not created here, or sealed or aborted already.
  Status Seal(const ObjectId& id);
  // Gives an object up that this client created and did not seal. Errors: ObjectNotFound.
  Status Abort(const ObjectId& id);

  // Waits until all are sealed, or `timeout_ms` (negative: no limit) have gone
  // by; what is there then, in the order of `ids`. Each view is one reference.
  // Errors: InvalidArgument for more than kIdsPerRequestMax ids.
  Result<std::vector<std::optional<ObjectView>>> Get(std::span<const ObjectId> ids,
                                                     int64_t timeout_ms);
  // One reference less. Errors: ObjectNotFound: this client holds none.
  Status Release(const ObjectId& id);

  // Nobody needs these any more; one that is in use goes with its last reference.
  Status Delete(std::span<const ObjectId> ids);
  // Whether it is in the store and sealed.
  Result<bool> Contains(const ObjectId& id);
  // What is in the store, for people.
  Result<std::string> DebugState();

  uint64_t capacity_bytes() const { return capacity_bytes_; }

 private:
  struct SharedSegment {
    UniqueFd fd;
    uint64_t bytes = 0;
    std::shared_ptr<Mapping> read_only;
    std::shared_ptr<Mapping> writable;
  };
  struct Held {
    ObjectView view;
    uint64_t references = 0;  // Of our callers; the store knows of one.
  };

  explicit Client(UniqueFd socket);
  Status Hello();
  template <class Table>
  Status Send(uint64_t request_id, fb::plasma::Body type, flatbuffers::Offset<Table> body);
  // Sends a request and waits for its reply, of type `Reply`, good until the next call.
  template <class Reply, class Table>
  Result<const Reply*> Ask(fb::plasma::Body type, flatbuffers::Offset<Table> body);
  Status ReceiveFrame();
  template <class Reply>
  Status TakeSegments(const Reply& reply);
  Result<std::shared_ptr<Mapping>> MappingOf(const fb::plasma::Place& place, bool writable);
  Status GetMissing(std::span<const ObjectId> missing, int64_t timeout_ms);
  Status Broken(const Status& why);

  UniqueFd socket_;
  Status broken_;  // Not Ok once the connection is of no use.
  uint64_t next_request_id_ = 1;
  uint64_t capacity_bytes_ = 0;
  flatbuffers::FlatBufferBuilder builder_;
  std::vector<uint8_t> input_;  // What was received and not yet read.
  std::vector<UniqueFd> input_fds_;
  ipc::Frame reply_;
  std::vector<SharedSegment> segments_;
  std::unordered_map<ObjectId, Held> held_;
  std::unordered_set<ObjectId> creating_;
};

}  // namespace skyray::plasma
