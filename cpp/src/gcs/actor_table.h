// SPDX-License-Identifier: Apache-2.0
// The actors: which state each is in, and where its one process is.
//
//            Create        Placed, Started
//               ├─► PENDING ─────────────► ALIVE
//               │      │                     │ its process ends: restarts left
//               │      ├──► RESTARTING ◄─────┤
//               │      │      └─Placed, Started─► ALIVE
//               │      │                     │ killed, out of restarts, its owner
//               │      └──────► DEAD ◄───────┘ or its job ended, __init__ raised
//
// An actor that has been placed on a node has its process there, or on its way,
// until that node says that the process ended, or dies, or the actor is dead.
// The name of an actor is taken until it is dead.
//
// Threading:  pure; lives on the GCS's loop.
// Ownership:  owns the records; the last kDeadActorsMax dead ones are kept,
//             without their creation tasks.
// Errors:     what a client can cause is a Status, listed per method. Events of
//             a node about an actor that is not there (any more) are answered
//             with an order to stop it, or ignored.
#pragma once

#include <deque>
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/id.h"
#include "common/status.h"
#include "gcs/storage.h"
#include "protos/gcs.pb.h"

namespace skyray::gcs {

constexpr size_t kDeadActorsMax = 10'000;
constexpr size_t kDeadOwnersMax = 10'000;

struct StopOrder {
  NodeId node;
  ActorId actor;
  std::string worker_id;  // Empty: not known yet.
  std::string reason;
};

// What an event made necessary.
struct ActorEffects {
  std::set<ActorId> changed;    // Tell the subscribers.
  std::set<ActorId> to_place;   // Wait for a node, from now on.
  std::set<ActorId> no_longer;  // Need no node any more, or not that one.
  std::vector<StopOrder> stops;
};

class ActorTable {
 public:
  // `storage` must outlive *this.
  explicit ActorTable(Storage& storage) : storage_(storage) {}
  // `to_place` gets the actors that had no process.
  Status Load(ActorEffects& effects);

  // Registers it, once. With get_if_exists, a live actor of that name is
  // returned instead (its id is not the spec's).
  // Errors: AlreadyExists: the name is taken; OwnerDied; InvalidArgument.
  Result<ActorId> Create(const pb::ActorSpec& spec, bool get_if_exists, ActorEffects& effects);
  // Errors: NotFound.
  Status Kill(const ActorId& actor, bool no_restart, ActorEffects& effects);

  // The scheduler chose `node`. REQUIRES: NeedsNode(actor).
  void Placed(const ActorId& actor, const NodeId& node);
  // No node can run it now; `reason` is for people.
  void NotPlaceable(const ActorId& actor, const std::string& reason, ActorEffects& effects);
  // No node ever can.
  void Unschedulable(const ActorId& actor, const std::string& reason, ActorEffects& effects);

  // What nodes say.
  void Started(const NodeId& node, const pb::ActorStarted& event, ActorEffects& effects);
  void Exited(const NodeId& node, const pb::ActorExited& event, ActorEffects& effects);
  void Refused(const NodeId& node, const pb::ActorNotPlaced& event, ActorEffects& effects);
  void WorkerDied(const WorkerId& worker, const pb::ExitInfo& exit, ActorEffects& effects);
  void NodeDied(const NodeId& node, const std::string& reason, ActorEffects& effects);
  void JobFinished(const JobId& job, ActorEffects& effects);

  const pb::ActorInfo* Find(const ActorId& actor) const;
  // Whether an actor lives in that process.
  bool IsActor(const std::string& worker_id) const;
  const pb::ActorInfo* FindNamed(const std::string& ns, const std::string& name) const;
  // Null once the actor is dead.
  const pb::ActorSpec* Spec(const ActorId& actor) const;
  bool NeedsNode(const ActorId& actor) const;
  // The node its process is on, or on its way to; nil if there is none.
  NodeId ProcessNode(const ActorId& actor) const;
  std::vector<const pb::ActorInfo*> List(const pb::ListActorsRequest& request) const;

 private:
  struct Actor {
    pb::ActorInfo info;
    pb::ActorSpec spec;
    NodeId node;                   // Where its process is, or is on its way to; nil: it has none.
    bool restart_on_exit = false;  // Killed, but with a restart.
  };
  using Name = std::pair<std::string, std::string>;

  Actor* FindOn(const NodeId& node, const std::string& actor_id);
  void Changed(const ActorId& id, Actor& actor, ActorEffects& effects);
  void ProcessEnded(const ActorId& id, Actor& actor, const pb::ExitInfo& exit,
                    ActorEffects& effects);
  void Die(const ActorId& id, Actor& actor, ErrorCode code, const std::string& message,
           ActorEffects& effects);
  void Forget(const ActorId& id, Actor& actor);
  Status CheckSpec(const pb::ActorSpec& spec) const;
  void Index(const ActorId& id, const Actor& actor);
  void NoLongerOwned(const ActorId& id, const Actor& actor);
  // Of an actor that was registered without its arguments; else no news.
  void TakeArguments(const ActorId& id, Actor& actor, const pb::ActorSpec& spec,
                     ActorEffects& effects);

  Storage& storage_;
  std::unordered_map<ActorId, Actor> actors_;
  // Of actors that are not dead.
  std::map<Name, ActorId> by_name_;
  std::unordered_map<std::string, std::set<ActorId>> by_owner_;  // Those that end with it.
  std::map<NodeId, std::set<ActorId>> by_node_;
  std::deque<ActorId> dead_;  // The longest dead first.
  // Owners that died lately: a Create of theirs may still be under way.
  std::set<WorkerId> dead_owners_;
  std::deque<WorkerId> dead_owners_order_;
};

}  // namespace skyray::gcs
