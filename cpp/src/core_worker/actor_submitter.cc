// SPDX-License-Identifier: Apache-2.0
#include "core_worker/actor_submitter.h"

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

Function* ActorSubmitter::Method(Actor* actor, const std::string& method) {
  auto& slot = actor->methods[method];
  if (!slot) {
    slot = std::make_unique<Function>();
    slot->method = method;
    slot->name = actor->class_name.empty() ? method : actor->class_name + "." + method;
  }
  return slot.get();
}

Task* ActorSubmitter::NextSendable(Actor* actor) {
  if (!actor->channel || actor->state != ActorState::Alive) return nullptr;
  if (actor->queue.empty() || actor->queue.front()->unresolved > 0) return nullptr;
  Task* task = actor->queue.front();
  actor->queue.pop_front();
  return task;
}

std::vector<Task*> ActorSubmitter::TakeQueued(Actor* actor) {
  std::vector<Task*> all(actor->queue.begin(), actor->queue.end());
  actor->queue.clear();
  return all;
}

}  // namespace skyray::core_worker
