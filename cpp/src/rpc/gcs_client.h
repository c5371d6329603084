// SPDX-License-Identifier: Apache-2.0
// A node's (or a tool's) line to the GCS: one Attach stream, on which the node
// tells what happens to it and is given orders, and unary calls.
//
//   connected ─Attach─► attached ─the stream ends─► OnDisconnected, once
//
// Threading:  every method is called on `loop`'s thread, and every handler runs
//             there. One thread of its own waits for gRPC and posts to the loop;
//             gRPC has a few idle ones besides. Fork no process that goes on
//             without exec once one of these exists.
// Ownership:  owns the socket and the calls under way. Destroying it cancels
//             them; their handlers then do not run. `loop` and `handler` outlive it.
// Errors:     a call's handler gets the Status the GCS answered with, or
//             Disconnected when the GCS is gone. A call made after that fails
//             the same way, by its handler.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>

#include "common/status.h"
#include "common/unique_fd.h"
#include "protos/gcs.pb.h"

namespace skyray::rpc {

class GcsHandler {
 public:
  virtual ~GcsHandler() = default;
  // In the order the GCS sent them; the first is `registered`.
  virtual void OnCommand(pb::NodeCommand command) = 0;
  // The Attach stream has ended; said once, and last.
  virtual void OnDisconnected(const Status& status) = 0;
};

// The reply's own `status` has been looked at: a reply that comes is a good one.
template <class Reply>
using ReplyHandler = std::function<void(Result<Reply>)>;

class GcsClient {
 public:
  // `socket` is connected (and authenticated) to a GCS; see ipc::ConnectUnix.
  GcsClient(boost::asio::io_context& loop, UniqueFd socket, GcsHandler& handler);
  ~GcsClient();
  GcsClient(const GcsClient&) = delete;
  GcsClient& operator=(const GcsClient&) = delete;

  // Opens the stream and registers `node`. REQUIRES: called once at most.
  void Attach(pb::NodeInfo node);
  // Events go out in order. A resource report that was still waiting to be sent
  // is replaced by the newer one. Dropped once the stream has ended.
  // REQUIRES: Attach was called.
  void SendEvent(pb::NodeEvent event);

  void GetNodes(const pb::GetNodesRequest& request, ReplyHandler<pb::GetNodesReply> handler);

  void AddJob(const pb::AddJobRequest& request, ReplyHandler<pb::AddJobReply> handler);
  void FinishJob(const pb::FinishJobRequest& request, ReplyHandler<pb::FinishJobReply> handler);
  void GetJobs(const pb::GetJobsRequest& request, ReplyHandler<pb::GetJobsReply> handler);

  void CreateActor(const pb::CreateActorRequest& request,
                   ReplyHandler<pb::CreateActorReply> handler);
  void GetNamedActor(const pb::GetNamedActorRequest& request,
                     ReplyHandler<pb::GetActorReply> handler);
  void GetActor(const pb::GetActorRequest& request, ReplyHandler<pb::GetActorReply> handler);
  void ListActors(const pb::ListActorsRequest& request, ReplyHandler<pb::ListActorsReply> handler);
  void KillActor(const pb::KillActorRequest& request, ReplyHandler<pb::KillActorReply> handler);

  void KvPut(const pb::KvPutRequest& request, ReplyHandler<pb::KvPutReply> handler);
  void KvGet(const pb::KvGetRequest& request, ReplyHandler<pb::KvGetReply> handler);
  void KvDelete(const pb::KvDeleteRequest& request, ReplyHandler<pb::KvDeleteReply> handler);
  void KvExists(const pb::KvExistsRequest& request, ReplyHandler<pb::KvExistsReply> handler);
  void KvKeys(const pb::KvKeysRequest& request, ReplyHandler<pb::KvKeysReply> handler);

  void GetTaskEvents(const pb::GetTaskEventsRequest& request,
                     ReplyHandler<pb::GetTaskEventsReply> handler);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace skyray::rpc
