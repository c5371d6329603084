// SPDX-License-Identifier: Apache-2.0
// NodeServer: why somebody still waits, in words for the user.
#include "raylet/node_server.h"

namespace skyray::raylet {

void NodeServer::Explain(const LeaseOwner& owner, uint64_t request,
                         const wire::ExplainLease& asked) {
  const auto actor = IdOf<ActorId>(asked.actor_id());
  const std::string text = actor && !actor->IsNil()
                               ? ExplainActor(*actor)
                               : ExplainRequest(owner, asked.lease_request_id());
  Builder builder;
  const auto words = builder.CreateString(text);
  SendToOwner(owner, request, builder, wire::CreateLeaseExplanation(builder, words));
}

void NodeServer::ExplainOf(const Client& client, uint64_t request,
                           const wire::ExplainLease& asked) {
  const LeaseOwner owner{self_.id, client.worker};
  const auto node = IdOf<NodeId>(asked.node_id());
  if (!node || *node == self_.id || !peers_.contains(*node)) return Explain(owner, request, asked);
  Builder builder;
  const auto node_id = PutBytes(builder, node->Binary());
  Finish(builder, request,
         wire::CreateExplainLease(builder, asked.lease_request_id(), node_id,
                                  PutBytes(builder, BytesOf(asked.actor_id()))));
  SendFromClient(*node, client, builder);
}

std::string NodeServer::ExplainRequest(const LeaseOwner& owner, uint64_t request_id) const {
  const std::string here = "on node " + NodeName() + " ";
  const std::string why = queue_.WhyWaiting(owner, request_id);
  if (!why.empty() && memory_short_) {
    return here + "memory is short, and nothing is begun while other work runs";
  }
  if (!why.empty()) return here + why;
  for (const LeaseId& lease : queue_.LeasesOf(owner)) {
    if (queue_.Find(lease)->request.request_id != request_id) continue;
    if (pool_.FindByLease(lease) == nullptr)
      return here + "a worker process is being started for it";
  }
  return "";
}

std::string NodeServer::ExplainActor(const ActorId& actor) const {
  const auto known = subscriptions_.find(actor);
  if (known != subscriptions_.end() && known->second.last &&
      !known->second.last->pending_reason().empty()) {
    return "no node can take it now: " + known->second.last->pending_reason();
  }
  const std::string here = "on node " + NodeName() + " ";
  const auto hosted = actors_.find(actor);
  if (hosted == actors_.end()) {
    return "no node has taken it yet; " + here + "are " + queue_.WhoHolds({});
  }
  if (const PoolWorker* worker = pool_.Find(hosted->second.worker)) {
    return here + "its __init__ runs in the worker pid " + std::to_string(worker->pid);
  }
  const std::string why = queue_.WhyWaiting(actor);
  return here + (why.empty() ? "a worker process is being started for it" : why);
}

std::string NodeServer::NodeName() const {
  return options_.node_name.empty() ? self_.ip : options_.node_name;
}

}  // namespace skyray::raylet
