// SPDX-License-Identifier: Apache-2.0
// A worker's side: calls come in, the main thread runs them, replies go out.
#include <unistd.h>

#include <algorithm>

#include "common/logging.h"
#include "core_worker/core_worker.h"
#include "core_worker/frames_out.h"

namespace skyray::core_worker {
namespace fbr = fb::raylet;
namespace fbw = fb::worker;

namespace {

// Replies of short tasks travel together, but none waits longer than this.
constexpr int64_t kReplyDelayNs = 50'000;

thread_local IncomingCall* unpacked = nullptr;

// A frame whose header is still to come, in memory that this thread has used before.
std::string& NewReply() {
  constexpr size_t kKeptBytesMax = 64 << 10;
  thread_local std::string reply;
  if (reply.capacity() > kKeptBytesMax) reply = std::string();
  reply.assign(sizeof(ipc::FrameHeader), '\0');
  return reply;
}

Concurrency ToConcurrency(const fbw::ActorCreation& creation) {
  Concurrency concurrency;
  concurrency.is_async = creation.is_async();
  if (creation.groups() == nullptr) return concurrency;
  for (const auto* group : *creation.groups()) {
    const int limit = std::max(group->limit(), 1);
    if (group->name()->size() == 0) {
      concurrency.groups[0].limit = limit;
    } else {
      concurrency.groups.push_back({group->name()->str(), limit});
    }
  }
  return concurrency;
}

}  // namespace

void CoreWorker::OnCall(Channel& channel, std::span<const uint8_t> body) {
  if (retired_) {
    Builder builder(64);
    const auto retired = fbw::CreateRetired(builder).Union();
    builder.Finish(fbw::CreateMessage(builder, fbw::Body::Retired, retired));
    AppendFrame(channel.out, builder);
    return gateway_.MarkDirty(channel);
  }
  auto call = std::make_unique<IncomingCall>();
  call->body.assign(body.begin(), body.end());
  if (!ParseCall(call->body, call->call) ||
      call->call.header.function_index >= channel.functions.size()) {
    SKYRAY_LOG(Warning) << "dropped a caller: a malformed call";
    gateway_.CloseChannel(channel);
    return OnClosed(channel);
  }
  call->channel = gateway_.Share(channel);
  const ReceivedFunction& function = *channel.functions[call->call.header.function_index];
  call->function = &function;
  if ((call->call.header.flags & kCallYields) != 0) {
    call->items_untaken_max = function.items_untaken_max;
  }
  if (const auto group = calls_.FindGroup(function.group)) {
    call->group = *group;
  } else {
    call->refused = "the actor has no concurrency group '" + function.group + "'";
  }
  last_caller_ = &channel;
  const bool was_empty = calls_.empty();
  const size_t group = call->group;
  calls_.Push(std::move(call));
  if (!calls_.ReadAllowed() && !channel.paused) {
    channel.paused = true;
    paused_.push_back(gateway_.Share(channel));
  }
  WakeIdle(group);
  if (idle_.empty() && was_empty) gateway_.WakeForTimer(HandBackDue());
}

int64_t CoreWorker::HandBackDue() const {
  if (executing_since_ns_ == 0 || calls_.empty() || is_actor_) return INT64_MAX;
  return executing_since_ns_ + options_.long_task_ns;
}

// The leader first: it is this very thread, and no other has to be woken.
void CoreWorker::WakeIdle(size_t group) {
  IdleThread* chosen = nullptr;
  for (IdleThread* thread : idle_) {
    if (thread->done()) continue;
    if (exit_requested_) {
      thread->remaining = 0;
      gateway_.Notify(thread);
    } else if (thread->group == group || thread->group == kAnyGroup) {
      if (chosen == nullptr || thread->leading) chosen = thread;
    }
  }
  if (chosen == nullptr) return;
  chosen->remaining = 0;
  gateway_.Notify(chosen);
}

void CoreWorker::OnWatched() { WakeIdle(kAnyGroup); }

void CoreWorker::Watch(int descriptor) {
  Lock lock(gateway_.mutex());
  gateway_.Watch(descriptor);
}

void CoreWorker::OnStartActor(const fbr::StartActor& start) {
  const fbr::ActorSpec& spec = *start.spec();
  // Copied: inside another message it may begin anywhere.
  const std::vector<uint8_t> bytes(spec.creation_task()->begin(), spec.creation_task()->end());
  flatbuffers::Verifier verifier(bytes.data(), bytes.size());
  if (!verifier.VerifyBuffer<fbw::ActorCreation>(nullptr)) {
    SKYRAY_LOG(Error) << "the raylet sent an actor whose creation task makes no sense";
    return;
  }
  const auto* creation = flatbuffers::GetRoot<fbw::ActorCreation>(bytes.data());
  auto call = std::make_unique<IncomingCall>();
  call->start = std::make_unique<ActorStart>();
  ActorStart& actor = *call->start;
  actor.init.id = ToId<FunctionId>(creation->class_id());
  actor.init.method = "__init__";
  actor.init.name = ToString(spec.class_name());
  actor.actor_id = ToId<ActorId>(spec.actor_id());
  actor.restarts = start.restarts();
  actor.concurrency = ToConcurrency(*creation);
  actor.lease = std::make_shared<BoundLease>(
      BoundLease{ToStrings(start.gpu_ids()), ToResources(spec.resources())});
  const std::string prefix =
      spec.name() == nullptr || spec.name()->size() == 0 ? std::string() : spec.name()->str() + ":";
  actor.init.recorded = NewRecorded(creation->records_events(),
                                    prefix + actor.init.name + "." + actor.init.method, "__init__");
  call->function = &actor.init;
  call->body.assign(creation->call()->begin(), creation->call()->end());
  if (!ParseCall(call->body, call->call)) {
    SKYRAY_LOG(Error) << "the raylet sent an actor whose creation call makes no sense";
    return;
  }
  is_actor_ = true;
  event_source_.actor = actor.actor_id;
  is_async_ = actor.concurrency.is_async;
  calls_.SetGroups(actor.concurrency.groups);
  calls_.Push(std::move(call));
  WakeIdle(0);
}

// A call has been taken.
void CoreWorker::Started(Lock& lock, IncomingCall& call, int64_t now) {
  call.times.start_ns = now;
  if (options_.progress != nullptr && call.method().empty()) {
    options_.progress->Start(call.call.header.sequence);
  }
  if (!paused_.empty() && calls_.ReadAllowed()) {
    for (const ChannelPtr& channel : paused_) gateway_.Resume(*channel);
    paused_.clear();
  }
  if (replies_since_ns_ != 0 && now - replies_since_ns_ > kReplyDelayNs) {
    replies_since_ns_ = 0;
    gateway_.FlushDirty(lock);
  }
}

std::unique_ptr<IncomingCall> CoreWorker::NextCall(size_t group, bool* alone) {
  Lock lock(gateway_.mutex());
  executing_since_ns_ = 0;
  for (;;) {
    if (exit_requested_) {
      gateway_.FlushDirty(lock);
      return nullptr;
    }
    if (auto call = TakesCalls() ? calls_.PopFrom(group) : nullptr) {
      executing_since_ns_ = NowNs();
      gateway_.WakeForTimer(HandBackDue());
      Started(lock, *call, executing_since_ns_);
      if (alone != nullptr) {
        *alone = std::none_of(idle_.begin(), idle_.end(), [group](const IdleThread* thread) {
          return thread->group == group && !thread->done();
        });
      }
      return call;
    }
    replies_since_ns_ = 0;
    IdleThread idle(group);
    idle_.push_back(&idle);
    const WaitResult result =
        gateway_.Wait(lock, idle, INT64_MAX, last_caller_, options_.interrupted);
    std::erase(idle_, &idle);
    if (result == WaitResult::Stopped || result == WaitResult::Interrupted) return nullptr;
  }
}

void CoreWorker::AwaitExit() {
  Lock lock(gateway_.mutex());
  if (!exit_requested_) {
    IdleThread idle(kNoGroup);
    idle_.push_back(&idle);
    gateway_.Follow(lock, idle, options_.interrupted);
    std::erase(idle_, &idle);
  }
  gateway_.FlushDirty(lock);
}

std::unique_ptr<IncomingCall> CoreWorker::TakeCall() {
  Lock lock(gateway_.mutex());
  auto call = TakesCalls() ? calls_.Pop() : nullptr;
  if (call) Started(lock, *call, NowNs());
  return call;
}

Work CoreWorker::AwaitWork(int64_t deadline_ns) {
  Lock lock(gateway_.mutex());
  for (;;) {
    Work work;
    work.exit = exit_requested_;
    work.calls = TakesCalls() && calls_.CanStart();
    work.descriptors = gateway_.TakeWatched();
    work.cancelled = std::exchange(cancelled_on_loop_, false);
    work.room = std::exchange(room_news_, false);
    if (work.exit) gateway_.FlushDirty(lock);
    const bool any = work.exit || work.calls || work.descriptors || work.cancelled || work.room;
    if (any || deadline_ns <= NowNs()) return work;
    replies_since_ns_ = 0;
    gateway_.ArmWatched();
    IdleThread idle(kAnyGroup);
    idle_.push_back(&idle);
    const WaitResult result =
        gateway_.Wait(lock, idle, deadline_ns, last_caller_, options_.interrupted);
    std::erase(idle_, &idle);
    work.exit = result == WaitResult::Stopped;
    work.interrupted = result == WaitResult::Interrupted;
    if (work.exit || work.interrupted) return work;
  }
}

Result<ReadableValue> CoreWorker::ReadArgument(const ReceivedRefArg& argument) {
  if (argument.nodes.empty()) {
    // Copied to where arrays may lie: a frame's bytes are not aligned.
    ValuePtr value = CopyValue(argument.payload);
    const auto bytes = value->span();
    return ReadableValue{std::move(value), nullptr, bytes};
  }
  if (!argument.nodes.front().IsNil()) {
    auto value = ReadCopy(argument.head.object, argument.nodes, argument.head.bytes, INT64_MAX);
    if (value || value.error().code() != ErrorCode::ObjectLost) return value;
  }
  IncomingCall* call = Unpacked();
  if (call != nullptr && call->channel && !call->method().empty()) {
    // Not waited for here: it may be this very actor that has to make it again.
    call->lost = OwnedRef{argument.head.object, argument.head.owner};
    return Status(ErrorCode::ObjectLost,
                  "argument " + argument.head.object.Hex() + " of " + call->name() + " is lost");
  }
  return ReadFromOwner(argument.head.object, argument.head.owner);
}

IncomingCall* CoreWorker::Unpacked() { return unpacked; }
void CoreWorker::BeginArguments(IncomingCall& call) { unpacked = &call; }
void CoreWorker::EndArguments() { unpacked = nullptr; }

// Ends the call's borrowing: what is still referred to.
std::vector<OwnedRef> CoreWorker::TakeBorrows(IncomingCall& call) {
  std::vector<OwnedRef> kept;
  if (call.borrows.empty()) return kept;
  FreedEffects freed;
  for (Object* object : call.borrows) {
    if (object->refs > 1 && !object->registered && object->owner != nullptr) {
      object->registered = true;
      kept.push_back({object->id, *object->owner});
    }
    objects_.Drop(object, freed);
  }
  call.borrows.clear();
  Apply(freed);
  return kept;
}

void CoreWorker::Record(IncomingCall& call) {
  RecordedFunction* const function = call.function->recorded.get();
  if (function == nullptr || call.times.start_ns == 0) return;
  if (call.times.end_ns == 0) call.times.end_ns = NowNs();
  if (!events_.Add(call.call.header.task, *function, call.times, call.failure.get())) return;
  events_due_ns_ = call.times.end_ns + options_.task_events_interval_ns;
  gateway_.WakeForTimer(events_due_ns_);
}

void CoreWorker::Finished(IncomingCall& call) {
  Record(call);
  if (call.items_untaken_max != 0) bounded_streams_.erase(call.call.header.task);
  calls_.Finished(call);
  EndIfDone();
}

void CoreWorker::FinishReply(Lock& lock, IncomingCall& call, std::string& out) {
  ReplyHeader header;
  std::memcpy(&header, out.data() + sizeof(ipc::FrameHeader), sizeof header);
  for (const OwnedRef& ref : TakeBorrows(call)) {
    AppendStruct(out, ref);
    ++header.borrowed;
  }
  Finished(call);
  const ipc::FrameHeader frame{static_cast<uint32_t>(out.size() - sizeof(ipc::FrameHeader)),
                               kReplyFrame, 0};
  std::memcpy(out.data(), &frame, sizeof frame);
  std::memcpy(out.data() + sizeof frame, &header, sizeof header);
  if (call.channel->closed) return;
  call.channel->out.append(out);
  if (replies_since_ns_ == 0) replies_since_ns_ = NowNs();
  // If it waits, with a time at which it goes by itself: the next call may be a long one.
  const bool waits = (call.call.header.flags & kCallOnce) == 0;
  gateway_.Commit(lock, *call.channel, /*lazy=*/waits);
}

Status CoreWorker::AppendReturn(std::string& out, IncomingCall& call, uint32_t index,
                                const TaskReturn& value) {
  const WorkerAddress& caller = call.channel->peer;
  const uint64_t bytes = value.parts.Bytes();
  const bool in_store = bytes > kInProcessBytesMax;
  if (in_store) {
    const ObjectId id = ObjectIdOf(call.call.header.task, index);
    const Status stored = StoreFailed(store_->Put(id, caller.worker, value.parts));
    call.times.end_ns = 0;  // Later than that.
    // ObjectExists: an earlier attempt of this task got so far.
    if (!stored.ok() && stored.code() != ErrorCode::ObjectExists) {
      return Status(stored.code(), "the result of " + call.name() + " (" + std::to_string(bytes) +
                                       " bytes) could not be stored: " + stored.message());
    }
  }
  AppendStruct(out, ReturnHeader{static_cast<uint8_t>(in_store ? 1 : 0),
                                 static_cast<uint32_t>(value.contained.size()), bytes});
  if (!in_store) {
    const size_t at = out.size();
    out.resize(at + bytes);
    value.parts.WriteTo(reinterpret_cast<uint8_t*>(out.data()) + at);
  }
  if (value.contained.empty()) return Status();
  const Lock lock(gateway_.mutex());
  for (const Object* inner : value.contained) {
    AppendStruct(out, OwnedRef{inner->id, objects_.OwnerOf(*inner)});
  }
  return Status();
}

void CoreWorker::HandOver(std::vector<Object*>& contained, const WorkerAddress& caller) {
  FreedEffects freed;
  for (Object* inner : std::exchange(contained, {})) {
    const OwnedRef ref{inner->id, objects_.OwnerOf(*inner)};
    // In the caller's name, before our own hold goes.
    if (ref.owner != caller || caller == self_) {
      TellBorrow(true, ref, caller);
    } else {
      handed_back_.Hand(caller.worker, 1);
    }
    objects_.Drop(inner, freed);
  }
  Apply(freed);
}

void CoreWorker::Reply(IncomingCall& call, uint32_t execute_us, std::vector<TaskReturn> returns) {
  std::string& out = NewReply();
  AppendStruct(out, ReplyHeader{call.call.header.sequence, execute_us,
                                static_cast<uint16_t>(returns.size()), 0, 0});
  for (size_t i = 0; i < returns.size(); ++i) {
    const Status appended = AppendReturn(out, call, static_cast<uint32_t>(i + 1), returns[i]);
    if (appended.ok()) continue;
    for (const TaskReturn& one : returns) DropAll(one.contained);
    const ValuePtr error = MakeErrorValue(appended.code(), appended.message());
    return ReplyErrorPayload(call, execute_us, error->span());
  }
  Lock lock(gateway_.mutex());
  for (TaskReturn& one : returns) HandOver(one.contained, call.channel->peer);
  FinishReply(lock, call, out);
}

void CoreWorker::ReplyErrorPayload(IncomingCall& call, uint32_t execute_us,
                                   std::span<const uint8_t> payload, bool retryable) {
  const auto flags = static_cast<uint16_t>(kReplyIsError | (retryable ? kReplyRetryable : 0));
  std::string& out = NewReply();
  AppendStruct(out, ReplyHeader{call.call.header.sequence, execute_us, 1, flags, 0});
  AppendStruct(out, ReturnHeader{0, 0, payload.size()});
  out.append(reinterpret_cast<const char*>(payload.data()), payload.size());
  Lock lock(gateway_.mutex());
  FinishReply(lock, call, out);
}

void CoreWorker::ReplyError(IncomingCall& call, uint32_t execute_us, const PayloadParts& error,
                            bool retryable) {
  const ValuePtr value = MakeValue(error);
  ReplyErrorPayload(call, execute_us, value->span(), retryable);
}

void CoreWorker::ActorStarted(IncomingCall& call, const std::optional<PayloadParts>& error,
                              const std::string& message) {
  const ValuePtr payload = error ? MakeValue(*error) : ValuePtr();
  Lock lock(gateway_.mutex());
  // There is no reply that could say so. Whoever created this actor lets go of its arguments
  // once it hears that the actor lives, which comes another way: by then their owners know.
  std::vector<WorkerAddress> owners;
  for (const OwnedRef& ref : TakeBorrows(call)) {
    TellBorrow(true, ref, self_);
    if (std::find(owners.begin(), owners.end(), ref.owner) == owners.end()) {
      owners.push_back(ref.owner);
    }
  }
  if (!owners.empty()) AwaitRead(lock, owners);
  Finished(call);
  SendRaylet(
      &lock,
      [&](Builder& builder, fbr::Body& type) {
        type = fbr::Body::ActorStarted;
        const auto id = PutId(builder, call.start->actor_id);
        Bytes bytes;
        if (payload) bytes = builder.CreateVector(payload->data(), payload->bytes());
        const auto text = builder.CreateString(message);
        return fbr::CreateActorStarted(builder, id, error.has_value(), bytes, text).Union();
      },
      nullptr);
  gateway_.FlushDirty(lock);
}

void CoreWorker::Abandon(IncomingCall& call) {
  Lock lock(gateway_.mutex());
  for (const OwnedRef& ref : TakeBorrows(call)) TellBorrow(true, ref, self_);
  Finished(call);
  gateway_.FlushDirty(lock);
}

void CoreWorker::Retire(const std::string& reason) {
  Lock lock(gateway_.mutex());
  HandBackQueued();
  exit_reason_ = reason;
  retired_ = true;
  EndIfDone();
  gateway_.FlushDirty(lock);
}

void CoreWorker::RequestExit(const std::string& reason, Leaving how) {
  Lock lock(gateway_.mutex());
  exit_reason_ = reason;
  exit_after_queued_ = how == Leaving::AfterQueued;
  if (how == Leaving::LikeACrash) told_exiting_ = true;
  EndIfDone();
  gateway_.FlushDirty(lock);
}

void CoreWorker::EndIfDone() {
  if (exit_reason_.empty() || exit_requested_ || calls_.running() > 0) return;
  if (exit_after_queued_ && !calls_.empty()) return;
  if (!std::exchange(told_exiting_, true)) {
    SendRaylet(
        nullptr,
        [&](Builder& builder, fbr::Body& type) {
          type = fbr::Body::Exiting;
          return fbr::CreateExiting(builder, builder.CreateString(exit_reason_)).Union();
        },
        nullptr);
  }
  if (retired_ && objects_.lent_count() > 0) return;  // Apply looks again.
  exit_requested_ = true;
  WakeIdle(kAnyGroup);
}

std::shared_ptr<const BoundLease> CoreWorker::LeaseOf(const IncomingCall& call) {
  Lock lock(gateway_.mutex());
  if (!call.channel) return nullptr;
  const auto it = bound_leases_.find(call.channel->id);
  return it == bound_leases_.end() ? nullptr : it->second;
}

void CoreWorker::HandBackQueued() { HandBack(calls_.Take(nullptr)); }

void CoreWorker::HandBack(const std::vector<std::unique_ptr<IncomingCall>>& calls) {
  std::unordered_map<Channel*, std::vector<uint64_t>> by_channel;
  for (const auto& call : calls) {
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

void CoreWorker::Bounce(IncomingCall& call) {
  const ValuePtr error =
      MakeErrorValue(ErrorCode::ObjectLost, "an argument of " + call.name() + " is lost");
  std::string out(sizeof(ipc::FrameHeader), '\0');
  constexpr uint16_t kFlags = kReplyIsError | kReplyArgumentLost;
  AppendStruct(out, ReplyHeader{call.call.header.sequence, 0, 1, kFlags, 0});
  AppendStruct(out, ReturnHeader{0, 1, error->bytes()});
  out.append(reinterpret_cast<const char*>(error->data()), error->bytes());
  AppendStruct(out, *call.lost);
  call.times.start_ns = 0;  // It has not been run.
  Lock lock(gateway_.mutex());
  const ChannelPtr channel = call.channel;
  FinishReply(lock, call, out);
  // What its caller made after it is to run after it.
  if (!is_async_ && calls_.groups().size() == 1 && calls_.groups()[0].limit == 1) {
    HandBack(calls_.Take(channel.get()));
  }
  gateway_.FlushDirty(lock);
}

}  // namespace skyray::core_worker
