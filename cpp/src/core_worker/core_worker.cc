// SPDX-License-Identifier: Apache-2.0
#include "core_worker/core_worker.h"

#include <errno.h>
#include <unistd.h>

#include <unordered_set>

#include "common/logging.h"
#include "core_worker/frames_out.h"
#include "ipc/socket.h"
#include "ipc/verify.h"

namespace skyray::core_worker {
namespace fbr = fb::raylet;

namespace {

constexpr int kRegisterTimeoutMs = 60'000;
constexpr int kListenBacklog = 512;
// So long a worker that leaves waits for peers to read what it has said: the last results,
// whose callers may be slow to read.
constexpr int64_t kLastWordsNs = 60'000'000'000;
constexpr int64_t kLastWordsOfDriverNs = 100'000'000;

void SendMessage(std::string& out, uint64_t request_id,
                 const std::function<flatbuffers::Offset<void>(Builder&, fbr::Body&)>& build) {
  Builder builder(512);
  fbr::Body type = fbr::Body::NONE;
  const auto body = build(builder, type);
  builder.Finish(fbr::CreateMessage(builder, request_id, type, body));
  AppendFrame(out, builder);
}

Result<SessionInfo> Register(int fd, const CoreWorkerOptions& options, const WorkerId& id) {
  std::string out;
  SendMessage(out, 1, [&](Builder& builder, fbr::Body& type) {
    type = fbr::Body::Register;
    const auto worker = PutId(builder, id);
    const auto config = builder.CreateString(options.job_config);
    const auto ray_namespace = builder.CreateString(options.ray_namespace);
    const auto entrypoint = builder.CreateString(options.entrypoint);
    return fbr::CreateRegister(
               builder, kProtocolVersion,
               options.is_driver ? fbr::ClientKind::Driver : fbr::ClientKind::Worker, worker,
               getpid(), config, ray_namespace, entrypoint)
        .Union();
  });
  const auto* body = reinterpret_cast<const uint8_t*>(out.data()) + sizeof(ipc::FrameHeader);
  if (Status sent =
          ipc::SendFrame(fd, ipc::kFlatBuffer, {body, out.size() - sizeof(ipc::FrameHeader)});
      !sent.ok()) {
    return sent;
  }
  auto frame = ipc::ReceiveFrame(fd, kRegisterTimeoutMs);
  if (!frame) return frame.error();
  const auto* message = ipc::Verified<fbr::Message>(*frame);
  const auto* reply = message == nullptr ? nullptr : message->body_as_RegisterReply();
  if (reply == nullptr) {
    return Status(ErrorCode::InvalidRequest, "the raylet's answer to Register makes no sense");
  }
  if (reply->error() != ErrorCode::Ok) return Status(reply->error(), ToString(reply->message()));
  SessionInfo session;
  session.node_id = ToId<NodeId>(reply->node_id());
  session.job_id = ToId<JobId>(reply->job_id());
  session.worker_id = id;
  session.node_ip = ToString(reply->node_ip());
  session.session_dir = ToString(reply->session_dir());
  session.socket_dir = ToString(reply->socket_dir());
  session.gcs_address = ToString(reply->gcs_address());
  session.is_head = reply->is_head();
  // The store's path is only needed to connect.
  session.session_dir += '\n' + ToString(reply->store_socket());
  return session;
}

std::string WorkerSocketPath(const std::string& socket_dir, const WorkerId& id) {
  return socket_dir + "/w-" + id.Hex().substr(0, 16);
}

}  // namespace

Result<std::unique_ptr<CoreWorker>> CoreWorker::Connect(CoreWorkerOptions options) {
  auto socket = ipc::ConnectUnix(options.raylet_socket);
  if (!socket) return socket.error();
  const WorkerId id = options.worker_id.IsNil() ? WorkerId::FromRandom() : options.worker_id;
  // A worker's socket must be there before its raylet tells anybody of it; a
  // worker is forked with the raylet's socket beside its own.
  const std::string directory =
      options.raylet_socket.substr(0, options.raylet_socket.find_last_of('/'));
  const std::string path = WorkerSocketPath(directory, id);
  auto listener = ipc::ListenUnix(path, kListenBacklog);
  if (!listener) return listener.error();
  auto session = Register(socket->get(), options, id);
  if (!session) {
    unlink(path.c_str());
    return session.error();
  }
  const size_t split = session->session_dir.find('\n');
  const std::string store_path = session->session_dir.substr(split + 1);
  session->session_dir.resize(split);
  auto store = StoreAccess::Connect(store_path, options.interrupted);
  if (!store) {
    unlink(path.c_str());
    return store.error();
  }
  for (const int fd : {socket->get(), listener->get()}) {
    if (Status status = ipc::SetNonBlocking(fd, true); !status.ok()) return status;
  }
  std::unique_ptr<CoreWorker> worker(new CoreWorker(std::move(options), std::move(*session)));
  worker->worker_socket_ = path;
  if (Status status = worker->Start(std::move(*socket), std::move(*listener), std::move(*store));
      !status.ok()) {
    return status;
  }
  return worker;
}

CoreWorker::CoreWorker(CoreWorkerOptions options, SessionInfo session)
    : options_(std::move(options)),
      session_(std::move(session)),
      self_{session_.node_id, session_.worker_id},
      gateway_(*this),
      objects_(self_) {
  FillRandom(&task_seed_, sizeof task_seed_);
  put_task_ = TaskId::FromRandom();
  std::memcpy(put_task_.mutable_data() + TaskId::kSize - JobId::kSize, session_.job_id.data(),
              JobId::kSize);
  event_source_ = {session_.node_ip, session_.worker_id, session_.job_id, ActorId::Nil()};
  submitter_.set_lease_linger(options_.lease_linger_ns);
  lineage_.set_bytes_max(options_.lineage_bytes_max);
}

Status CoreWorker::Start(UniqueFd raylet, UniqueFd listener, std::unique_ptr<StoreAccess> store) {
  store_ = std::move(store);
  if (Status status = gateway_.Start(std::move(listener)); !status.ok()) return status;
  Lock lock(gateway_.mutex());
  raylet_ = gateway_.AddChannel(std::move(raylet), ChannelKind::Raylet, {});
  return Status();
}

CoreWorker::~CoreWorker() {
  Stop();
  DeleteTasks();
}

void CoreWorker::Stop() {
  if (std::exchange(stopped_, true)) return;
  {
    Lock lock(gateway_.mutex());
    // Workers that it does not use are to end as they are meant to, not as ones whose owner
    // is gone all at once.
    SubmitActions actions;
    if (raylet_lost_.empty()) submitter_.LeasesWanted(/*idle_only=*/true, actions);
    Perform(&lock, actions);
    SendTaskEvents(0);
  }
  gateway_.Drain(NowNs() + (options_.is_driver ? kLastWordsOfDriverNs : kLastWordsNs));
  if (!worker_socket_.empty()) unlink(worker_socket_.c_str());
  gateway_.Stop();
}

void CoreWorker::DeleteTasks() {
  std::vector<Task*> tasks = submitter_.TakeQueued();
  const auto add = [&tasks](const std::vector<Task*>& more) {
    tasks.insert(tasks.end(), more.begin(), more.end());
  };
  for (const auto& [id, peer] : peers_) {
    if (peer.channel) add(peer.channel->in_flight.All());
  }
  for (Lease* lease : submitter_.BrokenLeases()) {
    for (const NumberedTask& lost : lease->lost_tasks) tasks.push_back(lost.task);
  }
  add(awaiting_arguments_.all());
  for (const auto& [task, creation] : creations_) tasks.push_back(task);
  for (const auto& [id, actor] : actors_.actors()) {
    add({actor->queue.begin(), actor->queue.end()});
    add(actor->lost);
    if (actor->creation_task != nullptr) tasks.push_back(actor->creation_task);
  }
  // What is published the table deletes.
  std::unordered_set<Object*> objects;
  for (Task* task : std::unordered_set<Task*>(tasks.begin(), tasks.end())) {
    for (Object* object : task->returns) objects.insert(object);
    for (const RefArgument& argument : task->ref_args) objects.insert(argument.object);
    delete task;
  }
  for (Object* object : objects) {
    if (object != nullptr && !object->in_table) delete object;
  }
}

Statistics CoreWorker::GetStatistics() {
  Lock lock(gateway_.mutex());
  return {objects_.size(),          objects_.borrowed_count(), tasks_pending_,
          submitter_.lease_count(), actors_.actors().size(),   calls_.size()};
}

uint64_t CoreWorker::SendRaylet(Lock* lock, const RayletBuild& build,
                                const PendingRequest* pending) {
  const uint64_t id = pending == nullptr ? 0 : next_request_++;
  if (pending != nullptr) requests_.emplace(id, *pending);
  SendMessage(raylet_->out, id, build);
  if (lock != nullptr) {
    gateway_.Commit(*lock, *raylet_, /*lazy=*/false);
  } else {
    gateway_.MarkDirty(*raylet_);
  }
  return id;
}

Result<std::vector<uint8_t>> CoreWorker::Request(const RayletBuild& build, int64_t deadline_ns) {
  Lock lock(gateway_.mutex());
  if (!raylet_lost_.empty()) return Status(ErrorCode::Disconnected, raylet_lost_);
  GatewayWaiter waiter;
  waiter.remaining = 1;
  std::vector<uint8_t> reply;
  PendingRequest pending;
  pending.waiter = &waiter;
  pending.reply = &reply;
  const uint64_t id = SendRaylet(&lock, build, &pending);
  const WaitResult result =
      gateway_.Wait(lock, waiter, deadline_ns, raylet_.get(), options_.interrupted);
  if (result == WaitResult::Done) {
    if (reply.empty()) return Status(ErrorCode::Disconnected, raylet_lost_);
    return reply;
  }
  requests_[id].kind = PendingRequest::Kind::Ignore;
  requests_[id].waiter = nullptr;
  if (result == WaitResult::TimedOut) {
    return Status(ErrorCode::TimedOut, "the raylet did not answer in time");
  }
  if (result == WaitResult::Stopped) {
    return Status(ErrorCode::NotConnected, "skyray was shut down meanwhile");
  }
  return Status(ErrorCode::Cancelled, "interrupted");
}

void CoreWorker::Tell(const RayletBuild& build) {
  Lock lock(gateway_.mutex());
  if (raylet_lost_.empty()) SendRaylet(&lock, build, nullptr);
}

void CoreWorker::OnFrame(Channel& channel, FrameView& frame) {
  if (channel.kind == ChannelKind::Inbound && channel.introduced && frame.kind == kCallFrame) {
    return OnCall(channel, frame.body);
  }
  if (channel.kind == ChannelKind::Outbound && frame.kind == kReplyFrame) {
    return OnReply(channel, frame.body);
  }
  if (channel.kind == ChannelKind::Outbound && frame.kind == kYieldFrame) {
    return OnYield(channel, frame.body);
  }
  // Behind a struct of the hot path a FlatBuffer may begin anywhere.
  std::vector<uint8_t> aligned;
  if (reinterpret_cast<uintptr_t>(frame.body.data()) % alignof(uint64_t) != 0) {
    aligned.assign(frame.body.begin(), frame.body.end());
    frame.body = aligned;
  }
  flatbuffers::Verifier verifier(frame.body.data(), frame.body.size());
  if (channel.kind == ChannelKind::Raylet && frame.kind == ipc::kFlatBuffer &&
      verifier.VerifyBuffer<fbr::Message>(nullptr)) {
    return OnRayletMessage(*flatbuffers::GetRoot<fbr::Message>(frame.body.data()), frame);
  }
  if (channel.kind != ChannelKind::Raylet && frame.kind == ipc::kFlatBuffer &&
      verifier.VerifyBuffer<fb::worker::Message>(nullptr)) {
    return OnWorkerMessage(channel, *flatbuffers::GetRoot<fb::worker::Message>(frame.body.data()));
  }
  SKYRAY_LOG(Warning) << "dropped a connection: a malformed frame of kind " << frame.kind;
  gateway_.CloseChannel(channel);
  OnClosed(channel);
}

void CoreWorker::OnRayletMessage(const fbr::Message& message, FrameView& frame) {
  switch (message.body_type()) {
    case fbr::Body::LeaseLost:
      return OnLeaseLost(*message.body_as_LeaseLost());
    case fbr::Body::LeasesWanted: {
      SubmitActions actions;
      submitter_.LeasesWanted(message.body_as_LeasesWanted()->idle_only(), actions);
      return Perform(nullptr, actions);
    }
    case fbr::Body::ActorUpdate:
      return OnActorUpdate(*message.body_as_ActorUpdate()->info());
    case fbr::Body::StartActor:
      return OnStartActor(*message.body_as_StartActor());
    case fbr::Body::Exit:
      if (message.body_as_Exit()->if_unneeded() && OwnsObjects()) return SendStillNeeded();
      exit_requested_ = true;
      return WakeIdle(kAnyGroup);
    case fbr::Body::Accepted:
      if (!frame.fds.empty()) OnAccepted(std::move(frame.fds[0]));
      return;
    case fbr::Body::FlushTaskEvents:
      return SendTaskEvents(message.body_as_FlushTaskEvents()->round());
    case fbr::Body::LeaseInfeasible:
      return;  // The driver is told by a Notice; the request stays queued.
    case fbr::Body::Notice: {
      const std::string text = ToString(message.body_as_Notice()->text());
      const bool is_error = message.body_as_Notice()->is_error();
      if (options_.on_notice) {
        gateway_.Defer([this, text, is_error] { options_.on_notice(text, is_error); });
      }
      return;
    }
    case fbr::Body::LogLines: {
      if (!options_.on_log) return;
      const auto& printed = *message.body_as_LogLines();
      OutputLines lines{ToString(printed.name()), printed.pid(), ToString(printed.node_ip()),
                        printed.is_stderr(), ToStrings(printed.lines())};
      gateway_.Defer([this, lines = std::move(lines)] { options_.on_log(lines); });
      return;
    }
    default:
      return OnRayletReply(message, frame);
  }
}

void CoreWorker::OnRayletReply(const fbr::Message& message, FrameView& frame) {
  const auto it = requests_.find(message.request_id());
  if (it == requests_.end()) return;
  const PendingRequest pending = it->second;
  requests_.erase(it);
  fetching_.erase(pending.fetched);
  switch (pending.kind) {
    case PendingRequest::Kind::Wait:
      pending.reply->assign(frame.body.begin(), frame.body.end());
      --pending.waiter->remaining;
      return gateway_.Notify(pending.waiter);
    case PendingRequest::Kind::Lease:
      if (const auto* reply = message.body_as_LeaseReply()) OnLeaseReply(pending, *reply);
      return;
    case PendingRequest::Kind::Connect: {
      const auto known = peers_.find(pending.address.worker);
      if (known == peers_.end() || known->second.channel) return;
      const auto* reply = message.body_as_ConnectReply();
      if (reply != nullptr && reply->error() == ErrorCode::Ok && !frame.fds.empty()) {
        return PeerConnected(known->second, std::move(frame.fds[0]));
      }
      return PeerUnreachable(pending.address);
    }
    case PendingRequest::Kind::CreateActor: {
      const auto* reply = message.body_as_CreateActorReply();
      --pending.actor->creating;
      if (reply == nullptr) return;
      if (pending.actor->creation_waiter != nullptr) {
        pending.actor->creation_reply->assign(frame.body.begin(), frame.body.end());
        pending.actor->creation_waiter->remaining = 0;
        gateway_.Notify(pending.actor->creation_waiter);
      }
      if (reply->error() == ErrorCode::Ok) return ForgetIfUnused(pending.actor);
      pending.actor->state = ActorState::Dead;
      pending.actor->death_code = reply->error();
      pending.actor->death_message = ToString(reply->message());
      return FinishActorDeath(pending.actor);
    }
    case PendingRequest::Kind::Ignore:
      return;
  }
}

void CoreWorker::OnClosed(Channel& channel) {
  if (last_called_ == &channel) last_called_ = nullptr;
  if (last_caller_ == &channel) last_caller_ = nullptr;
  if (channel.kind == ChannelKind::Raylet) return OnRayletLost();
  FreedEffects freed;
  if (channel.introduced || channel.kind == ChannelKind::Outbound) {
    handed_back_.Forget(channel.peer.worker);
    objects_.BorrowerGone(channel.peer.worker, freed);
    Apply(freed);
  }
  if (channel.kind == ChannelKind::Inbound) {
    bound_leases_.erase(channel.id);
    calls_.Take(&channel);
    for (const auto& [task, call] : bounded_streams_) {
      if (call->channel.get() == &channel) WakeRoom(*call);
    }
    EndIfDone();
    return;
  }
  PeerUnreachable(channel.peer);
}

void CoreWorker::OnRayletLost() {
  raylet_lost_ = "the raylet of this node is gone (its socket " + options_.raylet_socket +
                 " closed); see raylet.log in " + session_.session_dir +
                 "/logs, and call shutdown() and init() to start anew";
  // A worker's place is gone with it, also while user code runs.
  if (!options_.is_driver) _exit(1);
  for (auto& [id, pending] : requests_) {
    if (pending.kind == PendingRequest::Kind::CreateActor) --pending.actor->creating;
    if (pending.kind != PendingRequest::Kind::Wait) continue;
    pending.waiter->remaining = 0;
    gateway_.Notify(pending.waiter);
  }
  requests_.clear();
  fetching_.clear();
  const ValuePtr error = MakeErrorValue(ErrorCode::NodeDied, raylet_lost_);
  for (Task* task : submitter_.TakeQueued()) Complete(task, error);
  for (Lease* lease : submitter_.BrokenLeases()) FinishLostLease(lease);
  for (const auto& [id, actor] : actors_.actors()) {
    if (actor->state == ActorState::Dead) continue;
    actor->state = ActorState::Dead;
    actor->death_code = ErrorCode::NodeDied;
    actor->death_message = raylet_lost_;
    FinishActorDeath(actor.get());
  }
  if (options_.on_notice) {
    gateway_.Defer([this, text = raylet_lost_] { options_.on_notice(text, true); });
  }
}

void CoreWorker::SendStillNeeded() {
  SendRaylet(
      nullptr,
      [](Builder& builder, fbr::Body& type) {
        type = fbr::Body::StillNeeded;
        return fbr::CreateStillNeeded(builder).Union();
      },
      nullptr);
}

int64_t CoreWorker::OnTimer(int64_t now_ns) {
  SubmitActions actions;
  int64_t next = submitter_.ReturnIdle(now_ns, actions);
  Perform(nullptr, actions);
  if (!unreachable_.empty()) next = std::min(next, ProbeDue(now_ns));
  if (events_due_ns_ <= now_ns) SendTaskEvents(0);
  next = std::min(next, events_due_ns_);
  const int64_t hand_back_at = HandBackDue();
  if (hand_back_at > now_ns) return std::min(next, hand_back_at);
  HandBackQueued();
  return next;
}

}  // namespace skyray::core_worker
