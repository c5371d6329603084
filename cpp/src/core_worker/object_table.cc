// SPDX-License-Identifier: Apache-2.0
#include "core_worker/object_table.h"

#include <algorithm>

#include "common/logging.h"
#include "core_worker/object_stream.h"
#include "core_worker/task.h"

namespace skyray::core_worker {

bool Object::IsAt(const NodeId& node) const {
  return std::find(nodes.begin(), nodes.end(), node) != nodes.end();
}

ObjectTable::~ObjectTable() {
  for (auto& [id, object] : by_id_) delete object;
}

Object* ObjectTable::New(const ObjectId& id) {
  auto* object = new Object;
  object->id = id;
  ++count_;
  return object;
}

void ObjectTable::Publish(Object* object) {
  if (object->in_table) return;
  object->in_table = true;
  by_id_.emplace(object->id, object);
}

Object* ObjectTable::Restore(const ObjectId& id, const WorkerAddress& owner,
                             const std::optional<StoredAt>& stored) {
  if (Object* known = Find(id)) {
    Hold(known);
    return known;
  }
  Object* object = New(id);
  if (owner != self_) {
    object->owner = Intern(owner);
    ++borrowed_;
    if (stored) {
      object->state = ObjectState::InStore;
      object->hearsay = true;
      object->nodes.push_back(stored->node);
      object->store_bytes = stored->bytes;
      object->attempt = stored->attempt;
    }
  } else {
    object->state = ObjectState::InProcess;
    object->value = MakeErrorValue(
        ErrorCode::ObjectLost,
        "object " + id.Hex() + " was freed: no reference to it was left when this one was made");
  }
  Publish(object);
  return object;
}

std::optional<StoredAt> ObjectTable::PlaceOf(const Object& object) {
  if (object.state != ObjectState::InStore || object.nodes.empty()) return std::nullopt;
  if (object.extras && !object.extras->contained.empty()) return std::nullopt;
  return StoredAt{object.nodes.front(), object.store_bytes, object.attempt};
}

Object* ObjectTable::Find(const ObjectId& id) const {
  const auto it = by_id_.find(id);
  return it == by_id_.end() ? nullptr : it->second;
}

void ObjectTable::Drop(Object* object, FreedEffects& freed) {
  SKYRAY_CHECK(object->refs > 0);
  if (--object->refs == 0) MaybeFree(object, freed);
}

void ObjectTable::HoldForLineage(Object* object, FreedEffects& freed) {
  ++object->lineage_refs;
  Drop(object, freed);
}

void ObjectTable::HoldAgain(Object* object) {
  SKYRAY_CHECK(object->lineage_refs > 0);
  --object->lineage_refs;
  ++object->refs;
}

void ObjectTable::DropFromLineage(Object* object, FreedEffects& freed) {
  HoldAgain(object);
  Drop(object, freed);
}

void ObjectTable::TaskDone(Object* object, FreedEffects& freed) {
  object->task_pending = false;
  if (object->refs == 0) MaybeFree(object, freed);
}

void ObjectTable::MaybeFree(Object* object, FreedEffects& freed) {
  // Contained objects are freed in the loop, not by recursion: a list of lists
  // may be deep.
  Candidates candidates(1, object);
  while (!candidates.empty()) {
    Object* next = candidates.back();
    candidates.pop_back();
    if (next->refs > 0 || next->task_pending) continue;
    if (next->extras && !next->extras->borrowers.empty()) continue;
    // A small value is kept: nobody could make it again.
    if (next->lineage_refs > 0 && next->state == ObjectState::InProcess) continue;
    Release(next, freed, candidates);
    if (next->lineage_refs > 0) continue;
    if (next->maker != nullptr) {
      for (Object*& sibling : next->maker->returns) {
        if (sibling == next) sibling = nullptr;
      }
      Task* maker = next->maker;
      if (maker->stream && maker->stream->Kept(IndexOf(next->id) - kFirstItemIndex) == next) {
        maker->stream->Unkeep(next);
      }
      if (maker->kept && --maker->stored == 0) freed.unneeded.push_back(maker);
    }
    if (next->owner != nullptr) --borrowed_;
    if (next->in_table) by_id_.erase(next->id);
    --count_;
    delete next;
  }
}

void ObjectTable::Release(Object* object, FreedEffects& freed, Candidates& candidates) {
  if (object->owner == nullptr) {
    // Also if an error has taken the value's place since.
    if (!object->nodes.empty()) freed.store_copies.push_back({object->id, object->nodes});
    if (object->unheeded && object->state == ObjectState::InProcess &&
        IsTaskFailure(object->value->span())) {
      freed.unheeded.push_back(object->value);
    }
  } else if (object->registered) {
    freed.returned.push_back({object->id, *object->owner, 1 + object->registered_again});
    object->registered = false;
    object->registered_again = 0;
  }
  if (object->extras) {
    if (!object->extras->scope.IsNil()) freed.scopes.push_back(object->extras->scope);
    for (Object* inner : object->extras->contained) {
      if (--inner->refs == 0) candidates.push_back(inner);
    }
    object->extras->contained.clear();
  }
  if (object->state == ObjectState::InStore) Forget(object);
}

void ObjectTable::SetValue(Object* object, ValuePtr value, ReadyEffects& ready) {
  object->value = std::move(value);
  object->state = ObjectState::InProcess;
  MadeReady(object, ready);
}

void ObjectTable::StopWaiting(Task* task) {
  for (const RefArgument& argument : task->ref_args) {
    if (argument.object->extras) std::erase(argument.object->extras->dependents, task);
  }
  task->unresolved = 0;
}

void ObjectTable::SetInStore(Object* object, const NodeId& node, uint64_t bytes,
                             ReadyEffects& ready) {
  const bool was_pending = object->state == ObjectState::Pending;
  if (!object->IsAt(node)) object->nodes.push_back(node);
  if (object->maker != nullptr && !was_pending) ++object->attempt;
  object->store_bytes = bytes;
  object->state = ObjectState::InStore;
  if (was_pending) MadeReady(object, ready);
}

void ObjectTable::Forget(Object* object) {
  object->state = ObjectState::Pending;
  object->value = ValuePtr();
  object->nodes.clear();
  object->asked = false;
  object->hearsay = false;
  if (object->owner == nullptr) ++object->attempt;
}

bool Object::IsFailed() const { return state == ObjectState::InProcess && IsError(value->span()); }

void ObjectTable::MadeReady(Object* object, ReadyEffects& ready) {
  for (Waiter* waiter : object->waiters) {
    --waiter->remaining;
    if (waiter->until_error && object->IsFailed()) {
      waiter->remaining = 0;
      waiter->cut_short = true;
    }
    ready.waiters.push_back(waiter);
  }
  object->waiters.clear();
  if (!object->extras) return;
  ObjectExtras& extras = *object->extras;
  for (auto& callback : extras.callbacks) ready.callbacks.push_back(std::move(callback));
  extras.callbacks.clear();
  for (Task* task : extras.dependents) {
    if (--task->unresolved == 0) ready.unblocked.push_back(task);
  }
  extras.dependents.clear();
  for (const uint64_t channel : extras.remote_waiters) ready.answers.emplace_back(channel, object);
  extras.remote_waiters.clear();
}

void ObjectTable::Contain(Object* outer, Object* inner) {
  outer->Extras().contained.push_back(inner);
}

void ObjectTable::CountBorrower(Object* object, const WorkerAddress& borrower, int64_t change) {
  auto& borrowers = object->Extras().borrowers;
  const bool lent = !borrowers.empty();
  if ((borrowers[borrower] += change) == 0) borrowers.erase(borrower);
  lent_ = lent_ - lent + !borrowers.empty();
}

void ObjectTable::AddBorrower(const ObjectId& id, const WorkerAddress& borrower,
                              FreedEffects& freed) {
  Object* object = Find(id);
  if (object == nullptr || object->owner != nullptr) return;
  CountBorrower(object, borrower, 1);
  if (object->refs == 0) MaybeFree(object, freed);
}

void ObjectTable::RemoveBorrower(const ObjectId& id, const WorkerAddress& borrower,
                                 FreedEffects& freed, uint32_t count) {
  Object* object = Find(id);
  if (object == nullptr || object->owner != nullptr) return;
  CountBorrower(object, borrower, -static_cast<int64_t>(count));
  if (object->refs == 0) MaybeFree(object, freed);
}

void ObjectTable::BorrowerGone(const WorkerId& borrower, FreedEffects& freed) {
  const WorkerAddress address{NodeId(), borrower};
  std::vector<Object*> let_go;
  for (auto& [id, object] : by_id_) {
    if (!object->extras || object->extras->borrowers.erase(address) == 0) continue;
    lent_ -= object->extras->borrowers.empty();
    if (object->refs == 0) let_go.push_back(object);
  }
  for (Object* object : let_go) {
    // One of the earlier ones may have contained, and so freed, this one; those
    // that contained it held a reference, and it would not be in the list.
    MaybeFree(object, freed);
  }
}

std::vector<Object*> ObjectTable::PendingOf(const WorkerId& owner) const {
  std::vector<Object*> found;
  for (const auto& [id, object] : by_id_) {
    if (object->owner != nullptr && object->owner->worker == owner &&
        object->state == ObjectState::Pending) {
      found.push_back(object);
    }
  }
  return found;
}

const WorkerAddress* ObjectTable::Intern(const WorkerAddress& address) {
  auto& slot = addresses_[address.worker];
  if (!slot) slot = std::make_unique<WorkerAddress>(address);
  return slot.get();
}

}  // namespace skyray::core_worker
