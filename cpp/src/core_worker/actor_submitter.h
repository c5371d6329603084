// SPDX-License-Identifier: Apache-2.0
// The actors this process calls, and the calls that wait for them.
//
// Calls of one caller run in the order in which they were made: they leave here
// first-in first-out, a call whose arguments are not ready holding those behind
// it, over one connection, to an executor that keeps its order.
//
//   Pending ─alive, connected─► Alive ─connection lost─► Unknown ─► Alive | Dead
//
// Threading:  a core of the gateway's monitor: only under its mutex.
// Ownership:  owns Actors for as long as the process is connected; tasks only
//             while they are queued here.
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

enum class ActorState : uint8_t { Pending, Alive, Dead };

struct Actor {
  ActorId id;
  std::string class_name;
  ActorState state = ActorState::Pending;
  uint64_t version = 0;  // Of the last update.
  WorkerAddress address;
  ChannelPtr channel;  // To be sent on; null while it is not connected.
  bool connecting = false;
  std::deque<Task*> queue;
  ErrorCode death_code = ErrorCode::ActorDied;
  std::string death_message;
  ValuePtr death_value;  // What calls to it return, once dead.
  std::string handle;    // As given at its creation (get_actor()).
  // Handles in this process; `ours` if they decide on its life.
  int handles = 0;
  bool ours = false;
  bool shared = false;
  bool ending = false;  // Its last call has been submitted.
  std::unordered_map<std::string, std::unique_ptr<Function>> methods;
  // Its creation: the task whose arguments it reads, and who waits for the answer.
  Task* creation_task = nullptr;
  Waiter* creation_waiter = nullptr;
  std::vector<uint8_t>* creation_reply = nullptr;

  // True if a call may go out now without overtaking another.
  bool CanSend(const Task& task) const {
    return channel && state == ActorState::Alive && queue.empty() && task.unresolved == 0;
  }
};

class ActorSubmitter {
 public:
  // The actor; made, Pending, if it is not known yet (`made` tells).
  Actor* Get(const ActorId& id, bool& made);
  Actor* Find(const ActorId& id) const;
  Function* Method(Actor* actor, const std::string& method);
  // The call at the head of the queue, taken out, if it may leave now; or null.
  // One at a time: what is done with it may make others leave.
  Task* NextSendable(Actor* actor);
  std::vector<Task*> TakeQueued(Actor* actor);
  const std::unordered_map<ActorId, std::unique_ptr<Actor>>& actors() const { return actors_; }

 private:
  std::unordered_map<ActorId, std::unique_ptr<Actor>> actors_;
};

}  // namespace skyray::core_worker
