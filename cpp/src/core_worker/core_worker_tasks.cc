// SPDX-License-Identifier: Apache-2.0
// Submitting tasks, leasing workers for them, and taking their replies.
#include <algorithm>
#include <boost/container/small_vector.hpp>

#include "common/logging.h"
#include "core_worker/core_worker.h"
#include "core_worker/frames_out.h"

namespace skyray::core_worker {
namespace fbr = fb::raylet;
namespace fbw = fb::worker;

namespace {

bool HasArgument(const Task& task, const ObjectId& id) {
  return std::any_of(task.ref_args.begin(), task.ref_args.end(),
                     [&](const RefArgument& argument) { return argument.object->id == id; });
}

thread_local const TaskId* current_task = nullptr;

// Spreads a counter over all 64 bits; one-to-one, so ids of a process never meet.
// (The finalizer of SplitMix64, Steele et al., OOPSLA 2014.)
uint64_t Scatter(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

}  // namespace

Function* CoreWorker::InternFunction(const FunctionId& id, const std::string& name,
                                     const FunctionOptions& options) {
  Lock lock(gateway_.mutex());
  std::string key = std::string(id.Binary()) + name;
  if (options.max_calls != 0 || !options.retry_exceptions.empty()) {
    key += '\n' + std::to_string(options.max_calls) + '\n' + options.retry_exceptions;
  }
  if (options.items_untaken_max != 0) key += '\0' + std::to_string(options.items_untaken_max);
  if (!options.records_events) key += '\v';
  auto& slot = functions_[key];
  if (!slot) {
    slot = std::make_unique<Function>();
    slot->id = id;
    slot->name = name;
    slot->retry_exceptions = options.retry_exceptions;
    slot->items_untaken_max = options.items_untaken_max;
    slot->records_events = options.records_events;
    slot->max_calls = options.max_calls;
  }
  return slot.get();
}

LeaseClass* CoreWorker::InternLeaseClass(const ResourceSet& resources, const Strategy& strategy,
                                         const std::string& runtime_env, bool retriable) {
  Lock lock(gateway_.mutex());
  return submitter_.ClassOf(resources, strategy, runtime_env, retriable);
}

void CoreWorker::SetCurrentTask(const TaskId* task) { current_task = task; }

Task* CoreWorker::NewTask(Function* function, uint16_t returns, CallArguments& arguments) {
  auto* task = new Task;
  task->function = function;
  task->returns_asked = returns;
  task->args = std::move(arguments.payload);
  task->flags = arguments.flags;
  task->ref_args = std::move(arguments.refs);
  task->pinned = std::move(arguments.pinned);
  const uint64_t unique = Scatter(task_seed_ + task_counter_++);
  std::memcpy(task->id.mutable_data(), &unique, sizeof unique);
  // A normal task's: 12 bytes of ours, and the job; an actor's are put in its place.
  std::memcpy(task->id.mutable_data() + 8, self_.worker.data(), 12);
  std::memcpy(task->id.mutable_data() + 20, session_.job_id.data(), JobId::kSize);
  if (current_task != nullptr) task->parent = *current_task;
  ++tasks_pending_;
  return task;
}

ObjectList CoreWorker::MakeReturns(Task* task) {
  task->returns.reserve(task->returns_asked);
  for (uint32_t i = 1; i <= task->returns_asked; ++i) {
    Object* object = objects_.New(ObjectIdOf(task->id, i));
    object->task_pending = true;
    object->unheeded = true;
    object->maker = task;
    task->returns.push_back(object);
  }
  return task->returns;
}

ObjectList CoreWorker::SubmitTask(const TaskTemplate& options, CallArguments arguments,
                                  std::shared_ptr<ObjectStream>* stream) {
  Lock lock(gateway_.mutex());
  Task* task = NewTask(options.function, options.returns, arguments);
  task->lease_class = options.lease_class;
  task->retries_left = options.max_retries;
  ObjectList returns = MakeReturns(task);
  MakeStream(task, options.generator, stream);
  if (!raylet_lost_.empty()) {
    Complete(task, MakeErrorValue(ErrorCode::NodeDied, raylet_lost_));
    return returns;
  }
  WaitForArguments(task);
  if (task->unresolved == 0) {
    Dispatch(&lock, task);
  } else {
    awaiting_arguments_.Add(task);
  }
  return returns;
}

void CoreWorker::WaitForArguments(Task* task) {
  for (const RefArgument& argument : task->ref_args) {
    argument.object->unheeded = false;
    if (argument.object->state != ObjectState::Pending) continue;
    ++task->unresolved;
    argument.object->Extras().dependents.push_back(task);
    AskOwner(argument.object);
  }
}

ValuePtr CoreWorker::ArgumentError(const Task& task) const {
  for (const RefArgument& argument : task.ref_args) {
    const Object& object = *argument.object;
    if (object.state == ObjectState::InProcess && IsError(object.value->span())) {
      return object.value;
    }
  }
  return ValuePtr();
}

void CoreWorker::Dispatch(Lock* lock, Task* task) {
  if (task->actor != nullptr && !creations_.contains(task)) return PumpActor(lock, task->actor);
  ValuePtr error = ArgumentError(*task);
  if (!error && !raylet_lost_.empty()) {
    error = MakeErrorValue(ErrorCode::NodeDied, raylet_lost_);
  }
  if (error) {
    return creations_.contains(task) ? FailCreation(task, error) : Complete(task, error);
  }
  if (creations_.contains(task)) return SendCreation(task);
  SubmitActions actions;
  submitter_.Submit(task, actions);
  Perform(lock, actions);
}

void CoreWorker::Unblock(std::span<Task* const> unblocked) {
  // Sorted before any goes on: what one sets off may complete an actor's calls, and end
  // its creation, that come later here.
  boost::container::small_vector<Task*, 4> tasks;
  std::vector<Task*> creations;
  std::vector<Actor*> actors;
  for (Task* task : unblocked) {
    awaiting_arguments_.Remove(task);
    if (task->actor == nullptr) {
      tasks.push_back(task);
    } else if (creations_.contains(task)) {
      creations.push_back(task);
    } else if (std::find(actors.begin(), actors.end(), task->actor) == actors.end()) {
      actors.push_back(task->actor);
    }
  }
  for (Task* task : tasks) Dispatch(nullptr, task);
  for (Task* creation : creations) {
    if (creations_.contains(creation)) Dispatch(nullptr, creation);
  }
  for (Actor* actor : actors) PumpActor(nullptr, actor);
}

void CoreWorker::Perform(Lock* lock, SubmitActions& actions) {
  // A lone call is written at once; with company nothing may let go of the mutex
  // while the actions are half done.
  const bool lone = lock != nullptr && actions.send.size() == 1 && actions.request.empty() &&
                    actions.give_back.empty();
  for (const auto& [lease, task] : actions.send) {
    SendCall(lone ? lock : nullptr, *lease->channel, task, /*keep_arguments=*/true);
  }
  for (LeaseClass* lease_class : actions.request) RequestLease(lease_class, NodeId());
  for (const auto& lease : actions.give_back) {
    SendReturnLease(*lease, /*worker_failed=*/false);
  }
  if (lock != nullptr && !lone) gateway_.FlushDirty(*lock);
}

void CoreWorker::SendReturnLease(const Lease& lease, bool worker_failed) {
  if (!raylet_lost_.empty()) return;
  SendRaylet(
      nullptr,
      [&](Builder& builder, fbr::Body& type) {
        type = fbr::Body::ReturnLease;
        const auto id = PutId(builder, lease.id);
        const auto node = PutId(builder, lease.node);
        return fbr::CreateReturnLease(builder, id, node, worker_failed).Union();
      },
      nullptr);
}

void CoreWorker::RequestLease(LeaseClass* lease_class, const NodeId& node) {
  PendingRequest pending;
  pending.kind = PendingRequest::Kind::Lease;
  pending.lease_class = lease_class;
  pending.node = node.IsNil() ? self_.node : node;
  SendRaylet(
      nullptr,
      [&](Builder& builder, fbr::Body& type) {
        const auto resources = PutResources(builder, lease_class->resources);
        const auto strategy = PutStrategy(builder, lease_class->strategy);
        const auto name = builder.CreateString(lease_class->name);
        const auto job = PutId(builder, session_.job_id);
        const auto runtime_env = builder.CreateString(lease_class->runtime_env);
        const auto request = fbr::CreateRequestLease(builder, resources, strategy, name,
                                                     /*spilled=*/!node.IsNil(), job, runtime_env,
                                                     lease_class->retriable);
        if (node.IsNil()) {
          type = fbr::Body::RequestLease;
          return request.Union();
        }
        type = fbr::Body::RequestLeaseAt;
        return fbr::CreateRequestLeaseAt(builder, PutId(builder, node), request).Union();
      },
      &pending);
}

void CoreWorker::OnLeaseReply(const PendingRequest& pending, const fbr::LeaseReply& reply) {
  SubmitActions actions;
  if (reply.result() == fbr::LeaseResult::Spillback) {
    return RequestLease(pending.lease_class, ToId<NodeId>(reply.node_id()));
  }
  if (reply.result() == fbr::LeaseResult::Failed || reply.worker() == nullptr) {
    const ValuePtr error = MakeErrorValue(reply.error(), ToString(reply.message()));
    for (Task* task : submitter_.RequestFailed(pending.lease_class)) Complete(task, error);
    return;
  }
  auto lease = std::make_unique<Lease>();
  lease->id = ToId<LeaseId>(reply.lease_id());
  lease->node = pending.node;
  lease->worker = ToAddress(reply.worker());
  lease->pid = reply.worker_pid();
  Builder builder(256);
  std::vector<std::string> gpu_ids;
  if (reply.gpu_ids() != nullptr) {
    for (const auto* id : *reply.gpu_ids()) gpu_ids.push_back(id->str());
  }
  std::vector<flatbuffers::Offset<fbw::Resource>> resources;
  for (const auto& [name, amount] : pending.lease_class->resources.amounts()) {
    resources.push_back(fbw::CreateResource(builder, builder.CreateString(name), amount));
  }
  const auto id = PutId(builder, lease->id);
  const auto gpus = builder.CreateVectorOfStrings(gpu_ids);
  const auto resource_list = builder.CreateVector(resources);
  const auto bind = fbw::CreateBindLease(builder, id, gpus, resource_list).Union();
  builder.Finish(fbw::CreateMessage(builder, fbw::Body::BindLease, bind));
  SendPeer(lease->worker, builder);
  lease->channel = GetPeer(lease->worker)->channel;
  submitter_.Granted(pending.lease_class, std::move(lease), NowNs(), actions);
  Perform(nullptr, actions);
  gateway_.WakeForTimer();  // It may be idle from the start.
}

void CoreWorker::DefineFunction(Channel& channel, const Function* function) {
  const auto index = static_cast<uint32_t>(channel.defined.size());
  channel.defined.emplace(function, index);
  Builder builder(256);
  const auto id = PutId(builder, function->id);
  const auto method = builder.CreateString(function->method);
  const auto name = builder.CreateString(function->name);
  Bytes retry;
  if (!function->retry_exceptions.empty()) {
    retry =
        builder.CreateVector(reinterpret_cast<const uint8_t*>(function->retry_exceptions.data()),
                             function->retry_exceptions.size());
  }
  const auto group = builder.CreateString(function->group);
  const auto body =
      fbw::CreateDefineFunction(builder, index, id, method, name, retry, function->max_calls, group,
                                function->items_untaken_max, function->records_events)
          .Union();
  builder.Finish(fbw::CreateMessage(builder, fbw::Body::DefineFunction, body));
  AppendFrame(channel.out, builder);
}

void CoreWorker::SendCall(Lock* lock, Channel& channel, Task* task, bool keep_arguments) {
  auto known = channel.defined.find(task->function);
  if (known == channel.defined.end()) {
    DefineFunction(channel, task->function);
    known = channel.defined.find(task->function);
  }
  const uint64_t sequence = channel.in_flight.Add(task);
  for (RefArgument& argument : task->ref_args) {
    PublishCopy(argument.object);
    argument.attempt = argument.object->attempt;
  }
  AppendCall(channel.out, *task, task->args, sequence, known->second, self_);
  if (!keep_arguments) task->args = std::string();
  task->sent = true;
  last_called_ = &channel;
  if (lock == nullptr) {
    gateway_.MarkDirty(channel);
  } else {
    // A peer that has work already loses nothing if this call waits for company.
    gateway_.Commit(*lock, channel, /*lazy=*/channel.in_flight.size() > 1);
  }
}

void CoreWorker::PublishCopy(Object* object) {
  // Who finds the copies lost asks us for it by name.
  if (object->state != ObjectState::InProcess) objects_.Publish(object);
}

void CoreWorker::FinishTask(Task* task) {
  if (task->stream) task->stored += static_cast<uint32_t>(task->stream->kept_count());
  if (task->stored > 0 && task->retries_left != 0) return KeepLineage(task);
  FreedEffects freed;
  if (task->stream) LetGoOfItems(task, freed);
  for (const RefArgument& argument : task->ref_args) objects_.Drop(argument.object, freed);
  for (Object* object : task->pinned) objects_.Drop(object, freed);
  for (Object* object : task->returns) {
    object->maker = nullptr;
    objects_.TaskDone(object, freed);
  }
  if (!freed.empty()) Apply(freed);
  if (task->counted && --task->actor->pending_calls == 0 && task->actor->EndsWithCalls()) {
    LastCallEnded(task->actor);
  }
  --tasks_pending_;
  awaiting_arguments_.Remove(task);
  delete task;
}

void CoreWorker::Complete(Task* task, const ValuePtr& error) {
  ReadyEffects ready;
  EndStream(task, error, ready);
  for (Object* object : task->returns) {
    // Others are made a second time only, beside a lost one.
    if (object->state == ObjectState::Pending) objects_.SetValue(object, error, ready);
  }
  Apply(ready);
  task->stored = 0;
  FinishTask(task);
}

// Fills the returns with what the reply has for them. False: it makes no sense.
bool CoreWorker::TakeReturns(ByteReader& reader, const ReplyHeader& header, Channel& channel,
                             Task* task, bool& retry, std::optional<ObjectId>& lost) {
  ReadyEffects ready;
  if ((header.flags & kReplyIsError) != 0) {
    ReturnHeader head;
    std::span<const uint8_t> payload;
    if (!reader.Read(head) || !reader.ReadBytes(head.bytes, payload)) return false;
    if ((header.flags & kReplyArgumentLost) != 0) {
      OwnedRef ref;
      if (head.contained != 1 || !reader.Read(ref) || !HasArgument(*task, ref.object)) return false;
      if (task->actor != nullptr && !task->cancelled) lost = ref.object;
    }
    retry = (header.flags & kReplyRetryable) != 0 && task->retries_left != 0;
    if (retry) TellRetried(*task, CopyValue(payload));
    if (retry || lost) return true;
    const ValuePtr error = task->cancelled ? CancelledError(*task) : CopyValue(payload);
    EndStream(task, error, ready);
    for (Object* object : task->returns) {
      if (object->state == ObjectState::Pending) objects_.SetValue(object, error, ready);
    }
    Apply(ready);
    return true;
  }
  bool good = header.returns == task->returns.size();
  if (task->cancelled && task->actor != nullptr) {
    // It ran to its end, which nobody wants any more.
    for (size_t i = 0; good && i < task->returns.size(); ++i) {
      good = SkipReturn(reader, channel, task->returns[i]->id, /*delete_copy=*/true);
    }
    const ValuePtr error = CancelledError(*task);
    EndStream(task, error, ready);
    for (Object* object : task->returns) objects_.SetValue(object, error, ready);
  } else {
    for (size_t i = 0; good && i < task->returns.size(); ++i) {
      good = TakeReturn(reader, channel, task, i);
    }
    if (good) EndStream(task, ValuePtr(), ready);
  }
  Apply(ready);
  return good;
}

void CoreWorker::OnReply(Channel& channel, std::span<const uint8_t> body) {
  ByteReader reader(body);
  ReplyHeader header;
  Task* task = nullptr;
  if (reader.Read(header)) task = channel.in_flight.Take(header.sequence);
  bool retry = false;
  std::optional<ObjectId> lost;
  bool good = task != nullptr && TakeReturns(reader, header, channel, task, retry, lost);
  for (uint32_t i = 0; good && i < header.borrowed; ++i) {
    OwnedRef ref;
    good = reader.Read(ref);
    if (good) TellBorrow(true, ref, channel.peer);
  }
  if (!good) {
    SKYRAY_LOG(Warning) << "dropped worker " << channel.peer.worker.Hex() << ": a malformed reply";
    if (task != nullptr) {
      const ValuePtr error =
          MakeErrorValue(ErrorCode::Internal, "the worker sent a malformed reply");
      ReadyEffects ready;
      for (Object* object : task->returns) {
        // What it said of the first ones is not believed either.
        if (object->state != ObjectState::InProcess) objects_.SetValue(object, error, ready);
      }
      Apply(ready);
      Complete(task, error);
    }
    gateway_.CloseChannel(channel);
    return OnClosed(channel);
  }
  if (retry) return RetryRaised(task, header.execute_us);
  if (lost) return Bounced(task, *lost);
  if (task->lease != nullptr) {
    SubmitActions actions;
    const bool was_busy = task->lease->in_flight > 1;
    submitter_.Replied(task, header.execute_us, NowNs(), actions);
    FinishTask(task);
    Perform(nullptr, actions);
    if (!was_busy) gateway_.WakeForTimer();
  } else {
    FinishTask(task);
  }
}

void CoreWorker::RetryRaised(Task* task, uint32_t execute_us) {
  if (task->retries_left > 0) --task->retries_left;
  task->sent = false;
  if (task->actor != nullptr) {
    task->actor->queue.push_front(task);
    return PumpActor(nullptr, task->actor);
  }
  SubmitActions actions;
  submitter_.Replied(task, execute_us, NowNs(), actions);
  Perform(nullptr, actions);
  Dispatch(nullptr, task);
}

bool CoreWorker::TakeReturn(ByteReader& reader, Channel& channel, Task* task, size_t index) {
  Object* object = task->returns[index];
  // Made a second time, for the sake of another return.
  if (object->state == ObjectState::InProcess) {
    return SkipReturn(reader, channel, object->id, /*delete_copy=*/true);
  }
  if (!TakeValue(reader, channel, object)) return false;
  if (object->state == ObjectState::InStore) ++task->stored;
  return true;
}

bool CoreWorker::TakeValue(ByteReader& reader, Channel& channel, Object* object) {
  ReturnHeader head;
  if (!reader.Read(head)) return false;
  ReadyEffects ready;
  std::span<const uint8_t> payload;
  if (head.in_store == 0 && !reader.ReadBytes(head.bytes, payload)) return false;
  for (uint32_t i = 0; i < head.contained; ++i) {
    OwnedRef ref;
    if (!reader.Read(ref)) return false;
    TakeContained(object, ref, channel.peer);
  }
  if (head.in_store == 0) {
    objects_.SetValue(object, CopyValue(payload), ready);
  } else {
    objects_.SetInStore(object, channel.peer.node, head.bytes, ready);
  }
  Apply(ready);
  return true;
}

void CoreWorker::OnHandBack(Channel& channel, const fbw::HandBack& message) {
  if (message.sequences() == nullptr) return;
  std::vector<Task*> back;
  for (const uint64_t sequence : *message.sequences()) {
    if (Task* task = channel.in_flight.Take(sequence)) back.push_back(task);
  }
  TakeBack(back);
}

void CoreWorker::OnRetired(Channel& channel) {
  SubmitActions actions;
  submitter_.Retired(channel.peer.worker, actions);
  Perform(nullptr, actions);
  std::vector<Task*> back;
  for (const NumberedTask& numbered : channel.in_flight.TakeAll()) back.push_back(numbered.task);
  TakeBack(back);
}

void CoreWorker::TakeBack(const std::vector<Task*>& back) {
  std::vector<Task*> tasks, calls;
  for (Task* task : back) {
    task->sent = false;
    if (!task->cancelled) {
      (task->actor != nullptr ? calls : tasks).push_back(task);
      continue;
    }
    SubmitActions actions;
    if (task->lease != nullptr) submitter_.Withdraw(task, NowNs(), actions);
    Complete(task, CancelledError(*task));
    Perform(nullptr, actions);
  }
  if (!calls.empty()) {
    Actor* actor = calls.front()->actor;  // A channel is one actor's.
    actors_.PutBack(actor, calls);
    PumpActor(nullptr, actor);
  }
  SubmitActions actions;
  submitter_.HandedBack(tasks, NowNs(), actions);
  Perform(nullptr, actions);
}

void CoreWorker::OnLeaseLost(const fbr::LeaseLost& lost) {
  const auto id = ToId<LeaseId>(lost.lease_id());
  Lease* lease = submitter_.Find(id);
  if (lease == nullptr) return;
  LostLease& told = lost_leases_[id];
  told.how = DescribeExit(lost.exit());
  if (lost.exit()->error() != ErrorCode::Ok) told.code = lost.exit()->error();
  told.no_retry = lost.exit()->no_retry();
  if (lost.started() != UINT64_MAX) told.started = lost.started();
  told.free =
      lost.exit()->expected() && lost.exit()->signal() == 0 && lost.exit()->exit_code() == 0;
  // Nobody saw how it ended: its node is gone. What is run again is not to go to another of
  // its workers, of which the news comes next.
  if (lost.exit()->signal() == 0 && lost.exit()->exit_code() < 0) submitter_.NodeGone(lease->node);
  if (lease->channel && !lease->channel->closed) return;  // Replies may still be in its socket.
  FinishLostLease(lease);
}

void CoreWorker::FinishLostLease(Lease* lease) {
  auto told = lost_leases_.extract(lease->id);
  const LostLease lost = told ? std::move(told.mapped())
                              : LostLease{raylet_lost_, ErrorCode::NodeDied, false, false, {}};
  LeaseClass* lease_class = lease->lease_class;
  const std::unique_ptr<Lease> owned = submitter_.Lost(lease->id);
  for (const auto& [sequence, task] : owned->lost_tasks) {
    task->lease = nullptr;
    // The last to have been started was running. What came before had only not been answered
    // yet, what came after not been started: both are run again as if nothing had been.
    const bool unstarted = lost.started && sequence >= *lost.started;
    const bool ended = lost.started && sequence + 1 < *lost.started;
    const bool unharmed = lost.free || unstarted || (ended && task->retries_left != 0);
    if (unharmed && raylet_lost_.empty() && !task->cancelled) {
      task->sent = false;
      Dispatch(nullptr, task);
      continue;
    }
    // Without word of how far it was all may have been started, but the first was running.
    const bool ran = lost.started ? !ended : task == owned->lost_tasks.front().task;
    RetryOrFail(task, lost.code,
                "task " + task->function->name + " (" + task->id.Hex() + ") was lost: " + lost.how,
                !lost.no_retry || !ran);
  }
  SubmitActions actions;
  submitter_.Pump(lease_class, actions);
  Perform(nullptr, actions);
}

void CoreWorker::RetryOrFail(Task* task, ErrorCode code, const std::string& message, bool retry) {
  if (task->cancelled) return Complete(task, CancelledError(*task));
  if (task->retries_left == 0 || !retry || !raylet_lost_.empty()) {
    return Complete(task, MakeErrorValue(code, message));
  }
  // Memory that others used is no fault of the task's: such ends have a count of their own.
  if (code == ErrorCode::OutOfMemoryKilled) {
    if (task->oom_retries == options_.oom_retries_max) {
      return Complete(task, MakeErrorValue(code, message));
    }
    if (options_.oom_retries_max > 0) ++task->oom_retries;
  } else {
    TellRetried(*task, MakeErrorValue(code, message));
    if (task->retries_left > 0) --task->retries_left;
  }
  task->sent = false;
  Dispatch(nullptr, task);
}

}  // namespace skyray::core_worker
