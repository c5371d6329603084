// SPDX-License-Identifier: Apache-2.0
// Decides when an object is born, when it may be read, and when it dies.
//
//   Create ─► Created ─Seal─► Sealed ─────────────spilled──────────► Sealed, stored
//               └─Abort─► gone   │ not primary, no references,          │ no references,
//                                │ room wanted: gone (evicted)          │ room wanted
//                                ▼                                      ▼
//                              (gone)          Restoring ◄──wanted─── Spilled (no memory)
//                                                 │  └─given up─► Spilled
//                                                 └─Seal─► Sealed, stored
//
// Who creates, spills or restores an object refers to it meanwhile, so Delete
// always waits for the last reference. What is in memory beyond the allocator's
// segments, each in a fallback segment of its own, lives and dies like the rest.
//
// Threading:  lives on the store's loop; not thread-safe, takes no lock.
// Ownership:  owns every LocalObject. A pointer it hands out is good until the
//             object is freed: keep none beyond a call that may do that.
// Errors:     what a client can cause is a Status, listed per method.
//             What only a bug can cause (REQUIRES) stops the process.
#pragma once

#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/id.h"
#include "common/status.h"
#include "plasma/allocator.h"
#include "plasma/eviction_policy.h"
#include "plasma/local_object.h"
#include "plasma/object_stats_collector.h"
#include "plasma/object_table.h"

namespace skyray::plasma {

// What has happened since the store began.
struct ObjectTotals {
  ObjectCount created;
  ObjectCount evicted;  // From memory, also if a copy is on disk.
  ObjectCount spilled;
  ObjectCount restored;
};

class ObjectLifecycleManager {
 public:
  // `allocator` must outlive *this.
  explicit ObjectLifecycleManager(Allocator& allocator);

  // Allocates an unsealed object that its creator refers to once, evicting what
  // may be evicted if that is what it takes.
  // Errors: ObjectExists; OutOfMemory if evicting everything is not enough.
  Result<const LocalObject*> Create(const NewObject& object, int64_t now_ms);
  // The same in a fallback segment made for it. Errors: ObjectExists.
  Result<const LocalObject*> CreateInFallback(const NewObject& object, uint32_t segment,
                                              int64_t now_ms);

  // Makes the object immutable and readable by everyone; a restored one too.
  // Errors: ObjectNotFound; ObjectSealed; ObjectNotSealed: it has no memory yet.
  Result<const LocalObject*> Seal(const ObjectId& id, int64_t now_ms);

  // Frees an object that was never sealed, its creator's reference included.
  // Errors: ObjectNotFound; ObjectSealed.
  Status Abort(const ObjectId& id);

  // Frees an object, at once or when its last reference goes.
  // Errors: ObjectNotFound.
  Status Delete(const ObjectId& id);
  // Delete for all that `owner` owns.
  void DeleteOwnedBy(const WorkerId& owner);

  // REQUIRES: the object exists.
  void AddReference(ObjectIndex object);
  // REQUIRES: the object has (so many) references.
  void RemoveReference(ObjectIndex object) { RemoveReferences(object, 1); }
  void RemoveReferences(ObjectIndex object, uint32_t count);

  // Frees what may be evicted, the least recently used first, until it is so
  // much or nothing is left. Returns how much it was.
  uint64_t Evict(uint64_t bytes);

  // The least recently used of what may be spilled, until they are so many
  // bytes or objects. Each is referred to until SpillDone or SpillFailed.
  std::vector<const LocalObject*> TakeSpillable(uint64_t bytes_min, size_t objects_max);
  // There is a copy on disk. False if it was not being spilled.
  bool SpillDone(const ObjectId& id);
  bool SpillFailed(const ObjectId& id);

  // Spilled becomes Restoring, referred to once by who restores it. REQUIRES: it is spilled.
  void BeginRestore(ObjectIndex object);
  // Memory for its bytes, evicting like Create. Errors: ObjectNotFound: it is
  // not being restored, or has memory already; OutOfMemory.
  Result<const LocalObject*> GiveMemory(const ObjectId& id);
  Result<const LocalObject*> GiveFallback(const ObjectId& id, uint32_t segment);
  // Back to Spilled. False if it was not being restored.
  bool GiveUpRestore(const ObjectId& id);
  // Its bytes cannot be read: the copy on disk, or the memory of what is being spilled. Frees
  // it, at once or with its last reader. False if it is neither.
  bool Lose(const ObjectId& id);

  // Null if there is no such object.
  const LocalObject* Find(const ObjectId& id) const { return table_.Find(id); }
  const ObjectTable& table() const { return table_; }
  const ObjectStats& stats() const { return stats_.stats(); }
  const ObjectTotals& totals() const { return totals_; }

  // Whether Create of that size could succeed after references have gone.
  bool CouldEverFit(uint64_t total_bytes) const;
  // In words, who fills the store: "...; largest holders: ...".
  std::string DescribeUse() const;

  struct Freed {
    NewObject object;
    bool stored;  // It had a copy on disk.
  };
  // The objects once sealed that were freed since the last call, oldest first, for
  // the caller to announce. (A return value, so nobody is called back in mid-change.)
  std::vector<Freed> TakeFreed() { return std::exchange(freed_, {}); }
  // The fallback segments whose objects left them since the last call.
  std::vector<uint32_t> TakeEmptied() { return std::exchange(emptied_, {}); }

 private:
  struct Owned {
    ObjectIndex first = kNoObject;
    ObjectCount in_memory;
    size_t objects = 0;
  };
  // Applies `change` to an object with the statistics and the lists kept right.
  template <class Change>
  void Update(LocalObject& object, Change change);
  EvictionPolicy* ListOf(const LocalObject& object);
  std::optional<Allocation> MakeRoom(uint64_t total_bytes);
  LocalObject* FindRestoring(const ObjectId& id);
  const LocalObject* Insert(const NewObject& object, const Allocation& allocation, int64_t now_ms);
  void EvictOne(LocalObject& object);
  void Unload(LocalObject& object);
  void FreeMemory(const LocalObject& object);
  void Free(LocalObject& object);
  void CountFor(const LocalObject& object, bool in_memory);

  Allocator& allocator_;
  ObjectTable table_;
  EvictionPolicy evictable_{table_};
  EvictionPolicy spillable_{table_};
  ObjectStatsCollector stats_;
  ObjectTotals totals_;
  std::unordered_map<WorkerId, Owned> owners_;
  std::vector<Freed> freed_;
  std::vector<uint32_t> emptied_;
};

}  // namespace skyray::plasma
