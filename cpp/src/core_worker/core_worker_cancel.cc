// SPDX-License-Identifier: Apache-2.0
// Calls that are not wanted any more, at their owner and where they run.
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "common/logging.h"
#include "core_worker/core_worker.h"
#include "core_worker/frames_out.h"

namespace skyray::core_worker {
namespace fbr = fb::raylet;
namespace fbw = fb::worker;

namespace {

Builder CancelMessage(uint64_t sequence, const ObjectId* object, bool force, bool recursive) {
  Builder builder(128);
  Bytes id;
  if (object != nullptr) id = PutId(builder, *object);
  const auto body = fbw::CreateCancel(builder, sequence, id, force, recursive).Union();
  builder.Finish(fbw::CreateMessage(builder, fbw::Body::Cancel, body));
  return builder;
}

}  // namespace

Status CoreWorker::Cancel(Object* object, bool force, bool recursive) {
  Lock lock(gateway_.mutex());
  if (object->owner != nullptr) {
    if (object->state == ObjectState::Pending) {
      SendPeer(*object->owner, CancelMessage(0, &object->id, force, recursive));
    }
  } else if (object->task_pending) {
    if (force && object->maker->actor != nullptr) {
      return Status(ErrorCode::InvalidArgument,
                    "force=True is not supported for actor tasks: it would end the actor; use "
                    "kill(actor) for that");
    }
    CancelTask(object->maker, force, recursive);
  }
  gateway_.FlushDirty(lock);
  return Status();
}

void CoreWorker::CancelTask(Task* task, bool force, bool recursive) {
  task->cancelled = true;
  task->retries_left = 0;
  if (task->sent) {
    const ChannelPtr channel = task->lease != nullptr ? task->lease->channel : task->actor->channel;
    const auto sequence = channel ? channel->in_flight.SequenceOf(task) : std::nullopt;
    // Else its worker is gone, and what follows from that looks at `cancelled`.
    if (!sequence) return;
    AppendFrame(channel->out, CancelMessage(*sequence, nullptr, force, recursive));
    return gateway_.MarkDirty(*channel);
  }
  SubmitActions actions;
  if (task->unresolved > 0) {
    objects_.StopWaiting(task);
    awaiting_arguments_.Remove(task);
  } else if (task->lease_class != nullptr) {
    submitter_.Withdraw(task, NowNs(), actions);
  }
  Actor* actor = task->actor;
  if (actor != nullptr) actors_.Withdraw(actor, task);
  Complete(task, CancelledError(*task));
  Perform(nullptr, actions);
  if (actor != nullptr) PumpActor(nullptr, actor);  // It may have held others.
}

void CoreWorker::CancelChildren(const TaskId& parent, bool force) {
  std::vector<Task*> children = submitter_.AllTasks();
  const std::vector<Task*> calls = actors_.AllTasks();
  children.insert(children.end(), calls.begin(), calls.end());
  const std::vector<Task*>& waiting = awaiting_arguments_.all();
  children.insert(children.end(), waiting.begin(), waiting.end());
  std::erase_if(children, [&](const Task* task) {
    return task->parent != parent || task->cancelled || task->returns.empty();
  });
  // By their returns: one that ends may end others, which wait for it.
  std::vector<Object*> returns;
  for (const Task* task : children) {
    returns.push_back(task->returns.front());
    objects_.Hold(returns.back());
  }
  FreedEffects freed;
  for (Object* object : returns) {
    if (object->task_pending) {
      CancelTask(object->maker, force && object->maker->actor == nullptr, /*recursive=*/true);
    }
    objects_.Drop(object, freed);
  }
  Apply(freed);
}

void CoreWorker::OnCancel(Channel& channel, const fbw::Cancel& cancel) {
  if (cancel.object_id() != nullptr) {
    Object* object = objects_.Find(ToId<ObjectId>(cancel.object_id()));
    if (object == nullptr || object->owner != nullptr || !object->task_pending) return;
    const bool force = cancel.force() && object->maker->actor == nullptr;
    return CancelTask(object->maker, force, cancel.recursive());
  }
  if (channel.kind != ChannelKind::Inbound) return;
  if (const auto call = calls_.TakeOne(channel, cancel.sequence())) {
    const ValuePtr error = MakeErrorValue(ErrorCode::TaskCancelled,
                                          call->name() + " was cancelled before it was started");
    std::string body;
    AppendStruct(body, ReplyHeader{cancel.sequence(), 0, 1, kReplyIsError, 0});
    AppendStruct(body, ReturnHeader{0, 0, error->bytes()});
    body.append(reinterpret_cast<const char*>(error->data()), error->bytes());
    AppendStruct(channel.out, ipc::FrameHeader{static_cast<uint32_t>(body.size()), kReplyFrame, 0});
    channel.out.append(body);
    gateway_.MarkDirty(channel);
    return EndIfDone();
  }
  IncomingCall* running = calls_.FindRunning(channel, cancel.sequence());
  if (running == nullptr) return;  // Answered: that crossed this.
  running->cancelled = true;
  // Before the call itself: what it waits for may be among them.
  if (cancel.recursive()) CancelChildren(running->call.header.task, cancel.force());
  if (!running->method().empty()) {
    // A coroutine is cancelled by its loop; other methods run to their end.
    cancelled_on_loop_ = is_async_;
    if (is_async_) WakeIdle(kAnyGroup);
    return;
  }
  if (interrupted_thread_) pthread_kill(*interrupted_thread_, SIGINT);
  if (cancel.force()) LeaveAtOnce();
}

void CoreWorker::LeaveAtOnce() {
  HandBackQueued();
  SendRaylet(
      nullptr,
      [](Builder& builder, fbr::Body& type) {
        type = fbr::Body::Exiting;
        const auto reason = builder.CreateString("its task was cancelled with force=True");
        return fbr::CreateExiting(builder, reason).Union();
      },
      nullptr);
  gateway_.Defer([this] {
    Lock lock(gateway_.mutex());
    gateway_.FlushDirty(lock);
    _exit(0);
  });
}

void CoreWorker::InterruptOnCancel(pthread_t thread) {
  Lock lock(gateway_.mutex());
  interrupted_thread_ = thread;
}

bool CoreWorker::IsCancelled(const IncomingCall& call) {
  Lock lock(gateway_.mutex());
  return call.cancelled;
}

}  // namespace skyray::core_worker
