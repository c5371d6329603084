// SPDX-License-Identifier: Apache-2.0
// Objects whose copies are lost, made again by the tasks that made them.
#include "common/logging.h"
#include "core_worker/core_worker.h"
#include "core_worker/frames_out.h"

namespace skyray::core_worker {

namespace {

// `how` the last copy went, if that is known.
Status DescribeLoss(const Object& object, Unrecoverable why, const std::string& how) {
  const std::string what = "object " + object.id.Hex() + " is lost: all its copies are gone" +
                           (how.empty() ? std::string() : " (" + how + ")");
  switch (why) {
    case Unrecoverable::NoTask:
      return Status(ErrorCode::ObjectLost,
                    what +
                        ", and it cannot be computed again, as it was made by put(), or by a "
                        "task or actor method without retries; make it in a task with "
                        "max_retries, or put it again");
    case Unrecoverable::Evicted:
      return Status(ErrorCode::ReconstructionFailed,
                    what +
                        ", and the task that made it was forgotten, as what is kept to compute "
                        "lost objects again is bounded; raise max_lineage_bytes");
    case Unrecoverable::NoRetries:
      return Status(ErrorCode::ReconstructionFailed,
                    what +
                        ", and the task that made it has been run as often as its max_retries "
                        "allow (max attempts exceeded)");
    case Unrecoverable::ActorDied:
      return Status(ErrorCode::ReconstructionFailed,
                    what + ", and the actor whose method made it is dead");
  }
  return Status(ErrorCode::ObjectLost, what);
}

}  // namespace

void CoreWorker::ReportLost(Object* object, uint32_t attempt, const std::string& how) {
  // Somebody was faster, and it is another copy by now.
  if (object->state != ObjectState::InStore || object->attempt != attempt) return;
  if (object->owner == nullptr) return Recover(object, how);
  // Hearsay may be old: its owner may have other copies, and is asked where they are first.
  const uint32_t lost_attempt = object->hearsay ? 0 : attempt + 1;
  objects_.Forget(object);
  AskOwner(object, lost_attempt);
}

void CoreWorker::Recover(Object* object, const std::string& how) {
  const RecoveryPlan plan = PlanRecovery(object);
  if (object->state == ObjectState::InStore) {
    // Damaged perhaps, and in the way of the next one.
    if (object->IsAt(self_.node)) store_->Delete({&object->id, 1});
    objects_.Forget(object);
  }
  if (!raylet_lost_.empty()) return FailObject(object, ErrorCode::NodeDied, raylet_lost_);
  for (Object* item : plan.awaited) {
    ObjectStream& stream = *item->maker->stream;
    stream.LostInRun(item);
    if (stream.bounded()) TellTaken(stream, *item->maker);
  }
  // These wait for what is failed then, if they need it.
  for (Task* task : plan.again) RunAgain(task);
  for (const auto& [lost, why] : plan.impossible) {
    const Status status = DescribeLoss(*lost, why, how);
    if (lost == object) {
      FailObject(lost, status.code(), status.message());
    } else {
      FailObject(lost, ErrorCode::ReconstructionFailed,
                 "object " + object->id.Hex() +
                     " is lost, and to compute it again takes another: " + status.message());
    }
  }
}

void CoreWorker::RunAgain(Task* task) {
  SKYRAY_LOG(Debug) << "task " << task->function->name << " (" << task->id.Hex()
                    << ") is run again, as what it returned is lost";
  lineage_.Remove(task);
  ++tasks_pending_;
  if (task->retries_left > 0) --task->retries_left;
  task->sent = false;
  task->stored = 0;
  task->kept = false;
  if (task->stream) {
    for (Object* item : task->stream->AllKept()) item->task_pending = true;
  }
  for (size_t i = 0; i < task->returns.size(); ++i) {
    Object*& object = task->returns[i];
    if (object == nullptr) {
      object = objects_.New(ObjectIdOf(task->id, static_cast<uint32_t>(i + 1)));
      object->refs = 0;
    }
    object->maker = task;
    object->task_pending = true;
  }
  for (const RefArgument& argument : task->ref_args) HoldAgain(argument.object);
  for (Object* inner : task->pinned) HoldAgain(inner);
  WaitForArguments(task);
  if (task->actor != nullptr) {
    --task->actor->kept_calls;
    if (task->counted) ++task->actor->pending_calls;
    actors_.RunAgain(task->actor, task);
  }
  if (task->unresolved == 0) {
    Dispatch(nullptr, task);
  } else if (task->actor == nullptr) {
    awaiting_arguments_.Add(task);
  }
}

void CoreWorker::HoldAgain(Object* object) {
  objects_.HoldAgain(object);
  if (object->owner == nullptr || object->registered) return;
  object->registered = true;
  TellBorrow(true, {object->id, *object->owner}, self_);
}

void CoreWorker::KeepLineage(Task* task) {
  FreedEffects freed;
  if (task->actor != nullptr) ++task->actor->kept_calls;
  if (task->counted && --task->actor->pending_calls == 0 && task->actor->EndsWithCalls()) {
    LastCallEnded(task->actor);
  }
  --tasks_pending_;
  for (const RefArgument& argument : task->ref_args) {
    objects_.HoldForLineage(argument.object, freed);
  }
  for (Object* inner : task->pinned) objects_.HoldForLineage(inner, freed);
  const std::vector<Task*> evicted = lineage_.Keep(task);
  task->kept = true;
  // One more, so that the task is not let go of between two of its returns.
  ++task->stored;
  for (Object*& object : task->returns) {
    Object* done = object;
    if (done->state != ObjectState::InStore) {
      done->maker = nullptr;
      object = nullptr;
    }
    objects_.TaskDone(done, freed);
  }
  Object* again = nullptr;  // An item that was lost when the run had passed it.
  if (task->stream) {
    for (Object* item : task->stream->AllKept()) {
      if (item->state == ObjectState::Pending && item->refs > 0) again = item;
      objects_.TaskDone(item, freed);
    }
  }
  if (again != nullptr) objects_.Hold(again);
  if (--task->stored == 0) freed.unneeded.push_back(task);
  for (Task* old : evicted) {
    std::erase(freed.unneeded, old);
    EndLineage(old, /*evicted=*/true, freed);
  }
  Apply(freed);
  if (again == nullptr) return;
  if (again->state == ObjectState::Pending && !again->task_pending) Recover(again);
  objects_.Drop(again, freed);
  Apply(freed);
}

void CoreWorker::LetGoOfItems(Task* task, FreedEffects& freed) {
  for (Object* item : task->stream->AllKept()) {
    task->stream->Unkeep(item);
    objects_.TaskDone(item, freed);
  }
}

void CoreWorker::EndLineage(Task* task, bool evicted, FreedEffects& freed) {
  for (Object* object : task->returns) {
    if (object == nullptr) continue;
    object->maker = nullptr;
    object->lineage_evicted = evicted;
  }
  if (task->stream) {
    for (Object* item : task->stream->AllKept()) {
      item->lineage_evicted = evicted;
      if (item->state != ObjectState::Pending || item->refs == 0) continue;
      const Status status = DescribeLoss(*item, Unrecoverable::Evicted, "");
      FailObject(item, status.code(), status.message());
    }
    LetGoOfItems(task, freed);
  }
  for (const RefArgument& argument : task->ref_args) {
    objects_.DropFromLineage(argument.object, freed);
  }
  for (Object* inner : task->pinned) objects_.DropFromLineage(inner, freed);
  if (task->actor != nullptr && --task->actor->kept_calls == 0) ForgetIfUnused(task->actor);
  delete task;
}

void CoreWorker::Bounced(Task* task, const ObjectId& lost) {
  Actor* actor = task->actor;
  task->sent = false;
  task->bounced = true;
  ++task->unresolved;  // It is not to leave while its argument is looked after.
  actors_.PutBack(actor, {task});
  for (const RefArgument& argument : task->ref_args) {
    if (argument.object->id == lost) ReportLost(argument.object, argument.attempt);
  }
  WaitForArguments(task);
  --task->unresolved;
  PumpActor(nullptr, actor);
}

Result<ReadableValue> CoreWorker::ReadFromOwner(const ObjectId& id, const WorkerAddress& owner) {
  Object* object = Restore(id, owner);
  const WaitResult result = WaitReady({&object, 1}, 1, INT64_MAX);
  Result<ReadableValue> value = result == WaitResult::Done
                                    ? Read(object, INT64_MAX, /*may_wait=*/true)
                                    : Status(ErrorCode::Cancelled, "interrupted");
  Drop(object);
  return value;
}

bool CoreWorker::SkipReturn(ByteReader& reader, Channel& channel, const ObjectId& id,
                            bool delete_copy) {
  ReturnHeader head;
  std::span<const uint8_t> payload;
  if (!reader.Read(head)) return false;
  if (head.in_store == 0 && !reader.ReadBytes(head.bytes, payload)) return false;
  Object* unwanted = objects_.New(id);
  bool good = true;
  for (uint32_t i = 0; good && i < head.contained; ++i) {
    OwnedRef ref;
    good = reader.Read(ref);
    if (good) TakeContained(unwanted, ref, channel.peer);
  }
  ReadyEffects ready;
  if (delete_copy && head.in_store != 0) {
    objects_.SetInStore(unwanted, channel.peer.node, head.bytes, ready);
  }
  FreedEffects freed;
  objects_.Drop(unwanted, freed);
  Apply(freed);
  return good;
}

}  // namespace skyray::core_worker
