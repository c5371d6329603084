// SPDX-License-Identifier: Apache-2.0
// The store without its sockets: clients, what each refers to, and the queues.
// Each call returns an Outcome: the replies that became ready, of this client
// and of others, what the raylet should hear, and what its shell must do.
//
// Threading:  lives on the store's loop; not thread-safe.
// Ownership:  owns every object and every client's references.
// Errors:     in the replies. A request that makes no sense (sealing what one
//             did not create) does nothing and is counted. Unknown clients are
//             a bug (REQUIRES). Times are milliseconds of one monotonic clock.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
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
#include "plasma/idle_trimmer.h"
#include "plasma/local_object.h"
#include "plasma/object_lifecycle_manager.h"
#include "plasma/reference_table.h"
#include "plasma/unfinished_creates.h"

namespace skyray::plasma {

struct CreateDone {
  ClientId client;
  uint64_t request_id;
  Result<ObjectPlace> place;
  bool unfinished = false;  // Nothing yet; the client asks again.
};

struct GetDone {
  ClientId client;
  uint64_t request_id;
  std::vector<std::optional<ObjectPlace>> places;  // In the order asked for.
  std::vector<LostPosition> losses;
};

struct FallbackWanted {
  uint32_t segment;
  uint64_t bytes;
};

// `client` refers to nothing in `segment` any more, and has dropped its descriptor.
struct ForgottenSegment {
  ClientId client;
  uint32_t segment;
};

struct Outcome {
  std::vector<CreateDone> created;
  std::vector<GetDone> got;
  std::vector<StoreEvent> events;
  // Fallback segments to be made, each answered with FallbackMade in the same step.
  std::vector<FallbackWanted> fallback_wanted;
  std::vector<uint32_t> emptied;  // Fallback segments that may go.
  std::vector<ForgottenSegment> forgotten;
  // Pages nobody needs, to be given back before anything else is done.
  std::vector<Range> give_back;
  uint64_t evicted_bytes = 0;  // By Evict.
};

struct StoreStats {
  uint64_t capacity_bytes = 0;
  uint64_t allocated_bytes = 0;
  uint64_t touched_bytes = 0;
  uint64_t largest_free_bytes = 0;
  size_t clients = 0;
  size_t waiting_gets = 0;
  size_t waiting_creates = 0;
  uint64_t ignored_requests_total = 0;
  ObjectStats objects;
  ObjectTotals totals;
};

// Of a client that asks again, kUnfinishedPerClientMax.
constexpr size_t kWaitingCreatesPerClientMax = 4096;
// Gets of a client that has more than this waiting do not wait.
constexpr size_t kWaitingGetsPerClientMax = 1024;
// Nor do gets of one whose waiting gets name more objects than this.
constexpr size_t kWaitingIdsPerClientMax = 1 << 20;
// An object with so many references is given to nobody else.
constexpr uint32_t kReferencesMax = 1u << 30;
constexpr size_t kListObjectsMax = 8192;
// A spill that has come to no end for so long is waited for no more.
constexpr int64_t kSpillStalledMs = 8000;
// Whatever the disk has, no object is larger than this.
constexpr uint64_t kFallbackBytesMax = uint64_t{1} << 46;

struct CoreOptions {
  std::vector<uint64_t> segment_bytes;
  int64_t give_back_after_ms = 0;  // 0: never.
  int64_t create_grace_ms = 2000;
  int64_t full_delay_ms = 10;
  double spill_threshold = 0.8;
  bool spilling = false;  // Somebody answers SpaceWanted.
  bool fallback = false;  // Somebody answers FallbackWanted.
};

class ObjectStore {
 public:
  explicit ObjectStore(CoreOptions options);

  // One that does not ask again hears of a create when it has ended.
  ClientId AddClient(bool asks_again = false);
  // The store's own process, which asks for all its peers and bounds them itself.
  ClientId AddOwnProcess();
  // Drops its references, aborts what it never sealed.
  Outcome RemoveClient(ClientId client, int64_t now_ms);

  Outcome Create(ClientId client, uint64_t request_id, const NewObject& object,
                 bool try_immediately, int64_t now_ms);
  // What came of its unfinished create, within `wait_ms`.
  Outcome CreateRetry(ClientId client, uint64_t request_id, uint64_t create_request_id,
                      uint64_t wait_ms, int64_t now_ms);
  Outcome Seal(ClientId client, const ObjectId& id, bool keep_reference, int64_t now_ms);
  Outcome Abort(ClientId client, const ObjectId& id, int64_t now_ms);
  // `timeout_ms` < 0: no limit; 0: answered at once. `created_only`: it is not waited
  // for one that is not even being created.
  Outcome Get(ClientId client, uint64_t request_id, std::vector<ObjectId> ids, int64_t timeout_ms,
              int64_t now_ms, bool created_only = false);
  Outcome Release(ClientId client, const ObjectId& id, int64_t now_ms);
  Outcome Delete(std::span<const ObjectId> ids, int64_t now_ms);
  Outcome Evict(uint64_t bytes, int64_t now_ms);
  // Deletes what `owner` owns, now and whenever it is sealed later.
  Outcome OwnerDied(const WorkerId& owner, int64_t now_ms);

  // The least recently used of what may be spilled, until they are so many bytes
  // or objects. They stay where they are until Spilled or SpillFailed.
  std::vector<const LocalObject*> TakeSpillable(uint64_t bytes_min, size_t objects_max);
  Outcome Spilled(std::span<const ObjectId> ids, int64_t now_ms);
  Outcome SpillFailed(std::span<const ObjectId> ids, const Status& why, int64_t now_ms);
  // Room for the bytes of a spilled object, through the queue of creates, for
  // `client`. Ends with SealRestored or Lose.
  // Errors: ObjectNotFound: it is not spilled (any more); OutOfMemory: it stays
  // spilled, and the gets that wait for it are told.
  Outcome Restore(ClientId client, uint64_t request_id, const ObjectId& id, int64_t now_ms);
  bool IsRestoring(const ObjectId& id) const;
  Outcome SealRestored(const ObjectId& id, int64_t now_ms);
  // Its copy on disk, or the memory it is being spilled from, cannot be read: it is
  // forgotten, and its gets end with `why`.
  Outcome Lose(const ObjectId& id, const Status& why, int64_t now_ms);
  // The answer to FallbackWanted.
  Outcome FallbackMade(uint32_t segment, const Status& status, int64_t now_ms);

  // Answers what has waited long enough, and gives memory back.
  Outcome Tick(int64_t now_ms);
  // When Tick has something to do.
  std::optional<int64_t> NextDeadline() const;

  bool Contains(const ObjectId& id) const;
  StoreStats Stats() const;
  std::string DebugState() const;
  // A part of what is there. `next` is 0 at the end.
  struct Page {
    std::vector<const LocalObject*> objects;
    uint64_t next = 0;
  };
  Page List(uint64_t cursor, size_t objects_max) const;
  const ObjectLifecycleManager& objects() const { return objects_; }

 private:
  struct Client {
    bool asks_again = false;
    bool bounded = true;  // In what it may have waiting.
    ReferenceTable references;
  };
  // The reference of a creator; null if `client` does not create `id`.
  const LocalObject* FindCreating(const Client& client, const ObjectId& id) const;
  void AddReference(Client& client, const LocalObject& object);
  void DropReference(ClientId client, const LocalObject& object);
  void AnswerGet(const WaitingGet& get);
  // Those who waited for what has been sealed refer to it, and are answered.
  void FillGets(const LocalObject& object);

  std::optional<Status> Refusal(const WaitingCreate& create) const;
  Result<ObjectPlace> Attempt(const WaitingCreate& create, int64_t now_ms);
  Result<ObjectPlace> Begun(const WaitingCreate& create, const Result<const LocalObject*>& object);
  void EndCreate(const WaitingCreate& create, Result<ObjectPlace> result);
  void ServeCreates(int64_t now_ms);
  // There is no room for it, and it waits no longer.
  void EndFull(const WaitingCreate& create);
  void Withdraw(ClientId client, const ObjectId& id);
  // When the head has waited long enough for nothing.
  int64_t GraceEnds(const WaitingCreate& head) const;
  Status OutOfMemory(const WaitingCreate& create, const Status& fallback = Status()) const;
  // What is to be spilled beyond what is under way.
  uint64_t SpaceNeeded() const;
  int64_t NextSpaceWanted() const;
  void AskForSpace(int64_t now_ms);
  // Ends every call: serves creates from what was freed, collects the outcome.
  Outcome Finish(int64_t now_ms);
  void Trim(int64_t now_ms);

  const CoreOptions options_;
  Allocator allocator_;
  ObjectLifecycleManager objects_;
  GetQueue gets_;
  CreateQueue creates_;
  UnfinishedCreates unfinished_;
  IdleTrimmer trimmer_;
  ClientId next_client_ = 1;
  std::unordered_map<ClientId, Client> clients_;
  // Owners that died lately: what is created for them dies at once too.
  std::unordered_set<WorkerId> dead_owners_;
  std::deque<WorkerId> dead_owners_by_age_;
  uint64_t spilling_bytes_ = 0;  // Under way to the disk.
  Status last_spill_failure_;
  int64_t progress_ms_ = INT64_MIN;        // Something was spilled, or the head was served.
  int64_t waited_in_vain_ms_ = INT64_MIN;  // The last head that found no room in its grace.
  int64_t space_asked_ms_ = INT64_MIN;     // The last SpaceWanted.
  uint32_t next_fallback_ = kFallbackSegmentFirst;
  std::map<uint32_t, WaitingCreate> awaiting_fallback_;  // By the segment asked for.
  uint64_t ignored_requests_total_ = 0;
  Outcome outcome_;
};

}  // namespace skyray::plasma
