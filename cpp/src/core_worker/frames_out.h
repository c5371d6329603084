// SPDX-License-Identifier: Apache-2.0
// FlatBuffers into and out of a core worker's frames.
//
// Threading: functions. Ownership: they copy. Errors: ToId answers nil for
// bytes of another size.
#pragma once

#include <flatbuffers/flatbuffers.h>
#include <string.h>

#include <cstring>
#include <string>
#include <vector>

#include "common/resource_set.h"
#include "core_worker/hot_frames.h"
#include "core_worker/task_submitter.h"
#include "fbs/raylet_generated.h"
#include "fbs/worker_generated.h"
#include "ipc/frame.h"

namespace skyray::core_worker {

using Builder = flatbuffers::FlatBufferBuilder;
using Bytes = flatbuffers::Offset<flatbuffers::Vector<uint8_t>>;

inline void AppendFrame(std::string& out, const Builder& builder) {
  AppendStruct(out, ipc::FrameHeader{builder.GetSize(), ipc::kFlatBuffer, 0});
  out.append(reinterpret_cast<const char*>(builder.GetBufferPointer()), builder.GetSize());
}

template <class AnyId>
Bytes PutId(Builder& builder, const AnyId& id) {
  return builder.CreateVector(id.data(), AnyId::kSize);
}

template <class AnyId>
AnyId ToId(const flatbuffers::Vector<uint8_t>* bytes) {
  if (bytes == nullptr || bytes->size() != AnyId::kSize) return AnyId::Nil();
  return AnyId::FromBytes(bytes->data());
}

inline std::string ToString(const flatbuffers::String* text) {
  return text == nullptr ? std::string() : text->str();
}

inline std::string ToBytes(const flatbuffers::Vector<uint8_t>* bytes) {
  if (bytes == nullptr) return {};
  return {reinterpret_cast<const char*>(bytes->data()), bytes->size()};
}

inline std::vector<std::string> ToStrings(
    const flatbuffers::Vector<flatbuffers::Offset<flatbuffers::String>>* texts) {
  std::vector<std::string> out;
  if (texts == nullptr) return out;
  for (const auto* text : *texts) out.push_back(text->str());
  return out;
}

template <class Address>
WorkerAddress ToAddress(const Address* address) {
  if (address == nullptr) return {};
  return {ToId<NodeId>(address->node_id()), ToId<WorkerId>(address->worker_id())};
}

inline flatbuffers::Offset<fb::raylet::WorkerAddress> PutAddress(Builder& builder,
                                                                 const WorkerAddress& address) {
  const auto node = PutId(builder, address.node);
  const auto worker = PutId(builder, address.worker);
  return fb::raylet::CreateWorkerAddress(builder, node, worker);
}

inline flatbuffers::Offset<fb::worker::Address> PutPeerAddress(Builder& builder,
                                                               const WorkerAddress& address) {
  const auto node = PutId(builder, address.node);
  const auto worker = PutId(builder, address.worker);
  return fb::worker::CreateAddress(builder, node, worker);
}

inline flatbuffers::Offset<flatbuffers::Vector<flatbuffers::Offset<fb::raylet::Resource>>>
PutResources(Builder& builder, const ResourceSet& resources) {
  std::vector<flatbuffers::Offset<fb::raylet::Resource>> entries;
  for (const auto& [name, amount] : resources.amounts()) {
    entries.push_back(fb::raylet::CreateResource(builder, builder.CreateString(name), amount));
  }
  return builder.CreateVector(entries);
}

inline flatbuffers::Offset<fb::raylet::Strategy> PutStrategy(Builder& builder,
                                                             const Strategy& strategy) {
  std::vector<flatbuffers::Offset<fb::raylet::LabelSelector>> selectors;
  for (const LabelSelector& selector : strategy.selectors) {
    std::vector<flatbuffers::Offset<fb::raylet::LabelTerm>> terms;
    for (const LabelTerm& term : selector) {
      const auto key = builder.CreateString(term.key);
      const auto values = builder.CreateVectorOfStrings(term.values);
      terms.push_back(fb::raylet::CreateLabelTerm(
          builder, key, static_cast<fb::raylet::LabelOp>(term.op), values));
    }
    selectors.push_back(fb::raylet::CreateLabelSelector(builder, builder.CreateVector(terms)));
  }
  const auto list = builder.CreateVector(selectors);
  const auto node = PutId(builder, strategy.node);
  return fb::raylet::CreateStrategy(builder, static_cast<fb::raylet::StrategyKind>(strategy.kind),
                                    node, strategy.soft, list);
}

template <class Resources>
ResourceSet ToResources(const Resources* resources) {
  ResourceSet out;
  if (resources == nullptr) return out;
  for (const auto* entry : *resources) out.Set(entry->name()->str(), entry->amount());
  return out;
}

// How a process ended, in one paragraph for a person.
inline std::string DescribeExit(const fb::raylet::ExitInfo* exit) {
  if (exit == nullptr) return "its process ended; its raylet did not say how";
  std::string text = "worker";
  if (exit->pid() != 0) text += " pid " + std::to_string(exit->pid());
  if (exit->node_ip() != nullptr && exit->node_ip()->size() > 0) {
    text += " on node " + exit->node_ip()->str();
  }
  if (exit->signal() != 0) {
    const char* name = sigabbrev_np(exit->signal());
    text += " was killed by signal " + std::to_string(exit->signal()) +
            (name != nullptr ? std::string(" (SIG") + name + ")" : std::string());
  } else if (exit->exit_code() >= 0) {
    text += " exited with code " + std::to_string(exit->exit_code());
  } else {
    text += " is gone";  // Nobody was there to see how: its node died.
  }
  // The raylet's words for an end that nobody asked for would only repeat this.
  const std::string reason = ToString(exit->reason());
  const bool seen = exit->signal() != 0 || exit->exit_code() >= 0;
  const bool chosen = exit->expected() || exit->error() != ErrorCode::Ok;
  if ((chosen || !seen) && !reason.empty()) text += ": " + reason;
  if (exit->stderr_tail() != nullptr && exit->stderr_tail()->size() > 0) {
    text += "\nLast lines of its stderr:";
    for (const auto* line : *exit->stderr_tail()) text += "\n  " + line->str();
  }
  return text;
}

}  // namespace skyray::core_worker
