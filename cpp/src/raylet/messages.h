// SPDX-License-Identifier: Apache-2.0
// Between the raylet's own types, fbs/raylet.fbs and protos/gcs.proto, which say
// the same things in three ways.
//
// Threading: pure functions. Ownership: what builds takes offsets of `builder`.
// Errors:    what a peer sent may be nonsense: nothing (nullopt) is answered.
#pragma once

#include <flatbuffers/flatbuffers.h>

#include <optional>
#include <string>
#include <string_view>

#include "common/id.h"
#include "common/resource_set.h"
#include "common/status.h"
#include "fbs/raylet_generated.h"
#include "protos/gcs.pb.h"
#include "raylet/lease_queue.h"
#include "raylet/worker_exit.h"

namespace skyray::raylet {

namespace wire = fb::raylet;
using Builder = flatbuffers::FlatBufferBuilder;
using ByteVector = flatbuffers::Vector<uint8_t>;
template <class T>
using Offset = flatbuffers::Offset<T>;

inline std::string_view BytesOf(const ByteVector* bytes) {
  if (bytes == nullptr) return {};
  return {reinterpret_cast<const char*>(bytes->data()), bytes->size()};
}
inline std::string TextOf(const flatbuffers::String* text) {
  return text == nullptr ? std::string() : text->str();
}
inline Offset<ByteVector> PutBytes(Builder& builder, std::string_view bytes) {
  return builder.CreateVector(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
}
template <class SomeId>
std::optional<SomeId> IdOf(const ByteVector* bytes) {
  return SomeId::FromBinary(BytesOf(bytes));
}

// Wraps `body` into the envelope; the builder is finished.
template <class Body>
void Finish(Builder& builder, uint64_t request_id, Offset<Body> body) {
  builder.Finish(
      wire::CreateMessage(builder, request_id, wire::BodyTraits<Body>::enum_value, body.Union()));
}

using ResourceVector = flatbuffers::Vector<Offset<wire::Resource>>;
std::optional<ResourceSet> ResourcesFrom(const ResourceVector* resources);
Offset<ResourceVector> PutResources(Builder& builder, const ResourceSet& resources);
ResourceSet ResourcesFrom(const pb::Resources& resources);
void CopyResources(const ResourceSet& from, pb::Resources* to);

std::optional<Strategy> StrategyFrom(const wire::Strategy* strategy);

// Owner, request id and job are the caller's to fill in.
std::optional<LeaseRequest> LeaseRequestFrom(const wire::RequestLease& request);

Offset<wire::RequestLease> PutLeaseRequest(Builder& builder, const LeaseRequest& request,
                                           const JobId& job);

struct NodeAddress {
  NodeId id;
  std::string ip;
};
Offset<wire::ExitInfo> PutExit(Builder& builder, const WorkerExit& exit, const NodeAddress& node);
void CopyExit(const WorkerExit& exit, const NodeAddress& node, pb::ExitInfo* to);

Offset<wire::WorkerAddress> PutAddress(Builder& builder, const NodeId& node,
                                       const WorkerId& worker);

std::optional<pb::ActorSpec> ActorSpecFrom(const wire::ActorSpec& spec);
Offset<wire::ActorSpec> PutActorSpec(Builder& builder, const pb::ActorSpec& spec);
Offset<wire::ActorInfo> PutActorInfo(Builder& builder, const pb::ActorInfo& info);
Offset<wire::NodeInfo> PutNodeInfo(Builder& builder, const pb::NodeInfo& info);

}  // namespace skyray::raylet
