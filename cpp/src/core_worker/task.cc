// SPDX-License-Identifier: Apache-2.0
#include "core_worker/task.h"

#include "ipc/frame.h"

namespace skyray::core_worker {
namespace {

// A value under kInProcessBytesMax rides in the call; one in a store is named.
void AppendRefArgument(std::string& out, const RefArgument& argument, const WorkerAddress& self) {
  const Object& object = *argument.object;
  const bool by_value = object.state == ObjectState::InProcess;
  // Lost since, and being made again: the executor will ask its owner for it.
  const bool unknown = object.state == ObjectState::Pending;
  RefArg head{};
  head.position = argument.position;
  head.key_bytes = static_cast<uint16_t>(argument.key.size());
  if (!by_value) head.nodes = unknown ? uint16_t{1} : static_cast<uint16_t>(object.nodes.size());
  head.bytes = by_value ? object.value->bytes() : object.store_bytes;
  head.object = object.id;
  head.owner = object.owner != nullptr ? *object.owner : self;
  AppendStruct(out, head);
  out.append(argument.key);
  if (by_value) {
    out.append(reinterpret_cast<const char*>(object.value->data()), object.value->bytes());
  } else if (unknown) {
    AppendStruct(out, NodeId::Nil());
  } else {
    for (const NodeId& node : object.nodes) AppendStruct(out, node);
  }
}

}  // namespace

ValuePtr CancelledError(const Task& task) {
  return MakeErrorValue(ErrorCode::TaskCancelled, "Task: " + task.id.Hex() + " (" +
                                                      task.function->name +
                                                      ") was cancelled, as cancel() asked for");
}

void AppendCall(std::string& out, const Task& task, std::string_view args, uint64_t sequence,
                uint32_t function_index, const WorkerAddress& self) {
  const size_t frame_at = out.size();
  ipc::FrameHeader frame{0, kCallFrame, 0};
  const bool once = task.actor == nullptr && task.retries_left == 0;
  CallHeader header{sequence,
                    task.id,
                    function_index,
                    task.returns_asked,
                    static_cast<uint16_t>(task.flags | (once ? kCallOnce : 0)),
                    static_cast<uint32_t>(task.ref_args.size()),
                    static_cast<uint32_t>(args.size())};
  AppendStruct(out, frame);
  AppendStruct(out, header);
  out.append(args);
  for (const RefArgument& argument : task.ref_args) AppendRefArgument(out, argument, self);
  frame.body_bytes = static_cast<uint32_t>(out.size() - frame_at - sizeof frame);
  std::memcpy(out.data() + frame_at, &frame, sizeof frame);
}

bool ParseCall(std::span<const uint8_t> body, ReceivedCall& call) {
  ByteReader reader(body);
  if (!reader.Read(call.header)) return false;
  if (!reader.ReadBytes(call.header.args_bytes, call.args)) return false;
  // Each takes at least its head, so a lying count ends at the end of the bytes.
  for (uint32_t i = 0; i < call.header.ref_args; ++i) {
    ReceivedRefArg argument;
    std::span<const uint8_t> key;
    if (!reader.Read(argument.head)) return false;
    if (!reader.ReadBytes(argument.head.key_bytes, key)) return false;
    argument.key = {reinterpret_cast<const char*>(key.data()), key.size()};
    if (argument.head.nodes == 0) {
      if (!reader.ReadBytes(argument.head.bytes, argument.payload)) return false;
    }
    for (uint16_t n = 0; n < argument.head.nodes; ++n) {
      NodeId node;
      if (!reader.Read(node)) return false;
      argument.nodes.push_back(node);
    }
    call.ref_args.push_back(std::move(argument));
  }
  return reader.left() == 0;
}

}  // namespace skyray::core_worker
