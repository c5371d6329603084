// SPDX-License-Identifier: Apache-2.0
#include "rpc/gcs_client.h"

#include <fcntl.h>
#include <grpcpp/create_channel_posix.h>
#include <grpcpp/grpcpp.h>

#include <boost/asio/post.hpp>
#include <deque>
#include <unordered_map>

#include "protos/gcs.grpc.pb.h"
#include "rpc/completion_thread.h"
#include "rpc/status_message.h"

namespace skyray::rpc {
namespace {

Status TransportStatus(const grpc::Status& status) {
  switch (status.error_code()) {
    case grpc::StatusCode::OK:
      return Status(ErrorCode::Disconnected, "the GCS ended the connection");
    case grpc::StatusCode::UNAVAILABLE:
    case grpc::StatusCode::CANCELLED:
    case grpc::StatusCode::UNKNOWN:
      return Status(ErrorCode::Disconnected,
                    "the GCS is gone (" + status.error_message() +
                        "); see gcs_server.log in the session's logs for why it ended");
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      return Status(ErrorCode::InvalidArgument,
                    "the message is too large for the GCS (" + status.error_message() +
                        "); pass large values by put(), not in a function or a key");
    default:
      return Status(ErrorCode::Internal, "the GCS refused the call: " + status.error_message());
  }
}

std::shared_ptr<grpc::Channel> MakeChannel(UniqueFd socket) {
  fcntl(socket.get(), F_SETFL, fcntl(socket.get(), F_GETFL) | O_NONBLOCK);
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMessageBytesMax);
  arguments.SetMaxSendMessageSize(kMessageBytesMax);
  return grpc::CreateCustomInsecureChannelFromFd("gcs", socket.Release(), arguments);
}

// A unary call under way.
struct Call {
  virtual ~Call() = default;
  grpc::ClientContext context;
  grpc::Status status;
  Tag finished;
};

template <class Reply>
struct TypedCall : Call {
  Reply reply;
  ReplyHandler<Reply> handler;
  std::unique_ptr<grpc::ClientAsyncResponseReader<Reply>> reader;
};

}  // namespace

struct GcsClient::State {
  State(boost::asio::io_context& loop, UniqueFd socket, GcsHandler& handler)
      : handler(handler), channel(MakeChannel(std::move(socket))), thread(loop, queue) {}
  ~State() {
    for (auto& [call, owned] : calls) call->context.TryCancel();
    if (stream != nullptr) stream_context.TryCancel();
    thread.Stop();
  }

  // Starts `method` of `stub` and gives its answer to `handler`.
  template <class Stub, class Method, class Request, class Reply>
  void Start(Stub& stub, Method method, const Request& request, ReplyHandler<Reply> reply_handler) {
    auto owned = std::make_unique<TypedCall<Reply>>();
    TypedCall<Reply>* call = owned.get();
    call->handler = std::move(reply_handler);
    call->finished.done = [this, call](bool) { Finished(call); };
    calls.emplace(call, std::move(owned));
    call->reader = (stub.*method)(&call->context, request, &queue);
    call->reader->Finish(&call->reply, &call->status, &call->finished);
  }

  template <class Reply>
  void Finished(TypedCall<Reply>* call) {
    const auto node = calls.extract(call);  // Ended before its handler may end us.
    if (!call->status.ok()) return call->handler(TransportStatus(call->status));
    Status status = StatusFromMessage(call->reply.status());
    if (!status.ok()) return call->handler(std::move(status));
    call->handler(std::move(call->reply));
  }

  void Attach(pb::NodeInfo node);
  void SendEvent(pb::NodeEvent event);
  void WriteNext();
  void ReadNext();
  void Finish();

  GcsHandler& handler;
  std::shared_ptr<grpc::Channel> channel;
  grpc::CompletionQueue queue;
  std::unordered_map<Call*, std::unique_ptr<Call>> calls;

  pb::NodeService::Stub nodes{channel};
  pb::JobService::Stub jobs{channel};
  pb::ActorService::Stub actors{channel};
  pb::KvService::Stub kv{channel};
  pb::TaskEventService::Stub task_events{channel};

  // The Attach stream. Reads and writes run side by side, one of each at a time.
  grpc::ClientContext stream_context;
  std::unique_ptr<grpc::ClientAsyncReaderWriter<pb::NodeEvent, pb::NodeCommand>> stream;
  Tag started, written, read, finished;
  std::deque<pb::NodeEvent> events;  // The first is being written, if `writing`.
  bool writing = false;
  bool ended = false;
  pb::NodeCommand command;
  grpc::Status stream_status;

  CompletionThread thread;  // Last: it ends before what it touches.
};

void GcsClient::State::Attach(pb::NodeInfo node) {
  pb::NodeEvent event;
  *event.mutable_register_() = std::move(node);
  events.push_front(std::move(event));
  writing = true;  // Until the stream is open.
  started.done = [this](bool ok) {
    if (!ok) return Finish();
    writing = false;
    WriteNext();
    ReadNext();
  };
  written.done = [this](bool ok) {
    writing = false;
    if (!ok) return;  // The read fails too, and ends the stream.
    events.pop_front();
    WriteNext();
  };
  read.done = [this](bool ok) {
    if (!ok) return Finish();
    pb::NodeCommand arrived;
    arrived.Swap(&command);
    // Asked for first: the handler may destroy the client.
    ReadNext();
    handler.OnCommand(std::move(arrived));
  };
  finished.done = [this](bool) { handler.OnDisconnected(TransportStatus(stream_status)); };
  stream = nodes.AsyncAttach(&stream_context, &queue, &started);
}

void GcsClient::State::SendEvent(pb::NodeEvent event) {
  if (ended) return;
  const size_t first_waiting = writing ? 1 : 0;
  if (event.has_resources() && events.size() > first_waiting && events.back().has_resources()) {
    events.back() = std::move(event);
  } else {
    events.push_back(std::move(event));
  }
  WriteNext();
}

void GcsClient::State::WriteNext() {
  if (writing || ended || events.empty()) return;
  writing = true;
  stream->Write(events.front(), &written);
}

void GcsClient::State::ReadNext() { stream->Read(&command, &read); }

void GcsClient::State::Finish() {
  ended = true;
  stream->Finish(&stream_status, &finished);
}

GcsClient::GcsClient(boost::asio::io_context& loop, UniqueFd socket, GcsHandler& handler)
    : state_(std::make_unique<State>(loop, std::move(socket), handler)) {}

GcsClient::~GcsClient() = default;

void GcsClient::Attach(pb::NodeInfo node) { state_->Attach(std::move(node)); }

void GcsClient::SendEvent(pb::NodeEvent event) { state_->SendEvent(std::move(event)); }

void GcsClient::GetNodes(const pb::GetNodesRequest& request,
                         ReplyHandler<pb::GetNodesReply> handler) {
  state_->Start(state_->nodes, &pb::NodeService::Stub::AsyncGetNodes, request, std::move(handler));
}

void GcsClient::AddJob(const pb::AddJobRequest& request, ReplyHandler<pb::AddJobReply> handler) {
  state_->Start(state_->jobs, &pb::JobService::Stub::AsyncAddJob, request, std::move(handler));
}

void GcsClient::FinishJob(const pb::FinishJobRequest& request,
                          ReplyHandler<pb::FinishJobReply> handler) {
  state_->Start(state_->jobs, &pb::JobService::Stub::AsyncFinishJob, request, std::move(handler));
}

void GcsClient::GetJobs(const pb::GetJobsRequest& request, ReplyHandler<pb::GetJobsReply> handler) {
  state_->Start(state_->jobs, &pb::JobService::Stub::AsyncGetJobs, request, std::move(handler));
}

void GcsClient::CreateActor(const pb::CreateActorRequest& request,
                            ReplyHandler<pb::CreateActorReply> handler) {
  state_->Start(state_->actors, &pb::ActorService::Stub::AsyncCreateActor, request,
                std::move(handler));
}

void GcsClient::GetNamedActor(const pb::GetNamedActorRequest& request,
                              ReplyHandler<pb::GetActorReply> handler) {
  state_->Start(state_->actors, &pb::ActorService::Stub::AsyncGetNamedActor, request,
                std::move(handler));
}

void GcsClient::GetActor(const pb::GetActorRequest& request,
                         ReplyHandler<pb::GetActorReply> handler) {
  state_->Start(state_->actors, &pb::ActorService::Stub::AsyncGetActor, request,
                std::move(handler));
}

void GcsClient::ListActors(const pb::ListActorsRequest& request,
                           ReplyHandler<pb::ListActorsReply> handler) {
  state_->Start(state_->actors, &pb::ActorService::Stub::AsyncListActors, request,
                std::move(handler));
}

void GcsClient::KillActor(const pb::KillActorRequest& request,
                          ReplyHandler<pb::KillActorReply> handler) {
  state_->Start(state_->actors, &pb::ActorService::Stub::AsyncKillActor, request,
                std::move(handler));
}

void GcsClient::KvPut(const pb::KvPutRequest& request, ReplyHandler<pb::KvPutReply> handler) {
  state_->Start(state_->kv, &pb::KvService::Stub::AsyncPut, request, std::move(handler));
}

void GcsClient::KvGet(const pb::KvGetRequest& request, ReplyHandler<pb::KvGetReply> handler) {
  state_->Start(state_->kv, &pb::KvService::Stub::AsyncGet, request, std::move(handler));
}

void GcsClient::KvDelete(const pb::KvDeleteRequest& request,
                         ReplyHandler<pb::KvDeleteReply> handler) {
  state_->Start(state_->kv, &pb::KvService::Stub::AsyncDelete, request, std::move(handler));
}

void GcsClient::KvExists(const pb::KvExistsRequest& request,
                         ReplyHandler<pb::KvExistsReply> handler) {
  state_->Start(state_->kv, &pb::KvService::Stub::AsyncExists, request, std::move(handler));
}

void GcsClient::KvKeys(const pb::KvKeysRequest& request, ReplyHandler<pb::KvKeysReply> handler) {
  state_->Start(state_->kv, &pb::KvService::Stub::AsyncKeys, request, std::move(handler));
}

void GcsClient::GetTaskEvents(const pb::GetTaskEventsRequest& request,
                              ReplyHandler<pb::GetTaskEventsReply> handler) {
  state_->Start(state_->task_events, &pb::TaskEventService::Stub::AsyncGet, request,
                std::move(handler));
}

}  // namespace skyray::rpc
