// SPDX-License-Identifier: Apache-2.0
// A GCS for tests: it knows nodes and jobs, keeps keys in memory, registers every
// actor, and repeats to the test, on its loop, what the nodes tell.
//
// Threading: gRPC's threads answer; what the test reads is changed on its loop only.
// Ownership: owns the server; the loop must outlive it. Errors: none.
#pragma once

#include <grpcpp/grpcpp.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <map>
#include <mutex>
#include <vector>

#include "common/id.h"
#include "protos/gcs.grpc.pb.h"

namespace skyray::raylet {

class FakeGcs final : public pb::NodeService::Service,
                      public pb::JobService::Service,
                      public pb::ActorService::Service,
                      public pb::KvService::Service {
 public:
  FakeGcs(boost::asio::io_context& loop, const std::string& socket) : loop_(loop) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("unix:" + socket, grpc::InsecureServerCredentials());
    builder.RegisterService(static_cast<pb::NodeService::Service*>(this));
    builder.RegisterService(static_cast<pb::JobService::Service*>(this));
    builder.RegisterService(static_cast<pb::ActorService::Service*>(this));
    builder.RegisterService(static_cast<pb::KvService::Service*>(this));
    server_ = builder.BuildAndStart();
  }
  ~FakeGcs() override { server_->Shutdown(std::chrono::system_clock::now()); }

  // On the test's loop:
  std::vector<pb::NodeEvent> events;
  std::vector<JobId> finished_jobs;
  int gets = 0;

  // To every node.
  void Command(const pb::NodeCommand& command) {
    std::lock_guard lock(mutex_);
    for (const auto& [id, stream] : streams_) stream->Write(command);
  }
  void StartActor(const pb::ActorSpec& spec) {
    pb::NodeCommand command;
    *command.mutable_start_actor()->mutable_spec() = spec;
    Command(command);
  }

 private:
  using Context = grpc::ServerContext;
  using Stream = grpc::ServerReaderWriter<pb::NodeCommand, pb::NodeEvent>;

  template <class Work>
  void OnLoop(Work work) {
    boost::asio::post(loop_, std::move(work));
  }
  grpc::Status Attach(Context*, Stream* stream) override {
    pb::NodeEvent event;
    if (!stream->Read(&event)) return grpc::Status::OK;
    const std::string id = event.register_().node_id();
    {
      std::lock_guard lock(mutex_);
      pb::NodeCommand registered;
      registered.mutable_registered();
      stream->Write(registered);
      streams_[id] = stream;
      nodes_[id] = event.register_();
      for (const auto& [other, info] : nodes_) Tell(stream, info);
      Broadcast(nodes_[id]);
    }
    while (stream->Read(&event)) {
      OnLoop([this, event] { events.push_back(event); });
      if (!event.has_resources()) continue;
      std::lock_guard lock(mutex_);
      *nodes_[id].mutable_available() = event.resources().available();
      nodes_[id].set_version(event.resources().version());
      Broadcast(nodes_[id]);
    }
    std::lock_guard lock(mutex_);
    streams_.erase(id);
    nodes_[id].set_alive(false);
    nodes_[id].set_death_reason("it left");
    Broadcast(nodes_[id]);
    return grpc::Status::OK;
  }
  static void Tell(Stream* stream, const pb::NodeInfo& info) {
    pb::NodeCommand command;
    *command.mutable_node() = info;
    stream->Write(command);
  }
  void Broadcast(const pb::NodeInfo& info) {
    for (const auto& [id, stream] : streams_) Tell(stream, info);
  }
  grpc::Status AddJob(Context*, const pb::AddJobRequest* request, pb::AddJobReply* reply) override {
    std::lock_guard lock(mutex_);
    jobs_.push_back(request->job());
    const JobId id = JobIdFromInt(static_cast<uint32_t>(jobs_.size()));
    jobs_.back().set_job_id(std::string(id.Binary()));
    reply->set_job_id(jobs_.back().job_id());
    return grpc::Status::OK;
  }
  grpc::Status GetJobs(Context*, const pb::GetJobsRequest*, pb::GetJobsReply* reply) override {
    std::lock_guard lock(mutex_);
    for (const pb::JobInfo& job : jobs_) *reply->add_jobs() = job;
    return grpc::Status::OK;
  }
  grpc::Status FinishJob(Context*, const pb::FinishJobRequest* request,
                         pb::FinishJobReply*) override {
    OnLoop([this, job = *JobId::FromBinary(request->job_id())] { finished_jobs.push_back(job); });
    return grpc::Status::OK;
  }
  grpc::Status CreateActor(Context*, const pb::CreateActorRequest*,
                           pb::CreateActorReply*) override {
    return grpc::Status::OK;
  }
  grpc::Status Put(Context*, const pb::KvPutRequest* request, pb::KvPutReply* reply) override {
    std::lock_guard lock(mutex_);
    reply->set_added(
        keys_.emplace(request->namespace_() + "/" + request->key(), request->value()).second);
    return grpc::Status::OK;
  }
  grpc::Status Get(Context*, const pb::KvGetRequest* request, pb::KvGetReply* reply) override {
    OnLoop([this] { ++gets; });
    std::lock_guard lock(mutex_);
    const auto it = keys_.find(request->namespace_() + "/" + request->key());
    reply->set_found(it != keys_.end());
    if (it != keys_.end()) reply->set_value(it->second);
    return grpc::Status::OK;
  }

  boost::asio::io_context& loop_;
  std::mutex mutex_;
  std::map<std::string, Stream*> streams_;
  std::map<std::string, pb::NodeInfo> nodes_;
  std::vector<pb::JobInfo> jobs_;
  std::map<std::string, std::string> keys_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace skyray::raylet
