// SPDX-License-Identifier: Apache-2.0
#include "raylet/messages.h"

#include <vector>

#include "raylet/utf8.h"

namespace skyray::raylet {
namespace {

using SelectorVector = flatbuffers::Vector<Offset<wire::LabelSelector>>;

Offset<SelectorVector> PutSelectors(Builder& builder, const std::vector<LabelSelector>& selectors) {
  std::vector<Offset<wire::LabelSelector>> list;
  for (const LabelSelector& selector : selectors) {
    std::vector<Offset<wire::LabelTerm>> terms;
    for (const LabelTerm& term : selector) {
      const auto key = builder.CreateString(term.key);
      const auto values = builder.CreateVectorOfStrings(term.values);
      terms.push_back(
          wire::CreateLabelTerm(builder, key, static_cast<wire::LabelOp>(term.op), values));
    }
    list.push_back(wire::CreateLabelSelector(builder, builder.CreateVector(terms)));
  }
  return builder.CreateVector(list);
}

std::vector<LabelSelector> SelectorsFrom(const SelectorVector* selectors) {
  std::vector<LabelSelector> list;
  if (selectors == nullptr) return list;
  for (const wire::LabelSelector* selector : *selectors) {
    LabelSelector& terms = list.emplace_back();
    if (selector->terms() == nullptr) continue;
    for (const wire::LabelTerm* sent : *selector->terms()) {
      LabelTerm& term = terms.emplace_back();
      term.key = ToValidUtf8(TextOf(sent->key()));
      term.op = static_cast<LabelTerm::Op>(sent->op());
      if (sent->values() == nullptr) continue;
      for (const auto* value : *sent->values()) {
        term.values.push_back(ToValidUtf8(TextOf(value)));
      }
    }
  }
  return list;
}

std::vector<LabelSelector> SelectorsFrom(const pb::Strategy& strategy) {
  std::vector<LabelSelector> list;
  for (const pb::LabelSelector& selector : strategy.selectors()) {
    LabelSelector& terms = list.emplace_back();
    for (const pb::LabelTerm& term : selector.terms()) {
      terms.push_back({term.key(),
                       static_cast<LabelTerm::Op>(term.op()),
                       {term.values().begin(), term.values().end()}});
    }
  }
  return list;
}

void CopySelectors(const std::vector<LabelSelector>& selectors, pb::Strategy* to) {
  for (const LabelSelector& selector : selectors) {
    pb::LabelSelector& copy = *to->add_selectors();
    for (const LabelTerm& term : selector) {
      pb::LabelTerm& copied = *copy.add_terms();
      copied.set_key(term.key);
      copied.set_op(static_cast<pb::LabelTerm::Op>(term.op));
      for (const std::string& value : term.values) copied.add_values(value);
    }
  }
}

Offset<wire::Strategy> PutStrategy(Builder& builder, const pb::Strategy& strategy) {
  const auto node = PutBytes(builder, strategy.node_id());
  const auto selectors = PutSelectors(builder, SelectorsFrom(strategy));
  return wire::CreateStrategy(builder, static_cast<wire::StrategyKind>(strategy.kind()), node,
                              strategy.soft(), selectors);
}

Offset<wire::WorkerAddress> PutAddress(Builder& builder, const pb::WorkerAddress& address) {
  const auto node = PutBytes(builder, address.node_id());
  return wire::CreateWorkerAddress(builder, node, PutBytes(builder, address.worker_id()));
}

Offset<wire::ExitInfo> PutExit(Builder& builder, const pb::ExitInfo& exit, bool no_retry = false) {
  std::vector<Offset<flatbuffers::String>> lines;
  for (const std::string& line : exit.stderr_tail()) lines.push_back(builder.CreateString(line));
  const auto tail = builder.CreateVector(lines);
  const auto reason = builder.CreateString(exit.reason());
  const auto node = PutBytes(builder, exit.node_id());
  const auto ip = builder.CreateString(exit.node_ip());
  return wire::CreateExitInfo(builder, exit.pid(), exit.exit_code(), exit.signal(), exit.expected(),
                              reason, tail, node, ip, static_cast<ErrorCode>(exit.error()),
                              no_retry);
}

}  // namespace

std::optional<ResourceSet> ResourcesFrom(const ResourceVector* resources) {
  ResourceSet set;
  if (resources == nullptr) return set;
  for (const wire::Resource* resource : *resources) {
    if (resource->amount() < 0) return std::nullopt;
    set.Set(resource->name()->string_view(), resource->amount());
  }
  return set;
}

Offset<ResourceVector> PutResources(Builder& builder, const ResourceSet& resources) {
  std::vector<Offset<wire::Resource>> entries;
  for (const auto& [name, amount] : resources.amounts()) {
    entries.push_back(wire::CreateResource(builder, builder.CreateString(name), amount));
  }
  return builder.CreateVector(entries);
}

ResourceSet ResourcesFrom(const pb::Resources& resources) {
  ResourceSet set;
  for (const auto& [name, amount] : resources.amounts()) {
    if (amount > 0) set.Set(name, amount);
  }
  return set;
}

void CopyResources(const ResourceSet& from, pb::Resources* to) {
  // What is lent out twice is told as nothing left.
  for (const auto& [name, amount] : from.amounts()) {
    if (amount > 0) (*to->mutable_amounts())[ToValidUtf8(name)] = amount;
  }
}

std::optional<Strategy> StrategyFrom(const wire::Strategy* strategy) {
  Strategy result;
  if (strategy == nullptr) return result;
  result.selectors = SelectorsFrom(strategy->selectors());
  switch (strategy->kind()) {
    case wire::StrategyKind::Default:
      return result;
    case wire::StrategyKind::Spread:
      result.kind = Strategy::Kind::Spread;
      return result;
    case wire::StrategyKind::NodeAffinity: {
      const auto node = IdOf<NodeId>(strategy->node_id());
      if (!node) return std::nullopt;
      result.kind = Strategy::Kind::NodeAffinity;
      result.node = *node;
      result.soft = strategy->soft();
      return result;
    }
  }
  return std::nullopt;
}

std::optional<LeaseRequest> LeaseRequestFrom(const wire::RequestLease& request) {
  auto resources = ResourcesFrom(request.resources());
  auto strategy = StrategyFrom(request.strategy());
  if (!resources || !strategy) return std::nullopt;
  LeaseRequest result;
  result.demand = result.held = std::move(*resources);
  result.strategy = *strategy;
  result.spilled = request.spilled();
  result.name = ToValidUtf8(TextOf(request.name()));
  result.runtime_env = ToValidUtf8(TextOf(request.runtime_env()));
  result.retriable = request.retriable();
  return result;
}

Offset<wire::RequestLease> PutLeaseRequest(Builder& builder, const LeaseRequest& request,
                                           const JobId& job) {
  const auto resources = PutResources(builder, request.demand);
  const auto node = PutBytes(builder, request.strategy.node.Binary());
  const auto selectors = PutSelectors(builder, request.strategy.selectors);
  const auto strategy =
      wire::CreateStrategy(builder, static_cast<wire::StrategyKind>(request.strategy.kind), node,
                           request.strategy.soft, selectors);
  const auto name = builder.CreateString(request.name);
  const auto job_id = PutBytes(builder, job.Binary());
  const auto runtime_env = builder.CreateString(request.runtime_env);
  return wire::CreateRequestLease(builder, resources, strategy, name, /*spilled=*/true, job_id,
                                  runtime_env, request.retriable);
}

Offset<wire::ExitInfo> PutExit(Builder& builder, const WorkerExit& exit, const NodeAddress& node) {
  pb::ExitInfo info;
  CopyExit(exit, node, &info);
  return PutExit(builder, info, exit.no_retry);
}

void CopyExit(const WorkerExit& exit, const NodeAddress& node, pb::ExitInfo* to) {
  to->set_pid(exit.pid);
  to->set_exit_code(exit.exit_code);
  to->set_signal(exit.signal);
  to->set_expected(exit.expected);
  to->set_reason(ToValidUtf8(exit.reason));
  for (const std::string& line : exit.stderr_tail) to->add_stderr_tail(line);
  to->set_node_id(std::string(node.id.Binary()));
  to->set_node_ip(node.ip);
  to->set_error(static_cast<uint32_t>(exit.error));
}

Offset<wire::WorkerAddress> PutAddress(Builder& builder, const NodeId& node,
                                       const WorkerId& worker) {
  const auto node_id = PutBytes(builder, node.Binary());
  return wire::CreateWorkerAddress(builder, node_id, PutBytes(builder, worker.Binary()));
}

std::optional<pb::ActorSpec> ActorSpecFrom(const wire::ActorSpec& spec) {
  const auto actor = IdOf<ActorId>(spec.actor_id());
  const auto job = IdOf<JobId>(spec.job_id());
  const auto placement = ResourcesFrom(spec.placement_resources());
  const auto held = ResourcesFrom(spec.resources());
  const auto strategy = StrategyFrom(spec.strategy());
  if (!actor || !job || !placement || !held || !strategy) return std::nullopt;
  pb::ActorSpec result;
  result.set_actor_id(std::string(actor->Binary()));
  result.set_job_id(std::string(job->Binary()));
  result.set_class_name(ToValidUtf8(TextOf(spec.class_name())));
  result.set_name(ToValidUtf8(TextOf(spec.name())));
  result.set_namespace_(ToValidUtf8(TextOf(spec.namespace_())));
  result.set_detached(spec.detached());
  result.set_max_restarts(spec.max_restarts());
  result.set_max_concurrency(spec.max_concurrency());
  CopyResources(*placement, result.mutable_placement_resources());
  CopyResources(*held, result.mutable_resources());
  result.mutable_strategy()->set_kind(static_cast<pb::Strategy::Kind>(strategy->kind));
  if (strategy->kind == Strategy::Kind::NodeAffinity) {
    result.mutable_strategy()->set_node_id(std::string(strategy->node.Binary()));
    result.mutable_strategy()->set_soft(strategy->soft);
  }
  CopySelectors(strategy->selectors, result.mutable_strategy());
  result.set_runtime_env(ToValidUtf8(TextOf(spec.runtime_env())));
  result.mutable_owner()->set_node_id(std::string(BytesOf(spec.owner()->node_id())));
  result.mutable_owner()->set_worker_id(std::string(BytesOf(spec.owner()->worker_id())));
  result.set_creation_task(std::string(BytesOf(spec.creation_task())));
  result.set_creation_error(std::string(BytesOf(spec.creation_error())));
  result.set_handle(std::string(BytesOf(spec.handle())));
  return result;
}

Offset<wire::ActorSpec> PutActorSpec(Builder& builder, const pb::ActorSpec& spec) {
  const auto actor = PutBytes(builder, spec.actor_id());
  const auto job = PutBytes(builder, spec.job_id());
  const auto class_name = builder.CreateString(spec.class_name());
  const auto name = builder.CreateString(spec.name());
  const auto name_space = builder.CreateString(spec.namespace_());
  const auto placement = PutResources(builder, ResourcesFrom(spec.placement_resources()));
  const auto held = PutResources(builder, ResourcesFrom(spec.resources()));
  const auto strategy = PutStrategy(builder, spec.strategy());
  const auto owner = PutAddress(builder, spec.owner());
  const auto task = PutBytes(builder, spec.creation_task());
  const auto handle = PutBytes(builder, spec.handle());
  const auto runtime_env = builder.CreateString(spec.runtime_env());
  return wire::CreateActorSpec(builder, actor, job, class_name, name, name_space, spec.detached(),
                               spec.max_restarts(), spec.max_concurrency(), placement, held,
                               strategy, owner, task, handle, runtime_env);
}

Offset<wire::ActorInfo> PutActorInfo(Builder& builder, const pb::ActorInfo& info) {
  const auto actor = PutBytes(builder, info.actor_id());
  const auto job = PutBytes(builder, info.job_id());
  const auto class_name = builder.CreateString(info.class_name());
  const auto name = builder.CreateString(info.name());
  const auto name_space = builder.CreateString(info.namespace_());
  Offset<wire::WorkerAddress> address;
  if (info.has_address()) address = PutAddress(builder, info.address());
  Offset<wire::ExitInfo> exit;
  if (info.has_exit()) exit = PutExit(builder, info.exit());
  const auto message = builder.CreateString(info.death_message());
  const auto creation_error = PutBytes(builder, info.creation_error());
  const auto handle = PutBytes(builder, info.handle());
  return wire::CreateActorInfo(
      builder, actor, job, static_cast<wire::ActorState>(info.state()), class_name, name,
      name_space, info.detached(), address, info.pid(), info.restarts(), info.version(), exit,
      static_cast<ErrorCode>(info.death_code()), message, creation_error, handle);
}

Offset<wire::NodeInfo> PutNodeInfo(Builder& builder, const pb::NodeInfo& info) {
  const auto node = PutBytes(builder, info.node_id());
  const auto ip = builder.CreateString(info.ip());
  const auto hostname = builder.CreateString(info.hostname());
  const auto name = builder.CreateString(info.name());
  const auto raylet_socket = builder.CreateString(info.raylet_socket());
  const auto store_socket = builder.CreateString(info.store_socket());
  const auto total = PutResources(builder, ResourcesFrom(info.total()));
  const auto available = PutResources(builder, ResourcesFrom(info.available()));
  std::vector<Offset<wire::Label>> labels;
  for (const auto& [key, value] : info.labels()) {
    const auto key_text = builder.CreateString(key);
    labels.push_back(wire::CreateLabel(builder, key_text, builder.CreateString(value)));
  }
  const auto label_vector = builder.CreateVector(labels);
  const auto death_reason = builder.CreateString(info.death_reason());
  return wire::CreateNodeInfo(builder, node, info.alive(), ip, hostname, name,
                              static_cast<uint16_t>(info.data_port()), raylet_socket, store_socket,
                              info.is_head(), total, available, label_vector, death_reason);
}

}  // namespace skyray::raylet
