// SPDX-License-Identifier: Apache-2.0
#include "gcs/cluster.h"

#include <algorithm>

#include "common/logging.h"
#include "rpc/status_message.h"

namespace skyray::gcs {
namespace {

// As others may see it: an address is one only while the actor is alive.
pb::ActorInfo Public(const pb::ActorInfo& info) {
  pb::ActorInfo shown = info;
  if (info.state() != pb::ALIVE) shown.clear_address();
  return shown;
}

}  // namespace

Cluster::Cluster(Storage& storage, uint64_t task_events_max)
    : nodes_(storage),
      jobs_(storage),
      actors_(storage),
      kv_(storage),
      task_events_(task_events_max) {}

Status Cluster::Load(Now now) {
  ActorEffects effects;
  for (Status status : {nodes_.Load(), jobs_.Load(), actors_.Load(effects), kv_.Load()}) {
    if (!status.ok()) return status;
  }
  if (!nodes_.AbsentNodes().empty()) {
    reattach_deadline_ms_ = now.monotonic_ms + kReattachGraceMs;
  }
  Apply(std::move(effects));
  return Status();
}

Result<NodeId> Cluster::Register(pb::NodeInfo node) {
  const auto id = nodes_.Register(std::move(node));
  pb::NodeCommand registered;
  if (!id) return id.error();
  *registered.mutable_registered() = rpc::StatusToMessage(Status());
  Tell(*id, std::move(registered));
  for (const auto& [other_id, other] : nodes_.nodes()) {
    pb::NodeCommand command;
    *command.mutable_node() = other;
    Tell(*id, std::move(command));
  }
  for (const auto& [other_id, other] : nodes_.nodes()) {
    if (other_id == *id || !other.alive()) continue;
    pb::NodeCommand command;
    *command.mutable_node() = *nodes_.Find(*id);
    Tell(other_id, std::move(command));
  }
  SKYRAY_LOG(Info) << "node " << id->Hex() << " is alive";
  scheduler_.NodeAdded(*nodes_.Find(*id));
  Schedule();
  return *id;
}

void Cluster::OnNodeEvent(const NodeId& node, const pb::NodeEvent& event, Now now) {
  ActorEffects effects;
  switch (event.event_case()) {
    case pb::NodeEvent::kResources:
      if (!nodes_.Report(node, event.resources())) return;
      scheduler_.NodeReported(node, event.resources());
      changed_nodes_.insert(node);
      return Schedule();
    case pb::NodeEvent::kActorStarted:
      if (const auto id = ActorId::FromBinary(event.actor_started().actor_id())) {
        if (actors_.ProcessNode(*id) == node) scheduler_.Started(*id);
      }
      actors_.Started(node, event.actor_started(), effects);
      break;
    case pb::NodeEvent::kActorExited:
      actors_.Exited(node, event.actor_exited(), effects);
      break;
    case pb::NodeEvent::kActorNotPlaced:
      actors_.Refused(node, event.actor_not_placed(), effects);
      // Not at once: the node would refuse it again. Its next report is a better time.
      for (const ActorId& actor : effects.no_longer) scheduler_.Remove(actor);
      for (const ActorId& actor : effects.to_place) scheduler_.Add(actor, *actors_.Spec(actor));
      retry_at_ms_ = now.monotonic_ms + kRetryRefusedMs;
      return;
    case pb::NodeEvent::kSubscribeActor:
      return Subscribe(node, event.subscribe_actor(), now);
    case pb::NodeEvent::kUnsubscribeActor:
      if (const auto id = ActorId::FromBinary(event.unsubscribe_actor())) {
        const auto it = subscribers_.find(*id);
        if (it == subscribers_.end()) return;
        it->second.erase(node);
        if (it->second.empty()) subscribers_.erase(it);
      }
      return;
    case pb::NodeEvent::kWorkerDied:
      return OnWorkerDied(event.worker_died(), now);
    case pb::NodeEvent::kLeaving:
      return OnNodeLost(node, "it left the cluster", now);
    case pb::NodeEvent::kTaskEvents:
      return task_events_.Add(event.task_events());
    case pb::NodeEvent::kTaskEventsFlushed:
      return EndFlushes(flushes_.Answered(node, event.task_events_flushed()));
    case pb::NodeEvent::kHeartbeat:
      return;
    case pb::NodeEvent::kRegister:
    case pb::NodeEvent::EVENT_NOT_SET:
      SKYRAY_LOG(Warning) << "node " << node.Hex() << " sent an event that makes no sense now ("
                          << event.event_case() << "); ignored";
      return;
  }
  Apply(std::move(effects));
}

void Cluster::OnNodeLost(const NodeId& node, const std::string& reason, Now now) {
  if (!nodes_.MarkDead(node, reason)) return;
  SKYRAY_LOG(Info) << "node " << node.Hex() << " is dead: " << reason;
  scheduler_.NodeRemoved(node);
  changed_nodes_.erase(node);
  EndFlushes(flushes_.Left(node));
  for (auto it = subscribers_.begin(); it != subscribers_.end();) {
    it->second.erase(node);
    it = it->second.empty() ? subscribers_.erase(it) : std::next(it);
  }
  for (const auto& [id, other] : nodes_.nodes()) {
    if (!other.alive()) continue;
    pb::NodeCommand command;
    *command.mutable_node() = *nodes_.Find(node);
    Tell(id, std::move(command));
  }
  for (const JobId& job : jobs_.RunningJobsOn(node)) EndJob(job, now);
  ActorEffects effects;
  actors_.NodeDied(node, reason, effects);
  Apply(std::move(effects));
}

void Cluster::OnWorkerDied(const pb::WorkerDied& event, Now now) {
  const auto worker = WorkerId::FromBinary(event.worker_id());
  if (!worker) return;
  if (event.is_driver()) {
    if (const auto job = jobs_.JobOfDriver(*worker)) EndJob(*job, now);
  }
  ActorEffects effects;
  actors_.WorkerDied(*worker, event.exit(), effects);
  Apply(std::move(effects));
}

void Cluster::EndJob(const JobId& id, Now now) {
  const auto job = jobs_.Finish(id, now.wall_ms);
  if (!job) return;
  for (const auto& [node_id, node] : nodes_.nodes()) {
    if (!node.alive()) continue;
    pb::NodeCommand command;
    *command.mutable_job_finished() = *job;
    Tell(node_id, std::move(command));
  }
  ActorEffects effects;
  actors_.JobFinished(id, effects);
  Apply(std::move(effects));
}

void Cluster::Subscribe(const NodeId& node, const std::string& actor_id, Now now) {
  const auto id = ActorId::FromBinary(actor_id);
  if (!id) return;
  if (const pb::ActorInfo* info = actors_.Find(*id)) {
    subscribers_[*id].insert(node);
    return TellActor(node, *info);
  }
  auto& subscribers = subscribers_[*id];
  if (subscribers.empty()) awaited_.emplace_back(now.monotonic_ms + kUnknownActorGraceMs, *id);
  subscribers.insert(node);
}

void Cluster::TellUnknown(const ActorId& actor) {
  const auto it = subscribers_.find(actor);
  if (it == subscribers_.end() || actors_.Find(actor) != nullptr) return;
  pb::ActorInfo unknown;
  unknown.set_actor_id(std::string(actor.Binary()));
  unknown.set_state(pb::DEAD);
  unknown.set_death_code(static_cast<uint32_t>(ErrorCode::NotFound));
  unknown.set_death_message("there is no actor " + actor.Hex() +
                            " (any more), and nobody created it in the last " +
                            std::to_string(kUnknownActorGraceMs / 1000) + " s");
  for (const NodeId& node : it->second) TellActor(node, unknown);
}

void Cluster::Apply(ActorEffects effects) {
  for (const StopOrder& stop : effects.stops) {
    pb::NodeCommand command;
    command.mutable_stop_actor()->set_actor_id(std::string(stop.actor.Binary()));
    command.mutable_stop_actor()->set_worker_id(stop.worker_id);
    command.mutable_stop_actor()->set_reason(stop.reason);
    Tell(stop.node, std::move(command));
  }
  for (const ActorId& actor : effects.changed) {
    const auto it = subscribers_.find(actor);
    if (it == subscribers_.end()) continue;
    for (const NodeId& node : it->second) TellActor(node, *actors_.Find(actor));
  }
  for (const ActorId& actor : effects.no_longer) scheduler_.Remove(actor);
  for (const ActorId& actor : effects.to_place) {
    if (actors_.NeedsNode(actor)) scheduler_.Add(actor, *actors_.Spec(actor));
  }
  if (!effects.no_longer.empty() || !effects.to_place.empty()) Schedule();
}

void Cluster::Schedule() {
  ActorEffects effects;
  for (const ActorPlacement& placement : scheduler_.Schedule()) {
    switch (placement.kind) {
      case ActorPlacement::Kind::Place:
        Place(placement.actor, placement.node);
        break;
      case ActorPlacement::Kind::Infeasible:
        actors_.NotPlaceable(placement.actor, placement.why, effects);
        break;
      case ActorPlacement::Kind::Unschedulable:
        actors_.Unschedulable(placement.actor, placement.why, effects);
        break;
    }
  }
  // Nothing here waits for a node any more, so this ends.
  if (!effects.changed.empty()) Apply(std::move(effects));
}

void Cluster::Place(const ActorId& actor, const NodeId& node) {
  actors_.Placed(actor, node);
  pb::NodeCommand command;
  pb::StartActor* start = command.mutable_start_actor();
  *start->mutable_spec() = *actors_.Spec(actor);
  start->mutable_spec()->set_handle(actors_.Find(actor)->handle());
  start->set_restarts(actors_.Find(actor)->restarts());
  const auto job = JobId::FromBinary(start->spec().job_id());
  if (const pb::JobInfo* info = jobs_.Find(*job)) *start->mutable_job() = *info;
  Tell(node, std::move(command));
}

void Cluster::Tell(const NodeId& node, pb::NodeCommand command) {
  effects_.commands.emplace_back(node, std::move(command));
}

void Cluster::TellActor(const NodeId& node, const pb::ActorInfo& info) {
  pb::NodeCommand command;
  *command.mutable_actor() = Public(info);
  command.mutable_actor()->clear_handle();
  Tell(node, std::move(command));
}

Effects Cluster::TakeEffects() {
  // Passed on once per turn, however often a node reported in it.
  for (const NodeId& changed : std::exchange(changed_nodes_, {})) {
    for (const auto& [id, node] : nodes_.nodes()) {
      if (!node.alive() || id == changed) continue;
      pb::NodeCommand command;
      *command.mutable_node() = *nodes_.Find(changed);
      Tell(id, std::move(command));
    }
  }
  return std::exchange(effects_, {});
}

void Cluster::OnTime(Now now) {
  auto answers = kv_.Expire(now.monotonic_ms);
  std::move(answers.begin(), answers.end(), std::back_inserter(effects_.kv_answers));
  ExpireFlushes(now.monotonic_ms);
  if (retry_at_ms_ && *retry_at_ms_ <= now.monotonic_ms) {
    retry_at_ms_.reset();
    Schedule();
  }
  while (!awaited_.empty() && awaited_.front().first <= now.monotonic_ms) {
    TellUnknown(awaited_.front().second);
    awaited_.pop_front();
  }
  if (reattach_deadline_ms_ && *reattach_deadline_ms_ <= now.monotonic_ms) {
    reattach_deadline_ms_.reset();
    for (const NodeId& node : nodes_.AbsentNodes()) {
      OnNodeLost(node, "it did not come back after the GCS restarted", now);
    }
  }
}

std::optional<int64_t> Cluster::NextDeadlineMs() const {
  std::optional<int64_t> next, awaited;
  if (!awaited_.empty()) awaited = awaited_.front().first;
  for (const auto& deadline : {kv_.NextDeadlineMs(), retry_at_ms_, reattach_deadline_ms_, awaited,
                               NextFlushDeadlineMs()}) {
    if (deadline && (!next || *deadline < *next)) next = deadline;
  }
  return next;
}

pb::GetNodesReply Cluster::GetNodes() const {
  pb::GetNodesReply reply;
  for (const auto& [id, node] : nodes_.nodes()) *reply.add_nodes() = node;
  return reply;
}

pb::AddJobReply Cluster::AddJob(const pb::AddJobRequest& request, Now now) {
  pb::AddJobReply reply;
  const auto id = jobs_.Add(request.job(), now.wall_ms);
  if (!id) {
    *reply.mutable_status() = rpc::StatusToMessage(id.error());
  } else {
    reply.set_job_id(std::string(id->Binary()));
  }
  return reply;
}

pb::FinishJobReply Cluster::FinishJob(const pb::FinishJobRequest& request, Now now) {
  pb::FinishJobReply reply;
  const auto id = JobId::FromBinary(request.job_id());
  if (!id || jobs_.Find(*id) == nullptr) {
    *reply.mutable_status() = rpc::StatusToMessage(
        Status(ErrorCode::NotFound, "there is no job " + BytesToHex(request.job_id())));
  } else {
    EndJob(*id, now);
  }
  return reply;
}

pb::GetJobsReply Cluster::GetJobs() const {
  pb::GetJobsReply reply;
  for (const auto& [id, job] : jobs_.jobs()) *reply.add_jobs() = job;
  return reply;
}

pb::CreateActorReply Cluster::CreateActor(const pb::CreateActorRequest& request) {
  pb::CreateActorReply reply;
  const auto job = JobId::FromBinary(request.spec().job_id());
  const auto asked = ActorId::FromBinary(request.spec().actor_id());
  const bool again = asked && actors_.Find(*asked) != nullptr;
  // A detached actor goes on when its driver has ended, and may need others.
  if (job && !again && !jobs_.IsRunning(*job) &&
      !actors_.IsActor(request.spec().owner().worker_id())) {
    *reply.mutable_status() = rpc::StatusToMessage(
        Status(ErrorCode::InvalidArgument,
               "job " + job->Hex() + " of actor " + request.spec().class_name() +
                   " is not running; its driver has ended, or never registered"));
    return reply;
  }
  ActorEffects effects;
  const auto id = actors_.Create(request.spec(), request.get_if_exists(), effects);
  if (!id) {
    *reply.mutable_status() = rpc::StatusToMessage(id.error());
    return reply;
  }
  if (*id != *asked) *reply.mutable_existing() = Public(*actors_.Find(*id));
  Apply(std::move(effects));
  return reply;
}

pb::GetActorReply Cluster::GetNamedActor(const pb::GetNamedActorRequest& request) const {
  pb::GetActorReply reply;
  if (const pb::ActorInfo* info = actors_.FindNamed(request.namespace_(), request.name())) {
    *reply.mutable_actor() = Public(*info);
  } else {
    *reply.mutable_status() = rpc::StatusToMessage(
        Status(ErrorCode::NotFound,
               "there is no live actor named '" + request.name() + "' in namespace '" +
                   request.namespace_() +
                   "'; names belong to a namespace, and an actor's name goes when it dies"));
  }
  return reply;
}

pb::GetActorReply Cluster::GetActor(const pb::GetActorRequest& request) const {
  pb::GetActorReply reply;
  const auto id = ActorId::FromBinary(request.actor_id());
  const pb::ActorInfo* info = id ? actors_.Find(*id) : nullptr;
  if (info != nullptr) {
    *reply.mutable_actor() = Public(*info);
  } else {
    *reply.mutable_status() = rpc::StatusToMessage(
        Status(ErrorCode::NotFound, "there is no actor " + BytesToHex(request.actor_id())));
  }
  return reply;
}

pb::ListActorsReply Cluster::ListActors(const pb::ListActorsRequest& request) const {
  pb::ListActorsReply reply;
  for (const pb::ActorInfo* info : actors_.List(request)) {
    *reply.add_actors() = Public(*info);
    reply.mutable_actors(reply.actors_size() - 1)->clear_handle();
  }
  return reply;
}

pb::KillActorReply Cluster::KillActor(const pb::KillActorRequest& request) {
  pb::KillActorReply reply;
  const auto id = ActorId::FromBinary(request.actor_id());
  ActorEffects effects;
  const Status status = id ? actors_.Kill(*id, request.no_restart(), effects)
                           : Status(ErrorCode::InvalidArgument, "an actor's id has 16 bytes");
  if (!status.ok()) *reply.mutable_status() = rpc::StatusToMessage(status);
  Apply(std::move(effects));
  return reply;
}

pb::KvPutReply Cluster::KvPut(const pb::KvPutRequest& request) {
  return kv_.Put(request, effects_.kv_answers);
}

}  // namespace skyray::gcs
