// SPDX-License-Identifier: Apache-2.0
// NodeServer: the worker processes, and what they print.
#include <signal.h>

#include <algorithm>

#include "common/logging.h"
#include "raylet/node_server.h"

namespace skyray::raylet {

namespace {
// Between Exit and SIGKILL.
constexpr std::chrono::milliseconds kExitGrace{300};
constexpr int kZygoteFailuresMax = 3;
constexpr std::chrono::milliseconds kZygoteRestartPause{100};
}  // namespace

// --- Zygote ---

void NodeServer::StartZygote() {
  const Status status = zygote_.Start();
  if (status.ok()) return ForkWorkers();
  SKYRAY_LOG(Error) << "starting the zygote: " << status.message();
  WakeAt(Now() + kZygoteRestartPause);
}

void NodeServer::OnZygoteReady() { zygote_failures_ = 0; }

void NodeServer::ForkWorkers() {
  if (!zygote_.up() || stopping_) return;
  // Copied out: a failing fork changes the pool.
  std::vector<std::pair<WorkerId, PoolKey>> forks;
  for (const PoolWorker* worker : pool_.TakeForks(Now())) {
    forks.emplace_back(worker->id, worker->key);
  }
  for (const auto& [worker, key] : forks) {
    const JobEntry* job = pool_.FindJob(key.job);
    ForkOrder order;
    order.worker = worker;
    order.job = key.job;
    order.runtime_env = key.runtime_env;
    order.job_config = job->config;
    order.name_space = job->name_space;
    order.raylet_socket = options_.raylet_socket();
    order.log_name = "worker-" + worker.Hex().substr(0, 16) + ".log";
    order.progress_place = progress_.Take(worker);
    auto pipes = zygote_.Fork(order);
    if (!pipes) {
      OnForkFailed(worker, pipes.error().message());
      continue;
    }
    pipes_.Add(worker, std::move(*pipes), order.log_name);
  }
}

void NodeServer::OnForked(const WorkerId& worker, int pid) {
  pool_.OnForked(worker, pid);
  // It may have been told to end before it had a pid.
  const PoolWorker* forked = pool_.Find(worker);
  if (forked == nullptr || forked->ending || stopping_) zygote_.Kill(pid);
}

void NodeServer::OnForkFailed(const WorkerId& worker, const std::string& message) {
  SKYRAY_LOG(Error) << "forking a worker failed: " << message;
  pipes_.Finish(worker);
  progress_.Finish(worker);
  if (const auto lease = pool_.OnForkFailed(worker)) {
    FailLease(*lease, Status(ErrorCode::RuntimeEnvFailed,
                             "no worker process could be started: " + message +
                                 "; logs/zygote.log in the session directory says more"));
  }
  if (stopping_) return StopStep();
  ScheduleSoon();
}

void NodeServer::OnWorkerExited(int pid, int status) {
  // The news may overtake its last words, which may say that it meant to leave.
  if (const PoolWorker* ended = pool_.FindByPid(pid)) {
    if (ipc::Connection* words = server_.Find(ConnectionOf(ended->id))) words->DeliverArrived();
  }
  const auto worker = pool_.OnExited(pid);
  if (!worker) return;
  WorkerGone(*worker, status);
  if (stopping_) return StopStep();
  ScheduleSoon();
}

void NodeServer::OnZygoteDown(const std::string& why, bool was_ready) {
  SKYRAY_LOG(Error) << why;
  std::vector<PoolWorker> gone = pool_.OnAllExited();
  for (PoolWorker& worker : gone) {
    if (worker.end_reason.empty()) worker.end_reason = "the zygote that forked it ended";
    WorkerGone(worker, SIGKILL);
  }
  if (stopping_) return StopStep();
  if (!was_ready) ++zygote_failures_;
  if (zygote_failures_ >= kZygoteFailuresMax) {
    for (const JobId& job : pool_.Jobs()) {
      for (const LeaseId& lease : pool_.TakeWaiting(job)) {
        FailLease(lease, Status(ErrorCode::RuntimeEnvFailed,
                                "the process that forks workers does not come up: " + why));
      }
    }
    zygote_failures_ = 0;
  }
  WakeAt(was_ready ? Now() : Now() + kZygoteRestartPause);
}

// --- The end of a worker ---

void NodeServer::EndWorker(const WorkerId& id, bool expected, const std::string& reason,
                           HowToEnd how) {
  const PoolWorker* worker = pool_.Find(id);
  if (worker == nullptr) return;
  const bool ask = how == HowToEnd::IfUnneeded;
  if (ask && !pool_.MarkAsked(id, reason)) return;
  if (!ask) pool_.MarkEnding(id, expected, reason);
  const ConnectionId connection = ConnectionOf(id);
  if (how == HowToEnd::AtOnce || connection == 0) {
    zygote_.Kill(worker->pid);  // One without a pid is killed when it has one.
    return;
  }
  Builder builder;
  const auto text = builder.CreateString(reason);
  Send(connection, 0, builder, wire::CreateExit(builder, text, ask));
  // One that is slow to say that it is needed must not lose what it owns for that.
  if (ask) return;
  kills_.emplace(Now() + kExitGrace, id);
  WakeAt(kills_.begin()->first);
}

void NodeServer::StillNeeded(const WorkerId& id) {
  if (!pool_.StillNeeded(id, Now())) return;
  const PoolWorker* worker = pool_.Find(id);
  if (worker->state == PoolWorker::State::Leased) Deliver(worker->lease);
  ScheduleSoon();
}

void NodeServer::KillDue(TimePoint now) {
  while (!kills_.empty() && kills_.begin()->first <= now) {
    const WorkerId id = kills_.begin()->second;
    kills_.erase(kills_.begin());
    const PoolWorker* worker = pool_.Find(id);
    if (worker == nullptr) continue;
    pool_.MarkEnding(id, false, "it hung up on its raylet but did not exit");
    zygote_.Kill(worker->pid);
  }
}

void NodeServer::WorkerGone(const PoolWorker& worker, int status) {
  WorkerExit exit = DescribeExit(worker.pid, status, worker.expected, worker.end_reason);
  TakeMemoryKill(worker.id, exit);
  ended_ = &worker;
  exit.stderr_tail = pipes_.Finish(worker.id);
  ended_ = nullptr;
  const std::optional<uint64_t> started = progress_.Finish(worker.id);
  if (const ConnectionId connection = ConnectionOf(worker.id)) {
    ForgetClient(connection);
    server_.Close(connection);
  }
  if (stopping_) return;
  if (!worker.expected && (exit.exit_code != 0 || exit.signal != 0)) {
    SKYRAY_LOG(Warning) << "worker " << worker.pid << " " << exit.reason;
  }
  const Lease* found = worker.lease.IsNil() ? nullptr : queue_.Find(worker.lease);
  if (found != nullptr) {
    const LeaseRequest request = found->request;
    queue_.Return(worker.lease);
    if (!request.actor.IsNil()) {
      ActorExited(request.actor, exit);
    } else {
      Builder builder;
      const auto lease_id = PutBytes(builder, worker.lease.Binary());
      const auto info = PutExit(builder, exit, self_);
      SendToOwner(request.owner, 0, builder,
                  wire::CreateLeaseLost(builder, lease_id, info, started.value_or(UINT64_MAX)));
    }
  }
  TellPeersOwnerGone(worker.id);
  OwnerGone({self_.id, worker.id}, "the process that owns its task has ended");
  pb::NodeEvent event;
  pb::WorkerDied& died = *event.mutable_worker_died();
  died.set_worker_id(std::string(worker.id.Binary()));
  died.set_job_id(std::string(worker.key.job.Binary()));
  CopyExit(exit, self_, died.mutable_exit());
  gcs_->SendEvent(std::move(event));
  std::string why = exit.reason;
  for (const std::string& line : exit.stderr_tail) why += "\n  " + line;
  GiveUpHopeless(worker.key, why);
}

void NodeServer::GiveUpHopeless(const PoolKey& key, const std::string& why) {
  const std::string whose =
      key.special() ? "workers with runtime_env=" + key.runtime_env : "the job's workers";
  for (const LeaseId& lease : pool_.TakeHopeless(key)) {
    FailLease(lease, Status(ErrorCode::RuntimeEnvFailed,
                            whose + " end before they are ready; the last one " + why));
  }
}

bool NodeServer::HostsDetached(const PoolWorker& worker) const {
  const Lease* lease = worker.lease.IsNil() ? nullptr : queue_.Find(worker.lease);
  if (lease == nullptr || lease->request.actor.IsNil()) return false;
  const auto it = actors_.find(lease->request.actor);
  return it != actors_.end() && it->second.spec.detached();
}

void NodeServer::FinishJob(const JobId& job, const std::string& why) {
  pool_.FinishJob(job);
  std::vector<ActorId> waiting;
  for (const auto& [actor, hosted] : actors_) {
    const bool ends = JobOf(actor) == job && !hosted.spec.detached();
    if (ends && hosted.worker.IsNil()) waiting.push_back(actor);
  }
  for (const ActorId& actor : waiting) WithdrawActor(actor, why);
  for (const WorkerId& worker : pool_.WorkersOf(job)) {
    if (!HostsDetached(*pool_.Find(worker))) EndWorker(worker, true, why, HowToEnd::Ask);
  }
  ScheduleSoon();
}

// --- Output ---

void NodeServer::OnLines(const WorkerId& id, const std::vector<OutputLines>& groups) {
  const PoolWorker* worker = pool_.Find(id);
  // The last lines come when it has left the pool.
  if (worker == nullptr && ended_ != nullptr && ended_->id == id) worker = ended_;
  const JobEntry* job = worker == nullptr ? nullptr : pool_.FindJob(worker->key.job);
  if (job == nullptr || job->driver.IsNil()) return;
  // A driver that does not read loses lines, not the raylet its memory.
  ipc::Connection* connection = server_.Find(ConnectionOf(job->driver));
  if (connection != nullptr && connection->queued_bytes() > ipc::kSendQueueBytesMax) return;
  const Lease* lease = worker->lease.IsNil() ? nullptr : queue_.Find(worker->lease);
  for (const OutputLines& group : groups) {
    Builder builder;
    // What was not printed by Python names nothing.
    const bool nameless = group.name.empty() && lease != nullptr;
    const auto name = builder.CreateString(nameless ? lease->request.name : group.name);
    const auto ip = builder.CreateString(self_.ip);
    const auto lines = builder.CreateVectorOfStrings(group.lines);
    SendToOwner({job->driver_node, job->driver}, 0, builder,
                wire::CreateLogLines(builder, name, worker->pid, ip, group.is_stderr, lines));
  }
}

void NodeServer::Notify(const JobId& job_id, const std::string& text, bool is_error) {
  const JobEntry* job = pool_.FindJob(job_id);
  if (job == nullptr || job->driver.IsNil()) return;
  Builder builder;
  const auto words = builder.CreateString(text);
  SendToOwner({job->driver_node, job->driver}, 0, builder,
              wire::CreateNotice(builder, words, is_error));
}

}  // namespace skyray::raylet
