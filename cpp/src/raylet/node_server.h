// SPDX-License-Identifier: Apache-2.0
// The raylet's shell: it hears local clients, the GCS, the zygote and other
// nodes, asks the cores (ResourceLedger, LeaseQueue, WorkerPool), and tells
// everyone what became of it.
//
//   node_server.cc            starting, connections, registering, dispatch, time
//   node_server_leases.cc     leases: requested, granted, returned, lost
//   node_server_workers.cc    processes: forked, named, ended; what they print
//   node_server_memory.cc     who has to go when memory runs short
//   node_server_explain.cc    why somebody still waits
//   node_server_actors.cc     the GCS's orders, and news of actors to subscribers
//   node_server_relay.cc      what clients ask of the GCS
//   node_server_events.cc     what workers have run, on its way to the GCS
//   node_server_peers.cc      other nodes: leases there, sockets, objects
//   node_server_stop.cc       the order in which everything ends
//
// Threading:  lives on one loop, whose thread must be the one that calls Start
//             (the zygote ends with it).
// Ownership:  owns the cores, the zygote, the sockets, the line to the GCS.
// Errors:     Start returns what keeps it from listening; on_ready says how the
//             GCS answered. A peer's nonsense ends that peer's connection. If the
//             GCS is lost the node ends: on_stopped.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/rounds.h"
#include "ipc/server.h"
#include "object_manager/object_manager.h"
#include "object_manager/spill_service.h"
#include "plasma/store_runner.h"
#include "raylet/lease_queue.h"
#include "raylet/memory_monitor.h"
#include "raylet/messages.h"
#include "raylet/options.h"
#include "raylet/output_pipes.h"
#include "raylet/placement.h"
#include "raylet/resource_ledger.h"
#include "raylet/worker_exit.h"
#include "raylet/worker_pool.h"
#include "raylet/worker_progress.h"
#include "raylet/zygote.h"
#include "rpc/gcs_client.h"

namespace skyray::raylet {

class NodeServer : public ipc::ServerHandler, public rpc::GcsHandler, public ZygoteHandler {
 public:
  NodeServer(boost::asio::io_context& loop, Options options);
  ~NodeServer() override;
  NodeServer(const NodeServer&) = delete;
  NodeServer& operator=(const NodeServer&) = delete;

  // Listens, starts the zygote, and registers with the GCS. `on_ready` is called
  // once, with the GCS's answer.
  Status Start(std::function<void(const Status&)> on_ready);
  // Ends the workers, then everything else; then calls `on_stopped`, once.
  void Stop(const std::string& reason);
  void OnStopped(std::function<void()> on_stopped) { on_stopped_ = std::move(on_stopped); }

 private:
  using ConnectionId = ipc::ConnectionId;
  struct Client {
    bool registered = false;
    bool is_driver = false;
    int pid = 0;
    WorkerId worker;
    JobId job;
  };
  // An actor that this node is to run, or runs.
  struct HostedActor {
    pb::ActorSpec spec;
    uint32_t restarts = 0;
    WorkerId worker;  // Nil until it has one.
  };
  // A lease that a local client has at another node.
  struct RemoteLease {
    WorkerId owner;
    NodeId node;
    int pid = 0;
  };
  struct Subscription {
    std::set<ConnectionId> clients;
    std::optional<pb::ActorInfo> last;
  };

  // --- node_server.cc ---
  void OnConnect(ConnectionId connection, const ipc::PeerCredentials& peer) override;
  void OnFrame(ConnectionId connection, ipc::Frame frame) override;
  void OnDisconnect(ConnectionId connection) override;
  void OnCommand(pb::NodeCommand command) override;
  void OnDisconnected(const Status& status) override;
  Status StartStore();
  void StartSpilling();
  Status ConnectGcs();
  pb::NodeInfo SelfInfo() const;
  void OnNode(const pb::NodeInfo& node);
  void AddJob(const pb::JobInfo& job);
  void Register(ConnectionId connection, uint64_t request, const wire::Register& message);
  void RegisterDriver(ConnectionId connection, uint64_t request, const wire::Register& message);
  void RegisterWorker(ConnectionId connection, uint64_t request);
  void TellJobFinished(const JobId& job);
  void ReplyRegistered(ConnectionId connection, uint64_t request, const Status& status);
  void Dispatch(ConnectionId connection, const wire::Message& message);
  // False if the message is none that this client may send.
  bool DispatchWork(ConnectionId connection, Client& client, const wire::Message& message);
  bool DispatchRelay(ConnectionId connection, const Client& client, const wire::Message& message);
  void Drop(ConnectionId connection, const std::string& why);
  void ForgetClient(ConnectionId connection);
  Client* FindClient(ConnectionId connection);
  // The connection of a local core worker; 0 if it has none.
  ConnectionId ConnectionOf(const WorkerId& worker) const;
  template <class Body>
  void Send(ConnectionId connection, uint64_t request_id, Builder& builder, Offset<Body> body) {
    Finish(builder, request_id, body);
    server_.Send(connection, builder);
  }
  void SendAck(ConnectionId connection, uint64_t request, const Status& status);
  static TimePoint Now() { return std::chrono::steady_clock::now(); }
  // Sees to it that Tick() runs at `time` or earlier.
  void WakeAt(TimePoint time);
  void Tick();
  void ArmFromCores();

  // --- node_server_leases.cc ---
  void RequestLease(ConnectionId connection, const Client& client, uint64_t request,
                    const wire::RequestLease& message);
  void CancelLease(const LeaseOwner& owner, uint64_t request_id);
  void ReturnLease(const LeaseOwner& owner, const wire::ReturnLease& message);
  // Of a local client: the two above, or the same at the node it asked.
  void CancelLeaseOf(const Client& client, uint64_t request_id);
  void ReturnLeaseOf(const Client& client, const wire::ReturnLease& message);
  // Runs the queue soon: once for all that happens in one turn of the loop.
  void ScheduleSoon();
  void Schedule();
  void Grant(const Lease& lease);
  // The lease has its worker: tells the owner, or makes it the actor.
  void Deliver(const LeaseId& lease);
  void EndLease(const LeaseId& lease, bool worker_failed);
  void FailLease(const LeaseId& lease, const Status& status);
  void ReplyFailed(const LeaseOwner& owner, uint64_t request_id, const Status& status);
  void ReplySpillback(const LeaseOwner& owner, uint64_t request_id, const NodeId& node);
  // To a core worker, wherever it is.
  template <class Body>
  void SendToOwner(const LeaseOwner& owner, uint64_t request_id, Builder& builder,
                   Offset<Body> body) {
    Finish(builder, request_id, body);
    SendToOwner(owner, builder);
  }
  void SendToOwner(const LeaseOwner& owner, const Builder& finished);
  void TellInfeasible(const LeaseOutcome::Infeasible& infeasible);
  void OwnerGone(const LeaseOwner& owner, const std::string& why);
  void SetBlocked(const Client& client, bool blocked);
  void ReportResources();

  // --- node_server_workers.cc ---
  void OnZygoteReady() override;
  void OnForked(const WorkerId& worker, int pid) override;
  void OnForkFailed(const WorkerId& worker, const std::string& message) override;
  void OnWorkerExited(int pid, int status) override;
  void OnZygoteDown(const std::string& why, bool was_ready) override;
  void StartZygote();
  void ForkWorkers();
  // Ask: Exit, and SIGKILL after a while. IfUnneeded: the worker may answer StillNeeded,
  // in its own time.
  enum class HowToEnd { AtOnce, Ask, IfUnneeded };
  void EndWorker(const WorkerId& worker, bool expected, const std::string& reason, HowToEnd how);
  void StillNeeded(const WorkerId& worker);
  void WorkerGone(const PoolWorker& worker, int status);
  void GiveUpHopeless(const PoolKey& key, const std::string& why);
  void KillDue(TimePoint now);
  void OnLines(const WorkerId& worker, const std::vector<OutputLines>& groups);
  void Notify(const JobId& job, const std::string& text, bool is_error);
  // What runs of the job here, but its detached actors, ends.
  void FinishJob(const JobId& job, const std::string& why);
  bool HostsDetached(const PoolWorker& worker) const;

  // --- node_server_memory.cc ---
  // Looks, if it is time, whether memory is short, and if so ends a worker.
  void CheckMemory(TimePoint now);
  // Work begins: from now on memory is looked at.
  void ArmMemoryCheck();
  MemoryLevel WorkersLevel() const;
  // Idle workers that keep much. False if there are none.
  bool EndIdleHoarders();
  std::vector<MemoryUser> MemoryUsers() const;
  void KillForMemory(const MemoryLevel& level);
  // If the worker was ended for its memory, its exit says so from now on.
  void TakeMemoryKill(const WorkerId& worker, WorkerExit& exit);

  // --- node_server_explain.cc ---
  void Explain(const LeaseOwner& owner, uint64_t request, const wire::ExplainLease& asked);
  // Of a local client: here, or at the node it asked for a lease.
  void ExplainOf(const Client& client, uint64_t request, const wire::ExplainLease& asked);
  std::string ExplainRequest(const LeaseOwner& owner, uint64_t request_id) const;
  std::string ExplainActor(const ActorId& actor) const;
  std::string NodeName() const;

  // --- node_server_actors.cc ---
  void OnStartActor(const pb::StartActor& order);
  void OnStopActor(const pb::StopActor& order);
  void BecomeActor(const ActorId& actor, const LeaseId& lease, const PoolWorker& worker);
  // It has no worker yet, and is to have none.
  void WithdrawActor(const ActorId& actor, const std::string& why);
  void ActorNotPlaced(const ActorId& actor, const std::string& why);
  void ActorExited(const ActorId& actor, const WorkerExit& exit);
  void OnActorStarted(const Client& client, const wire::ActorStarted& message);
  void CreateActor(ConnectionId connection, uint64_t request, const wire::CreateActor& message);
  void Subscribe(ConnectionId connection, const ActorId& actor);
  void Unsubscribe(ConnectionId connection, const ActorId& actor);
  void OnActorInfo(const pb::ActorInfo& info);
  void TellPending(const pb::ActorInfo& info);
  void SendActorUpdate(ConnectionId connection, const pb::ActorInfo& info);

  // --- node_server_relay.cc ---
  void RelayKv(ConnectionId connection, uint64_t request, const wire::Kv& message);
  void ReplyKv(ConnectionId connection, uint64_t request, const Status& status, bool found,
               std::string_view value = {}, const std::vector<std::string>& keys = {});
  void RelayGetNamedActor(ConnectionId connection, uint64_t request,
                          const wire::GetNamedActor& message);
  void RelayListActors(ConnectionId connection, uint64_t request, const wire::ListActors& message);
  void RelayKillActor(ConnectionId connection, uint64_t request, const wire::KillActor& message);
  void RelayGetNodes(ConnectionId connection, uint64_t request);
  void CacheFunction(const std::string& key, const std::string& value);

  // --- node_server_events.cc ---
  void RelayTaskEvents(const Client& client, const wire::TaskEvents& message);
  void RelayGetTaskEvents(ConnectionId connection, uint64_t request,
                          const wire::GetTaskEvents& message);
  // Has the workers tell what they have; then the GCS is told that they did.
  void FlushTaskEvents(uint64_t round);
  void TellFlushed(const std::vector<uint64_t>& rounds);

  // --- node_server_peers.cc ---
  Status StartPeers();
  // Says `message` (raylet.fbs) at another node in the client's name.
  void SendFromClient(const NodeId& node, const Client& client, const Builder& message);
  void TellPeersOwnerGone(const WorkerId& worker);
  void RequestLeaseAt(ConnectionId connection, const Client& client, uint64_t request_id,
                      const wire::RequestLeaseAt& message);
  void OnPeerMessage(const NodeId& from, std::span<const uint8_t> data);
  void OnRemoteClient(const LeaseOwner& owner, const JobId& job, const wire::Message& message);
  void AddWhenJobIsKnown(LeaseRequest request);
  void ForwardToClient(const NodeId& from, const WorkerId& worker, const wire::Message& message,
                       const ipc::Frame& frame);
  void OnPeerAlive(const NodeId& node, const pb::NodeInfo& info);
  void OnPeerDead(const NodeId& node, const std::string& why);
  void ConnectTo(ConnectionId connection, uint64_t request, const wire::Connect& message);
  void Fetch(ConnectionId connection, uint64_t request, const wire::Fetch& message);
  void FreeObjects(const wire::FreeObjects& message);

  // --- node_server_stop.cc ---
  void StopStep();
  void StopNow();

  boost::asio::io_context& loop_;
  const Options options_;
  const NodeAddress self_;
  const LeaseOwner gcs_owner_;  // Asks for actors.
  ipc::Server server_;
  ResourceLedger ledger_;
  Placement placement_;
  LeaseQueue queue_;
  WorkerPool pool_;
  OutputPipes pipes_;
  const PoolWorker* ended_ = nullptr;  // While its last output is read.
  WorkerProgress progress_;
  Zygote zygote_;
  std::unique_ptr<plasma::StoreRunner> store_;
  std::unique_ptr<object_manager::SpillService> spills_;    // Null: nothing is spilled.
  std::unique_ptr<object_manager::ObjectManager> objects_;  // Null without --data-host.
  std::unique_ptr<rpc::GcsClient> gcs_;
  uint16_t data_port_ = 0;

  std::unordered_map<ConnectionId, Client> clients_;
  std::unordered_map<WorkerId, ConnectionId> by_worker_;
  std::map<ActorId, HostedActor> actors_;
  std::map<ActorId, Subscription> subscriptions_;
  std::set<NodeId> peers_;  // Alive, and with a port.
  std::unordered_map<LeaseId, RemoteLease> remote_leases_;
  std::map<std::pair<WorkerId, uint64_t>, NodeId> remote_requests_;  // Asked, not answered.
  // What came from nodes that the GCS has not told of yet.
  std::map<NodeId, std::vector<std::vector<uint8_t>>> early_messages_;
  std::map<NodeId, std::set<WorkerId>> remote_owners_;      // Who has spoken from there.
  std::unordered_map<std::string, std::string> functions_;  // KV namespace "fun".
  size_t function_bytes_ = 0;
  Rounds<WorkerId> flushes_;
  std::multimap<TimePoint, WorkerId> kills_;  // Those asked to end, or that hung up.

  MemoryReader memory_;
  TimePoint next_memory_check_{};
  bool memory_short_ = false;           // As of the last look: nothing more is begun.
  std::map<WorkerId, bool> oom_kills_;  // Ended for their memory, not gone yet; whether to retry.

  boost::asio::steady_timer timer_;
  TimePoint timer_at_ = TimePoint::max();
  bool schedule_posted_ = false;
  TimePoint last_report_{};
  uint64_t reported_ledger_ = 0;
  uint64_t report_version_ = 0;
  std::string last_pending_notice_;
  uint64_t starts_seen_ = 0;  // StartActor orders of the GCS, obeyed or not.
  int zygote_failures_ = 0;   // In a row, before it was ready.
  bool stopping_ = false;
  bool kill_sent_ = false;
  bool stopped_ = false;
  TimePoint stop_deadline_ = TimePoint::max();
  std::function<void(const Status&)> on_ready_;
  std::function<void()> on_stopped_;
};

}  // namespace skyray::raylet
