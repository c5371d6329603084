// SPDX-License-Identifier: Apache-2.0
// NodeServer: leases, from the request to their end.
#include <algorithm>
#include <boost/asio/post.hpp>

#include "common/logging.h"
#include "raylet/node_server.h"

namespace skyray::raylet {

namespace {
// A node's resources are told to the GCS at once, but not more often than this.
constexpr std::chrono::milliseconds kReportPause{10};
}  // namespace

void NodeServer::RequestLease(ConnectionId connection, const Client& client, uint64_t request_id,
                              const wire::RequestLease& message) {
  auto request = LeaseRequestFrom(message);
  if (!request) return Drop(connection, "its lease request names impossible resources");
  request->owner = {self_.id, client.worker};
  request->request_id = request_id;
  request->job = client.job;
  queue_.Add(std::move(*request), Now());
  ScheduleSoon();
}

void NodeServer::CancelLeaseOf(const Client& client, uint64_t request_id) {
  const auto there = remote_requests_.find({client.worker, request_id});
  if (there == remote_requests_.end()) return CancelLease({self_.id, client.worker}, request_id);
  Builder builder;
  Finish(builder, 0, wire::CreateCancelLeaseRequest(builder, request_id));
  SendFromClient(there->second, client, builder);
}

void NodeServer::CancelLease(const LeaseOwner& owner, uint64_t request_id) {
  if (queue_.Cancel(owner, request_id)) {
    return ReplyFailed(owner, request_id, Status(ErrorCode::Cancelled, "cancelled as asked"));
  }
  // Granted, but still without a worker: nobody knows of it yet.
  for (const LeaseId& lease : queue_.LeasesOf(owner)) {
    if (queue_.Find(lease)->request.request_id != request_id) continue;
    if (!pool_.StopWaiting(lease)) return;
    queue_.Return(lease);
    ScheduleSoon();
    return ReplyFailed(owner, request_id, Status(ErrorCode::Cancelled, "cancelled as asked"));
  }
}

void NodeServer::ReturnLeaseOf(const Client& client, const wire::ReturnLease& message) {
  const auto id = IdOf<LeaseId>(message.lease_id());
  const auto there = id ? remote_leases_.find(*id) : remote_leases_.end();
  if (there == remote_leases_.end()) return ReturnLease({self_.id, client.worker}, message);
  if (there->second.owner != client.worker) return;
  const NodeId node = there->second.node;
  // Of a worker that failed it is still to be told how it ended; and its node may be
  // what failed, so that nobody else will.
  if (!message.worker_failed()) remote_leases_.erase(there);
  Builder builder;
  const auto lease = PutBytes(builder, id->Binary());
  const auto node_id = PutBytes(builder, node.Binary());
  Finish(builder, 0, wire::CreateReturnLease(builder, lease, node_id, message.worker_failed()));
  SendFromClient(node, client, builder);
}

void NodeServer::ReturnLease(const LeaseOwner& owner, const wire::ReturnLease& message) {
  const auto id = IdOf<LeaseId>(message.lease_id());
  const Lease* lease = id ? queue_.Find(*id) : nullptr;
  // Unknown: it was lost, and the news of it is on its way to the owner.
  if (lease == nullptr || !lease->request.actor.IsNil()) return;
  if (lease->request.owner != owner) return;
  EndLease(*id, message.worker_failed());
}

void NodeServer::ScheduleSoon() {
  if (schedule_posted_) return;
  schedule_posted_ = true;
  boost::asio::post(loop_, [this] {
    schedule_posted_ = false;
    Schedule();
  });
}

void NodeServer::Schedule() {
  if (stopping_) return;
  CheckMemory(Now());
  // Begun now it would only be ended again; what runs first gives some back.
  if (memory_short_) {
    ReportResources();
    return ArmFromCores();
  }
  const LeaseOutcome outcome = queue_.Schedule(placement_, Now());
  for (const Lease& lease : outcome.granted) Grant(lease);
  for (const auto& [request, node] : outcome.sent_on) {
    if (request.actor.IsNil()) {
      ReplySpillback(request.owner, request.request_id, node);
    } else {
      ActorNotPlaced(request.actor, "this node can no longer run it");
    }
  }
  for (const auto& [request, status] : outcome.failed) {
    if (request.actor.IsNil()) {
      ReplyFailed(request.owner, request.request_id, status);
    } else {
      ActorNotPlaced(request.actor, status.message());
    }
  }
  for (const auto& infeasible : outcome.infeasible) TellInfeasible(infeasible);
  for (const bool idle_only : {true, false}) {
    for (const LeaseOwner& owner : idle_only ? outcome.idle_wanted_from : outcome.wanted_from) {
      Builder builder;
      SendToOwner(owner, 0, builder, wire::CreateLeasesWanted(builder, idle_only));
    }
  }
  ForkWorkers();
  ReportResources();
  ArmFromCores();
}

void NodeServer::Grant(const Lease& lease) {
  const PoolKey key{lease.request.job, lease.request.runtime_env};
  const bool is_actor = !lease.request.actor.IsNil();
  if (pool_.Assign(key, lease.id, Now(), is_actor) != nullptr) Deliver(lease.id);
}

void NodeServer::Deliver(const LeaseId& id) {
  const Lease* lease = queue_.Find(id);
  const PoolWorker* worker = pool_.FindByLease(id);
  SKYRAY_CHECK(lease != nullptr && worker != nullptr);
  ArmMemoryCheck();
  if (!lease->request.actor.IsNil()) return BecomeActor(lease->request.actor, id, *worker);
  progress_.Clear(worker->id);
  const LeaseOwner& owner = lease->request.owner;
  Builder builder;
  std::vector<Offset<flatbuffers::String>> ids;
  for (const std::string& gpu : ledger_.GpuIds(id)) ids.push_back(builder.CreateString(gpu));
  const auto gpu_ids = builder.CreateVector(ids);
  const auto lease_id = PutBytes(builder, id.Binary());
  const auto address = PutAddress(builder, self_.id, worker->id);
  wire::LeaseReplyBuilder reply(builder);
  reply.add_result(wire::LeaseResult::Granted);
  reply.add_lease_id(lease_id);
  reply.add_worker(address);
  reply.add_worker_pid(worker->pid);
  reply.add_gpu_ids(gpu_ids);
  SendToOwner(owner, lease->request.request_id, builder, reply.Finish());
}

void NodeServer::EndLease(const LeaseId& id, bool worker_failed) {
  const PoolWorker* worker = pool_.FindByLease(id);
  if (worker_failed && worker != nullptr) {
    // Its owner lost touch with it, and waits for LeaseLost to say how it ended:
    // the lease goes with the process. If it is dying, its own exit says more.
    const WorkerId failed = worker->id;
    pool_.MarkEnding(failed, false, "");
    kills_.emplace(Now() + std::chrono::seconds(1), failed);
    return WakeAt(kills_.begin()->first);
  }
  queue_.Return(id);
  ScheduleSoon();
  if (worker == nullptr) {
    pool_.StopWaiting(id);
    return;
  }
  const WorkerId worker_id = worker->id;
  pool_.OnReturned(worker_id, Now());
  const PoolWorker* returned = pool_.Find(worker_id);
  if (returned->state == PoolWorker::State::Leased) Deliver(returned->lease);
}

void NodeServer::FailLease(const LeaseId& id, const Status& status) {
  const Lease* found = queue_.Find(id);
  if (found == nullptr) return;
  const LeaseRequest request = found->request;
  queue_.Return(id);
  if (request.actor.IsNil()) {
    ReplyFailed(request.owner, request.request_id, status);
  } else {
    WorkerExit exit;
    exit.reason = status.message();
    ActorExited(request.actor, exit);
  }
}

void NodeServer::ReplyFailed(const LeaseOwner& owner, uint64_t request_id, const Status& status) {
  Builder builder;
  const auto message = builder.CreateString(status.message());
  wire::LeaseReplyBuilder reply(builder);
  reply.add_result(wire::LeaseResult::Failed);
  reply.add_error(status.code());
  reply.add_message(message);
  SendToOwner(owner, request_id, builder, reply.Finish());
}

void NodeServer::ReplySpillback(const LeaseOwner& owner, uint64_t request_id, const NodeId& node) {
  Builder builder;
  const auto node_id = PutBytes(builder, node.Binary());
  wire::LeaseReplyBuilder reply(builder);
  reply.add_result(wire::LeaseResult::Spillback);
  reply.add_node_id(node_id);
  SendToOwner(owner, request_id, builder, reply.Finish());
}

void NodeServer::TellInfeasible(const LeaseOutcome::Infeasible& infeasible) {
  SKYRAY_LOG(Warning) << infeasible.message;
  const LeaseRequest& request = infeasible.request;
  if (request.actor.IsNil()) {
    Builder builder;
    const auto text = builder.CreateString(infeasible.message);
    SendToOwner(request.owner, 0, builder,
                wire::CreateLeaseInfeasible(builder, request.request_id, text));
  }
  if (infeasible.tell_driver) Notify(request.job, infeasible.message, /*is_error=*/true);
}

void NodeServer::OwnerGone(const LeaseOwner& owner, const std::string& why) {
  queue_.RemoveOwner(owner);
  store_->OwnerDied(owner.worker);
  for (const LeaseId& lease : queue_.LeasesOf(owner)) {
    const PoolWorker* worker = pool_.FindByLease(lease);
    if (worker == nullptr) {
      EndLease(lease, /*worker_failed=*/false);
    } else {
      // It may be in the middle of a task whose result nobody wants.
      EndWorker(worker->id, true, why, HowToEnd::AtOnce);
    }
  }
  ScheduleSoon();
}

void NodeServer::SetBlocked(const Client& client, bool blocked) {
  if (!pool_.SetBlocked(client.worker, blocked)) return;
  const LeaseId lease = pool_.Find(client.worker)->lease;
  if (blocked) {
    ledger_.Block(lease);
  } else {
    ledger_.Unblock(lease);
  }
  ScheduleSoon();
}

void NodeServer::ReportResources() {
  if (reported_ledger_ == ledger_.version() || gcs_ == nullptr) return;
  const TimePoint now = Now();
  if (now < last_report_ + kReportPause) return WakeAt(last_report_ + kReportPause);
  last_report_ = now;
  reported_ledger_ = ledger_.version();
  pb::NodeEvent event;
  pb::ResourceReport& report = *event.mutable_resources();
  report.set_version(++report_version_);
  CopyResources(ledger_.available(), report.mutable_available());
  report.set_pending_leases(queue_.waiting_count());
  // What was ordered has been granted by now, or finds no room.
  report.set_starts_seen(starts_seen_);
  gcs_->SendEvent(std::move(event));
}

}  // namespace skyray::raylet
