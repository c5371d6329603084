// SPDX-License-Identifier: Apache-2.0
// Words for the tests of the GCS: ids, nodes, jobs and actors as messages.
#pragma once

#include <string>

#include "common/id.h"
#include "common/resource_set.h"
#include "protos/gcs.pb.h"

namespace skyray::gcs {

// The n-th id of its kind.
template <class Id>
Id NumberedId(int n) {
  Id id;
  for (size_t i = 0; i < Id::kSize; ++i) id.mutable_data()[i] = 0;
  id.mutable_data()[0] = static_cast<uint8_t>(n >> 8);
  id.mutable_data()[1] = static_cast<uint8_t>(n);
  return id;
}

template <class Id>
std::string Bytes(const Id& id) {
  return std::string(id.Binary());
}

inline void SetResource(pb::Resources* resources, const std::string& name, double amount) {
  (*resources->mutable_amounts())[name] = *ResourceAmountFromDouble(amount);
}

inline pb::NodeInfo Node(const NodeId& id, double cpus) {
  pb::NodeInfo node;
  node.set_node_id(Bytes(id));
  node.set_ip("127.0.0.1");
  SetResource(node.mutable_total(), "CPU", cpus);
  SetResource(node.mutable_available(), "CPU", cpus);
  return node;
}

inline pb::NodeEvent Register(const NodeId& id, double cpus) {
  pb::NodeEvent event;
  *event.mutable_register_() = Node(id, cpus);
  return event;
}

inline pb::NodeEvent Report(uint64_t version, double cpus, uint64_t starts_seen = 0) {
  pb::NodeEvent event;
  event.mutable_resources()->set_version(version);
  SetResource(event.mutable_resources()->mutable_available(), "CPU", cpus);
  event.mutable_resources()->set_starts_seen(starts_seen);
  return event;
}

inline pb::NodeEvent Started(const ActorId& actor, const WorkerId& worker) {
  pb::NodeEvent event;
  event.mutable_actor_started()->set_actor_id(Bytes(actor));
  event.mutable_actor_started()->mutable_address()->set_worker_id(Bytes(worker));
  event.mutable_actor_started()->set_pid(4711);
  return event;
}

inline pb::NodeEvent FailedToStart(const ActorId& actor, const std::string& error) {
  pb::NodeEvent event;
  event.mutable_actor_started()->set_actor_id(Bytes(actor));
  event.mutable_actor_started()->set_failed(true);
  event.mutable_actor_started()->set_creation_error(error);
  return event;
}

inline pb::NodeEvent Exited(const ActorId& actor, int signal, bool expected = false) {
  pb::NodeEvent event;
  event.mutable_actor_exited()->set_actor_id(Bytes(actor));
  event.mutable_actor_exited()->mutable_exit()->set_signal(signal);
  event.mutable_actor_exited()->mutable_exit()->set_expected(expected);
  return event;
}

inline pb::NodeEvent NotPlaced(const ActorId& actor) {
  pb::NodeEvent event;
  event.mutable_actor_not_placed()->set_actor_id(Bytes(actor));
  return event;
}

inline pb::NodeEvent WorkerDied(const WorkerId& worker, bool is_driver) {
  pb::NodeEvent event;
  event.mutable_worker_died()->set_worker_id(Bytes(worker));
  event.mutable_worker_died()->set_is_driver(is_driver);
  return event;
}

inline pb::NodeEvent SubscribeTo(const ActorId& actor) {
  pb::NodeEvent event;
  event.set_subscribe_actor(Bytes(actor));
  return event;
}

inline pb::AddJobRequest Job(const WorkerId& driver, const NodeId& node) {
  pb::AddJobRequest request;
  request.mutable_job()->set_driver_worker_id(Bytes(driver));
  request.mutable_job()->set_driver_node_id(Bytes(node));
  return request;
}

// Needs one CPU to be placed, holds `cpus` while it lives.
inline pb::ActorSpec Actor(const ActorId& id, const JobId& job, const WorkerId& owner,
                           const NodeId& owner_node, double cpus = 0) {
  pb::ActorSpec spec;
  spec.set_actor_id(Bytes(id));
  spec.set_job_id(Bytes(job));
  spec.set_class_name("Counter");
  spec.set_namespace_("ns");
  spec.mutable_owner()->set_worker_id(Bytes(owner));
  spec.mutable_owner()->set_node_id(Bytes(owner_node));
  spec.set_creation_task("task");
  spec.set_handle("handle");
  SetResource(spec.mutable_placement_resources(), "CPU", cpus > 0 ? cpus : 1);
  if (cpus > 0) SetResource(spec.mutable_resources(), "CPU", cpus);
  return spec;
}

}  // namespace skyray::gcs
