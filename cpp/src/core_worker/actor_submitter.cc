// SPDX-License-Identifier: Apache-2.0
#include "core_worker/actor_submitter.h"

#include <algorithm>

namespace skyray::core_worker {

Actor* ActorSubmitter::Get(const ActorId& id, bool& made) {
  auto& slot = actors_[id];
  made = !slot;
  if (made) {
    slot = std::make_unique<Actor>();
    slot->id = id;
  }
  return slot.get();
}

Actor* ActorSubmitter::Find(const ActorId& id) const {
  const auto it = actors_.find(id);
  return it == actors_.end() ? nullptr : it->second.get();
}

Function* ActorSubmitter::Method(Actor* actor, const std::string& method,
                                 const MethodOptions& options) {
  std::string key = method;
  if (options.max_retries != 0) {
    key += '\n' + std::to_string(options.max_retries) + '\n' + options.retry_exceptions;
  }
  if (!options.group.empty()) key += '\0' + options.group;
  if (options.items_untaken_max != 0) key += '\t' + std::to_string(options.items_untaken_max);
  if (!options.name.empty()) key += '\r' + options.name;
  if (!options.records_events) key += '\v';
  auto& slot = actor->methods[key];
  if (!slot) {
    slot = std::make_unique<Function>();
    slot->method = method;
    slot->group = options.group;
    slot->items_untaken_max = options.items_untaken_max;
    slot->records_events = options.records_events;
    slot->max_retries = options.max_retries;
    slot->retry_exceptions = options.retry_exceptions;
    slot->name = actor->class_name.empty() ? method : actor->class_name + "." + method;
    if (!options.name.empty()) slot->name = options.name;
  }
  return slot.get();
}

Task* ActorSubmitter::NextSendable(Actor* actor) {
  if (!actor->channel || actor->state != ActorState::Alive || actor->killed) return nullptr;
  if (actor->queue.empty()) return nullptr;
  auto next = actor->queue.begin();
  if ((*next)->unresolved > 0) {
    if (actor->reruns == 0 && !actor->unordered) return nullptr;
    next = std::find_if(actor->queue.begin(), actor->queue.end(), [actor](const Task* task) {
      return (task->rerun || actor->unordered) && task->unresolved == 0;
    });
    if (next == actor->queue.end()) return nullptr;
  }
  Task* task = *next;
  actor->queue.erase(next);
  if (std::exchange(task->rerun, false)) --actor->reruns;
  task->bounced = false;
  return task;
}

void ActorSubmitter::PutBack(Actor* actor, const std::vector<Task*>& calls) {
  auto after = actor->queue.begin();
  for (auto it = actor->queue.begin(); it != actor->queue.end(); ++it) {
    if ((*it)->bounced) after = it + 1;
  }
  actor->queue.insert(after, calls.begin(), calls.end());
}

void ActorSubmitter::Withdraw(Actor* actor, Task* task) {
  std::erase(actor->queue, task);
  if (std::exchange(task->rerun, false)) --actor->reruns;
}

void ActorSubmitter::RunAgain(Actor* actor, Task* task) {
  task->rerun = true;
  ++actor->reruns;
  actor->queue.push_back(task);
}

std::vector<Task*> ActorSubmitter::ConnectionLost(Actor* actor, std::vector<Task*> unanswered) {
  actor->channel = nullptr;
  actor->connecting = false;
  actor->unreachable = true;
  actor->lost.insert(actor->lost.end(), unanswered.begin(), unanswered.end());
  return actor->ended ? Settle(actor) : std::vector<Task*>();
}

std::vector<Task*> ActorSubmitter::ProcessEnded(Actor* actor, const std::string& why) {
  actor->state = ActorState::Pending;
  actor->ended = true;
  actor->ended_why = why;
  actor->next = {};
  // Its last replies may still be in its socket, the end of which comes after them.
  return actor->channel || actor->connecting ? std::vector<Task*>() : Settle(actor);
}

std::vector<Task*> ActorSubmitter::LivesAt(Actor* actor, const WorkerAddress& address) {
  const bool known = actor->state == ActorState::Alive && actor->address == address;
  if (known || actor->next == address) return {};
  if (actor->state == ActorState::Alive && !actor->ended) {
    // The news between its two lives were left out.
    actor->ended_why = "it was started anew";
    actor->ended = true;
    actor->state = ActorState::Pending;
  }
  actor->next = address;
  return actor->channel || actor->connecting ? std::vector<Task*>() : Settle(actor);
}

std::vector<Task*> ActorSubmitter::StillThere(Actor* actor) {
  actor->unreachable = false;
  actor->probe_after_ns = 0;
  return Settle(actor);
}

std::vector<Task*> ActorSubmitter::Settle(Actor* actor) {
  std::vector<Task*> failed;
  std::vector<Task*> again;
  for (Task* task : std::exchange(actor->lost, {})) {
    if (task->retries_left == 0 || task->cancelled) {
      failed.push_back(task);
      continue;
    }
    if (task->retries_left > 0) --task->retries_left;
    task->sent = false;
    again.push_back(task);
  }
  // They were made before what is in the queue.
  actor->queue.insert(actor->queue.begin(), again.begin(), again.end());
  actor->ended = false;
  if (actor->next != WorkerAddress()) {
    actor->address = std::exchange(actor->next, {});
    actor->state = ActorState::Alive;
    actor->unreachable = false;
  }
  return failed;
}

std::vector<Task*> ActorSubmitter::AllTasks() const {
  std::vector<Task*> all;
  for (const auto& [id, actor] : actors_) {
    all.insert(all.end(), actor->queue.begin(), actor->queue.end());
    all.insert(all.end(), actor->lost.begin(), actor->lost.end());
    if (!actor->channel) continue;
    for (Task* task : actor->channel->in_flight.All()) {
      if (task->actor == actor.get()) all.push_back(task);
    }
  }
  return all;
}

std::vector<Task*> ActorSubmitter::TakeQueued(Actor* actor) {
  std::vector<Task*> all(actor->queue.begin(), actor->queue.end());
  actor->queue.clear();
  actor->reruns = 0;
  return all;
}

}  // namespace skyray::core_worker
