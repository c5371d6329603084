// SPDX-License-Identifier: Apache-2.0
// Creating actors, following their fate, and calling them.
#include "common/logging.h"
#include "core_worker/core_worker.h"
#include "core_worker/frames_out.h"

namespace skyray::core_worker {
namespace fbr = fb::raylet;

namespace {

// An actor that cannot be reached is asked so long after, then at twice the time.
constexpr int64_t kProbeFirstNs = 20'000'000;
constexpr int64_t kProbeLastNs = 2'000'000'000;

flatbuffers::Offset<fbr::ActorSpec> PutActorSpec(Builder& builder, const ActorOptions& options,
                                                 const ActorId& id, const JobId& job,
                                                 const WorkerAddress& owner,
                                                 const std::string& creation_task,
                                                 const ValuePtr& error) {
  const auto actor = PutId(builder, id);
  const auto job_id = PutId(builder, job);
  const auto class_name = builder.CreateString(options.class_name);
  const auto name = builder.CreateString(options.name);
  const auto ray_namespace = builder.CreateString(options.ray_namespace);
  const auto placement = PutResources(builder, options.placement_resources);
  const auto resources = PutResources(builder, options.resources);
  const auto strategy = PutStrategy(builder, options.strategy);
  const auto owner_address = PutAddress(builder, owner);
  const auto task = builder.CreateVector(reinterpret_cast<const uint8_t*>(creation_task.data()),
                                         creation_task.size());
  const auto handle = builder.CreateVector(reinterpret_cast<const uint8_t*>(options.handle.data()),
                                           options.handle.size());
  const auto runtime_env = builder.CreateString(options.runtime_env);
  Bytes creation_error;
  if (error) creation_error = builder.CreateVector(error->data(), error->bytes());
  return fbr::CreateActorSpec(builder, actor, job_id, class_name, name, ray_namespace,
                              options.detached, options.max_restarts, /*max_concurrency=*/1,
                              placement, resources, strategy, owner_address, task, handle,
                              runtime_env, creation_error);
}

// What a worker has to know to become the actor.
std::string PutCreation(const ActorOptions& options, std::string_view call) {
  Builder builder(256 + call.size());
  const auto class_id = PutId(builder, options.class_id);
  std::vector<flatbuffers::Offset<fb::worker::ConcurrencyGroup>> groups;
  for (const ConcurrencyGroup& group : options.concurrency.groups) {
    const auto name = builder.CreateString(group.name);
    groups.push_back(fb::worker::CreateConcurrencyGroup(builder, name, group.limit));
  }
  const auto group_list = builder.CreateVector(groups);
  const auto bytes =
      builder.CreateVector(reinterpret_cast<const uint8_t*>(call.data()), call.size());
  builder.Finish(fb::worker::CreateActorCreation(builder, class_id, options.concurrency.is_async,
                                                 group_list, bytes, options.records_events));
  return {reinterpret_cast<const char*>(builder.GetBufferPointer()), builder.GetSize()};
}

std::string HandleOf(const fbr::ActorInfo& info) {
  if (info.handle() == nullptr) return {};
  return {reinterpret_cast<const char*>(info.handle()->data()), info.handle()->size()};
}

}  // namespace

Result<CoreWorker::CreatedActor> CoreWorker::CreateActor(ActorOptions options,
                                                         CallArguments arguments) {
  Actor* actor = nullptr;
  const bool named = !options.name.empty();
  std::vector<uint8_t> reply;
  {
    Lock lock(gateway_.mutex());
    const ActorId id = RandomActorId(session_.job_id);
    bool made = false;
    actor = actors_.Get(id, made);
    actor->class_name = options.class_name;
    actor->ours = !options.detached;
    actor->handle = options.handle;
    actor->handles = 1;
    actor->keep_creation = options.max_restarts != 0;
    Function* constructor = actors_.Method(actor, "__init__");
    Task* task = NewTask(constructor, 0, arguments);
    constructor->id = options.class_id;
    task->id = ActorCreationTask(id);
    task->actor = actor;
    creations_.emplace(task, Creation{std::move(options), actor});
    WaitForArguments(task);
    GatewayWaiter waiter;
    waiter.remaining = 1;
    if (named) {
      actor->creation_waiter = &waiter;
      actor->creation_reply = &reply;
    }
    if (task->unresolved == 0) {
      Dispatch(&lock, task);
    } else {
      // Others may have its handle, or look for its name, before its arguments are there.
      actor->unsent_creation = task;
      if (raylet_lost_.empty()) SendCreateActor(creations_.at(task), "", ValuePtr());
    }
    gateway_.FlushDirty(lock);
    if (!named) return CreatedActor{actor, std::nullopt};
    // A name may be taken: that is said here, not at the first call.
    const WaitResult result =
        gateway_.Wait(lock, waiter, INT64_MAX, raylet_.get(), options_.interrupted);
    actor->creation_waiter = nullptr;
    actor->creation_reply = nullptr;
    if (result == WaitResult::Interrupted) {
      LetGoOfHandle(actor);
      gateway_.FlushDirty(lock);
      return Status(ErrorCode::Cancelled, "interrupted");
    }
    if (reply.empty()) return CreatedActor{actor, std::nullopt};  // Dead; its calls say why.
  }
  const auto* created =
      flatbuffers::GetRoot<fbr::Message>(reply.data())->body_as_CreateActorReply();
  if (created->error() != ErrorCode::Ok) {
    DropHandle(actor);
    return Status(created->error(), ToString(created->message()));
  }
  if (created->existing() == nullptr) return CreatedActor{actor, std::nullopt};
  Actor* existing = GetActor(ToId<ActorId>(created->existing()->actor_id()));
  Lock lock(gateway_.mutex());
  // The one that was not made: nobody will hear of it.
  actor->ours = false;
  actor->state = ActorState::Dead;
  if (actor->creation_task != nullptr) FinishTask(std::exchange(actor->creation_task, nullptr));
  AbandonCreation(actor);
  LetGoOfHandle(actor);
  OnActorUpdate(*created->existing());
  gateway_.FlushDirty(lock);
  return CreatedActor{existing, HandleOf(*created->existing())};
}

void CoreWorker::SendCreation(Task* task) {
  auto node = creations_.extract(task);
  const Creation& creation = node.mapped();
  creation.actor->unsent_creation = nullptr;
  std::string frame;
  for (const RefArgument& argument : task->ref_args) PublishCopy(argument.object);
  AppendCall(frame, *task, task->args, 0, 0, self_);
  const std::string creation_task =
      PutCreation(creation.options, std::string_view(frame).substr(sizeof(ipc::FrameHeader)));
  // The arguments live until the actor has read them for the last time.
  creation.actor->creation_task = task;
  SendCreateActor(creation, creation_task, ValuePtr());
}

void CoreWorker::FailCreation(Task* task, const ValuePtr& error) {
  const auto node = creations_.extract(task);
  const Creation& creation = node.mapped();
  Actor* actor = creation.actor;
  actor->death_value = CreationError(error, actor->id.Hex());
  actor->state = ActorState::Dead;
  if (std::exchange(actor->unsent_creation, nullptr) != nullptr && raylet_lost_.empty()) {
    SendCreateActor(creation, "", actor->death_value);
  }
  FinishTask(task);
  FinishActorDeath(actor);
}

void CoreWorker::AbandonCreation(Actor* actor) {
  Task* task = std::exchange(actor->unsent_creation, nullptr);
  if (task == nullptr) return;
  objects_.StopWaiting(task);
  creations_.erase(task);
  FinishTask(task);
}

void CoreWorker::SendCreateActor(const Creation& creation, const std::string& creation_task,
                                 const ValuePtr& error) {
  ++creation.actor->creating;
  PendingRequest pending;
  pending.kind = PendingRequest::Kind::CreateActor;
  pending.actor = creation.actor;
  SendRaylet(
      nullptr,
      [&](Builder& builder, fbr::Body& type) {
        type = fbr::Body::CreateActor;
        const auto spec = PutActorSpec(builder, creation.options, creation.actor->id,
                                       session_.job_id, self_, creation_task, error);
        return fbr::CreateCreateActor(builder, spec, creation.options.get_if_exists).Union();
      },
      &pending);
}

Actor* CoreWorker::GetActor(const ActorId& id) {
  Lock lock(gateway_.mutex());
  bool made = false;
  Actor* actor = actors_.Get(id, made);
  ++actor->handles;
  if (made && raylet_lost_.empty()) {
    SendRaylet(
        &lock,
        [&](Builder& builder, fbr::Body& type) {
          type = fbr::Body::SubscribeActor;
          return fbr::CreateSubscribeActor(builder, PutId(builder, id)).Union();
        },
        nullptr);
  } else if (made) {
    actor->state = ActorState::Dead;
    actor->death_code = ErrorCode::NodeDied;
    actor->death_message = raylet_lost_;
    FinishActorDeath(actor);
  }
  return actor;
}

Result<CoreWorker::CreatedActor> CoreWorker::GetNamedActor(const std::string& name,
                                                           const std::string& ray_namespace) {
  auto reply = Request([&](Builder& builder, fbr::Body& type) {
    type = fbr::Body::GetNamedActor;
    const auto text = builder.CreateString(name);
    return fbr::CreateGetNamedActor(builder, text, builder.CreateString(ray_namespace)).Union();
  });
  if (!reply) return reply.error();
  const auto* found = flatbuffers::GetRoot<fbr::Message>(reply->data())->body_as_ActorInfoReply();
  if (found == nullptr) return Status(ErrorCode::Internal, "no ActorInfoReply to GetNamedActor");
  if (found->error() != ErrorCode::Ok) return Status(found->error(), ToString(found->message()));
  if (found->info() == nullptr) return Status(ErrorCode::NotFound, "no actor named " + name);
  Actor* actor = GetActor(ToId<ActorId>(found->info()->actor_id()));
  return CreatedActor{actor, HandleOf(*found->info())};
}

Status CoreWorker::KillActor(const ActorId& id, bool no_restart) {
  uint64_t version = 0;
  {
    const Lock lock(gateway_.mutex());
    if (const Actor* actor = actors_.Find(id)) version = actor->version;
  }
  auto reply = Request([&](Builder& builder, fbr::Body& type) {
    type = fbr::Body::KillActor;
    return fbr::CreateKillActor(builder, PutId(builder, id), no_restart).Union();
  });
  if (!reply) return reply.error();
  const auto* ack = flatbuffers::GetRoot<fbr::Message>(reply->data())->body_as_Ack();
  if (ack == nullptr) return Status(ErrorCode::Internal, "no Ack to KillActor");
  if (ack->error() != ErrorCode::Ok) return Status(ack->error(), ToString(ack->message()));
  // A call made after this one must not be quicker than the signal, unless what became of
  // the actor is known by now.
  const Lock lock(gateway_.mutex());
  Actor* actor = actors_.Find(id);
  if (actor != nullptr && actor->version == version && actor->state == ActorState::Alive) {
    actor->killed = true;
  }
  return Status();
}

Function* CoreWorker::InternMethod(Actor* actor, const std::string& method,
                                   const MethodOptions& options) {
  Lock lock(gateway_.mutex());
  return actors_.Method(actor, method, options);
}

size_t CoreWorker::PendingCalls(Actor* actor) {
  Lock lock(gateway_.mutex());
  return actor->pending_calls;
}

void CoreWorker::SetUnordered(Actor* actor) {
  const Lock lock(gateway_.mutex());
  actor->unordered = true;
}

Task* CoreWorker::NewActorTask(Actor* actor, Function* method, uint16_t returns,
                               CallArguments& arguments) {
  Task* task = NewTask(method, returns, arguments);
  task->actor = actor;
  task->retries_left = method->max_retries;
  task->counted = true;
  if (++actor->pending_calls > actor->many_calls) TellManyCalls(*actor);
  std::memcpy(task->id.mutable_data() + 8, actor->id.data(), ActorId::kSize);
  MakeReturns(task);
  return task;
}

Object* CoreWorker::SubmitActorCall(Actor* actor, Function* method, uint16_t returns,
                                    CallArguments arguments, std::vector<Object*>* more,
                                    GeneratorKind kind, std::shared_ptr<ObjectStream>* stream) {
  Lock lock(gateway_.mutex());
  Task* task = NewActorTask(actor, method, returns, arguments);
  if (kind != GeneratorKind::None) MakeStream(task, kind, stream);
  Object* first = task->returns.empty() ? nullptr : task->returns.front();
  if (more != nullptr) more->assign(task->returns.begin(), task->returns.end());
  if (!task->ref_args.empty()) WaitForArguments(task);
  if (actor->CanSend(*task) && task->ref_args.empty()) {
    SendCall(&lock, *actor->channel, task, /*keep_arguments=*/task->retries_left != 0);
    return first;
  }
  actor->queue.push_back(task);
  PumpActor(&lock, actor);
  return first;
}

void CoreWorker::PumpActor(Lock* lock, Actor* actor) {
  if (actor->state == ActorState::Dead) {
    if (!actor->channel) FinishActorDeath(actor);
    return;
  }
  // A failed call's effects may come back here, so nothing is held over a turn.
  while (Task* task = actors_.NextSendable(actor)) {
    if (ValuePtr error = ArgumentError(*task)) {
      Complete(task, error);
    } else {
      // Sent together at the end: between two sends that let go of the mutex
      // another thread's call could overtake the rest.
      SendCall(nullptr, *actor->channel, task, /*keep_arguments=*/task->retries_left != 0);
    }
  }
  if (lock != nullptr) gateway_.FlushDirty(*lock);
}

void CoreWorker::OnActorUpdate(const fbr::ActorInfo& info) {
  Actor* actor = actors_.Find(ToId<ActorId>(info.actor_id()));
  if (actor == nullptr || actor->state == ActorState::Dead || info.version() < actor->version) {
    return;
  }
  if (info.version() > actor->version) actor->killed = false;
  actor->version = info.version();
  if (actor->class_name.empty()) actor->class_name = ToString(info.class_name());
  if (info.state() != fbr::ActorState::Pending && actor->creation_task != nullptr &&
      !actor->keep_creation) {
    FinishTask(std::exchange(actor->creation_task, nullptr));
  }
  switch (info.state()) {
    case fbr::ActorState::Pending:
      return;
    case fbr::ActorState::Alive:
      FailLost(actor, actors_.LivesAt(actor, ToAddress(info.address())));
      return ConnectActor(actor);
    case fbr::ActorState::Restarting:
      TellActorEnded(*actor, info);
      FailLost(actor, actors_.ProcessEnded(actor, DescribeExit(info.exit())));
      return CloseToDead(actor, info.exit());
    case fbr::ActorState::Dead:
      break;
  }
  TellActorEnded(*actor, info);
  actor->state = ActorState::Dead;
  actor->death_code =
      info.death_error() == ErrorCode::Ok ? ErrorCode::ActorDied : info.death_error();
  if (actor->death_code == ErrorCode::ActorDied && info.exit() != nullptr &&
      info.exit()->error() != ErrorCode::Ok) {
    actor->death_code = info.exit()->error();
  }
  const std::string name = ToString(info.name());
  actor->death_message = "actor " + actor->class_name + " (" + actor->id.Hex() +
                         (name.empty() ? "" : ", named " + name) + ") is dead";
  const std::string why =
      info.exit() != nullptr ? DescribeExit(info.exit()) : ToString(info.death_message());
  if (!why.empty()) actor->death_message += ": " + why;
  if (info.creation_error() != nullptr && info.creation_error()->size() > 0) {
    actor->death_value = CopyValue({info.creation_error()->data(), info.creation_error()->size()});
  }
  actor->ended = false;
  actor->next = {};
  // Replies that it sent before may still be in its socket: its end comes after them.
  if (actor->channel && !actor->channel->closed) return CloseToDead(actor, info.exit());
  FinishActorDeath(actor);
}

void CoreWorker::CloseToDead(Actor* actor, const fbr::ExitInfo* exit) {
  const ChannelPtr channel = actor->channel;
  if (!channel || channel->closed) return;
  if (exit == nullptr && actor->state == ActorState::Dead) {
    // Killed, and its process is being ended: that it is gone need not be waited for.
    return gateway_.Defer([this, channel] {
      Lock lock(gateway_.mutex());
      gateway_.HangUp(*channel);
      gateway_.FlushDirty(lock);
    });
  }
  // A machine that is gone does not say so on its sockets.
  const bool seen = exit == nullptr || exit->signal() != 0 || exit->exit_code() >= 0;
  if (seen || actor->address.node == self_.node) return;
  gateway_.CloseChannel(*channel);
  OnClosed(*channel);
}

void CoreWorker::FailLost(Actor* actor, const std::vector<Task*>& calls) {
  if (calls.empty()) return;
  FailLost(actor, calls, "is being restarted: " + actor->ended_why);
}

void CoreWorker::FailLost(Actor* actor, const std::vector<Task*>& calls, const std::string& why) {
  const ValuePtr error = MakeErrorValue(ErrorCode::ActorUnavailable,
                                        "actor " + actor->class_name + " " + why, actor->id.Hex());
  for (Task* task : calls) Complete(task, task->cancelled ? CancelledError(*task) : error);
}

void CoreWorker::ConnectActor(Actor* actor) {
  if (!actor->WantsConnection()) return;
  actor->connecting = true;
  if (GetPeer(actor->address)->channel) ActorConnected(actor);
}

void CoreWorker::ActorConnected(Actor* actor) {
  actor->connecting = false;
  actor->channel = GetPeer(actor->address)->channel;
  PumpActor(nullptr, actor);
}

void CoreWorker::ProbeLater(Actor* actor) {
  if (!actor->WantsProbe() || actor->probe_after_ns != 0) return;
  actor->probe_after_ns = kProbeFirstNs;
  actor->probe_at_ns = NowNs() + kProbeFirstNs;
  unreachable_.push_back(actor->id);
  gateway_.WakeForTimer();
}

int64_t CoreWorker::ProbeDue(int64_t now_ns) {
  int64_t next = INT64_MAX;
  std::erase_if(unreachable_, [this](const ActorId& id) {
    Actor* actor = actors_.Find(id);
    if (actor != nullptr && actor->WantsProbe()) return false;
    if (actor != nullptr) actor->probe_after_ns = 0;
    return true;
  });
  for (const ActorId& id : unreachable_) {
    Actor* actor = actors_.Find(id);
    if (now_ns >= actor->probe_at_ns) {
      actor->probe_after_ns = std::min(2 * actor->probe_after_ns, kProbeLastNs);
      actor->probe_at_ns = now_ns + actor->probe_after_ns;
      SendPing(actor->address);
    }
    next = std::min(next, actor->probe_at_ns);
  }
  return next;
}

void CoreWorker::OnPong(const Channel& channel) {
  if (const auto peer = peers_.find(channel.peer.worker); peer != peers_.end()) {
    Answered(channel.peer.worker, ++peer->second.pongs);
  }
  for (const ActorId& id : std::vector<ActorId>(unreachable_)) {
    Actor* actor = actors_.Find(id);
    if (actor == nullptr || !actor->WantsProbe() || actor->address != channel.peer) continue;
    FailLost(actor, actors_.StillThere(actor),
             "is unavailable: the connection to it was lost while the call was under way, so that "
             "it may have run or not. The actor lives on: make the call again, or allow that with "
             "max_task_retries");
    ConnectActor(actor);
  }
}

void CoreWorker::FinishActorDeath(Actor* actor) {
  if (actor->creation_waiter != nullptr) {
    actor->creation_waiter->remaining = 0;
    gateway_.Notify(actor->creation_waiter);
  }
  if (actor->creation_task != nullptr) FinishTask(std::exchange(actor->creation_task, nullptr));
  AbandonCreation(actor);
  if (!actor->death_value) {
    actor->death_value = MakeErrorValue(actor->death_code, actor->death_message, actor->id.Hex());
  }
  for (Task* task : std::exchange(actor->lost, {})) Complete(task, actor->death_value);
  for (Task* task : actors_.TakeQueued(actor)) {
    // One that waits for an argument is completed when it has it.
    if (task->unresolved == 0) {
      Complete(task, actor->death_value);
    } else {
      actor->queue.push_back(task);
    }
  }
  ForgetIfUnused(actor);
}

void CoreWorker::ForgetIfUnused(Actor* actor) {
  if (!actor->IsForgettable()) return;
  // Not from inside the caller, which may be using it, or going through them all.
  gateway_.Defer([this, id = actor->id] { Forget(id); });
}

void CoreWorker::Forget(const ActorId& id) {
  Lock lock(gateway_.mutex());
  Actor* actor = actors_.Find(id);
  if (actor == nullptr || !actor->IsForgettable()) return;
  // Its channel may still be open, and know its methods by their addresses: nothing
  // more is called over it.
  actors_.Forget(actor);
  if (!raylet_lost_.empty()) return;
  SendRaylet(
      nullptr,
      [&](Builder& builder, fbr::Body& type) {
        type = fbr::Body::UnsubscribeActor;
        return fbr::CreateUnsubscribeActor(builder, PutId(builder, id)).Union();
      },
      nullptr);
  gateway_.FlushDirty(lock);
}

void CoreWorker::DropHandle(Actor* actor) {
  Lock lock(gateway_.mutex());
  LetGoOfHandle(actor);
  gateway_.FlushDirty(lock);
}

void CoreWorker::LetGoOfHandle(Actor* actor) {
  --actor->handles;
  LetGoOfScope(actor);
  ForgetIfUnused(actor);
}

void CoreWorker::LastCallEnded(Actor* actor) {
  if (actor->scope_held || actor->ours) LetGoOfScope(actor);
  ForgetIfUnused(actor);
}

void CoreWorker::LetGoOfScope(Actor* actor) {
  if (actor->handles > 0) return;
  if (actor->ours && actor->scope == nullptr && !actor->ending) return EndActor(actor);
  // Calls to another's actor that are under way need it as well.
  if (!actor->scope_held || (!actor->ours && actor->pending_calls > 0)) return;
  actor->scope_held = false;
  Object* scope = actor->ours ? actor->scope : std::exchange(actor->scope, nullptr);
  FreedEffects freed;
  objects_.Drop(scope, freed);
  Apply(freed);
}

void CoreWorker::KeepScope(Actor* actor, Object* scope) {
  Lock lock(gateway_.mutex());
  if (actor->scope_held) return;
  if (actor->ours && actor->scope != scope) return;  // It is ending.
  objects_.Hold(scope);
  actor->scope = scope;
  actor->scope_held = true;
}

void CoreWorker::ScopeEnded(Actor* actor) {
  actor->scope = nullptr;
  // One that came back may be in use here without having been passed on again.
  if (actor->handles == 0 && !actor->ending) EndActor(actor);
  ForgetIfUnused(actor);
}

void CoreWorker::EndActor(Actor* actor) {
  // LastCallEnded comes back: a call may still wait for its arguments, or be tried again.
  if (actor->pending_calls > 0) return;
  actor->ending = true;
  if (actor->state == ActorState::Dead || !raylet_lost_.empty()) return;
  // Sent again over restarts: nobody is left who could end it later.
  MethodOptions for_ever;
  for_ever.max_retries = -1;
  CallArguments none;
  none.payload.assign(sizeof(PayloadHeader), '\0');
  Task* task = NewActorTask(actor, actors_.Method(actor, "__ray_terminate__", for_ever), 0, none);
  actor->queue.push_back(task);
  PumpActor(nullptr, actor);
}

Object* CoreWorker::ShareHandle(Actor* actor) {
  Lock lock(gateway_.mutex());
  if (actor->scope == nullptr) {
    if (!actor->ours || actor->ending) return nullptr;
    actor->scope = objects_.New(ObjectIdOf(ActorCreationTask(actor->id), 1));
    actor->scope->Extras().scope = actor->id;
    actor->scope_held = true;
    ReadyEffects nobody;
    objects_.SetValue(actor->scope, MakeErrorValue(ErrorCode::NotFound, "no value: a handle"),
                      nobody);
  }
  objects_.Hold(actor->scope);
  return actor->scope;
}

}  // namespace skyray::core_worker
