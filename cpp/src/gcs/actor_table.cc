// SPDX-License-Identifier: Apache-2.0
#include "gcs/actor_table.h"

#include <algorithm>

#include "common/logging.h"

namespace skyray::gcs {
namespace {

std::string Describe(const pb::ExitInfo& exit) {
  std::string text = exit.reason().empty() ? "its process ended" : exit.reason();
  if (exit.signal() != 0) {
    text += ", signal " + std::to_string(exit.signal());
  } else if (exit.exit_code() > 0) {
    text += ", exit code " + std::to_string(exit.exit_code());
  }
  if (exit.pid() != 0) text += " (pid " + std::to_string(exit.pid()) + ")";
  return text;
}

bool RestartsLeft(const pb::ActorSpec& spec, const pb::ActorInfo& info) {
  return spec.max_restarts() < 0 || info.restarts() < static_cast<uint32_t>(spec.max_restarts());
}

std::string Key(const ActorId& id) { return std::string(id.Binary()); }

// A detached one too, while only its owner can say what its __init__ is given.
bool EndsWithOwner(const pb::ActorSpec& spec) {
  return !spec.detached() || spec.creation_task().empty();
}

}  // namespace

Status ActorTable::Load(ActorEffects& effects) {
  bool well_formed = true;
  const auto parse = [&](std::string_view key, std::string_view value, auto& message) {
    const auto id = ActorId::FromBinary(key);
    if (!id || !message.ParseFromArray(value.data(), static_cast<int>(value.size()))) {
      well_formed = false;
    }
    return id;
  };
  Status status = storage_.Load(Table::Actors, [&](std::string_view key, std::string_view value) {
    pb::ActorInfo info;
    if (const auto id = parse(key, value, info)) actors_[*id].info = std::move(info);
  });
  if (!status.ok()) return status;
  status = storage_.Load(Table::ActorSpecs, [&](std::string_view key, std::string_view value) {
    pb::ActorSpec spec;
    const auto id = parse(key, value, spec);
    if (id && actors_.contains(*id)) actors_[*id].spec = std::move(spec);
  });
  if (!status.ok()) return status;
  for (auto& [id, actor] : actors_) {
    if (actor.info.state() == pb::DEAD) {
      dead_.push_back(id);
      continue;
    }
    if (actor.spec.actor_id().empty()) well_formed = false;
    if (const auto node = NodeId::FromBinary(actor.info.address().node_id())) actor.node = *node;
    Index(id, actor);
    if (NeedsNode(id)) effects.to_place.insert(id);
  }
  if (!well_formed) {
    return Status(ErrorCode::IoError, "the GCS's store holds a malformed actor; it is damaged");
  }
  return Status();
}

Status ActorTable::CheckSpec(const pb::ActorSpec& spec) const {
  const auto owner = WorkerId::FromBinary(spec.owner().worker_id());
  if (!ActorId::FromBinary(spec.actor_id()) || !JobId::FromBinary(spec.job_id()) || !owner ||
      !NodeId::FromBinary(spec.owner().node_id())) {
    return Status(ErrorCode::InvalidArgument,
                  "an actor needs proper ids of itself, its job, its owner and its owner's node");
  }
  if (spec.max_restarts() < -1) {
    return Status(ErrorCode::InvalidArgument,
                  "max_restarts=" + std::to_string(spec.max_restarts()) + " of actor " +
                      spec.class_name() + "; give -1 (for ever), 0 or more");
  }
  if (EndsWithOwner(spec) && dead_owners_.contains(*owner)) {
    return Status(ErrorCode::OwnerDied, "the process that creates actor " + spec.class_name() +
                                            " has ended; use lifetime=\"detached\" for an actor " +
                                            "that outlives its creator");
  }
  return Status();
}

Result<ActorId> ActorTable::Create(const pb::ActorSpec& spec, bool get_if_exists,
                                   ActorEffects& effects) {
  if (Status status = CheckSpec(spec); !status.ok()) return status;
  const ActorId id = *ActorId::FromBinary(spec.actor_id());
  if (const auto known = actors_.find(id); known != actors_.end()) {
    TakeArguments(id, known->second, spec, effects);
    return id;
  }
  if (!spec.name().empty()) {
    const auto taken = by_name_.find({spec.namespace_(), spec.name()});
    if (taken != by_name_.end()) {
      if (get_if_exists) return taken->second;
      return Status(ErrorCode::AlreadyExists,
                    "the name '" + spec.name() + "' is taken in namespace '" + spec.namespace_() +
                        "' by actor " + taken->second.Hex() +
                        "; kill that one, choose another name, or pass get_if_exists=True");
    }
  }
  Actor& actor = actors_[id];
  actor.spec = spec;
  actor.info.set_actor_id(spec.actor_id());
  actor.info.set_job_id(spec.job_id());
  actor.info.set_class_name(spec.class_name());
  actor.info.set_name(spec.name());
  actor.info.set_namespace_(spec.namespace_());
  actor.info.set_detached(spec.detached());
  actor.info.set_handle(spec.handle());
  actor.spec.clear_handle();  // Kept once, in `info`.
  storage_.Put(Table::ActorSpecs, Key(id), actor.spec.SerializeAsString());
  Index(id, actor);
  Changed(id, actor, effects);
  if (NeedsNode(id)) effects.to_place.insert(id);
  return id;
}

void ActorTable::TakeArguments(const ActorId& id, Actor& actor, const pb::ActorSpec& spec,
                               ActorEffects& effects) {
  if (actor.info.state() != pb::PENDING || !actor.spec.creation_task().empty()) return;
  if (!spec.creation_error().empty()) {
    actor.info.set_creation_error(spec.creation_error());
    return Die(id, actor, ErrorCode::ActorDied, "an argument of its __init__ failed", effects);
  }
  if (spec.creation_task().empty()) return;
  actor.spec.set_creation_task(spec.creation_task());
  if (!EndsWithOwner(actor.spec)) NoLongerOwned(id, actor);
  storage_.Put(Table::ActorSpecs, Key(id), actor.spec.SerializeAsString());
  effects.to_place.insert(id);
}

void ActorTable::Index(const ActorId& id, const Actor& actor) {
  if (!actor.info.name().empty()) by_name_[{actor.info.namespace_(), actor.info.name()}] = id;
  if (EndsWithOwner(actor.spec)) by_owner_[actor.spec.owner().worker_id()].insert(id);
  if (!actor.node.IsNil()) by_node_[actor.node].insert(id);
}

Status ActorTable::Kill(const ActorId& id, bool no_restart, ActorEffects& effects) {
  const auto it = actors_.find(id);
  if (it == actors_.end()) {
    return Status(ErrorCode::NotFound, "there is no actor " + id.Hex() + " to kill");
  }
  Actor& actor = it->second;
  if (actor.info.state() == pb::DEAD) return Status();
  const std::string reason = "it was killed by skyray.kill()";
  if (no_restart) {
    Die(id, actor, ErrorCode::ActorDied, reason, effects);
  } else if (!actor.node.IsNil()) {
    actor.restart_on_exit = true;
    effects.stops.push_back({actor.node, id, actor.info.address().worker_id(), reason});
  } else if (!RestartsLeft(actor.spec, actor.info)) {
    Die(id, actor, ErrorCode::ActorDied, reason + " before it had started", effects);
  } else {
    // It waits for a node, or for its arguments, as before.
    actor.info.set_restarts(actor.info.restarts() + 1);
    Changed(id, actor, effects);
  }
  return Status();
}

void ActorTable::Placed(const ActorId& id, const NodeId& node) {
  SKYRAY_CHECK(NeedsNode(id));
  Actor& actor = actors_.at(id);
  actor.node = node;
  actor.info.mutable_address()->set_node_id(std::string(node.Binary()));
  actor.info.clear_pending_reason();
  by_node_[node].insert(id);
  // Not told to subscribers, but kept: a GCS that restarts must not place it twice.
  storage_.Put(Table::Actors, Key(id), actor.info.SerializeAsString());
}

void ActorTable::NotPlaceable(const ActorId& id, const std::string& reason, ActorEffects& effects) {
  Actor& actor = actors_.at(id);
  if (actor.info.pending_reason() == reason) return;
  actor.info.set_pending_reason(reason);
  Changed(id, actor, effects);
}

void ActorTable::Unschedulable(const ActorId& id, const std::string& reason,
                               ActorEffects& effects) {
  Actor& actor = actors_.at(id);
  Die(id, actor, ErrorCode::Unschedulable, "it can never be placed: " + reason, effects);
}

ActorTable::Actor* ActorTable::FindOn(const NodeId& node, const std::string& actor_id) {
  const auto id = ActorId::FromBinary(actor_id);
  if (!id) return nullptr;
  const auto it = actors_.find(*id);
  return it == actors_.end() || it->second.node != node ? nullptr : &it->second;
}

void ActorTable::Started(const NodeId& node, const pb::ActorStarted& event, ActorEffects& effects) {
  const auto id = ActorId::FromBinary(event.actor_id());
  if (!id) return;
  Actor* actor = FindOn(node, event.actor_id());
  if (actor == nullptr) {
    // Killed while it was being born: that process must not live.
    if (!event.failed()) {
      effects.stops.push_back({node, *id, event.address().worker_id(), "it is no longer wanted"});
    }
    return;
  }
  if (actor->info.state() == pb::ALIVE) return;  // Said again.
  if (event.failed()) {
    actor->info.set_creation_error(event.creation_error());
    actor->node = NodeId();  // Its process ends by itself.
    by_node_[node].erase(*id);
    return Die(*id, *actor, ErrorCode::ActorDied,
               event.message().empty() ? "its __init__ raised" : event.message(), effects);
  }
  actor->info.set_state(pb::ALIVE);
  *actor->info.mutable_address() = event.address();
  actor->info.mutable_address()->set_node_id(std::string(node.Binary()));
  actor->info.set_pid(event.pid());
  Changed(*id, *actor, effects);
  if (actor->restart_on_exit) {
    // The order to stop may have come before there was a process to stop.
    effects.stops.push_back({node, *id, event.address().worker_id(), "it is to be restarted"});
  }
}

void ActorTable::Exited(const NodeId& node, const pb::ActorExited& event, ActorEffects& effects) {
  Actor* actor = FindOn(node, event.actor_id());
  if (actor != nullptr) {
    ProcessEnded(*ActorId::FromBinary(event.actor_id()), *actor, event.exit(), effects);
  }
}

void ActorTable::ProcessEnded(const ActorId& id, Actor& actor, const pb::ExitInfo& exit,
                              ActorEffects& effects) {
  by_node_[actor.node].erase(id);
  actor.node = NodeId();
  *actor.info.mutable_exit() = exit;
  const bool wanted = exit.expected() && !actor.restart_on_exit;
  actor.restart_on_exit = false;
  effects.no_longer.insert(id);
  if (wanted || !RestartsLeft(actor.spec, actor.info)) {
    const std::string message =
        wanted || actor.spec.max_restarts() == 0
            ? Describe(exit)
            : Describe(exit) + "; its max_restarts=" + std::to_string(actor.spec.max_restarts()) +
                  " are used up";
    return Die(id, actor, ErrorCode::ActorDied, message, effects);
  }
  actor.info.set_state(pb::RESTARTING);
  actor.info.set_restarts(actor.info.restarts() + 1);
  actor.info.clear_address();
  actor.info.clear_pid();
  Changed(id, actor, effects);
  effects.to_place.insert(id);
}

void ActorTable::Refused(const NodeId& node, const pb::ActorNotPlaced& event,
                         ActorEffects& effects) {
  Actor* actor = FindOn(node, event.actor_id());
  if (actor == nullptr || actor->info.state() == pb::ALIVE) return;
  const ActorId id = *ActorId::FromBinary(event.actor_id());
  by_node_[node].erase(id);
  actor->node = NodeId();
  actor->info.clear_address();
  storage_.Put(Table::Actors, Key(id), actor->info.SerializeAsString());
  effects.no_longer.insert(id);
  effects.to_place.insert(id);
}

void ActorTable::WorkerDied(const WorkerId& worker, const pb::ExitInfo& exit,
                            ActorEffects& effects) {
  if (dead_owners_.insert(worker).second) dead_owners_order_.push_back(worker);
  if (dead_owners_order_.size() > kDeadOwnersMax) {
    dead_owners_.erase(dead_owners_order_.front());
    dead_owners_order_.pop_front();
  }
  const auto owned = by_owner_.find(std::string(worker.Binary()));
  if (owned == by_owner_.end()) return;
  const std::set<ActorId> ids = owned->second;  // Die() takes them out of the index.
  for (const ActorId& id : ids) {
    Die(id, actors_.at(id), ErrorCode::ActorDied,
        "the process that created it has ended: " + Describe(exit), effects);
  }
}

void ActorTable::NodeDied(const NodeId& node, const std::string& reason, ActorEffects& effects) {
  pb::ExitInfo exit;
  exit.set_exit_code(-1);
  exit.set_node_id(std::string(node.Binary()));
  exit.set_reason("its node " + node.Hex().substr(0, 8) + " died: " + reason);
  if (const auto it = by_node_.find(node); it != by_node_.end()) {
    const std::set<ActorId> ids = it->second;  // ProcessEnded changes the index.
    for (const ActorId& id : ids) ProcessEnded(id, actors_.at(id), exit, effects);
    by_node_.erase(node);
  }
  std::vector<WorkerId> owners;
  for (const auto& [owner, ids] : by_owner_) {
    const pb::ActorSpec& spec = actors_.at(*ids.begin()).spec;
    if (spec.owner().node_id() == node.Binary()) owners.push_back(*WorkerId::FromBinary(owner));
  }
  for (const WorkerId& owner : owners) WorkerDied(owner, exit, effects);
}

void ActorTable::JobFinished(const JobId& job, ActorEffects& effects) {
  std::vector<ActorId> ended;
  for (const auto& [owner, ids] : by_owner_) {
    for (const ActorId& id : ids) {
      if (JobOf(id) == job || actors_.at(id).spec.job_id() == job.Binary()) ended.push_back(id);
    }
  }
  for (const ActorId& id : ended) {
    Die(id, actors_.at(id), ErrorCode::ActorDied, "its job has ended", effects);
  }
}

void ActorTable::Changed(const ActorId& id, Actor& actor, ActorEffects& effects) {
  actor.info.set_version(actor.info.version() + 1);
  storage_.Put(Table::Actors, Key(id), actor.info.SerializeAsString());
  effects.changed.insert(id);
}

void ActorTable::Die(const ActorId& id, Actor& actor, ErrorCode code, const std::string& message,
                     ActorEffects& effects) {
  if (!actor.node.IsNil()) {
    effects.stops.push_back({actor.node, id, actor.info.address().worker_id(), message});
    by_node_[actor.node].erase(id);
    actor.node = NodeId();
  }
  if (!actor.info.name().empty()) by_name_.erase({actor.info.namespace_(), actor.info.name()});
  NoLongerOwned(id, actor);
  actor.info.set_state(pb::DEAD);
  actor.info.set_death_code(static_cast<uint32_t>(code));
  actor.info.set_death_message(message);
  actor.info.clear_address();
  actor.info.clear_pending_reason();
  Changed(id, actor, effects);
  effects.to_place.erase(id);
  effects.no_longer.insert(id);
  Forget(id, actor);
}

void ActorTable::NoLongerOwned(const ActorId& id, const Actor& actor) {
  const auto owned = by_owner_.find(actor.spec.owner().worker_id());
  if (owned == by_owner_.end()) return;
  owned->second.erase(id);
  if (owned->second.empty()) by_owner_.erase(owned);
}

void ActorTable::Forget(const ActorId& id, Actor& actor) {
  actor.spec.Clear();
  storage_.Delete(Table::ActorSpecs, Key(id));
  dead_.push_back(id);
  if (dead_.size() <= kDeadActorsMax) return;
  storage_.Delete(Table::Actors, Key(dead_.front()));
  actors_.erase(dead_.front());
  dead_.pop_front();
}

const pb::ActorInfo* ActorTable::Find(const ActorId& actor) const {
  const auto it = actors_.find(actor);
  return it == actors_.end() ? nullptr : &it->second.info;
}

bool ActorTable::IsActor(const std::string& worker_id) const {
  return std::any_of(actors_.begin(), actors_.end(), [&](const auto& entry) {
    const pb::ActorInfo& info = entry.second.info;
    return info.state() == pb::ALIVE && info.address().worker_id() == worker_id;
  });
}

const pb::ActorInfo* ActorTable::FindNamed(const std::string& ns, const std::string& name) const {
  const auto it = by_name_.find({ns, name});
  return it == by_name_.end() ? nullptr : Find(it->second);
}

const pb::ActorSpec* ActorTable::Spec(const ActorId& actor) const {
  const auto it = actors_.find(actor);
  if (it == actors_.end() || it->second.info.state() == pb::DEAD) return nullptr;
  return &it->second.spec;
}

bool ActorTable::NeedsNode(const ActorId& actor) const {
  const pb::ActorSpec* spec = Spec(actor);
  return spec != nullptr && !spec->creation_task().empty() && actors_.at(actor).node.IsNil();
}

NodeId ActorTable::ProcessNode(const ActorId& actor) const {
  const auto it = actors_.find(actor);
  return it == actors_.end() ? NodeId() : it->second.node;
}

std::vector<const pb::ActorInfo*> ActorTable::List(const pb::ListActorsRequest& request) const {
  std::vector<const pb::ActorInfo*> listed;
  for (const auto& [id, actor] : actors_) {
    const pb::ActorInfo& info = actor.info;
    if (request.named_only() && (info.name().empty() || info.state() == pb::DEAD)) continue;
    if (!request.all_namespaces() && info.namespace_() != request.namespace_()) continue;
    listed.push_back(&info);
  }
  return listed;
}

}  // namespace skyray::gcs
