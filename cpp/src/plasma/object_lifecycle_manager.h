// SPDX-License-Identifier: Apache-2.0
// Decides when an object is born, when it may be read, and when it dies.
//
//   Create ─► created ─Seal─► sealed ─not primary, no references, room wanted─► evicted
//                └─Abort─► gone  └─Delete, then no references─► gone
//
// Threading:  lives on the store's loop; not thread-safe, takes no lock.
// Ownership:  owns every LocalObject. A pointer it hands out is good until the
//             next non-const call.
// Errors:     what a client can cause is a Status, listed per method.
//             What only a bug can cause (REQUIRES) stops the process.
#pragma once

#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "common/id.h"
#include "common/status.h"
#include "plasma/allocator.h"
#include "plasma/eviction_policy.h"
#include "plasma/local_object.h"
#include "plasma/object_stats_collector.h"

namespace skyray::plasma {

class ObjectLifecycleManager {
 public:
  // `allocator` must outlive *this.
  explicit ObjectLifecycleManager(Allocator& allocator);

  // Allocates an unsealed object that its creator refers to once, evicting what
  // may be evicted if that is what it takes.
  // Errors: ObjectExists; OutOfMemory if evicting everything is not enough.
  Result<const LocalObject*> Create(const NewObject& object);

  // Makes the object immutable and readable by everyone.
  // Errors: ObjectNotFound; ObjectSealed.
  Result<const LocalObject*> Seal(const ObjectId& id);

  // Frees an object that was never sealed, its creator's reference included.
  // Errors: ObjectNotFound; ObjectSealed.
  Status Abort(const ObjectId& id);

  // Frees an object, at once or when its last reference goes.
  // Errors: ObjectNotFound.
  Status Delete(const ObjectId& id);
  // Delete for all that `owner` owns.
  void DeleteOwnedBy(const WorkerId& owner);

  // REQUIRES: the object exists.
  void AddReference(const ObjectId& id);
  // REQUIRES: the object has a reference.
  void RemoveReference(const ObjectId& id);

  // Null if there is no such object, sealed or not.
  const LocalObject* Find(const ObjectId& id) const;
  const std::unordered_map<ObjectId, LocalObject>& objects() const { return objects_; }
  const ObjectStats& stats() const { return stats_.stats(); }

  // Whether Create of that size could succeed after references have gone.
  bool CouldEverFit(uint64_t data_bytes) const;
  // In words, who fills the store: "...; largest holders: ...".
  std::string DescribeUse() const;

  // The sealed objects freed since the last call, oldest first, for the caller
  // to announce. (A return value, so nobody is called back in mid-change.)
  std::vector<NewObject> TakeFreed();

 private:
  using Table = std::unordered_map<ObjectId, LocalObject>;
  // Applies `change` to an object with the statistics and the eviction list kept right.
  template <class Change>
  void Update(LocalObject& object, Change change);
  void Free(Table::iterator object);

  Allocator& allocator_;
  EvictionPolicy eviction_policy_;
  ObjectStatsCollector stats_;
  Table objects_;
  std::unordered_map<WorkerId, std::unordered_set<ObjectId>> by_owner_;
  std::vector<NewObject> freed_;
};

}  // namespace skyray::plasma
