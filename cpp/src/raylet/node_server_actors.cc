// SPDX-License-Identifier: Apache-2.0
// NodeServer: actors, as the GCS orders them and as subscribers hear of them.
#include "common/logging.h"
#include "raylet/node_server.h"
#include "raylet/utf8.h"

namespace skyray::raylet {

// Fresh workers ahead of the next actors. With one, a new one would not be forked while
// the last comes up.
static constexpr size_t kSpareWorkers = 2;

void NodeServer::OnStartActor(const pb::StartActor& order) {
  ++starts_seen_;
  const auto actor = ActorId::FromBinary(order.spec().actor_id());
  const auto job = JobId::FromBinary(order.spec().job_id());
  if (!actor || !job || actors_.contains(*actor)) {
    SKYRAY_LOG(Warning) << "the GCS ordered an actor that is here already, or has no id; ignored";
    return;
  }
  AddJob(order.job());
  actors_[*actor] = {order.spec(), order.restarts(), WorkerId()};

  LeaseRequest request;
  request.owner = gcs_owner_;
  request.job = *job;
  request.actor = *actor;
  request.demand = ResourcesFrom(order.spec().placement_resources());
  request.held = ResourcesFrom(order.spec().resources());
  request.name = order.spec().class_name();
  request.runtime_env = order.spec().runtime_env();
  request.retriable = order.spec().max_restarts() != 0;
  request.spilled = true;  // The GCS has chosen the node.
  queue_.Add(std::move(request), Now());
  ScheduleSoon();
}

void NodeServer::BecomeActor(const ActorId& actor, const LeaseId& lease, const PoolWorker& worker) {
  const auto it = actors_.find(actor);
  if (it == actors_.end()) return EndLease(lease, false);  // Stopped while it waited.
  it->second.worker = worker.id;
  // It stays with the actor: the next actor, or task, shall not wait for a fork.
  if (!worker.key.special()) pool_.Prestart(worker.key.job, kSpareWorkers);
  Builder builder;
  std::vector<Offset<flatbuffers::String>> ids;
  for (const std::string& gpu : ledger_.GpuIds(lease)) ids.push_back(builder.CreateString(gpu));
  const auto gpu_ids = builder.CreateVector(ids);
  const auto spec = PutActorSpec(builder, it->second.spec);
  Send(ConnectionOf(worker.id), 0, builder,
       wire::CreateStartActor(builder, spec, gpu_ids, it->second.restarts));
}

void NodeServer::OnActorStarted(const Client& client, const wire::ActorStarted& message) {
  const auto actor = IdOf<ActorId>(message.actor_id());
  const auto it = actor ? actors_.find(*actor) : actors_.end();
  if (it == actors_.end() || it->second.worker != client.worker) return;
  pb::NodeEvent event;
  pb::ActorStarted& started = *event.mutable_actor_started();
  started.set_actor_id(it->second.spec.actor_id());
  started.mutable_address()->set_node_id(std::string(self_.id.Binary()));
  started.mutable_address()->set_worker_id(std::string(client.worker.Binary()));
  started.set_pid(client.pid);
  started.set_failed(message.failed());
  started.set_creation_error(std::string(BytesOf(message.creation_error())));
  started.set_message(ToValidUtf8(TextOf(message.message())));
  gcs_->SendEvent(std::move(event));
  if (message.failed()) EndWorker(client.worker, true, "its __init__ raised", HowToEnd::Ask);
}

void NodeServer::OnStopActor(const pb::StopActor& order) {
  const auto actor = ActorId::FromBinary(order.actor_id());
  const auto it = actor ? actors_.find(*actor) : actors_.end();
  if (it == actors_.end()) return;
  const WorkerId worker = it->second.worker;
  const auto meant = WorkerId::FromBinary(order.worker_id());
  // An order for an earlier life of this actor.
  if (meant && !meant->IsNil() && !worker.IsNil() && *meant != worker) return;
  if (!worker.IsNil()) return EndWorker(worker, true, order.reason(), HowToEnd::AtOnce);
  WithdrawActor(*actor, order.reason());
}

void NodeServer::WithdrawActor(const ActorId& actor, const std::string& why) {
  queue_.CancelActor(actor);
  if (const auto lease = queue_.LeaseOf(actor)) EndLease(*lease, /*worker_failed=*/false);
  WorkerExit exit;
  exit.expected = true;
  exit.reason = why;
  ActorExited(actor, exit);
}

void NodeServer::ActorNotPlaced(const ActorId& actor, const std::string& why) {
  actors_.erase(actor);
  pb::NodeEvent event;
  event.mutable_actor_not_placed()->set_actor_id(std::string(actor.Binary()));
  event.mutable_actor_not_placed()->set_message(why);
  gcs_->SendEvent(std::move(event));
}

void NodeServer::ActorExited(const ActorId& actor, const WorkerExit& exit) {
  actors_.erase(actor);
  pb::NodeEvent event;
  event.mutable_actor_exited()->set_actor_id(std::string(actor.Binary()));
  CopyExit(exit, self_, event.mutable_actor_exited()->mutable_exit());
  gcs_->SendEvent(std::move(event));
}

void NodeServer::CreateActor(ConnectionId connection, uint64_t request,
                             const wire::CreateActor& message) {
  auto spec = ActorSpecFrom(*message.spec());
  if (!spec) return Drop(connection, "its actor has a malformed id or impossible resources");
  const ActorId actor = *ActorId::FromBinary(spec->actor_id());
  pb::CreateActorRequest call;
  *call.mutable_spec() = std::move(*spec);
  call.set_get_if_exists(message.get_if_exists());
  gcs_->CreateActor(call,
                    [this, connection, request, actor](const Result<pb::CreateActorReply>& reply) {
                      if (FindClient(connection) == nullptr) return;
                      const Status status = reply ? Status() : reply.error();
                      const bool exists = reply && reply->has_existing();
                      Builder builder;
                      const auto text = builder.CreateString(status.message());
                      Offset<wire::ActorInfo> existing;
                      if (exists) existing = PutActorInfo(builder, reply->existing());
                      Send(connection, request, builder,
                           wire::CreateCreateActorReply(builder, status.code(), text, existing));
                      if (status.ok() && !exists) Subscribe(connection, actor);
                    });
}

// --- News ---

void NodeServer::Subscribe(ConnectionId connection, const ActorId& actor) {
  Subscription& subscription = subscriptions_[actor];
  const bool first = subscription.clients.empty();
  if (!subscription.clients.insert(connection).second) return;
  if (subscription.last) SendActorUpdate(connection, *subscription.last);
  if (!first) return;
  pb::NodeEvent event;
  event.set_subscribe_actor(std::string(actor.Binary()));
  gcs_->SendEvent(std::move(event));
}

void NodeServer::Unsubscribe(ConnectionId connection, const ActorId& actor) {
  const auto it = subscriptions_.find(actor);
  if (it == subscriptions_.end() || it->second.clients.erase(connection) == 0) return;
  if (!it->second.clients.empty()) return;
  subscriptions_.erase(it);
  if (stopping_) return;
  pb::NodeEvent event;
  event.set_unsubscribe_actor(std::string(actor.Binary()));
  gcs_->SendEvent(std::move(event));
}

void NodeServer::OnActorInfo(const pb::ActorInfo& info) {
  const auto actor = ActorId::FromBinary(info.actor_id());
  const auto it = actor ? subscriptions_.find(*actor) : subscriptions_.end();
  if (it == subscriptions_.end()) return;
  if (!info.pending_reason().empty()) TellPending(info);
  it->second.last = info;
  for (const ConnectionId client : it->second.clients) SendActorUpdate(client, info);
}

void NodeServer::TellPending(const pb::ActorInfo& info) {
  const auto job = JobId::FromBinary(info.job_id());
  const std::string text = "An actor of class " + info.class_name() +
                           " waits for a node: " + info.pending_reason() +
                           ". It is placed as soon as a node has that; or ask for less.";
  if (!job || text == last_pending_notice_) return;  // Of many alike, one is enough.
  last_pending_notice_ = text;
  SKYRAY_LOG(Warning) << text;
  Notify(*job, text, /*is_error=*/true);
}

void NodeServer::SendActorUpdate(ConnectionId connection, const pb::ActorInfo& info) {
  Builder builder;
  const auto update = PutActorInfo(builder, info);
  Send(connection, 0, builder, wire::CreateActorUpdate(builder, update));
}

}  // namespace skyray::raylet
