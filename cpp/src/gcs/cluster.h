// SPDX-License-Identifier: Apache-2.0
// The whole of what the GCS knows, and all it decides: what happens goes in,
// and what must be said to whom comes out.
//
//   a node's event, a call, time ─► tables, scheduler ─► replies, Effects
//                                         └─► Storage (committed by the caller)
//
// Whoever calls collects the Effects of some calls, commits the storage, and only
// then lets replies and Effects out: what has been said is durable.
//
// Threading:  pure; lives on the GCS's loop. Time is what the caller says it is.
// Ownership:  owns the tables. `storage` must outlive it.
// Errors:     in the replies' status. A node's event that makes no sense is
//             ignored and logged.
#pragma once

#include <deque>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/rounds.h"
#include "common/status.h"
#include "gcs/actor_scheduler.h"
#include "gcs/actor_table.h"
#include "gcs/job_table.h"
#include "gcs/kv.h"
#include "gcs/node_table.h"
#include "gcs/storage.h"
#include "gcs/task_event_store.h"
#include "protos/gcs.pb.h"

namespace skyray::gcs {

struct Now {
  int64_t monotonic_ms = 0;
  int64_t wall_ms = 0;  // For people only.
};

struct TaskEventsAnswer {
  WaiterId waiter;
  pb::GetTaskEventsReply reply;
};

struct Effects {
  std::vector<std::pair<NodeId, pb::NodeCommand>> commands;  // In order, to live nodes.
  std::vector<KvAnswer> kv_answers;
  std::vector<TaskEventsAnswer> task_event_answers;
};

// How long after a restart of the GCS a node may take to come back.
constexpr int64_t kReattachGraceMs = 10'000;
// An actor that a node refused is offered again after this, if nothing else
// happens before.
constexpr int64_t kRetryRefusedMs = 1'000;

// A handle may come to a node before its actor comes here: its creator's request
// takes another way, and waits for the arguments of __init__.
constexpr int64_t kUnknownActorGraceMs = 30'000;
// So long all workers are waited for at most, to tell what they have run.
constexpr int64_t kFlushWaitMsMax = 60'000;

class Cluster {
 public:
  explicit Cluster(Storage& storage, uint64_t task_events_max = kTaskEventsMax);
  // Reads what the last GCS on this storage knew.
  Status Load(Now now);

  // A node's first event; the node is alive when this returns its id.
  Result<NodeId> Register(pb::NodeInfo node);
  // REQUIRES: `node` is alive.
  void OnNodeEvent(const NodeId& node, const pb::NodeEvent& event, Now now);
  void OnNodeLost(const NodeId& node, const std::string& reason, Now now);

  // Calls. Those that are missing here are answered by the tables below.
  pb::GetNodesReply GetNodes() const;
  pb::AddJobReply AddJob(const pb::AddJobRequest& request, Now now);
  pb::FinishJobReply FinishJob(const pb::FinishJobRequest& request, Now now);
  pb::GetJobsReply GetJobs() const;
  pb::CreateActorReply CreateActor(const pb::CreateActorRequest& request);
  pb::GetActorReply GetNamedActor(const pb::GetNamedActorRequest& request) const;
  pb::GetActorReply GetActor(const pb::GetActorRequest& request) const;
  pb::ListActorsReply ListActors(const pb::ListActorsRequest& request) const;
  pb::KillActorReply KillActor(const pb::KillActorRequest& request);
  pb::KvPutReply KvPut(const pb::KvPutRequest& request);
  Kv& kv() { return kv_; }
  // --- cluster_events.cc ---
  // Nothing if `waiter` now waits for all nodes to tell what they have, or until time is up.
  std::optional<pb::GetTaskEventsReply> GetTaskEvents(const pb::GetTaskEventsRequest& request,
                                                      WaiterId waiter, Now now);

  void OnTime(Now now);
  // When to call OnTime next.
  std::optional<int64_t> NextDeadlineMs() const;

  // What is to be said since the last call.
  Effects TakeEffects();

 private:
  void Apply(ActorEffects effects);
  void Schedule();
  void Place(const ActorId& actor, const NodeId& node);
  void EndJob(const JobId& job, Now now);
  void Subscribe(const NodeId& node, const std::string& actor_id, Now now);
  void TellUnknown(const ActorId& actor);
  void OnWorkerDied(const pb::WorkerDied& event, Now now);
  void Tell(const NodeId& node, pb::NodeCommand command);
  void TellActor(const NodeId& node, const pb::ActorInfo& info);
  // --- cluster_events.cc ---
  void EndFlush(uint64_t round);
  void EndFlushes(const std::vector<uint64_t>& rounds);
  void ExpireFlushes(int64_t now_ms);
  std::optional<int64_t> NextFlushDeadlineMs() const;

  NodeTable nodes_;
  JobTable jobs_;
  ActorTable actors_;
  Kv kv_;
  ActorScheduler scheduler_;
  std::unordered_map<ActorId, std::set<NodeId>> subscribers_;
  // Asked for and not known, with the time to say so; the oldest first.
  std::deque<std::pair<int64_t, ActorId>> awaited_;
  std::set<NodeId> changed_nodes_;  // Their views are still to be passed on.
  std::optional<int64_t> reattach_deadline_ms_;
  std::optional<int64_t> retry_at_ms_;
  TaskEventStore task_events_;
  Rounds<NodeId> flushes_;
  struct FlushWaiter {
    WaiterId waiter;
    uint64_t after;
    int64_t deadline_ms;
  };
  std::map<uint64_t, FlushWaiter> awaiting_flush_;  // By round.
  uint64_t last_flush_ = 0;
  Effects effects_;
};

}  // namespace skyray::gcs
