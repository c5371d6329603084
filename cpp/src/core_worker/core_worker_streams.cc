// SPDX-License-Identifier: Apache-2.0
// Items of generators: from the executor, which yields them one by one, to the
// owner, which has an object for each.
#include "common/logging.h"
#include "core_worker/core_worker.h"
#include "core_worker/frames_out.h"

namespace skyray::core_worker {
namespace fbw = fb::worker;

namespace {

// Items that follow each other faster travel together.
constexpr int64_t kItemDelayNs = 50'000;

ValuePtr NotYieldedAgain(const Task& task, const Object& item) {
  return MakeErrorValue(
      ErrorCode::ReplayInconsistent,
      "object " + item.id.Hex() + ", item " + std::to_string(IndexOf(item.id) - kFirstItemIndex) +
          " of the generator " + task.function->name +
          ", was lost, and when the generator was run again to make it anew " +
          "it ended before that item: it does not yield the same number of items each time");
}

}  // namespace

// --- The owner ---

void CoreWorker::MakeStream(Task* task, GeneratorKind kind, std::shared_ptr<ObjectStream>* stream) {
  if (kind == GeneratorKind::None) return;
  for (Object* object : task->returns) object->unheeded = false;
  const bool listed = kind == GeneratorKind::Listed;
  task->flags |= listed ? kCallYields | kCallListed : kCallYields;
  task->stream =
      std::make_shared<ObjectStream>(objects_, task->id, task->function->items_untaken_max, listed);
  if (stream != nullptr) *stream = task->stream;
}

void CoreWorker::EndStream(Task* task, const ValuePtr& error, ReadyEffects& ready) {
  if (!task->stream) return;
  task->stream->End(error, ready);
  streams_.erase(task->id);
  const bool may_run_again = !error && task->retries_left != 0 && raylet_lost_.empty();
  for (Object* item : task->stream->EndRun(may_run_again)) {
    task->stream->Unkeep(item);
    objects_.SetValue(item, error ? error : NotYieldedAgain(*task, *item), ready);
    FreedEffects freed;
    objects_.TaskDone(item, freed);
    Apply(freed);
  }
  if (!task->stream->listed()) return;
  // The task's value holds those that it names.
  FreedEffects freed;
  task->stream->Drop(freed);
  Apply(freed);
}

void CoreWorker::OnYield(Channel& channel, std::span<const uint8_t> body) {
  ByteReader reader(body);
  YieldHeader header;
  Task* task = reader.Read(header) ? channel.in_flight.Find(header.sequence) : nullptr;
  bool good = task != nullptr && task->stream != nullptr;
  if (good) {
    ObjectStream& stream = *task->stream;
    Object* item = nullptr;
    switch (stream.Slot(header.index, &item)) {
      case ObjectStream::Place::Free:
        if (stream.bounded()) streams_[task->id] = task;
        good = TakeValue(reader, channel, item);
        if (good && item->state == ObjectState::InStore) stream.Keep(item, task);
        if (good) stream.Filled();
        break;
      case ObjectStream::Place::Taken: {
        good = TakeItemAgain(reader, channel, task, header.index);
        // Yielded anew, or by one who does not know yet that nobody takes them.
        if (good && stream.bounded()) TellTaken(stream, *task);
        break;
      }
      case ObjectStream::Place::Bad:
        good = false;
    }
    stream.Yielded(header.index);
  }
  if (!good) DropPeer(channel, "a malformed item of a generator");
}

bool CoreWorker::TakeItemAgain(ByteReader& reader, Channel& channel, Task* task, uint64_t index) {
  Object* item = task->stream->Kept(index);
  if (item == nullptr) {
    // Small, or nobody wants it any more: no copy of it is needed.
    const ObjectId id = ObjectIdOf(task->id, static_cast<uint32_t>(index + kFirstItemIndex));
    return SkipReturn(reader, channel, id, /*delete_copy=*/true);
  }
  if (!TakeValue(reader, channel, item)) return false;
  if (item->state != ObjectState::InStore) task->stream->Unkeep(item);
  FreedEffects freed;
  objects_.TaskDone(item, freed);
  Apply(freed);
  return true;
}

void CoreWorker::TellTaken(const ObjectStream& stream, const Task& task) {
  const Channel* channel = task.lease != nullptr   ? task.lease->channel.get()
                           : task.actor != nullptr ? task.actor->channel.get()
                                                   : nullptr;
  if (channel == nullptr) return;  // It starts anew, and asks with its first item.
  Builder builder(128);
  const auto id = PutId(builder, task.id);
  const auto body = fbw::CreateItemsTaken(builder, id, stream.consumed()).Union();
  builder.Finish(fbw::CreateMessage(builder, fbw::Body::ItemsTaken, body));
  SendPeer(channel->peer, builder);
}

CoreWorker::NextItemResult CoreWorker::NextItem(ObjectStream& stream) {
  Lock lock(gateway_.mutex());
  if (!stream.NextIsReady()) return {false, nullptr};
  if (stream.NextIsEnd()) return {true, nullptr};
  Object* object = stream.Take();
  if (stream.TakeNews()) {
    const auto running = streams_.find(stream.task());
    if (running != streams_.end()) TellTaken(stream, *running->second);
    gateway_.FlushDirty(lock);
  }
  return {true, object};
}

Object* CoreWorker::PeekItem(ObjectStream& stream) {
  Lock lock(gateway_.mutex());
  objects_.Hold(stream.Next());
  return stream.Next();
}

bool CoreWorker::NextItemIsReady(ObjectStream& stream) {
  Lock lock(gateway_.mutex());
  return stream.NextIsReady() && !stream.NextIsEnd();
}

bool CoreWorker::StreamIsFinished(ObjectStream& stream) {
  Lock lock(gateway_.mutex());
  return stream.NextIsEnd();
}

void CoreWorker::DropStream(ObjectStream& stream) {
  Lock lock(gateway_.mutex());
  FreedEffects freed;
  stream.Drop(freed);
  Apply(freed);
  const auto running = streams_.find(stream.task());
  if (running != streams_.end() && stream.TakeNews()) TellTaken(stream, *running->second);
  gateway_.FlushDirty(lock);
}

// --- The executor ---

Status CoreWorker::Yield(IncomingCall& call, TaskReturn item) {
  std::string out(sizeof(ipc::FrameHeader), '\0');
  AppendStruct(out, YieldHeader{call.call.header.sequence, call.items_yielded});
  const auto index = static_cast<uint32_t>(call.items_yielded + kFirstItemIndex);
  if (Status appended = AppendReturn(out, call, index, item); !appended.ok()) {
    DropAll(item.contained);
    return appended;
  }
  const ipc::FrameHeader frame{static_cast<uint32_t>(out.size() - sizeof(ipc::FrameHeader)),
                               kYieldFrame, 0};
  std::memcpy(out.data(), &frame, sizeof frame);
  const int64_t now = NowNs();
  Lock lock(gateway_.mutex());
  HandOver(item.contained, call.channel->peer);
  if (call.items_yielded++ == 0 && call.items_untaken_max != 0) {
    bounded_streams_[call.call.header.task] = &call;
  }
  if (call.channel->closed) {
    return Status(ErrorCode::Disconnected, "the caller of " + call.name() + " is gone");
  }
  call.channel->out.append(out);
  const bool alone = now - call.item_sent_ns >= kItemDelayNs;
  if (alone) call.item_sent_ns = now;
  gateway_.Commit(lock, *call.channel, /*lazy=*/!alone);
  return Status();
}

bool CoreWorker::HasRoom(const IncomingCall& call) {
  Lock lock(gateway_.mutex());
  return IsRoom(call) || call.channel->closed || exit_requested_;
}

bool CoreWorker::AwaitRoom(IncomingCall& call) {
  Lock lock(gateway_.mutex());
  while (!IsRoom(call)) {
    if (call.channel->closed || exit_requested_) return false;
    IdleThread paused(kNoGroup);
    idle_.push_back(&paused);
    call.room_waiter = &paused;
    const WaitResult result =
        gateway_.Wait(lock, paused, INT64_MAX, call.channel.get(), options_.interrupted);
    call.room_waiter = nullptr;
    std::erase(idle_, &paused);
    if (result == WaitResult::Stopped || result == WaitResult::Interrupted) return false;
  }
  return true;
}

void CoreWorker::OnItemsTaken(const TaskId& task, uint64_t count) {
  const auto it = bounded_streams_.find(task);
  if (it == bounded_streams_.end()) return;
  IncomingCall& call = *it->second;
  call.items_taken = std::max(call.items_taken, count);
  WakeRoom(call);
}

void CoreWorker::WakeRoom(IncomingCall& call) {
  if (call.room_waiter != nullptr) {
    call.room_waiter->remaining = 0;
    return gateway_.Notify(call.room_waiter);
  }
  room_news_ = true;
  WakeIdle(kAnyGroup);
}

}  // namespace skyray::core_worker
