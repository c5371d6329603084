// SPDX-License-Identifier: Apache-2.0
// NodeServer: other nodes. A client's request for another node's raylet goes
// through here, as do sockets to workers there and objects.
#include <algorithm>

#include "common/logging.h"
#include "fbs/peer_generated.h"
#include "ipc/verify.h"
#include "raylet/node_server.h"

namespace skyray::raylet {

namespace peer = fb::peer;

namespace {

constexpr size_t kEarlyMessagesMax = 1000;

template <class Body>
void FinishPeer(Builder& builder, Offset<Body> body) {
  builder.Finish(peer::CreateMessage(builder, peer::BodyTraits<Body>::enum_value, body.Union()));
}

std::span<const uint8_t> BytesIn(const Builder& finished) {
  return {finished.GetBufferPointer(), finished.GetSize()};
}

// Copied, so that what is read in place is aligned.
ipc::Frame FrameOf(std::span<const uint8_t> bytes) {
  ipc::Frame frame;
  frame.body.assign(bytes.begin(), bytes.end());
  return frame;
}

std::vector<NodeId> NodesIn(const flatbuffers::Vector<Offset<wire::Bytes>>* list) {
  std::vector<NodeId> nodes;
  if (list == nullptr) return nodes;
  for (const wire::Bytes* entry : *list) {
    if (const auto node = IdOf<NodeId>(entry->data())) nodes.push_back(*node);
  }
  return nodes;
}

}  // namespace

Status NodeServer::StartPeers() {
  if (options_.data_host.empty()) return Status();
  auto token = object_manager::ReadClusterToken(options_.session_dir + "/token");
  if (!token) return token.error();
  object_manager::ObjectManagerOptions options;
  options.node_id = self_.id;
  options.token = *token;
  object_manager::ObjectManagerHandlers handlers;
  handlers.has_worker = [this](const WorkerId& worker) { return ConnectionOf(worker) != 0; };
  handlers.on_handoff = [this](const WorkerId& worker, UniqueFd socket) {
    Builder builder;
    Finish(builder, 0, wire::CreateAccepted(builder));
    server_.Send(ConnectionOf(worker), builder, {Share(std::move(socket))});
  };
  handlers.on_message = [this](const NodeId& from, std::span<const uint8_t> data) {
    OnPeerMessage(from, data);
  };
  objects_ =
      std::make_unique<object_manager::ObjectManager>(loop_, *store_, options, std::move(handlers));
  auto port = objects_->Listen(options_.data_host, 0);
  if (!port) return port.error();
  data_port_ = *port;
  return Status();
}

// --- Speaking ---

void NodeServer::SendFromClient(const NodeId& node, const Client& client, const Builder& message) {
  if (objects_ == nullptr) return;
  Builder builder(message.GetSize() + 256);
  const auto worker = PutBytes(builder, client.worker.Binary());
  const auto job = PutBytes(builder, client.job.Binary());
  const auto bytes = builder.CreateVector(message.GetBufferPointer(), message.GetSize());
  FinishPeer(builder, peer::CreateFromClient(builder, worker, job, bytes));
  objects_->SendToNode(node, BytesIn(builder));
}

void NodeServer::SendToOwner(const LeaseOwner& owner, const Builder& finished) {
  if (owner.node == self_.id) return server_.Send(ConnectionOf(owner.worker), finished);
  if (objects_ == nullptr) return;
  Builder builder(finished.GetSize() + 256);
  const auto worker = PutBytes(builder, owner.worker.Binary());
  const auto bytes = builder.CreateVector(finished.GetBufferPointer(), finished.GetSize());
  FinishPeer(builder, peer::CreateForClient(builder, worker, bytes));
  objects_->SendToNode(owner.node, BytesIn(builder));
}

void NodeServer::TellPeersOwnerGone(const WorkerId& worker) {
  if (objects_ == nullptr) return;
  Builder builder;
  FinishPeer(builder, peer::CreateOwnerGone(builder, PutBytes(builder, worker.Binary())));
  for (const NodeId& node : peers_) objects_->SendToNode(node, BytesIn(builder));
  std::erase_if(remote_leases_, [&](const auto& entry) { return entry.second.owner == worker; });
  std::erase_if(remote_requests_, [&](const auto& entry) { return entry.first.first == worker; });
}

void NodeServer::RequestLeaseAt(ConnectionId connection, const Client& client, uint64_t request_id,
                                const wire::RequestLeaseAt& message) {
  const auto node = IdOf<NodeId>(message.node_id());
  auto request = LeaseRequestFrom(*message.request());
  if (!node || !request) return Drop(connection, "its lease request is malformed");
  const LeaseOwner owner{self_.id, client.worker};
  if (*node == self_.id) return RequestLease(connection, client, request_id, *message.request());
  if (objects_ == nullptr || !peers_.contains(*node)) {
    // It has died since it was named: the local raylet names another, or waits.
    return ReplySpillback(owner, request_id, self_.id);
  }
  remote_requests_[{client.worker, request_id}] = *node;
  Builder builder;
  const auto body = PutLeaseRequest(builder, *request, client.job);
  Finish(builder, request_id, body);
  SendFromClient(*node, client, builder);
}

// --- Hearing ---

void NodeServer::OnPeerMessage(const NodeId& from, std::span<const uint8_t> data) {
  if (placement_.IsDead(from)) return;
  if (!peers_.contains(from)) {
    // It cannot be answered before its address is known.
    auto& early = early_messages_[from];
    if (early.size() < kEarlyMessagesMax) early.emplace_back(data.begin(), data.end());
    return;
  }
  const ipc::Frame frame = FrameOf(data);
  const auto* message = ipc::Verified<peer::Message>(frame);
  if (message == nullptr) {
    SKYRAY_LOG(Warning) << "node " << from.Hex() << " sent a malformed message; ignored";
    return;
  }
  if (const auto* said = message->body_as_FromClient()) {
    const auto worker = IdOf<WorkerId>(said->worker_id());
    const auto job = IdOf<JobId>(said->job_id());
    const ipc::Frame inner = FrameOf({said->message()->data(), said->message()->size()});
    const auto* words = ipc::Verified<wire::Message>(inner);
    if (worker && job && words != nullptr) OnRemoteClient({from, *worker}, *job, *words);
  } else if (const auto* told = message->body_as_ForClient()) {
    const auto worker = IdOf<WorkerId>(told->worker_id());
    const ipc::Frame inner = FrameOf({told->message()->data(), told->message()->size()});
    const auto* words = ipc::Verified<wire::Message>(inner);
    if (worker && words != nullptr) ForwardToClient(from, *worker, *words, inner);
  } else if (const auto* gone = message->body_as_OwnerGone()) {
    if (const auto worker = IdOf<WorkerId>(gone->worker_id())) {
      remote_owners_[from].erase(*worker);
      OwnerGone({from, *worker}, "the process that owns its task has ended");
    }
  }
}

void NodeServer::OnRemoteClient(const LeaseOwner& owner, const JobId& job,
                                const wire::Message& message) {
  remote_owners_[owner.node].insert(owner.worker);
  switch (message.body_type()) {
    case wire::Body::RequestLease: {
      auto request = LeaseRequestFrom(*message.body_as_RequestLease());
      if (!request) return;
      request->owner = owner;
      request->request_id = message.request_id();
      request->job = job;
      request->spilled = true;
      return AddWhenJobIsKnown(std::move(*request));
    }
    case wire::Body::CancelLeaseRequest:
      return CancelLease(owner, message.body_as_CancelLeaseRequest()->request_id());
    case wire::Body::ReturnLease:
      return ReturnLease(owner, *message.body_as_ReturnLease());
    case wire::Body::ExplainLease:
      return Explain(owner, message.request_id(), *message.body_as_ExplainLease());
    default:
      SKYRAY_LOG(Warning) << "node " << owner.node.Hex() << " relays what it may not; ignored";
  }
}

void NodeServer::AddWhenJobIsKnown(LeaseRequest request) {
  const JobEntry* known = pool_.FindJob(request.job);
  if (known != nullptr && !known->driver.IsNil()) {
    queue_.Add(std::move(request), Now());
    return ScheduleSoon();
  }
  gcs_->GetJobs({}, [this, request](const Result<pb::GetJobsReply>& reply) {
    for (int i = 0; reply && i < reply->jobs_size(); ++i) {
      const pb::JobInfo& job = reply->jobs(i);
      if (job.job_id() != request.job.Binary() || job.finished()) continue;
      AddJob(job);
      queue_.Add(request, Now());
      return ScheduleSoon();
    }
    ReplyFailed(request.owner, request.request_id,
                reply ? Status(ErrorCode::NotFound, "the job has finished") : reply.error());
  });
}

void NodeServer::ForwardToClient(const NodeId& from, const WorkerId& worker,
                                 const wire::Message& message, const ipc::Frame& frame) {
  ipc::Connection* client = server_.Find(ConnectionOf(worker));
  if (const auto* reply = message.body_as_LeaseReply()) {
    remote_requests_.erase({worker, message.request_id()});
    const auto lease = IdOf<LeaseId>(reply->lease_id());
    if (reply->result() == wire::LeaseResult::Granted && lease) {
      remote_leases_[*lease] = {worker, from, reply->worker_pid()};
      if (client == nullptr) return TellPeersOwnerGone(worker);  // It left meanwhile.
    }
  } else if (const auto* lost = message.body_as_LeaseLost()) {
    if (const auto lease = IdOf<LeaseId>(lost->lease_id())) remote_leases_.erase(*lease);
  }
  if (client != nullptr) client->Send(frame.kind, frame.body);
}

void NodeServer::OnPeerAlive(const NodeId& node, const pb::NodeInfo& info) {
  if (objects_ == nullptr || info.data_port() == 0) return;
  peers_.insert(node);
  objects_->SetNodeAddress(node, info.ip(), static_cast<uint16_t>(info.data_port()));
  const auto early = early_messages_.extract(node);
  if (early.empty()) return;
  for (const auto& data : early.mapped()) OnPeerMessage(node, data);
}

void NodeServer::OnPeerDead(const NodeId& node, const std::string& why) {
  peers_.erase(node);
  early_messages_.erase(node);
  if (objects_ != nullptr) objects_->NodeDead(node);
  // What its workers asked for or hold here, and what they owned.
  queue_.RemoveNode(node);
  for (const WorkerId& owner : remote_owners_[node]) {
    OwnerGone({node, owner}, "the node of the process that owns its task has died");
  }
  remote_owners_.erase(node);
  // What our clients hold there, and asked of it.
  std::vector<std::pair<LeaseId, RemoteLease>> lost;
  for (const auto& [id, lease] : remote_leases_) {
    if (lease.node == node) lost.emplace_back(id, lease);
  }
  for (const auto& [id, lease] : lost) {
    remote_leases_.erase(id);
    WorkerExit exit;
    exit.pid = lease.pid;
    exit.reason = "its node died: " + why;
    Builder builder;
    const auto lease_id = PutBytes(builder, id.Binary());
    const auto info = PutExit(builder, exit, {node, ""});
    SendToOwner({self_.id, lease.owner}, 0, builder,
                wire::CreateLeaseLost(builder, lease_id, info));
  }
  const auto asked = std::exchange(remote_requests_, {});
  for (const auto& [key, asked_node] : asked) {
    if (asked_node == node) {
      ReplySpillback({self_.id, key.first}, key.second, self_.id);
    } else {
      remote_requests_[key] = asked_node;
    }
  }
}

// --- Sockets and objects ---

void NodeServer::ConnectTo(ConnectionId connection, uint64_t request,
                           const wire::Connect& message) {
  const auto node = IdOf<NodeId>(message.address()->node_id());
  const auto worker = IdOf<WorkerId>(message.address()->worker_id());
  const auto reply = [this, connection, request](Result<UniqueFd> socket) {
    const Status status = socket ? Status() : socket.error();
    Builder builder;
    const auto text = builder.CreateString(status.message());
    Finish(builder, request, wire::CreateConnectReply(builder, status.code(), text));
    std::vector<SharedFd> fds;
    if (socket) fds.push_back(Share(std::move(*socket)));
    server_.Send(connection, builder, std::move(fds));
  };
  if (!node || !worker) return Drop(connection, "it wants to connect to a malformed address");
  if (objects_ == nullptr || !peers_.contains(*node)) {
    return reply(Status(ErrorCode::NodeDied, "node " + node->Hex() + " is not alive"));
  }
  objects_->Connect(*node, *worker, reply);
}

void NodeServer::Fetch(ConnectionId connection, uint64_t request, const wire::Fetch& message) {
  const auto object = IdOf<ObjectId>(message.object_id());
  if (!object) return Drop(connection, "it fetches a malformed object id");
  const auto reply = [this, connection, request](const Status& status) {
    Builder builder;
    const auto text = builder.CreateString(status.message());
    Send(connection, request, builder, wire::CreateFetchReply(builder, status.code(), text));
  };
  std::vector<NodeId> nodes = NodesIn(message.node_ids());
  std::erase(nodes, self_.id);
  if (objects_ == nullptr) {
    return reply(
        Status(ErrorCode::ObjectLost, "object " + object->Hex() +
                                          " is on another node, and this node has no "
                                          "port for other nodes; start it with --data-host"));
  }
  objects_->Pull(*object, nodes, message.size_bytes(), reply);
}

void NodeServer::FreeObjects(const wire::FreeObjects& message) {
  std::vector<ObjectId> objects;
  if (message.object_ids() == nullptr) return;
  for (const wire::Bytes* entry : *message.object_ids()) {
    if (const auto object = IdOf<ObjectId>(entry->data())) objects.push_back(*object);
  }
  const std::vector<NodeId> nodes = NodesIn(message.node_ids());
  if (objects_ != nullptr) return objects_->Free(objects, nodes);
  if (std::find(nodes.begin(), nodes.end(), self_.id) != nodes.end()) {
    store_->Delete(std::move(objects));
  }
}

}  // namespace skyray::raylet
