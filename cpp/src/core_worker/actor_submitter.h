// SPDX-License-Identifier: Apache-2.0
// The actors this process calls, and the calls that wait for them.
//
// Calls of one caller run in the order in which they were made: they leave here
// first-in first-out, a call whose arguments are not ready holding those behind
// it, over one connection, to an executor that keeps its order.
//
//   Pending ─LivesAt─► Alive ─ConnectionLost─► (no news yet) ─► Pending | Dead
//      ▲                 └────ProcessEnded───► (connection not read to its end)
//      └───── both have come: the calls that were under way are sent again, before
//             all others, or, without a retry left, returned to be failed
//
// A connection may be lost while the process lives on: it is asked (Ping) until it
// answers (StillThere), which settles its calls like a restart, or the news come.
//
// Threading:  a core of the gateway's monitor: only under its mutex.
// Ownership:  owns Actors until they are dead and nothing here refers to them (Forget);
//             tasks only while they are queued here.
// Errors:     calls to a dead actor are returned to the caller to be failed.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "core_worker/channel.h"
#include "core_worker/task.h"

namespace skyray::core_worker {

// So many calls to one actor, not completed, are worth a word to who makes them; and
// twice as many, and so on.
constexpr size_t kManyPendingCalls = 5000;

enum class ActorState : uint8_t { Pending, Alive, Dead };

// Options of a method that its calls have in common.
struct MethodOptions {
  std::string group;  // The concurrency group; "": the default one.
  uint64_t items_untaken_max = 0;
  int32_t max_retries = 0;       // max_task_retries: how often a call is sent again.
  std::string retry_exceptions;  // As in DefineFunction.
  std::string name{};            // For people; "": the class's and the method's.
  bool records_events = true;
};

struct Actor {
  ActorId id;
  std::string class_name;
  ActorState state = ActorState::Pending;
  uint64_t version = 0;   // Of the last update.
  WorkerAddress address;  // Of the process that `channel` leads, or has led to.
  WorkerAddress next;     // Of the one after it, while `channel` is read to its end.
  ChannelPtr channel;     // To be sent on; null while it is not connected.
  bool connecting = false;
  bool unreachable = false;    // `address` could not be reached, or no longer: news will come,
  int64_t probe_at_ns = 0;     // or it answers when it is asked again, then,
  int64_t probe_after_ns = 0;  // and so long after that.
  std::deque<Task*> queue;
  std::vector<Task*> lost;   // Under way when the connection ended; oldest first.
  bool ended = false;        // The process at `address` is known to have ended,
  std::string ended_why;     // like that.
  size_t reruns = 0;         // In the queue: they may overtake what waits.
  size_t pending_calls = 0;  // Made by this process, and not completed.
  size_t kept_calls = 0;     // Completed, and kept to make what they returned again.
  // More pending ones than that are remarked upon.
  size_t many_calls = kManyPendingCalls;
  ErrorCode death_code = ErrorCode::ActorDied;
  std::string death_message;
  ValuePtr death_value;  // What calls to it return, once dead.
  std::string handle;    // As given at its creation (get_actor()).
  // Handles in this process; `ours` if they decide on its life.
  int handles = 0;
  bool ours = false;
  // Stands for the handles that are passed on: as long as anybody refers to it, one
  // may be left somewhere. The creator makes it when it passes on the first; others
  // get it with a handle. `scope_held`: by the handles and calls of this process.
  Object* scope = nullptr;
  bool scope_held = false;
  bool ending = false;     // Its last call has been submitted.
  bool unordered = false;  // A call that waits for its arguments holds up no other.
  bool killed = false;     // From here: news of that are on their way, calls wait for them.
  std::unordered_map<std::string, std::unique_ptr<Function>> methods;
  // Its creation: the task whose arguments it reads, and who waits for the answer.
  int creating = 0;                 // Requests that are not answered.
  Task* unsent_creation = nullptr;  // It is registered, and waits for its arguments.
  Task* creation_task = nullptr;
  bool keep_creation = false;  // They are read again when it is restarted.
  Waiter* creation_waiter = nullptr;
  std::vector<uint8_t>* creation_reply = nullptr;

  // True if a call may go out now without overtaking another.
  bool CanSend(const Task& task) const {
    return channel && state == ActorState::Alive && !killed && (queue.empty() || unordered) &&
           task.unresolved == 0;
  }
  // Something is to be done when its last call is completed.
  bool EndsWithCalls() const {
    return scope_held || state == ActorState::Dead || (ours && handles == 0 && !ending);
  }
  // Nothing in this process refers to it, and no news of it will come.
  bool IsForgettable() const {
    return state == ActorState::Dead && handles == 0 && pending_calls == 0 && kept_calls == 0 &&
           scope == nullptr && creating == 0 && creation_waiter == nullptr &&
           unsent_creation == nullptr;
  }
  bool WantsProbe() const { return state == ActorState::Alive && unreachable && !ended; }
  bool WantsConnection() const {
    return state == ActorState::Alive && !channel && !connecting && lost.empty() && !unreachable;
  }
};

class ActorSubmitter {
 public:
  // The actor; made, Pending, if it is not known yet (`made` tells).
  Actor* Get(const ActorId& id, bool& made);
  Actor* Find(const ActorId& id) const;
  // REQUIRES: IsForgettable.
  void Forget(Actor* actor) { actors_.erase(ActorId(actor->id)); }
  Function* Method(Actor* actor, const std::string& method, const MethodOptions& options = {});
  // The call at the head of the queue, taken out, if it may leave now; or null. One
  // that is run again for what it returned leaves whenever it can: the head may wait for it.
  // One at a time: what is done with it may make others leave.
  Task* NextSendable(Actor* actor);
  std::vector<Task*> TakeQueued(Actor* actor);
  // Calls that came back unstarted, in their order: before those made after them.
  void PutBack(Actor* actor, const std::vector<Task*>& calls);
  void RunAgain(Actor* actor, Task* task);
  // It will not be sent, if it is queued.
  void Withdraw(Actor* actor, Task* task);
  // All calls that are queued or under way.
  std::vector<Task*> AllTasks() const;

  // These return what has to be failed: calls of the ended process that may not
  // be sent again. After each, Connect if WantsConnection.
  //
  // The connection to `address` is gone, with those unanswered (oldest first).
  std::vector<Task*> ConnectionLost(Actor* actor, std::vector<Task*> unanswered);
  // The process at `address` answers: only the connection was lost. REQUIRES: WantsProbe.
  std::vector<Task*> StillThere(Actor* actor);
  // The process at `address` ended, and there will be another one.
  std::vector<Task*> ProcessEnded(Actor* actor, const std::string& why);
  // It lives there.
  std::vector<Task*> LivesAt(Actor* actor, const WorkerAddress& address);

  const std::unordered_map<ActorId, std::unique_ptr<Actor>>& actors() const { return actors_; }

 private:
  std::vector<Task*> Settle(Actor* actor);

  std::unordered_map<ActorId, std::unique_ptr<Actor>> actors_;
};

}  // namespace skyray::core_worker
