// SPDX-License-Identifier: Apache-2.0
#include "core_worker/lineage.h"

#include <unordered_set>

#include "common/logging.h"
#include "core_worker/actor_submitter.h"

namespace skyray::core_worker {
namespace {

// What keeping it costs, about: it, its arguments, and the records of these.
uint64_t BytesOf(const Task& task) {
  uint64_t bytes = sizeof(Task) + task.args.size() +
                   (task.ref_args.size() + task.pinned.size()) * sizeof(Object);
  for (const RefArgument& argument : task.ref_args) {
    if (argument.object->state == ObjectState::InProcess) bytes += argument.object->value->bytes();
  }
  return bytes;
}

}  // namespace

Lineage::~Lineage() {
  for (Task* task : order_) delete task;
}

std::vector<Task*> Lineage::Keep(Task* task) {
  const uint64_t bytes = BytesOf(*task);
  entries_[task] = {order_.insert(order_.end(), task), bytes};
  bytes_ += bytes;
  std::vector<Task*> evicted;
  while (bytes_ > bytes_max_) {
    evicted.push_back(order_.front());
    Remove(order_.front());
  }
  return evicted;
}

void Lineage::Remove(Task* task) {
  const auto entry = entries_.find(task);
  SKYRAY_CHECK(entry != entries_.end());
  order_.erase(entry->second.place);
  bytes_ -= entry->second.bytes;
  entries_.erase(entry);
}

RecoveryPlan PlanRecovery(Object* object) {
  RecoveryPlan plan;
  std::unordered_set<Task*> seen;
  std::vector<Object*> todo{object};
  while (!todo.empty()) {
    Object* wanted = todo.back();
    todo.pop_back();
    Task* task = wanted->maker;
    if (wanted->task_pending) continue;  // On its way.
    if (task == nullptr) {
      plan.impossible.emplace_back(
          wanted, wanted->lineage_evicted ? Unrecoverable::Evicted : Unrecoverable::NoTask);
    } else if (task->retries_left == 0) {
      plan.impossible.emplace_back(wanted, Unrecoverable::NoRetries);
    } else if (task->actor != nullptr && task->actor->state == ActorState::Dead) {
      plan.impossible.emplace_back(wanted, Unrecoverable::ActorDied);
    } else if (!task->kept) {
      plan.awaited.push_back(wanted);
    } else if (seen.insert(task).second) {
      plan.again.push_back(task);
      for (const RefArgument& argument : task->ref_args) {
        if (argument.object->released()) todo.push_back(argument.object);
      }
      for (Object* inner : task->pinned) {
        if (inner->released()) todo.push_back(inner);
      }
    }
  }
  return plan;
}

}  // namespace skyray::core_worker
