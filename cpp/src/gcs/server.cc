// SPDX-License-Identifier: Apache-2.0
#include "gcs/server.h"

#include <grpcpp/grpcpp.h>
#include <grpcpp/server_posix.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <deque>
#include <optional>
#include <thread>
#include <unordered_map>

#include "common/logging.h"
#include "common/wall_clock.h"
#include "gcs/acceptor.h"
#include "gcs/cluster.h"
#include "protos/gcs.grpc.pb.h"
#include "rpc/completion_thread.h"
#include "rpc/status_message.h"

namespace skyray::gcs {
namespace {

// So many calls of one method can arrive in one turn, and so share one commit.
constexpr int kArrivalsPerMethod = 16;
// A node that leaves so many commands unread is not alive in any useful sense.
constexpr size_t kUnsentCommandsMax = 200'000;

// A unary call, from its arrival until its answer is sent.
struct Call {
  virtual ~Call() = default;
  virtual void Answer() = 0;
  grpc::ServerContext context;
  rpc::Tag arrived, sent;
};

template <class Request, class Reply>
struct TypedCall : Call {
  void Answer() override { writer.Finish(reply, grpc::Status::OK, &sent); }
  Request request;
  Reply reply;
  grpc::ServerAsyncResponseWriter<Reply> writer{&context};
};

// A node's Attach stream. One read and one write are under way at most.
struct Stream {
  grpc::ServerContext context;
  grpc::ServerAsyncReaderWriter<pb::NodeCommand, pb::NodeEvent> io{&context};
  rpc::Tag accepted, read, written, finished;
  pb::NodeEvent event;
  std::deque<pb::NodeCommand> commands;  // The first is being written, if `writing`.
  std::optional<NodeId> node;            // While it is alive.
  bool reading = false;
  bool writing = false;
  bool closing = false;  // Ends once its commands are written.
  bool finishing = false;
  bool done = false;
};

// What is to be said once what was written is durable.
struct Turn {
  Effects effects;
  std::vector<Call*> answered;
};

Now ReadClocks() {
  const auto since = std::chrono::steady_clock::now().time_since_epoch();
  return {std::chrono::duration_cast<std::chrono::milliseconds>(since).count(), WallClockMs()};
}

}  // namespace

struct Server::State {
  State(boost::asio::io_context& loop, Storage& storage, Failed failed, uint64_t task_events_max)
      : loop(loop),
        storage(storage),
        failed(std::move(failed)),
        cluster(storage, task_events_max),
        timer(loop) {}

  void Listen(UniqueFd socket);
  void ListenForCalls();
  void ListenForKvGet();
  void ListenForGetTaskEvents();
  void ListenForStream();
  template <class Request, class Reply, class Service, class Method, class OnCall>
  void ListenFor(Service& service, Method method, OnCall on_call);
  template <class Request, class Reply, class Service, class Method, class Handler>
  void Serve(Service& service, Method method, Handler handler);

  void Read(Stream* stream);
  void OnRead(Stream* stream, bool ok);
  void OnRegister(Stream* stream);
  void Write(Stream* stream);
  void Close(Stream* stream);
  void LoseNode(Stream* stream, const std::string& reason);
  void MaybeErase(Stream* stream);

  void EndTurnSoon();
  void EndTurn();
  void Deliver(Turn turn);
  void SendCommands(std::vector<std::pair<NodeId, pb::NodeCommand>> commands);
  void ArmTimer();
  void Stop();

  boost::asio::io_context& loop;
  Storage& storage;
  Failed failed;
  Cluster cluster;
  boost::asio::steady_timer timer;
  std::optional<int64_t> timer_ms;
  std::unique_ptr<Acceptor> acceptor;

  pb::NodeService::AsyncService node_service;
  pb::JobService::AsyncService job_service;
  pb::ActorService::AsyncService actor_service;
  pb::KvService::AsyncService kv_service;
  pb::TaskEventService::AsyncService task_event_service;
  std::unordered_map<Call*, std::unique_ptr<Call>> calls;
  std::unordered_map<Stream*, std::unique_ptr<Stream>> streams;
  std::unordered_map<NodeId, Stream*> stream_of;
  using KvGetCall = TypedCall<pb::KvGetRequest, pb::KvGetReply>;
  std::unordered_map<WaiterId, KvGetCall*> waiting;
  using GetTaskEventsCall = TypedCall<pb::GetTaskEventsRequest, pb::GetTaskEventsReply>;
  std::unordered_map<WaiterId, GetTaskEventsCall*> waiting_for_events;
  WaiterId last_waiter = 0;

  std::vector<Call*> answered;  // To be sent at the end of this turn.
  bool turn_ends = false;
  // While one batch is being committed, the next one grows.
  bool committing = false;
  Turn being_committed;
  boost::asio::io_context storage_loop{1};
  std::optional<boost::asio::executor_work_guard<boost::asio::io_context::executor_type>>
      storage_work;
  std::thread storage_thread;  // Started by the first write.
  // What is posted holds it, and looks at it first: the server may be gone.
  std::shared_ptr<bool> open = std::make_shared<bool>(true);

  std::unique_ptr<grpc::ServerCompletionQueue> queue;
  std::unique_ptr<grpc::Server> server;
  std::unique_ptr<rpc::CompletionThread> thread;
};

Server::Server(boost::asio::io_context& loop, Storage& storage, Failed failed,
               uint64_t task_events_max)
    : state_(std::make_unique<State>(loop, storage, std::move(failed), task_events_max)) {}

Server::~Server() { Stop(); }

Status Server::Start() {
  State& state = *state_;
  if (Status status = state.cluster.Load(ReadClocks()); !status.ok()) return status;
  grpc::ServerBuilder builder;
  builder.SetMaxReceiveMessageSize(rpc::kMessageBytesMax);
  builder.SetMaxSendMessageSize(rpc::kMessageBytesMax);
  builder.RegisterService(&state.node_service);
  builder.RegisterService(&state.job_service);
  builder.RegisterService(&state.actor_service);
  builder.RegisterService(&state.kv_service);
  builder.RegisterService(&state.task_event_service);
  state.queue = builder.AddCompletionQueue();
  state.server = builder.BuildAndStart();
  if (state.server == nullptr) return Status(ErrorCode::Internal, "gRPC does not start");
  state.thread = std::make_unique<rpc::CompletionThread>(state.loop, *state.queue);
  state.ListenForCalls();
  state.ListenForKvGet();
  state.ListenForGetTaskEvents();
  state.ListenForStream();
  state.EndTurnSoon();
  return Status();
}

void Server::Listen(UniqueFd listener) { state_->Listen(std::move(listener)); }

void Server::Stop() { state_->Stop(); }

void Server::State::Listen(UniqueFd socket) {
  acceptor = std::make_unique<Acceptor>(loop, std::move(socket), [this](UniqueFd connection) {
    grpc::AddInsecureChannelFromFd(server.get(), connection.Release());
  });
}

void Server::State::Stop() {
  if (!*open) return;
  *open = false;
  timer.cancel();
  if (acceptor != nullptr) acceptor->Stop();
  if (storage_thread.joinable()) {
    storage_work.reset();
    storage_thread.join();  // The commit under way is still made.
  }
  if (server == nullptr) return;
  // What is under way is cut off, so that the queue drains at once.
  server->Shutdown(gpr_inf_past(GPR_CLOCK_REALTIME));
  thread->Stop();
  calls.clear();
  streams.clear();
}

// Has `on_call` called with each call of the method, one after the other.
template <class Request, class Reply, class Service, class Method, class OnCall>
void Server::State::ListenFor(Service& service, Method method, OnCall on_call) {
  auto owned = std::make_unique<TypedCall<Request, Reply>>();
  auto* const call = owned.get();
  calls.emplace(call, std::move(owned));
  call->arrived.done = [this, &service, method, on_call, call](bool ok) {
    if (!ok) {  // The server is shutting down.
      calls.erase(call);
      return;
    }
    ListenFor<Request, Reply>(service, method, on_call);
    on_call(call);
  };
  call->sent.done = [this, call](bool) { calls.erase(call); };
  (service.*method)(&call->context, &call->request, &call->writer, queue.get(), queue.get(),
                    &call->arrived);
}

// `handler` takes the request and returns the reply.
template <class Request, class Reply, class Service, class Method, class Handler>
void Server::State::Serve(Service& service, Method method, Handler handler) {
  for (int i = 0; i < kArrivalsPerMethod; ++i) {
    ListenFor<Request, Reply>(service, method, [this, handler](TypedCall<Request, Reply>* call) {
      call->reply = handler(call->request);
      answered.push_back(call);
      EndTurnSoon();
    });
  }
}

void Server::State::ListenForCalls() {
  using Nodes = pb::NodeService::AsyncService;
  using Jobs = pb::JobService::AsyncService;
  using Actors = pb::ActorService::AsyncService;
  using KvCalls = pb::KvService::AsyncService;
  Serve<pb::GetNodesRequest, pb::GetNodesReply>(node_service, &Nodes::RequestGetNodes,
                                                [this](auto&) { return cluster.GetNodes(); });
  Serve<pb::AddJobRequest, pb::AddJobReply>(
      job_service, &Jobs::RequestAddJob,
      [this](auto& request) { return cluster.AddJob(request, ReadClocks()); });
  Serve<pb::FinishJobRequest, pb::FinishJobReply>(
      job_service, &Jobs::RequestFinishJob,
      [this](auto& request) { return cluster.FinishJob(request, ReadClocks()); });
  Serve<pb::GetJobsRequest, pb::GetJobsReply>(job_service, &Jobs::RequestGetJobs,
                                              [this](auto&) { return cluster.GetJobs(); });
  Serve<pb::CreateActorRequest, pb::CreateActorReply>(
      actor_service, &Actors::RequestCreateActor,
      [this](auto& request) { return cluster.CreateActor(request); });
  Serve<pb::GetNamedActorRequest, pb::GetActorReply>(
      actor_service, &Actors::RequestGetNamedActor,
      [this](auto& request) { return cluster.GetNamedActor(request); });
  Serve<pb::GetActorRequest, pb::GetActorReply>(
      actor_service, &Actors::RequestGetActor,
      [this](auto& request) { return cluster.GetActor(request); });
  Serve<pb::ListActorsRequest, pb::ListActorsReply>(
      actor_service, &Actors::RequestListActors,
      [this](auto& request) { return cluster.ListActors(request); });
  Serve<pb::KillActorRequest, pb::KillActorReply>(
      actor_service, &Actors::RequestKillActor,
      [this](auto& request) { return cluster.KillActor(request); });
  Serve<pb::KvPutRequest, pb::KvPutReply>(kv_service, &KvCalls::RequestPut,
                                          [this](auto& request) { return cluster.KvPut(request); });
  Serve<pb::KvDeleteRequest, pb::KvDeleteReply>(
      kv_service, &KvCalls::RequestDelete,
      [this](auto& request) { return cluster.kv().Delete(request); });
  Serve<pb::KvExistsRequest, pb::KvExistsReply>(
      kv_service, &KvCalls::RequestExists,
      [this](auto& request) { return cluster.kv().Exists(request); });
  Serve<pb::KvKeysRequest, pb::KvKeysReply>(
      kv_service, &KvCalls::RequestKeys,
      [this](auto& request) { return cluster.kv().Keys(request); });
}

void Server::State::ListenForKvGet() {
  ListenFor<pb::KvGetRequest, pb::KvGetReply>(
      kv_service, &pb::KvService::AsyncService::RequestGet, [this](KvGetCall* call) {
        const WaiterId waiter = ++last_waiter;
        auto reply = cluster.kv().Get(call->request, waiter, ReadClocks().monotonic_ms);
        if (reply) {
          call->reply = std::move(*reply);
          answered.push_back(call);
        } else {
          waiting.emplace(waiter, call);
        }
        EndTurnSoon();
      });
}

void Server::State::ListenForGetTaskEvents() {
  ListenFor<pb::GetTaskEventsRequest, pb::GetTaskEventsReply>(
      task_event_service, &pb::TaskEventService::AsyncService::RequestGet,
      [this](GetTaskEventsCall* call) {
        const WaiterId waiter = ++last_waiter;
        auto reply = cluster.GetTaskEvents(call->request, waiter, ReadClocks());
        if (reply) {
          call->reply = std::move(*reply);
          answered.push_back(call);
        } else {
          waiting_for_events.emplace(waiter, call);
        }
        EndTurnSoon();
      });
}

void Server::State::ListenForStream() {
  auto owned = std::make_unique<Stream>();
  Stream* stream = owned.get();
  streams.emplace(stream, std::move(owned));
  stream->accepted.done = [this, stream](bool ok) {
    if (!ok) {
      streams.erase(stream);
      return;
    }
    ListenForStream();
    Read(stream);
  };
  stream->read.done = [this, stream](bool ok) { OnRead(stream, ok); };
  stream->written.done = [this, stream](bool ok) {
    stream->writing = false;
    if (ok) {
      stream->commands.pop_front();
    } else {
      stream->commands.clear();  // The read fails too, and says that the node is lost.
    }
    Write(stream);
  };
  stream->finished.done = [this, stream](bool) {
    stream->done = true;
    MaybeErase(stream);
  };
  node_service.RequestAttach(&stream->context, &stream->io, queue.get(), queue.get(),
                             &stream->accepted);
}

void Server::State::Read(Stream* stream) {
  stream->reading = true;
  stream->io.Read(&stream->event, &stream->read);
}

void Server::State::OnRead(Stream* stream, bool ok) {
  stream->reading = false;
  if (!ok) {
    LoseNode(stream, "its raylet ended, or the connection to it broke");
    Close(stream);
    return MaybeErase(stream);
  }
  if (stream->closing) return MaybeErase(stream);
  if (!stream->node) {
    OnRegister(stream);
  } else {
    cluster.OnNodeEvent(*stream->node, stream->event, ReadClocks());
    if (stream->event.leaving()) {
      stream_of.erase(*stream->node);
      stream->node.reset();
      stream->closing = true;
    }
  }
  EndTurnSoon();
  if (stream->closing) {
    Write(stream);
  } else {
    Read(stream);
  }
}

void Server::State::OnRegister(Stream* stream) {
  Status status(ErrorCode::InvalidRequest, "the first event of a node must be `register`");
  if (stream->event.has_register_()) {
    const auto node = cluster.Register(std::move(*stream->event.mutable_register_()));
    if (node) {
      stream->node = *node;
      stream_of[*node] = stream;
      return;
    }
    status = node.error();
  }
  SKYRAY_LOG(Warning) << "a node was refused: " << status.message();
  pb::NodeCommand refusal;
  *refusal.mutable_registered() = rpc::StatusToMessage(status);
  stream->commands.push_back(std::move(refusal));
  stream->closing = true;
}

void Server::State::LoseNode(Stream* stream, const std::string& reason) {
  if (!stream->node) return;
  const NodeId node = *stream->node;
  stream->node.reset();
  stream_of.erase(node);
  cluster.OnNodeLost(node, reason, ReadClocks());
  EndTurnSoon();
}

void Server::State::Write(Stream* stream) {
  if (stream->writing || stream->finishing) return;
  if (!stream->commands.empty()) {
    stream->writing = true;
    stream->io.Write(stream->commands.front(), &stream->written);
  } else if (stream->closing) {
    stream->finishing = true;
    stream->io.Finish(grpc::Status::OK, &stream->finished);
  }
}

void Server::State::Close(Stream* stream) {
  stream->closing = true;
  Write(stream);
}

void Server::State::MaybeErase(Stream* stream) {
  if (stream->done && !stream->reading) streams.erase(stream);
}

void Server::State::EndTurnSoon() {
  if (turn_ends || !*open) return;
  turn_ends = true;
  // Behind what has been posted already: it joins this transaction.
  boost::asio::post(loop, [this, open = open] {
    if (*open) EndTurn();
  });
}

void Server::State::EndTurn() {
  turn_ends = false;
  if (committing) return;  // The end of that commit ends this turn too.
  Turn turn{cluster.TakeEffects(), std::exchange(answered, {})};
  auto writes = storage.TakeWrites();
  if (writes.empty()) return Deliver(std::move(turn));
  committing = true;
  being_committed = std::move(turn);
  if (!storage_thread.joinable()) {
    storage_work.emplace(storage_loop.get_executor());
    storage_thread = std::thread([this] { storage_loop.run(); });
  }
  boost::asio::post(storage_loop, [this, open = open, writes = std::move(writes)] {
    // Stop() waits for this thread, so *this is still there.
    const Status status = storage.Commit(writes);
    boost::asio::post(loop, [this, open, status] {
      if (!*open) return;
      if (!status.ok()) {
        Stop();
        return failed(status);
      }
      committing = false;
      Deliver(std::exchange(being_committed, {}));
      EndTurnSoon();
    });
  });
}

void Server::State::Deliver(Turn turn) {
  for (KvAnswer& answer : turn.effects.kv_answers) {
    const auto it = waiting.find(answer.waiter);
    if (it == waiting.end()) continue;
    it->second->reply = std::move(answer.reply);
    it->second->Answer();
    waiting.erase(it);
  }
  for (TaskEventsAnswer& answer : turn.effects.task_event_answers) {
    const auto it = waiting_for_events.find(answer.waiter);
    if (it == waiting_for_events.end()) continue;
    it->second->reply = std::move(answer.reply);
    it->second->Answer();
    waiting_for_events.erase(it);
  }
  // A reply to a creation goes out before the orders that follow from it.
  for (Call* call : turn.answered) call->Answer();
  SendCommands(std::move(turn.effects.commands));
  ArmTimer();
}

void Server::State::SendCommands(std::vector<std::pair<NodeId, pb::NodeCommand>> commands) {
  for (auto& [node, command] : commands) {
    const auto it = stream_of.find(node);
    if (it == stream_of.end()) continue;  // It has just been lost.
    Stream* stream = it->second;
    if (stream->commands.size() >= kUnsentCommandsMax) {
      stream->context.TryCancel();  // Its read fails, and the node is lost.
      continue;
    }
    stream->commands.push_back(std::move(command));
    Write(stream);
  }
}

void Server::State::ArmTimer() {
  const auto next_ms = cluster.NextDeadlineMs();
  if (next_ms == timer_ms) return;
  timer_ms = next_ms;
  timer.cancel();
  if (!next_ms) return;
  timer.expires_at(std::chrono::steady_clock::time_point(std::chrono::milliseconds(*next_ms)));
  timer.async_wait([this, open = open](const boost::system::error_code& error) {
    if (error || !*open) return;
    timer_ms.reset();
    cluster.OnTime(ReadClocks());
    EndTurnSoon();
  });
}

}  // namespace skyray::gcs
