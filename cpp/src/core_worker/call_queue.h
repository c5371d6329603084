// SPDX-License-Identifier: Apache-2.0
// Calls that have arrived at this worker and wait to be run.
//
// A worker runs as many calls of a concurrency group at once as the group allows;
// tasks, and actors without options, have the one default group, whose limit is 1.
// Calls of a group start in the order in which they arrived.
//
// Threading:  a core of the gateway's monitor: only under its mutex.
// Ownership:  owns the calls; one that is taken belongs to the taker, who says
//             Finished when it is answered.
// Errors:     none. Bounded: ReadAllowed() turns false at kQueuedBytesMax, and
//             the gateway then lets the callers' sockets fill.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/resource_set.h"
#include "core_worker/channel.h"
#include "core_worker/pooled.h"
#include "core_worker/task.h"
#include "core_worker/task_event_buffer.h"

namespace skyray::core_worker {

constexpr size_t kQueuedBytesMax = 32 << 20;

// The lease that a caller's tasks run on.
struct BoundLease {
  std::vector<std::string> gpu_ids;
  ResourceSet resources;
  // As many as it has whole CPUs, at least one.
  int threads() const;
};

struct ConcurrencyGroup {
  std::string name;  // "": the default group.
  int limit = 1;     // Calls that run at once.
};

// How an actor runs its calls.
struct Concurrency {
  bool is_async = false;                     // On an event loop.
  std::vector<ConcurrencyGroup> groups{{}};  // The default group first.

  bool IsSerial() const { return !is_async && groups.size() == 1 && groups[0].limit == 1; }
};

// What only the creation of an actor has.
struct ActorStart {
  ReceivedFunction init;  // Its class.
  ActorId actor_id;
  std::shared_ptr<const BoundLease> lease;
  uint32_t restarts = 0;
  Concurrency concurrency;
};

struct IncomingCall final : Pooled<IncomingCall> {
  ChannelPtr channel;  // Null for the creation of an actor.
  std::vector<uint8_t> body;
  ReceivedCall call;  // Views into body.
  // The channel's, or the start's.
  const ReceivedFunction* function = nullptr;
  std::unique_ptr<ActorStart> start;
  std::string refused;  // Why it cannot run, if so.
  size_t group = 0;
  uint64_t arrival = 0;
  bool running = false;
  size_t running_at = 0;
  std::optional<OwnedRef> lost;  // An argument whose copies are all gone.
  bool cancelled = false;        // Its caller wants no answer any more.
  std::vector<Object*> borrows;  // Restored from its arguments; one hold each.
  // A generator's items:
  uint64_t items_yielded = 0;
  uint64_t items_taken = 0;  // By the caller, as it has told; all ones: it wants no pause.
  uint64_t items_untaken_max = 0;
  int64_t item_sent_ns = 0;
  Waiter* room_waiter = nullptr;
  // For what is recorded of it. Its executor sets the times after the start, of the end the
  // latest that it knows.
  TaskTimes times;
  std::unique_ptr<TaskFailure> failure;

  const std::string& method() const { return function->method; }  // "": a task.
  const std::string& name() const { return function->name; }
};

class CallQueue {
 public:
  // REQUIRES: nothing is queued or running but in the default group.
  void SetGroups(const std::vector<ConcurrencyGroup>& groups);
  std::optional<size_t> FindGroup(std::string_view name) const;
  const std::vector<ConcurrencyGroup>& groups() const { return limits_; }

  void Push(std::unique_ptr<IncomingCall> call);
  // The first to have arrived that its group lets start; or null.
  std::unique_ptr<IncomingCall> Pop();
  std::unique_ptr<IncomingCall> PopFrom(size_t group);
  // A call that was taken has been answered.
  void Finished(IncomingCall& call);
  // Takes out the calls that came over that channel (all normal tasks' if null).
  std::vector<std::unique_ptr<IncomingCall>> Take(const Channel* channel);

  // The queued call of that number, taken out; null if it is not here.
  std::unique_ptr<IncomingCall> TakeOne(const Channel& channel, uint64_t sequence);
  // One that was taken and is not Finished; or null.
  IncomingCall* FindRunning(const Channel& channel, uint64_t sequence) const;

  bool CanStart() const { return NextGroup() != kNone; }
  bool empty() const { return size_ == 0; }
  size_t size() const { return size_; }
  size_t running() const { return running_.size(); }
  bool ReadAllowed() const { return bytes_ < kQueuedBytesMax; }

 private:
  struct Group {
    std::deque<std::unique_ptr<IncomingCall>> calls;
    int running = 0;
  };
  static constexpr size_t kNone = SIZE_MAX;
  bool HasRoom(size_t group) const { return groups_[group].running < limits_[group].limit; }
  size_t NextGroup() const;

  std::vector<ConcurrencyGroup> limits_{{}};
  std::deque<Group> groups_ = std::deque<Group>(1);
  uint64_t arrivals_ = 0;
  size_t size_ = 0;
  std::vector<IncomingCall*> running_;
  size_t bytes_ = 0;
};

}  // namespace skyray::core_worker
