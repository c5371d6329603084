// SPDX-License-Identifier: Apache-2.0
// A worker's side: calls come in, the main thread runs them, replies go out.
#include <unistd.h>

#include "common/logging.h"
#include "core_worker/core_worker.h"
#include "core_worker/frames_out.h"

namespace skyray::core_worker {
namespace fbr = fb::raylet;
namespace fbw = fb::worker;

namespace {

// Replies of short tasks travel together, but none waits longer than this.
constexpr int64_t kReplyDelayNs = 50'000;

}  // namespace

void CoreWorker::OnCall(Channel& channel, std::span<const uint8_t> body) {
  auto call = std::make_unique<IncomingCall>();
  call->body.assign(body.begin(), body.end());
  if (!ParseCall(call->body, call->call) ||
      call->call.header.function_index >= channel.functions.size()) {
    SKYRAY_LOG(Warning) << "dropped a caller: a malformed call";
    gateway_.CloseChannel(channel);
    return OnClosed(channel);
  }
  call->channel = gateway_.Share(channel);
  const ReceivedFunction& function = channel.functions[call->call.header.function_index];
  call->function_id = function.id;
  call->method = function.method;
  call->name = function.name;
  last_caller_ = &channel;
  const bool was_empty = calls_.empty();
  calls_.Push(std::move(call));
  if (!calls_.ReadAllowed() && !channel.paused) {
    channel.paused = true;
    paused_.push_back(gateway_.Share(channel));
  }
  if (idle_main_ != nullptr) {
    idle_main_->remaining = 0;
    gateway_.Notify(idle_main_);
  } else if (was_empty && executing_since_ns_ != 0) {
    gateway_.WakeForTimer();
  }
}

void CoreWorker::OnStartActor(const fbr::StartActor& start) {
  const fbr::ActorSpec& spec = *start.spec();
  auto call = std::make_unique<IncomingCall>();
  call->actor_id = ToId<ActorId>(spec.actor_id());
  call->name = ToString(spec.class_name());
  call->restarts = start.restarts();
  call->max_concurrency = spec.max_concurrency();
  call->method = "__init__";
  call->lease = std::make_shared<BoundLease>(
      BoundLease{ToStrings(start.gpu_ids()), ToResources(spec.resources())});
  const auto* task = spec.creation_task();
  if (task->size() > FunctionId::kSize) {
    call->function_id = FunctionId::FromBytes(task->data());
    call->body.assign(task->begin() + FunctionId::kSize, task->end());
  }
  if (!ParseCall(call->body, call->call)) {
    SKYRAY_LOG(Error) << "the raylet sent an actor whose creation task makes no sense";
    return;
  }
  calls_.Push(std::move(call));
  if (idle_main_ != nullptr) {
    idle_main_->remaining = 0;
    gateway_.Notify(idle_main_);
  }
}

std::unique_ptr<IncomingCall> CoreWorker::NextCall() {
  Lock lock(gateway_.mutex());
  executing_since_ns_ = 0;
  for (;;) {
    if (exit_requested_) {
      gateway_.FlushDirty(lock);
      return nullptr;
    }
    if (auto call = calls_.Pop()) {
      executing_since_ns_ = NowNs();
      if (!paused_.empty() && calls_.ReadAllowed()) {
        for (const ChannelPtr& channel : paused_) gateway_.Resume(*channel);
        paused_.clear();
      }
      if (replies_since_ns_ != 0 && executing_since_ns_ - replies_since_ns_ > kReplyDelayNs) {
        replies_since_ns_ = 0;
        gateway_.FlushDirty(lock);
      }
      return call;
    }
    replies_since_ns_ = 0;
    GatewayWaiter waiter;
    waiter.remaining = 1;
    idle_main_ = &waiter;
    const WaitResult result =
        gateway_.Wait(lock, waiter, INT64_MAX, last_caller_, options_.interrupted);
    idle_main_ = nullptr;
    if (result == WaitResult::Stopped) return nullptr;
  }
}

Result<ReadableValue> CoreWorker::ReadArgument(const ReceivedRefArg& argument) {
  if (argument.nodes.empty()) {
    // Copied to where arrays may lie: a frame's bytes are not aligned.
    ValuePtr value = CopyValue(argument.payload);
    const auto bytes = value->span();
    return ReadableValue{std::move(value), nullptr, bytes};
  }
  return ReadCopy(argument.head.object, argument.nodes, argument.head.bytes, INT64_MAX);
}

void CoreWorker::BeginTask(const IncomingCall& call) {
  Lock lock(gateway_.mutex());
  in_task_ = true;
  current_task_ = call.call.header.task;
}

void CoreWorker::ArgumentsRead() {
  Lock lock(gateway_.mutex());
  in_task_ = false;
}

TaskId CoreWorker::current_task() {
  Lock lock(gateway_.mutex());
  return current_task_;
}

// Ends the task's borrowing: what is still referred to is told to the caller, or,
// without one (the creation of an actor), to the owner.
void CoreWorker::AppendBorrows(std::string& out, uint32_t& count, const WorkerAddress* caller) {
  FreedEffects freed;
  for (Object* object : task_borrows_) {
    if (object->refs > 1 && !object->registered && object->owner != nullptr) {
      object->registered = true;
      const OwnedRef ref{object->id, *object->owner};
      if (caller != nullptr) {
        AppendStruct(out, ref);
        ++count;
      } else {
        TellBorrow(true, ref, self_);
      }
    }
    objects_.Drop(object, freed);
  }
  task_borrows_.clear();
  in_task_ = false;
  Apply(freed);
}

void CoreWorker::FinishReply(Lock& lock, IncomingCall& call, std::string& out) {
  ReplyHeader header;
  std::memcpy(&header, out.data() + sizeof(ipc::FrameHeader), sizeof header);
  AppendBorrows(out, header.borrowed, &call.channel->peer);
  const ipc::FrameHeader frame{static_cast<uint32_t>(out.size() - sizeof(ipc::FrameHeader)),
                               kReplyFrame, 0};
  std::memcpy(out.data(), &frame, sizeof frame);
  std::memcpy(out.data() + sizeof frame, &header, sizeof header);
  if (call.channel->closed) return;
  call.channel->out.append(out);
  if (replies_since_ns_ == 0) replies_since_ns_ = NowNs();
  // With a time at which it goes by itself: the next call may be a long one.
  gateway_.Commit(lock, *call.channel, /*lazy=*/true);
}

void CoreWorker::Reply(IncomingCall& call, uint32_t execute_us, std::vector<TaskReturn> returns) {
  std::string out(sizeof(ipc::FrameHeader), '\0');
  AppendStruct(out, ReplyHeader{call.call.header.sequence, execute_us,
                                static_cast<uint16_t>(returns.size()), 0, 0});
  const WorkerAddress& caller = call.channel->peer;
  for (size_t i = 0; i < returns.size(); ++i) {
    const uint64_t bytes = returns[i].parts.Bytes();
    const bool in_store = bytes > kInProcessBytesMax;
    if (in_store) {
      const ObjectId id = ObjectIdOf(call.call.header.task, static_cast<uint32_t>(i + 1));
      const Status stored = store_->Put(id, caller.worker, returns[i].parts);
      // ObjectExists: an earlier attempt of this task got so far.
      if (!stored.ok() && stored.code() != ErrorCode::ObjectExists) {
        for (const TaskReturn& one : returns) DropAll(one.contained);
        const ValuePtr error = MakeErrorValue(
            stored.code(), "the result of " + call.name + " (" + std::to_string(bytes) +
                               " bytes) could not be stored: " + stored.message());
        return ReplyErrorPayload(call, execute_us, error->span());
      }
    }
    AppendStruct(out, ReturnHeader{static_cast<uint8_t>(in_store ? 1 : 0),
                                   static_cast<uint32_t>(returns[i].contained.size()), bytes});
    if (!in_store) {
      const size_t at = out.size();
      out.resize(at + bytes);
      returns[i].parts.WriteTo(reinterpret_cast<uint8_t*>(out.data()) + at);
    }
    if (returns[i].contained.empty()) continue;
    Lock lock(gateway_.mutex());
    FreedEffects freed;
    for (Object* inner : returns[i].contained) {
      const OwnedRef ref{inner->id, objects_.OwnerOf(*inner)};
      AppendStruct(out, ref);
      // In the caller's name, before our own hold goes.
      if (ref.owner != caller) TellBorrow(true, ref, caller);
      objects_.Drop(inner, freed);
    }
    Apply(freed);
  }
  Lock lock(gateway_.mutex());
  FinishReply(lock, call, out);
}

void CoreWorker::ReplyErrorPayload(IncomingCall& call, uint32_t execute_us,
                                   std::span<const uint8_t> payload) {
  std::string out(sizeof(ipc::FrameHeader), '\0');
  AppendStruct(out, ReplyHeader{call.call.header.sequence, execute_us, 1, kReplyIsError, 0});
  AppendStruct(out, ReturnHeader{0, 0, payload.size()});
  out.append(reinterpret_cast<const char*>(payload.data()), payload.size());
  Lock lock(gateway_.mutex());
  FinishReply(lock, call, out);
}

void CoreWorker::ReplyError(IncomingCall& call, uint32_t execute_us, const PayloadParts& error) {
  const ValuePtr value = MakeValue(error);
  ReplyErrorPayload(call, execute_us, value->span());
}

void CoreWorker::ActorStarted(IncomingCall& call, const std::optional<PayloadParts>& error,
                              const std::string& message) {
  const ValuePtr payload = error ? MakeValue(*error) : ValuePtr();
  Lock lock(gateway_.mutex());
  std::string unused;
  uint32_t count = 0;
  AppendBorrows(unused, count, nullptr);
  SendRaylet(
      &lock,
      [&](Builder& builder, fbr::Body& type) {
        type = fbr::Body::ActorStarted;
        const auto id = PutId(builder, call.actor_id);
        Bytes bytes;
        if (payload) bytes = builder.CreateVector(payload->data(), payload->bytes());
        const auto text = builder.CreateString(message);
        return fbr::CreateActorStarted(builder, id, error.has_value(), bytes, text).Union();
      },
      nullptr);
  gateway_.FlushDirty(lock);
}

void CoreWorker::RequestExit(const std::string& reason) {
  Lock lock(gateway_.mutex());
  exit_requested_ = true;
  SendRaylet(
      &lock,
      [&](Builder& builder, fbr::Body& type) {
        type = fbr::Body::Exiting;
        return fbr::CreateExiting(builder, builder.CreateString(reason)).Union();
      },
      nullptr);
}

std::shared_ptr<const BoundLease> CoreWorker::LeaseOf(const IncomingCall& call) {
  Lock lock(gateway_.mutex());
  if (!call.channel) return nullptr;
  const auto it = bound_leases_.find(call.channel->id);
  return it == bound_leases_.end() ? nullptr : it->second;
}

void CoreWorker::HandBackQueued() {
  auto queued = calls_.Take(nullptr);
  std::unordered_map<Channel*, std::vector<uint64_t>> by_channel;
  for (const auto& call : queued) {
    by_channel[call->channel.get()].push_back(call->call.header.sequence);
  }
  for (const auto& [channel, sequences] : by_channel) {
    if (channel->closed) continue;
    Builder builder(256);
    const auto list = builder.CreateVector(sequences);
    const auto body = fbw::CreateHandBack(builder, list).Union();
    builder.Finish(fbw::CreateMessage(builder, fbw::Body::HandBack, body));
    AppendFrame(channel->out, builder);
    gateway_.MarkDirty(*channel);
  }
}

}  // namespace skyray::core_worker
