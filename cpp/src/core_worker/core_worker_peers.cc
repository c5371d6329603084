// SPDX-License-Identifier: Apache-2.0
// Connections between core workers, and the messages on them that are not calls.
#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "common/logging.h"
#include "core_worker/core_worker.h"
#include "core_worker/frames_out.h"
#include "ipc/socket.h"

namespace skyray::core_worker {
namespace fbr = fb::raylet;
namespace fbw = fb::worker;

// Whoever does not answer a Ping for so long is not waited for: it is stopped, perhaps.
static constexpr int64_t kPongWaitNs = 10'000'000'000;

Peer* CoreWorker::GetPeer(const WorkerAddress& address) {
  auto [it, made] = peers_.try_emplace(address.worker);
  Peer& peer = it->second;
  if (!made) return &peer;
  peer.address = address;
  Builder builder(256);
  const auto self = PutPeerAddress(builder, self_);
  const auto job = PutId(builder, session_.job_id);
  const auto hello = fbw::CreateHello(builder, kProtocolVersion, self, job).Union();
  builder.Finish(fbw::CreateMessage(builder, fbw::Body::Hello, hello));
  AppendFrame(peer.backlog, builder);
  if (address.node == self_.node) {
    // The peer listens on this machine: connecting to it does not wait.
    auto socket =
        ipc::ConnectUnix(session_.socket_dir + "/w-" + address.worker.Hex().substr(0, 16));
    if (socket) {
      PeerConnected(peer, std::move(*socket));
      return &peer;
    }
    SKYRAY_LOG(Debug) << "no connection to a worker: " << socket.error().message();
    const WorkerAddress gone = address;
    // Not from inside the caller, which is about to use the peer.
    gateway_.Defer([this, gone] {
      Lock lock(gateway_.mutex());
      PeerUnreachable(gone);
      gateway_.FlushDirty(lock);
    });
    return &peer;
  }
  PendingRequest pending;
  pending.kind = PendingRequest::Kind::Connect;
  pending.address = address;
  SendRaylet(
      nullptr,
      [&](Builder& request, fbr::Body& type) {
        type = fbr::Body::Connect;
        return fbr::CreateConnect(request, PutAddress(request, address)).Union();
      },
      &pending);
  return &peer;
}

void CoreWorker::PeerConnected(Peer& peer, UniqueFd socket) {
  (void)ipc::SetNonBlocking(socket.get(), true).ok();  // send and recv say MSG_DONTWAIT anyway.
  peer.channel = gateway_.AddChannel(std::move(socket), ChannelKind::Outbound, peer.address);
  peer.channel->out = std::move(peer.backlog);
  gateway_.MarkDirty(*peer.channel);
  // Whoever waits for this worker can go on.
  SubmitActions actions;
  for (const auto& [id, actor] : actors_.actors()) {
    if (actor->connecting && actor->address == peer.address) ActorConnected(actor.get());
  }
  submitter_.WorkerConnected(peer.address.worker, peer.channel, actions);
  Perform(nullptr, actions);
}

void CoreWorker::PeerUnreachable(const WorkerAddress& address) {
  const auto it = peers_.find(address.worker);
  ChannelPtr channel;
  if (it != peers_.end()) {
    channel = it->second.channel;
    peers_.erase(it);
  }
  Answered(address.worker, UINT64_MAX);  // It never will.
  std::vector<NumberedTask> lost;
  if (channel) lost = channel->in_flight.TakeAll();
  for (const auto& [id, owned] : actors_.actors()) {
    Actor* const actor = owned.get();
    if (actor->address != address) continue;
    std::vector<Task*> unanswered;
    std::erase_if(lost, [&](const NumberedTask& numbered) {
      if (numbered.task->actor != actor) return false;
      unanswered.push_back(numbered.task);
      return true;
    });
    FailLost(actor, actors_.ConnectionLost(actor, std::move(unanswered)));
    if (actor->state == ActorState::Dead) FinishActorDeath(actor);
    ConnectActor(actor);
    ProbeLater(actor);
  }
  for (Lease* lease : submitter_.WorkerGone(address.worker)) {
    // Put back where OnLeaseLost looks for them.
    std::erase_if(lost, [&](const NumberedTask& numbered) {
      if (numbered.task->lease == lease) lease->lost_tasks.push_back(numbered);
      return numbered.task->lease == lease;
    });
    if (lost_leases_.contains(lease->id) || !raylet_lost_.empty()) {
      FinishLostLease(lease);
    } else {
      // It may live, and only our connection be lost: its raylet sees to its end.
      SendReturnLease(*lease, /*worker_failed=*/true);
    }
  }
  for (Object* object : objects_.PendingOf(address.worker)) {
    FailObject(object, ErrorCode::OwnerDied,
               "object " + object->id.Hex() + ": its owner, worker " + address.worker.Hex() +
                   ", is gone, and with it the value; keep the process that made the reference "
                   "alive, or pass the value itself");
  }
  FreedEffects freed;
  handed_back_.Forget(address.worker);
  objects_.BorrowerGone(address.worker, freed);
  Apply(freed);
}

void CoreWorker::SendPeer(const WorkerAddress& address, const Builder& message) {
  Peer* peer = GetPeer(address);
  if (peer->channel) {
    AppendFrame(peer->channel->out, message);
    gateway_.MarkDirty(*peer->channel);
  } else {
    AppendFrame(peer->backlog, message);
  }
}

uint64_t CoreWorker::SendPing(const WorkerAddress& address) {
  Builder builder(64);
  const auto ping = fbw::CreatePing(builder).Union();
  builder.Finish(fbw::CreateMessage(builder, fbw::Body::Ping, ping));
  SendPeer(address, builder);
  return ++GetPeer(address)->pings;
}

void CoreWorker::AwaitRead(Lock& lock, std::span<const WorkerAddress> peers) {
  GatewayWaiter waiter;
  waiter.remaining = static_cast<int64_t>(peers.size());
  for (const WorkerAddress& peer : peers) {
    awaiting_pong_.push_back({peer.worker, SendPing(peer), &waiter});
  }
  if (gateway_.Wait(lock, waiter, NowNs() + kPongWaitNs, nullptr, {}) == WaitResult::TimedOut) {
    SKYRAY_LOG(Warning) << "an owner of what this actor's __init__ was given does not answer";
  }
  std::erase_if(awaiting_pong_, [&](const auto& each) { return each.waiter == &waiter; });
}

void CoreWorker::Answered(const WorkerId& peer, uint64_t pings) {
  std::erase_if(awaiting_pong_, [&](const auto& each) {
    if (each.peer != peer || each.ping > pings) return false;
    --each.waiter->remaining;
    gateway_.Notify(each.waiter);
    return true;
  });
}

void CoreWorker::OnAccepted(UniqueFd socket) {
  gateway_.AddChannel(std::move(socket), ChannelKind::Inbound, {});
}

void CoreWorker::DropPeer(Channel& channel, const std::string& why) {
  SKYRAY_LOG(Warning) << "dropped a connection: " << why;
  gateway_.CloseChannel(channel);
  OnClosed(channel);
}

void CoreWorker::OnHello(Channel& channel, const fbw::Hello* hello) {
  if (hello == nullptr || hello->protocol_version() != kProtocolVersion) {
    return DropPeer(channel, "it did not begin with our Hello");
  }
  channel.introduced = true;
  channel.peer = ToAddress(hello->address());
  channel.frame_bytes_max = ipc::kFrameBytesMax;
}

void CoreWorker::OnBindLease(Channel& channel, const fbw::BindLease& bind) {
  bound_leases_[channel.id] = std::make_shared<BoundLease>(
      BoundLease{ToStrings(bind.gpu_ids()), ToResources(bind.resources())});
  if (options_.progress != nullptr) options_.progress->Bind();
}

void CoreWorker::OnGetObject(Channel& channel, const ObjectId& id, uint32_t lost_attempt) {
  Object* object = objects_.Find(id);
  if (object == nullptr) {
    Object unknown;
    unknown.id = id;
    unknown.state = ObjectState::InProcess;
    unknown.value = MakeErrorValue(
        ErrorCode::ObjectLost,
        "object " + id.Hex() + " was freed by its owner: nobody was known to refer to it");
    return AnswerBorrower(channel, unknown);
  }
  object->unheeded = false;
  if (lost_attempt != 0) ReportLost(object, lost_attempt - 1);
  if (object->released()) Recover(object);
  if (object->state != ObjectState::Pending) return AnswerBorrower(channel, *object);
  object->Extras().remote_waiters.insert(channel.id);
  AskOwner(object);
}

void CoreWorker::TakeContained(Object* outer, const fbw::ObjectReply& reply,
                               const WorkerAddress& from) {
  if (reply.contained() == nullptr) return;
  for (const auto* ref : *reply.contained()) {
    TakeContained(outer, {ToId<ObjectId>(ref->object_id()), ToAddress(ref->owner())}, from);
  }
}

void CoreWorker::OnObjectReply(Channel& channel, const fbw::ObjectReply& reply) {
  Object* object = objects_.Find(ToId<ObjectId>(reply.object_id()));
  if (object == nullptr || object->owner == nullptr || object->state != ObjectState::Pending) {
    // Nobody wants it any more: what it refers to is let go of as ever.
    Object* unwanted = objects_.New(ToId<ObjectId>(reply.object_id()));
    TakeContained(unwanted, reply, channel.peer);
    FreedEffects freed;
    objects_.Drop(unwanted, freed);
    return Apply(freed);
  }
  // Only the owner is asked, and it answers where it was asked.
  if (channel.kind != ChannelKind::Outbound || channel.peer.worker != object->owner->worker) {
    return DropPeer(channel, "it answers for an object that it does not own");
  }
  if (reply.error() != ErrorCode::Ok) {
    const bool known = reply.error() <= ErrorCode::MAX;
    return FailObject(object, known ? reply.error() : ErrorCode::Internal,
                      ToString(reply.message()));
  }
  const bool stored = reply.nodes() != nullptr && reply.nodes()->size() > 0;
  if (reply.payload() == nullptr && !stored) {
    return FailObject(object, ErrorCode::ObjectLost,
                      "object " + object->id.Hex() + ": its owner, worker " +
                          object->owner->worker.Hex() + ", knows of no copy of it any more");
  }
  TakeContained(object, reply, channel.peer);
  ReadyEffects ready;
  if (reply.payload() != nullptr) {
    objects_.SetValue(object, CopyValue({reply.payload()->data(), reply.payload()->size()}), ready);
  } else {
    object->attempt = reply.attempt();
    for (const auto* node : *reply.nodes()) {
      objects_.SetInStore(object, ToId<NodeId>(node->node_id()), reply.size_bytes(), ready);
    }
  }
  Apply(ready);
}

void CoreWorker::OnWorkerMessage(Channel& channel, const fbw::Message& message) {
  if (channel.kind == ChannelKind::Inbound && !channel.introduced) {
    return OnHello(channel, message.body_as_Hello());
  }
  switch (message.body_type()) {
    case fbw::Body::DefineFunction: {
      const auto* define = message.body_as_DefineFunction();
      if (define->index() != channel.functions.size()) break;
      const std::string name = ToString(define->name());
      const std::string method = ToString(define->method());
      channel.functions.push_back(std::make_unique<const ReceivedFunction>(
          ReceivedFunction{ToId<FunctionId>(define->function_id()), method, name,
                           ToBytes(define->retry_exceptions()), define->max_calls(),
                           ToString(define->concurrency_group()), define->items_untaken_max(),
                           NewRecorded(define->records_events(), name, method)}));
      return;
    }
    case fbw::Body::BindLease:
      return OnBindLease(channel, *message.body_as_BindLease());
    case fbw::Body::HandBack:
      if (channel.kind != ChannelKind::Outbound) break;
      return OnHandBack(channel, *message.body_as_HandBack());
    case fbw::Body::Retired:
      if (channel.kind != ChannelKind::Outbound) break;
      return OnRetired(channel);
    case fbw::Body::Ping: {
      Builder builder(64);
      builder.Finish(
          fbw::CreateMessage(builder, fbw::Body::Pong, fbw::CreatePong(builder).Union()));
      AppendFrame(channel.out, builder);
      return gateway_.MarkDirty(channel);
    }
    case fbw::Body::Pong:
      if (channel.kind != ChannelKind::Outbound) break;
      return OnPong(channel);
    case fbw::Body::ItemsTaken: {
      const auto* taken = message.body_as_ItemsTaken();
      if (channel.kind != ChannelKind::Inbound) break;
      return OnItemsTaken(ToId<TaskId>(taken->task_id()), taken->count());
    }
    case fbw::Body::GetObject:
      return OnGetObject(channel, ToId<ObjectId>(message.body_as_GetObject()->object_id()),
                         message.body_as_GetObject()->lost_attempt());
    case fbw::Body::ObjectReply:
      return OnObjectReply(channel, *message.body_as_ObjectReply());
    case fbw::Body::Cancel:
      return OnCancel(channel, *message.body_as_Cancel());
    case fbw::Body::AddBorrower: {
      const auto* add = message.body_as_AddBorrower();
      return TellBorrow(true, {ToId<ObjectId>(add->object_id()), self_},
                        ToAddress(add->borrower()));
    }
    case fbw::Body::RemoveBorrower: {
      const auto* remove = message.body_as_RemoveBorrower();
      const auto object = ToId<ObjectId>(remove->object_id());
      const WorkerAddress borrower = ToAddress(remove->borrower());
      if (borrower == channel.peer &&
          handed_back_.Defer(borrower.worker, {object, remove->count()}, remove->after())) {
        return;
      }
      return TellBorrow(false, {object, self_}, borrower, remove->count());
    }
    default:
      break;
  }
  DropPeer(channel, std::string("unexpected ") + fbw::EnumNameBody(message.body_type()));
}

}  // namespace skyray::core_worker
