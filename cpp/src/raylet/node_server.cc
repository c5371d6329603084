// SPDX-License-Identifier: Apache-2.0
#include "raylet/node_server.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/post.hpp>

#include "common/logging.h"
#include "ipc/socket.h"
#include "ipc/verify.h"
#include "object_manager/spill_local.h"
#include "object_manager/spill_remote.h"
#include "raylet/utf8.h"
#include "rpc/status_message.h"

namespace skyray::raylet {

namespace {
constexpr uint32_t kProtocolVersion = 1;
constexpr size_t kPrestartMax = 4;
// A worker that hung up but still runs is ended after so long; one that is on
// its way out keeps its true exit code.
constexpr std::chrono::seconds kHungUpGrace{1};

// Where there is none, all that a dead worker had been sent counts as started.
std::optional<ProgressBoard> MakeBoard() {
  auto board = ProgressBoard::Create();
  if (board) return std::move(*board);
  SKYRAY_LOG(Warning) << board.error().message();
  return std::nullopt;
}

std::string HostName() {
  char name[256] = "";
  gethostname(name, sizeof name - 1);
  return name;
}
}  // namespace

NodeServer::NodeServer(boost::asio::io_context& loop, Options options)
    : loop_(loop),
      options_(std::move(options)),
      self_{options_.node_id, options_.node_ip},
      server_(loop, "raylet", *this),
      ledger_(options_.resources, options_.gpu_ids),
      placement_(options_.node_id, options_.node_name, ledger_, options_.labels),
      queue_(ledger_),
      pool_(options_.cpus()),
      pipes_(loop, options_.session_dir + "/logs",
             [this](const WorkerId& worker, const std::vector<OutputLines>& groups) {
               OnLines(worker, groups);
             }),
      progress_(MakeBoard()),
      zygote_(loop, *this, options_.python, options_.session_dir + "/logs/zygote.log",
              progress_.fd()),
      memory_(options_.memory_root),
      timer_(loop) {}

NodeServer::~NodeServer() = default;

Status NodeServer::Start(std::function<void(const Status&)> on_ready) {
  on_ready_ = std::move(on_ready);
  for (const std::string& dir : {options_.session_dir + "/logs", options_.socket_dir()}) {
    if (mkdir(dir.c_str(), 0700) != 0 && errno != EEXIST) {
      return ErrnoStatus("making the directory " + dir, errno);
    }
  }
  // First: it warms up while the rest starts.
  if (Status status = zygote_.Start(); !status.ok()) return status;
  if (Status status = StartStore(); !status.ok()) return status;
  if (Status status = StartPeers(); !status.ok()) return status;
  if (Status status = server_.ListenUnix(options_.raylet_socket()); !status.ok()) return status;
  return ConnectGcs();
}

Status NodeServer::StartStore() {
  plasma::StoreOptions store;
  store.capacity_bytes = options_.object_store_bytes;
  store.socket_path = options_.store_socket();
  store.create_grace_ms = options_.create_grace_ms;
  store.full_delay_ms = options_.store_full_delay_ms;
  store.fallback_directory = options_.fallback_directory;
  store.spilling = options_.spilling;
  store.spill_threshold = options_.spill_threshold;
  auto started = plasma::StoreRunner::Start(store, loop_,
                                            [this](const std::vector<plasma::StoreEvent>& events) {
                                              if (spills_ != nullptr)
                                                spills_->OnStoreEvents(events);
                                            });
  if (!started) return started.error();
  store_ = std::move(*started);
  if (options_.spilling) StartSpilling();
  return Status();
}

void NodeServer::StartSpilling() {
  std::unique_ptr<object_manager::SpillStorage> storage;
  if (options_.spill_urls.empty()) {
    storage = std::make_unique<object_manager::SpillLocal>(
        loop_,
        object_manager::SpillDiskOptions{options_.spill_directories, options_.spill_folder()});
  } else {
    storage = std::make_unique<object_manager::SpillRemote>(
        loop_,
        object_manager::SpillRemoteOptions{options_.spill_urls, options_.spill_folder(),
                                           options_.python,
                                           options_.session_dir + "/logs/io_worker.log"},
        [this](uint32_t segment, std::function<void(Result<SharedFd>)> done) {
          store_->SegmentFd(segment, std::move(done));
        });
  }
  object_manager::SpillConfig config;
  config.capacity_bytes = options_.object_store_bytes;
  config.file_bytes_min = options_.spill_file_bytes;
  config.file_bytes_max = options_.spill_file_bytes_max;
  config.file_objects_max = options_.spill_file_objects;
  spills_ =
      std::make_unique<object_manager::SpillService>(loop_, *store_, std::move(storage), config);
}

Status NodeServer::ConnectGcs() {
  auto socket = ipc::ConnectUnix(options_.gcs_socket);
  if (!socket) {
    return Status(socket.error().code(), "connecting to the GCS at " + options_.gcs_socket +
                                             " failed: " + socket.error().message() +
                                             "; is gcs_server running?");
  }
  gcs_ = std::make_unique<rpc::GcsClient>(loop_, std::move(*socket), *this);
  gcs_->Attach(SelfInfo());
  return Status();
}

pb::NodeInfo NodeServer::SelfInfo() const {
  pb::NodeInfo info;
  info.set_node_id(std::string(self_.id.Binary()));
  info.set_ip(self_.ip);
  info.set_hostname(HostName());
  info.set_name(options_.node_name);
  info.set_data_port(data_port_);
  info.set_raylet_socket(options_.raylet_socket());
  info.set_store_socket(options_.store_socket());
  info.set_is_head(options_.is_head);
  CopyResources(ledger_.total(), info.mutable_total());
  CopyResources(ledger_.available(), info.mutable_available());
  for (const auto& [key, value] : options_.labels) (*info.mutable_labels())[key] = value;
  info.set_alive(true);
  return info;
}

void NodeServer::OnCommand(pb::NodeCommand command) {
  switch (command.command_case()) {
    case pb::NodeCommand::kRegistered:
      if (on_ready_)
        std::exchange(on_ready_, nullptr)(rpc::StatusFromMessage(command.registered()));
      break;
    case pb::NodeCommand::kNode:
      OnNode(command.node());
      break;
    case pb::NodeCommand::kStartActor:
      OnStartActor(command.start_actor());
      break;
    case pb::NodeCommand::kStopActor:
      OnStopActor(command.stop_actor());
      break;
    case pb::NodeCommand::kActor:
      OnActorInfo(command.actor());
      break;
    case pb::NodeCommand::kJobFinished:
      if (const auto job = JobId::FromBinary(command.job_finished().job_id())) {
        FinishJob(*job, "its job has finished");
      }
      break;
    case pb::NodeCommand::kFlushTaskEvents:
      FlushTaskEvents(command.flush_task_events());
      break;
    case pb::NodeCommand::kShutdown:
      Stop(command.shutdown());
      break;
    case pb::NodeCommand::COMMAND_NOT_SET:
      SKYRAY_LOG(Warning) << "the GCS sent a command unknown to this version; ignored";
  }
}

void NodeServer::OnDisconnected(const Status& status) {
  if (on_ready_) return std::exchange(on_ready_, nullptr)(status);
  if (!stopping_) Stop("the line to the GCS is lost: " + status.message());
}

void NodeServer::OnNode(const pb::NodeInfo& info) {
  const auto id = NodeId::FromBinary(info.node_id());
  if (!id) return;
  if (*id == self_.id) {
    if (!info.alive()) Stop("the GCS has declared this node dead: " + info.death_reason());
    return;
  }
  if (!info.alive()) {
    placement_.NodeDied(*id);
    OnPeerDead(*id, info.death_reason());
  } else {
    scheduling::NodeView node;
    node.id = *id;
    node.name = info.name().empty() ? info.ip() : info.name();
    node.labels.insert(info.labels().begin(), info.labels().end());
    node.total = ResourcesFrom(info.total());
    node.available = ResourcesFrom(info.available());
    node.pending_leases = info.pending_leases();
    node.version = info.version();
    placement_.Update(std::move(node));
    OnPeerAlive(*id, info);
  }
  ScheduleSoon();
}

void NodeServer::AddJob(const pb::JobInfo& job) {
  const auto id = JobId::FromBinary(job.job_id());
  if (!id) return;
  JobEntry entry;
  entry.id = *id;
  entry.config = job.config();
  entry.name_space = job.namespace_();
  entry.driver_node = NodeId::FromBinary(job.driver_node_id()).value_or(NodeId());
  entry.driver = WorkerId::FromBinary(job.driver_worker_id()).value_or(WorkerId());
  pool_.AddJob(std::move(entry));
}

// --- Connections ---

void NodeServer::OnConnect(ConnectionId connection, const ipc::PeerCredentials& peer) {
  if (stopping_) return server_.Close(connection);
  clients_[connection].pid = peer.pid;
}

void NodeServer::OnFrame(ConnectionId connection, ipc::Frame frame) {
  const auto* message = ipc::Verified<wire::Message>(frame);
  if (message == nullptr) return Drop(connection, "it sent a malformed message");
  Dispatch(connection, *message);
}

void NodeServer::Drop(ConnectionId connection, const std::string& why) {
  SKYRAY_LOG(Warning) << "dropped client " << connection << ": " << why;
  OnDisconnect(connection);
  server_.Close(connection);
}

NodeServer::Client* NodeServer::FindClient(ConnectionId connection) {
  const auto it = clients_.find(connection);
  return it == clients_.end() ? nullptr : &it->second;
}

ipc::ConnectionId NodeServer::ConnectionOf(const WorkerId& worker) const {
  const auto it = by_worker_.find(worker);
  return it == by_worker_.end() ? 0 : it->second;
}

void NodeServer::ForgetClient(ConnectionId connection) {
  const auto it = clients_.find(connection);
  if (it == clients_.end()) return;
  by_worker_.erase(it->second.worker);
  TellFlushed(flushes_.Left(it->second.worker));
  if (it->second.registered) {
    // It listened there; a killed one could not take its socket away.
    const std::string id = it->second.worker.Hex().substr(0, 16);
    unlink((options_.socket_dir() + "/w-" + id).c_str());
  }
  clients_.erase(it);
  std::vector<ActorId> subscribed;
  for (const auto& [actor, subscription] : subscriptions_) {
    if (subscription.clients.contains(connection)) subscribed.push_back(actor);
  }
  for (const ActorId& actor : subscribed) Unsubscribe(connection, actor);
}

void NodeServer::OnDisconnect(ConnectionId connection) {
  const Client* found = FindClient(connection);
  if (found == nullptr) return;
  const Client client = *found;
  ForgetClient(connection);
  if (!client.registered || stopping_) return;
  if (!client.is_driver) {
    // What it did is cleaned up when the zygote reports how it ended.
    pool_.MarkEnding(client.worker, false, "");
    kills_.emplace(Now() + kHungUpGrace, client.worker);
    return WakeAt(Now() + kHungUpGrace);
  }
  TellJobFinished(client.job);
  pb::NodeEvent event;
  event.mutable_worker_died()->set_worker_id(std::string(client.worker.Binary()));
  event.mutable_worker_died()->set_job_id(std::string(client.job.Binary()));
  event.mutable_worker_died()->set_is_driver(true);
  gcs_->SendEvent(std::move(event));
  TellPeersOwnerGone(client.worker);
  FinishJob(client.job, "its driver has ended");
  OwnerGone({self_.id, client.worker}, "its driver has ended");
}

void NodeServer::TellJobFinished(const JobId& job) {
  pb::FinishJobRequest request;
  request.set_job_id(std::string(job.Binary()));
  gcs_->FinishJob(request, [](const Result<pb::FinishJobReply>& reply) {
    if (reply) return;
    SKYRAY_LOG(Warning) << "telling the end of a job: " << reply.error().message();
  });
}

void NodeServer::Register(ConnectionId connection, uint64_t request,
                          const wire::Register& message) {
  Client& client = *FindClient(connection);
  const auto worker = IdOf<WorkerId>(message.worker_id());
  if (!worker || worker->IsNil() || by_worker_.contains(*worker) || !client.worker.IsNil()) {
    return Drop(connection, "it registers with an id that is taken or none");
  }
  if (message.protocol_version() != kProtocolVersion) {
    return ReplyRegistered(
        connection, request,
        Status(ErrorCode::VersionMismatch,
               "this raylet speaks protocol version " + std::to_string(kProtocolVersion) +
                   ", the client version " + std::to_string(message.protocol_version()) +
                   "; install the same skyray on both sides"));
  }
  client.worker = *worker;
  client.is_driver = message.kind() == wire::ClientKind::Driver;
  if (client.pid == 0) client.pid = message.pid();
  if (client.is_driver) {
    RegisterDriver(connection, request, message);
  } else {
    RegisterWorker(connection, request);
  }
}

void NodeServer::RegisterDriver(ConnectionId connection, uint64_t request,
                                const wire::Register& message) {
  const Client& client = *FindClient(connection);
  JobEntry entry;
  entry.config = ToValidUtf8(TextOf(message.job_config()));
  entry.name_space = ToValidUtf8(TextOf(message.namespace_()));
  entry.driver_node = self_.id;
  entry.driver = client.worker;
  pb::AddJobRequest job;
  job.mutable_job()->set_driver_worker_id(std::string(client.worker.Binary()));
  job.mutable_job()->set_driver_node_id(std::string(self_.id.Binary()));
  job.mutable_job()->set_driver_pid(client.pid);
  job.mutable_job()->set_namespace_(entry.name_space);
  job.mutable_job()->set_entrypoint(ToValidUtf8(TextOf(message.entrypoint())));
  job.mutable_job()->set_config(entry.config);
  gcs_->AddJob(job, [this, connection, request, entry](Result<pb::AddJobReply> reply) mutable {
    Client* driver = FindClient(connection);
    const auto id = reply ? JobId::FromBinary(reply->job_id()) : std::nullopt;
    if (driver == nullptr) {  // It left meanwhile.
      if (id) TellJobFinished(*id);
      return;
    }
    if (!id) {
      return ReplyRegistered(
          connection, request,
          reply ? Status(ErrorCode::Internal, "the GCS gave no job id") : reply.error());
    }
    driver->job = entry.id = *id;
    pool_.AddJob(std::move(entry));
    pool_.Prestart(*id, std::min(options_.cpus(), kPrestartMax));
    ReplyRegistered(connection, request, Status());
    ForkWorkers();
  });
}

void NodeServer::RegisterWorker(ConnectionId connection, uint64_t request) {
  Client& client = *FindClient(connection);
  if (!pool_.OnRegistered(client.worker, client.pid, Now())) {
    return ReplyRegistered(
        connection, request,
        Status(ErrorCode::Unauthenticated, "process " + std::to_string(client.pid) +
                                               " is not a worker that this raylet forked"));
  }
  const PoolWorker& worker = *pool_.Find(client.worker);
  client.job = worker.key.job;
  const LeaseId lease = worker.lease;
  ReplyRegistered(connection, request, Status());
  if (worker.ending) return EndWorker(client.worker, true, "", HowToEnd::Ask);
  if (!lease.IsNil()) Deliver(lease);
  ForkWorkers();
  ArmFromCores();
}

void NodeServer::ReplyRegistered(ConnectionId connection, uint64_t request, const Status& status) {
  Client& client = *FindClient(connection);
  Builder builder;
  const auto text = builder.CreateString(status.message());
  const auto node = PutBytes(builder, self_.id.Binary());
  const auto job = PutBytes(builder, client.job.Binary());
  const auto ip = builder.CreateString(self_.ip);
  const auto store = builder.CreateString(options_.store_socket());
  const auto socket_dir = builder.CreateString(options_.socket_dir());
  const auto session_dir = builder.CreateString(options_.session_dir);
  const auto gcs = builder.CreateString(options_.gcs_socket);
  Send(connection, request, builder,
       wire::CreateRegisterReply(builder, status.code(), text, node, job, ip, store, socket_dir,
                                 session_dir, gcs, options_.is_head));
  ipc::Connection* peer = server_.Find(connection);
  if (!status.ok()) {
    SKYRAY_LOG(Warning) << "refused client " << connection << ": " << status.message();
    clients_.erase(connection);
    if (peer != nullptr) peer->CloseAfterSend();
    return;
  }
  client.registered = true;
  by_worker_[client.worker] = connection;
  if (peer != nullptr) peer->SetFrameBytesMax(ipc::kFrameBytesMax);
}

void NodeServer::Dispatch(ConnectionId connection, const wire::Message& message) {
  Client* client = FindClient(connection);
  if (client == nullptr) return;  // Refused; its last frames.
  if (message.body_type() == wire::Body::Register) {
    if (client->registered) return Drop(connection, "it registered twice");
    return Register(connection, message.request_id(), *message.body_as_Register());
  }
  if (!client->registered) return Drop(connection, "it has not registered");
  if (DispatchWork(connection, *client, message)) return;
  if (DispatchRelay(connection, *client, message)) return;
  Drop(connection, std::string("it may not send ") + wire::EnumNameBody(message.body_type()));
}

bool NodeServer::DispatchWork(ConnectionId connection, Client& client,
                              const wire::Message& message) {
  switch (message.body_type()) {
    case wire::Body::RequestLease:
      RequestLease(connection, client, message.request_id(), *message.body_as_RequestLease());
      return true;
    case wire::Body::RequestLeaseAt:
      RequestLeaseAt(connection, client, message.request_id(), *message.body_as_RequestLeaseAt());
      return true;
    case wire::Body::CancelLeaseRequest:
      CancelLeaseOf(client, message.body_as_CancelLeaseRequest()->request_id());
      return true;
    case wire::Body::ReturnLease:
      ReturnLeaseOf(client, *message.body_as_ReturnLease());
      return true;
    case wire::Body::ExplainLease:
      ExplainOf(client, message.request_id(), *message.body_as_ExplainLease());
      return true;
    case wire::Body::Blocked:
      SetBlocked(client, true);
      return true;
    case wire::Body::Unblocked:
      SetBlocked(client, false);
      return true;
    case wire::Body::ActorStarted:
      OnActorStarted(client, *message.body_as_ActorStarted());
      return true;
    case wire::Body::StillNeeded:
      StillNeeded(client.worker);
      return true;
    case wire::Body::Exiting:
      pool_.MarkEnding(client.worker, true,
                       ToValidUtf8(TextOf(message.body_as_Exiting()->reason())));
      return true;
    default:
      return false;
  }
}

bool NodeServer::DispatchRelay(ConnectionId connection, const Client& client,
                               const wire::Message& message) {
  const uint64_t request = message.request_id();
  switch (message.body_type()) {
    case wire::Body::Kv:
      RelayKv(connection, request, *message.body_as_Kv());
      return true;
    case wire::Body::CreateActor:
      CreateActor(connection, request, *message.body_as_CreateActor());
      return true;
    case wire::Body::SubscribeActor:
      if (const auto actor = IdOf<ActorId>(message.body_as_SubscribeActor()->actor_id())) {
        Subscribe(connection, *actor);
      }
      return true;
    case wire::Body::UnsubscribeActor:
      if (const auto actor = IdOf<ActorId>(message.body_as_UnsubscribeActor()->actor_id())) {
        Unsubscribe(connection, *actor);
      }
      return true;
    case wire::Body::GetNamedActor:
      RelayGetNamedActor(connection, request, *message.body_as_GetNamedActor());
      return true;
    case wire::Body::ListActors:
      RelayListActors(connection, request, *message.body_as_ListActors());
      return true;
    case wire::Body::KillActor:
      RelayKillActor(connection, request, *message.body_as_KillActor());
      return true;
    case wire::Body::Connect:
      ConnectTo(connection, request, *message.body_as_Connect());
      return true;
    case wire::Body::Fetch:
      Fetch(connection, request, *message.body_as_Fetch());
      return true;
    case wire::Body::FreeObjects:
      FreeObjects(*message.body_as_FreeObjects());
      return true;
    case wire::Body::GetNodes:
      RelayGetNodes(connection, request);
      return true;
    case wire::Body::TaskEvents:
      RelayTaskEvents(client, *message.body_as_TaskEvents());
      return true;
    case wire::Body::GetTaskEvents:
      RelayGetTaskEvents(connection, request, *message.body_as_GetTaskEvents());
      return true;
    default:
      return false;
  }
}

void NodeServer::SendAck(ConnectionId connection, uint64_t request, const Status& status) {
  Builder builder;
  const auto text = builder.CreateString(status.message());
  Send(connection, request, builder, wire::CreateAck(builder, status.code(), text));
}

// --- Time ---

void NodeServer::WakeAt(TimePoint time) {
  if (time >= timer_at_) return;
  timer_at_ = time;
  timer_.expires_at(time);
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (error) return;
    timer_at_ = TimePoint::max();
    Tick();
  });
}

void NodeServer::Tick() {
  const TimePoint now = Now();
  KillDue(now);
  if (stopping_) return StopStep();
  for (const WorkerId& worker : pool_.Surplus(now)) {
    const bool idle = pool_.Find(worker)->state == PoolWorker::State::Idle;
    const std::string why = idle ? "it was idle" : "it did not register within 60 s of its start";
    EndWorker(worker, idle, why, idle ? HowToEnd::IfUnneeded : HowToEnd::AtOnce);
  }
  if (!zygote_.up()) StartZygote();
  CheckMemory(now);
  Schedule();
}

void NodeServer::ArmFromCores() {
  if (const auto wake = queue_.NextWake()) WakeAt(*wake);
  if (const auto wake = pool_.NextWake()) WakeAt(*wake);
  if (!kills_.empty()) WakeAt(kills_.begin()->first);
  if (next_memory_check_ != TimePoint{}) WakeAt(next_memory_check_);
}

}  // namespace skyray::raylet
