// SPDX-License-Identifier: Apache-2.0
// Every object this process owns or borrows: what it is, where it is, and who
// still refers to it. (Ownership as in "Ownership: A Distributed Futures System
// for Fine-Grained Tasks", NSDI 2021.)
//
//   Pending ─value or error arrives─► InProcess        gone: no local reference,
//      └──────large value sealed───► InStore           no borrower, no task to fill it
//      ▲                               │
//      └──copies lost, or released─────┘ released: gone but for its record, which the
//                                        lineage of another object needs (lineage.h)
//
// Owned objects enter the id table only when their reference is first handed to
// somebody else (Publish): a plain call never pays for the table.
//
// Threading:  a core of the gateway's monitor: only under its mutex.
// Ownership:  owns every Object. `refs` counts local ObjectRefs, tasks that take
//             the object, and values that contain it; the last Drop frees it.
// Errors:     none; unknown ids are answered with null.
#pragma once

#include <boost/container/small_vector.hpp>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <unordered_map>
#include <vector>

#include "common/id.h"
#include "core_worker/hot_frames.h"
#include "core_worker/payload.h"
#include "core_worker/pooled.h"

namespace skyray::core_worker {

struct Task;

// A thread that waits for some objects. The gateway derives from it.
struct Waiter {
  int64_t remaining = 0;
  bool until_error = false;  // Not for the others once one is an error,
  bool cut_short = false;    // which was so.
  bool done() const { return remaining <= 0; }
};

enum class ObjectState : uint8_t { Pending, InProcess, InStore };

struct Object;

// What few objects have.
struct ObjectExtras {
  std::vector<std::function<void()>> callbacks;
  std::vector<Task*> dependents;  // Tasks that wait for it as an argument.
  // Channels of borrowers that asked for it; each is answered once.
  std::set<uint64_t> remote_waiters;
  std::map<WorkerAddress, int64_t, bool (*)(const WorkerAddress&, const WorkerAddress&)> borrowers{
      [](const WorkerAddress& a, const WorkerAddress& b) { return a.worker < b.worker; }};
  std::vector<Object*> contained;  // Referred to by its value.
  ActorId scope;                   // Of which its references are the shared handles.
};

struct Object final : Pooled<Object> {
  ObjectId id;
  const WorkerAddress* owner = nullptr;  // Interned; null: this process.
  int32_t refs = 1;
  int32_t lineage_refs = 0;  // Kept tasks that it is an argument of.
  ObjectState state = ObjectState::Pending;
  bool task_pending = false;  // A task of ours will fill it.
  bool registered = false;    // Borrowed, and the owner counts us.
  // How often more: each who hands us a reference says so to the owner. All are taken
  // back at once, with the last reference: one that overtook the Add that it is for
  // would take back an earlier one, and the object with it.
  uint32_t registered_again = 0;
  bool asked = false;    // Borrowed, and GetObject is under way.
  bool hearsay = false;  // Borrowed, and where it is we know from a reference, not from the owner.
  bool in_table = false;
  bool unheeded = false;         // A call's result that nobody waited for, read or passed on.
  bool lineage_evicted = false;  // Its task was forgotten to make room.
  bool seen = false;             // For who looks through a list for what is there twice.
  uint32_t attempt = 0;          // InStore: grows when its copies are others than before.
  ValuePtr value;                // InProcess.
  uint64_t store_bytes = 0;      // InStore.
  std::vector<NodeId> nodes;     // InStore: which stores hold it.
  // The task that will fill it, or, once it has, could do so again.
  Task* maker = nullptr;
  boost::container::small_vector<Waiter*, 1> waiters;
  std::unique_ptr<ObjectExtras> extras;

  ObjectExtras& Extras() {
    if (!extras) extras = std::make_unique<ObjectExtras>();
    return *extras;
  }
  bool IsAt(const NodeId& node) const;
  // Its value is an error. (One that is in the store is not known to be.)
  bool IsFailed() const;
  // Owned, and its value was let go of: only its maker can bring it back.
  bool released() const {
    return owner == nullptr && state == ObjectState::Pending && !task_pending;
  }
};

// What follows from objects having become ready.
struct ReadyEffects {
  boost::container::small_vector<Waiter*, 4> waiters;  // All of them; look at done().
  std::vector<std::function<void()>> callbacks;
  std::vector<Task*> unblocked;                       // Each once: its last argument became ready.
  std::vector<std::pair<uint64_t, Object*>> answers;  // Channel, object.
};

// What follows from objects having been freed.
struct FreedEffects {
  struct StoreCopy {
    ObjectId id;
    std::vector<NodeId> nodes;
  };
  std::vector<StoreCopy> store_copies;  // Owned: delete them.
  struct Returned {
    ObjectId object;
    WorkerAddress owner;
    uint32_t count;  // How often the owner was told of us.
  };
  std::vector<Returned> returned;  // Borrowed: tell the owner.
  std::vector<Task*> unneeded;     // Kept tasks whose stored returns are all freed.
  std::vector<ActorId> scopes;     // Actors of which no shared handle is left.
  std::vector<ValuePtr> unheeded;  // Errors of calls that nobody has looked at.

  bool empty() const {
    return store_copies.empty() && returned.empty() && unneeded.empty() && scopes.empty() &&
           unheeded.empty();
  }
};

class ObjectTable {
 public:
  explicit ObjectTable(const WorkerAddress& self) : self_(self) {}
  ~ObjectTable();
  ObjectTable(const ObjectTable&) = delete;
  ObjectTable& operator=(const ObjectTable&) = delete;

  const WorkerAddress& self() const { return self_; }

  // A new owned object with one reference.
  Object* New(const ObjectId& id);
  // Makes it findable by id.
  void Publish(Object* object);
  // The object of that name with one more reference; a borrowed one is made if
  // it is not known yet. One of ours that is not known was freed: it is made
  // anew with the error ObjectLost for its value. A borrowed one that was `stored` when
  // the reference was handed on is believed to be there still.
  Object* Restore(const ObjectId& id, const WorkerAddress& owner,
                  const std::optional<StoredAt>& stored = std::nullopt);
  // What whoever gets a reference to the object may believe; nothing unless it is in a
  // store. Only the owner can hand on the references inside a value: who gets one that
  // has some must ask.
  static std::optional<StoredAt> PlaceOf(const Object& object);
  Object* Find(const ObjectId& id) const;

  void Hold(Object* object) { ++object->refs; }
  void Drop(Object* object, FreedEffects& freed);
  // A kept task has it as an argument from now on, in place of a reference; and back.
  void HoldForLineage(Object* object, FreedEffects& freed);
  void HoldAgain(Object* object);
  void DropFromLineage(Object* object, FreedEffects& freed);
  // Its task will not fill it any more (or has): frees it if nobody wants it.
  void TaskDone(Object* object, FreedEffects& freed);

  void SetValue(Object* object, ValuePtr value, ReadyEffects& ready);
  // The task does not wait for its arguments any more.
  void StopWaiting(Task* task);
  void SetInStore(Object* object, const NodeId& node, uint64_t bytes, ReadyEffects& ready);
  // Back to Pending: its copies are gone, and somebody will make it again.
  void Forget(Object* object);
  // `inner` (whose reference is taken over) lives as long as `outer`.
  void Contain(Object* outer, Object* inner);

  // Frees it if the RemoveBorrower that it belongs to came first.
  void AddBorrower(const ObjectId& id, const WorkerAddress& borrower, FreedEffects& freed);
  void RemoveBorrower(const ObjectId& id, const WorkerAddress& borrower, FreedEffects& freed,
                      uint32_t count = 1);
  void BorrowerGone(const WorkerId& borrower, FreedEffects& freed);
  // Borrowed, still pending objects of a dead owner.
  std::vector<Object*> PendingOf(const WorkerId& owner) const;

  const WorkerAddress* Intern(const WorkerAddress& address);
  const WorkerAddress& OwnerOf(const Object& object) const {
    return object.owner == nullptr ? self_ : *object.owner;
  }
  size_t size() const { return count_; }
  size_t borrowed_count() const { return borrowed_; }
  // Owned, and referred to by other processes.
  size_t lent_count() const { return lent_; }

 private:
  using Candidates = boost::container::small_vector<Object*, 8>;
  void MaybeFree(Object* object, FreedEffects& freed);
  void Release(Object* object, FreedEffects& freed, Candidates& candidates);
  void MadeReady(Object* object, ReadyEffects& ready);
  void CountBorrower(Object* object, const WorkerAddress& borrower, int64_t change);

  WorkerAddress self_;
  std::unordered_map<ObjectId, Object*> by_id_;
  std::unordered_map<WorkerId, std::unique_ptr<WorkerAddress>> addresses_;
  size_t count_ = 0;
  size_t borrowed_ = 0;
  size_t lent_ = 0;
};

}  // namespace skyray::core_worker
