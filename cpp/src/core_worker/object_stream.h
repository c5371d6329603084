// SPDX-License-Identifier: Apache-2.0
// The values that a generator task yields, as their owner sees them.
//
//   [taken by the user] [ready ... ready] [pending]        while it may yield more
//   [taken by the user] [ready ... ready] [end marker]     afterwards
//
// There is always an object for the next item, so that whoever waits for it waits
// for an object like any other. A task that is run again yields its items again;
// those that are there already are kept.
//
// Items that lie in a store are listed until they are freed, as the task can make them
// again. It makes all items then, in their order; only those that are lost are taken.
//
// Threading:  a core of the gateway's monitor: only under its mutex.
// Ownership:  one hold of each item not taken yet; shared by the task and whoever
//             iterates.
// Errors:     Slot answers Bad for an index that cannot be the next.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <vector>

#include "core_worker/object_table.h"

namespace skyray::core_worker {

// Items have the indices of the task's returns behind the first, which is the
// task's end: its value, or its error.
constexpr uint32_t kFirstItemIndex = 2;

class ObjectStream {
 public:
  enum class Place : uint8_t { Free, Taken, Bad };

  // `room_max`: how many items may wait to be taken; 0: any number. `listed`: the
  // value of the task refers to the items (num_returns="dynamic").
  ObjectStream(ObjectTable& objects, const TaskId& task, uint64_t room_max, bool listed);

  // Where item `index` goes: Free (the object to fill), or it is there already.
  Place Slot(uint64_t index, Object** object);
  // The object that Slot gave has been filled.
  void Filled();
  // No more items come. With an error, that is the last one.
  void End(const ValuePtr& error, ReadyEffects& ready);
  // The next item, or, if none will come, the end marker.
  Object* Next() const { return items_.front(); }
  bool NextIsEnd() const { return ended_ && items_.size() == 1; }
  bool NextIsReady() const { return items_.front()->state != ObjectState::Pending; }
  // REQUIRES: NextIsReady, not NextIsEnd. The caller has its hold now.
  Object* Take();
  // Nobody will take any more: lets go of the items.
  void Drop(FreedEffects& freed);

  // --- Items in a store ---

  // Item `index` has come, whatever becomes of it: where this run of the task is.
  void Yielded(uint64_t index) { run_at_ = index + 1; }
  void Keep(Object* item, Task* maker);
  // It is not in a store any more, or freed.
  void Unkeep(Object* item);
  // The item if it is kept, or null.
  Object* Kept(uint64_t index) const;
  std::vector<Object*> AllKept() const;
  size_t kept_count() const { return kept_.size(); }
  // The copies of a kept item are lost while its task runs. Either this run makes it
  // yet, or it takes another, for which the maker is not to wait for room.
  void LostInRun(Object* item);
  // The run has ended: what was lost behind its back takes another one, if that may be.
  // Returned are the others that are lost; they get an error: that of the run, or that
  // they were not yielded any more.
  std::vector<Object*> EndRun(bool may_run_again);

  const TaskId& task() const { return task_; }
  bool listed() const { return listed_; }
  bool dropped() const { return dropped_; }
  bool ended() const { return ended_; }
  bool bounded() const { return room_max_ != 0; }
  // What its maker is to be told: how many have been taken, or will not be asked for.
  uint64_t consumed() const { return dropped_ || ended_ || hurried_ ? UINT64_MAX : first_; }
  // True, once, if that has grown enough to be told.
  bool TakeNews();

 private:
  Object* NewItem();

  ObjectTable& objects_;
  TaskId task_;
  uint64_t room_max_;
  bool listed_;
  bool dropped_ = false;
  bool ended_ = false;
  uint64_t first_ = 0;  // Index of items_.front().
  uint64_t told_ = 0;
  std::deque<Object*> items_;
  struct KeptItem {
    Object* object;
    bool missed = false;  // Lost when this run had yielded it already.
  };
  std::map<uint64_t, KeptItem> kept_;
  uint64_t run_at_ = 0;
  bool hurried_ = false;
};

}  // namespace skyray::core_worker
