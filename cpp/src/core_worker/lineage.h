// SPDX-License-Identifier: Apache-2.0
// The tasks that can be run again to make their lost returns anew.
//
// A task that has replied is kept while a store holds one of its returns, that
// return is referred to, and the task has a retry left. It keeps the records of
// its arguments (Object::lineage_refs), not their copies: one of these that was
// freed meanwhile is made again by its own task.
//
//   running ─reply, returns in a store─► kept ─a copy is lost─► running
//                                          └─returns freed, or no room─► forgotten
//
// Threading:  a core of the gateway's monitor: only under its mutex.
// Ownership:  owns the tasks that it keeps; one that is returned is the caller's.
// Errors:     what cannot be made again is listed in the plan, with the reason.
#pragma once

#include <list>
#include <unordered_map>
#include <vector>

#include "core_worker/object_table.h"
#include "core_worker/task.h"

namespace skyray::core_worker {

// As Ray's max_lineage_bytes.
constexpr uint64_t kLineageBytesMax = uint64_t{1} << 30;

class Lineage {
 public:
  explicit Lineage(uint64_t bytes_max = kLineageBytesMax) : bytes_max_(bytes_max) {}
  ~Lineage();
  Lineage(const Lineage&) = delete;
  Lineage& operator=(const Lineage&) = delete;

  // Keeps it. Returned: those that had to make room, longest kept first.
  std::vector<Task*> Keep(Task* task);
  // REQUIRES: it is kept.
  void Remove(Task* task);
  bool Keeps(const Task* task) const { return entries_.contains(task); }

  void set_bytes_max(uint64_t bytes_max) { bytes_max_ = bytes_max; }
  size_t size() const { return entries_.size(); }
  uint64_t bytes() const { return bytes_; }

 private:
  struct Entry {
    std::list<Task*>::iterator place;
    uint64_t bytes;
  };

  uint64_t bytes_max_;
  uint64_t bytes_ = 0;
  std::list<Task*> order_;
  std::unordered_map<const Task*, Entry> entries_;
};

enum class Unrecoverable : uint8_t {
  NoTask,     // put(), or made by a task without retries.
  Evicted,    // There was no room to keep its task.
  NoRetries,  // Its task has been run as often as it may.
  ActorDied,  // The actor whose call made it is gone.
};

// What it takes to make an object again.
struct RecoveryPlan {
  std::vector<Task*> again;      // All kept.
  std::vector<Object*> awaited;  // Lost items of generators that run.
  std::vector<std::pair<Object*, Unrecoverable>> impossible;
};

// Of an owned object whose copies are lost, and of what its task needs.
RecoveryPlan PlanRecovery(Object* object);

}  // namespace skyray::core_worker
