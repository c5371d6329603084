// SPDX-License-Identifier: Apache-2.0
// A call that somebody submitted: from `.remote()` until its reply.
//
// Threading:  a core of the gateway's monitor: only under its mutex.
// Ownership:  a Task is owned by whoever has it in hand: a submitter's queue, or
//             the in-flight list of a channel. It holds references to its
//             arguments and is the one that fills its returns.
// Errors:     ParseCall answers false for bytes that are not a Call.
#pragma once

#include <boost/container/small_vector.hpp>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/id.h"
#include "core_worker/hot_frames.h"
#include "core_worker/object_table.h"
#include "core_worker/pooled.h"

namespace skyray::core_worker {

struct Lease;
struct LeaseClass;
struct Actor;
class ObjectStream;

// What calls run: an exported function, or a method by name. One per process
// and kind; never freed while connected.
struct Function {
  FunctionId id;                 // A task's.
  std::string method;            // An actor's.
  std::string group;             // An actor's: the concurrency group it runs in.
  std::string name;              // For people.
  int32_t max_retries = 0;       // A method's (a task's come with each call).
  std::string retry_exceptions;  // As in DefineFunction.
  uint32_t max_calls = 0;
  uint64_t items_untaken_max = 0;  // A generator's; 0: it never pauses.
  bool records_events = true;      // Its executors tell of what they run.
  // How long it takes, in µs, smoothed over replies; 0: not known yet.
  double execute_us = 0;
};

// Mostly of one.
using ObjectList = boost::container::small_vector<Object*, 1>;

struct RefArgument {
  int32_t position = -1;  // In args, or -1: keyword `key`.
  std::string key;
  Object* object = nullptr;
  uint32_t attempt = 0;  // The object's, when the call was sent.
};

struct Task final : Pooled<Task> {
  TaskId id;
  Function* function = nullptr;
  LeaseClass* lease_class = nullptr;  // A normal task's.
  Actor* actor = nullptr;             // A method call's.
  Lease* lease = nullptr;             // While in flight, of a normal task.
  uint16_t returns_asked = 1;
  uint16_t flags = 0;        // CallHeader's.
  int32_t retries_left = 0;  // -1: for ever.
  int32_t oom_retries = 0;   // Made so far, as memory had run short.
  int32_t unresolved = 0;    // Arguments that are not ready yet.
  bool sent = false;
  bool counted = false;         // In Actor::pending_calls.
  bool rerun = false;           // For what it returned, not in its turn.
  bool kept = false;            // Has replied, and may be run again (lineage.h).
  bool bounced = false;         // Came back for want of an argument.
  bool cancelled = false;       // A failure, whichever, is TaskCancelled; it is not tried again.
  TaskId parent;                // The task that submitted it.
  size_t listed_at = SIZE_MAX;  // In the TaskList that has it.
  std::string args;             // Payload of (args, kwargs).
  std::vector<RefArgument> ref_args;
  std::vector<Object*> pinned;           // References inside the arguments.
  ObjectList returns;                    // Null: freed since, and only filled again beside others.
  uint32_t stored = 0;                   // Returns in a store that are not freed; kept: items, too.
  std::shared_ptr<ObjectStream> stream;  // A generator's items.
};

// Tasks in no particular order; a task is in one list at most.
class TaskList {
 public:
  void Add(Task* task) {
    task->listed_at = tasks_.size();
    tasks_.push_back(task);
  }
  // Nothing, if it is in none.
  void Remove(Task* task) {
    if (task->listed_at == SIZE_MAX) return;
    tasks_.back()->listed_at = task->listed_at;
    tasks_[task->listed_at] = tasks_.back();
    tasks_.pop_back();
    task->listed_at = SIZE_MAX;
  }
  const std::vector<Task*>& all() const { return tasks_; }

 private:
  std::vector<Task*> tasks_;
};

// What its returns are once it was cancelled.
ValuePtr CancelledError(const Task& task);

// Appends a whole frame. `self` owns the arguments that nobody else does. REQUIRES: every
// argument was ready; one whose copies were lost since is named without a place.
void AppendCall(std::string& out, const Task& task, std::string_view args, uint64_t sequence,
                uint32_t function_index, const WorkerAddress& self = {});

// A RefArg as received; spans are into the call's bytes.
struct ReceivedRefArg {
  RefArg head;
  std::string_view key;
  std::span<const uint8_t> payload;  // If nodes is empty.
  std::vector<NodeId> nodes;
};
struct ReceivedCall {
  CallHeader header;
  std::span<const uint8_t> args;
  std::vector<ReceivedRefArg> ref_args;
};
bool ParseCall(std::span<const uint8_t> body, ReceivedCall& call);

}  // namespace skyray::core_worker
