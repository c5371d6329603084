// SPDX-License-Identifier: Apache-2.0
// The store without its sockets: clients, what each refers to, and the queues.
// Each call returns an Outcome: the replies that became ready, of this client
// and of others, and what the raylet should hear.
//
// Threading:  lives on the store's loop; not thread-safe.
// Ownership:  owns every object and every client's references.
// Errors:     in the replies. A request that makes no sense (sealing what one
//             did not create) does nothing and is counted. Unknown clients are
//             a bug (REQUIRES). Times are milliseconds of one monotonic clock.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "common/id.h"
#include "common/status.h"
#include "plasma/allocator.h"
#include "plasma/create_queue.h"
#include "plasma/get_queue.h"
#include "plasma/local_object.h"
#include "plasma/object_lifecycle_manager.h"

namespace skyray::plasma {

struct CreateDone {
  ClientId client;
  uint64_t request_id;
  Result<ObjectPlace> place;
};

struct GetDone {
  ClientId client;
  uint64_t request_id;
  std::vector<std::optional<ObjectPlace>> places;  // In the order asked for.
};

struct Outcome {
  std::vector<CreateDone> created;
  std::vector<GetDone> got;
  std::vector<StoreEvent> events;
};

struct StoreStats {
  uint64_t capacity_bytes = 0;
  uint64_t allocated_bytes = 0;
  uint64_t touched_bytes = 0;
  size_t clients = 0;
  size_t waiting_gets = 0;
  size_t waiting_creates = 0;
  uint64_t ignored_requests_total = 0;
  ObjectStats objects;
};

constexpr size_t kWaitingCreatesMax = 4096;
// Gets of a client that has more than this waiting do not wait.
constexpr size_t kWaitingGetsPerClientMax = 1024;

class ObjectStore {
 public:
  // A create that finds no room waits up to `create_grace_ms` for some.
  ObjectStore(const std::vector<uint64_t>& segment_bytes, int64_t create_grace_ms);

  ClientId AddClient();
  // Drops its references, aborts what it never sealed.
  Outcome RemoveClient(ClientId client, int64_t now_ms);

  Outcome Create(ClientId client, uint64_t request_id, const NewObject& object, int64_t now_ms);
  Outcome Seal(ClientId client, const ObjectId& id, int64_t now_ms);
  Outcome Abort(ClientId client, const ObjectId& id, int64_t now_ms);
  // `timeout_ms` < 0: no limit; 0: answered at once.
  Outcome Get(ClientId client, uint64_t request_id, std::vector<ObjectId> ids, int64_t timeout_ms,
              int64_t now_ms);
  Outcome Release(ClientId client, const ObjectId& id, int64_t now_ms);
  Outcome Delete(std::span<const ObjectId> ids, int64_t now_ms);
  // Deletes what `owner` owns, now and whenever it is sealed later.
  Outcome OwnerDied(const WorkerId& owner, int64_t now_ms);
  // Answers what has waited long enough.
  Outcome Tick(int64_t now_ms);
  // When Tick has something to do.
  std::optional<int64_t> NextDeadline() const;

  bool Contains(const ObjectId& id) const;
  StoreStats Stats() const;
  std::string DebugState() const;
  const ObjectLifecycleManager& objects() const { return objects_; }

 private:
  struct Client {
    std::unordered_map<ObjectId, uint32_t> references;
    std::unordered_set<ObjectId> creating;  // Each is one of the references.
  };
  void DropReference(Client& client, const ObjectId& id);
  void AnswerGet(const WaitingGet& get);
  void ServeCreates(int64_t now_ms);
  // Null if it has to wait.
  std::optional<Result<ObjectPlace>> TryCreate(const WaitingCreate& create, int64_t now_ms);
  // Ends every call: serves creates from what was freed, collects the outcome.
  Outcome Finish(int64_t now_ms);

  Allocator allocator_;
  ObjectLifecycleManager objects_;
  GetQueue gets_;
  CreateQueue creates_;
  const int64_t create_grace_ms_;
  ClientId next_client_ = 1;
  std::unordered_map<ClientId, Client> clients_;
  // Owners that died lately: what is created for them dies at once too.
  std::unordered_set<WorkerId> dead_owners_;
  std::deque<WorkerId> dead_owners_by_age_;
  uint64_t ignored_requests_total_ = 0;
  Outcome outcome_;
};

}  // namespace skyray::plasma
