// SPDX-License-Identifier: Apache-2.0
#include "rpc/gcs_client.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/server_posix.h>
#include <sys/socket.h>

#include <boost/asio/executor_work_guard.hpp>
#include <optional>

#include "protos/gcs.grpc.pb.h"
#include "rpc/status_message.h"

namespace skyray::rpc {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// Answers as a GCS would that knows one key, and repeats to an attached node the
// ids it subscribes to.
class FakeGcs final : public pb::KvService::Service, public pb::NodeService::Service {
 public:
  grpc::Status Get(grpc::ServerContext*, const pb::KvGetRequest* request,
                   pb::KvGetReply* reply) override {
    if (request->key() == "bad") {
      *reply->mutable_status() = StatusToMessage(Status(ErrorCode::InvalidArgument, "bad key"));
    }
    if (request->key() == "from the future") reply->mutable_status()->set_code(250);
    reply->set_value("value of " + request->key());
    return grpc::Status::OK;
  }

  grpc::Status Attach(grpc::ServerContext*,
                      grpc::ServerReaderWriter<pb::NodeCommand, pb::NodeEvent>* stream) override {
    pb::NodeEvent event;
    pb::NodeCommand command;
    while (stream->Read(&event)) {
      if (event.leaving()) break;
      command.set_shutdown(event.has_register_() ? event.register_().node_id()
                                                 : event.subscribe_actor());
      stream->Write(command);
    }
    return grpc::Status::OK;
  }
};

class GcsClientTest : public testing::Test, public GcsHandler {
 protected:
  GcsClientTest() {
    int ends[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    fcntl(ends[1], F_SETFL, O_NONBLOCK);
    peer_ = UniqueFd(ends[1]);
    client_ = std::make_unique<GcsClient>(loop_, UniqueFd(ends[0]), *this);
  }

  void StartServer() {
    grpc::ServerBuilder builder;
    builder.RegisterService(static_cast<pb::KvService::Service*>(&gcs_));
    builder.RegisterService(static_cast<pb::NodeService::Service*>(&gcs_));
    server_ = builder.BuildAndStart();
    grpc::AddInsecureChannelFromFd(server_.get(), peer_.Release());
  }

  Result<pb::KvGetReply> Get(const std::string& key) {
    std::optional<Result<pb::KvGetReply>> answer;
    pb::KvGetRequest request;
    request.set_key(key);
    client_->KvGet(request, [&](Result<pb::KvGetReply> reply) { answer = std::move(reply); });
    RunUntil([&] { return answer.has_value(); });
    return *answer;
  }

  void RunUntil(const std::function<bool()>& done) {
    while (!done()) loop_.run_one();
  }

  void OnCommand(pb::NodeCommand command) override { commands_.push_back(command.shutdown()); }
  void OnDisconnected(const Status& status) override { disconnected_ = status; }

  static pb::NodeEvent Subscribe(const std::string& id) {
    pb::NodeEvent event;
    event.set_subscribe_actor(id);
    return event;
  }

  boost::asio::io_context loop_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{
      loop_.get_executor()};
  FakeGcs gcs_;
  std::unique_ptr<grpc::Server> server_;
  UniqueFd peer_;
  std::unique_ptr<GcsClient> client_;
  std::vector<std::string> commands_;
  std::optional<Status> disconnected_;
};

TEST_F(GcsClientTest, CallsAreAnswered) {
  StartServer();
  EXPECT_EQ(Get("a")->value(), "value of a");
  EXPECT_EQ(Get("b")->value(), "value of b");
}

TEST_F(GcsClientTest, AStatusInTheReplyIsTheCallsError) {
  StartServer();
  EXPECT_EQ(Get("bad").error().code(), ErrorCode::InvalidArgument);
  EXPECT_EQ(Get("bad").error().message(), "bad key");
}

TEST_F(GcsClientTest, ACodeUnknownToThisVersionIsInternal) {
  StartServer();
  EXPECT_EQ(Get("from the future").error().code(), ErrorCode::Internal);
}

TEST_F(GcsClientTest, EventsAndCommandsKeepTheirOrder) {
  StartServer();
  pb::NodeInfo node;
  node.set_node_id("me");
  client_->Attach(node);
  client_->SendEvent(Subscribe("one"));
  client_->SendEvent(Subscribe("two"));
  RunUntil([&] { return commands_.size() == 3; });
  EXPECT_THAT(commands_, ElementsAre("me", "one", "two"));
}

TEST_F(GcsClientTest, TheEndOfTheStreamIsTold) {
  StartServer();
  client_->Attach({});
  pb::NodeEvent leaving;
  leaving.set_leaving(true);
  client_->SendEvent(leaving);
  RunUntil([&] { return disconnected_.has_value(); });
  EXPECT_EQ(disconnected_->code(), ErrorCode::Disconnected);
  client_->SendEvent(Subscribe("too late"));  // Dropped.
}

TEST_F(GcsClientTest, APeerThatClosesFailsTheStreamAndTheCalls) {
  client_->Attach({});
  peer_.Reset();
  RunUntil([&] { return disconnected_.has_value(); });
  EXPECT_EQ(disconnected_->code(), ErrorCode::Disconnected);
  EXPECT_EQ(Get("a").error().code(), ErrorCode::Disconnected);
  EXPECT_THAT(Get("a").error().message(), HasSubstr("gcs_server.log"));
}

TEST_F(GcsClientTest, APeerThatTalksNonsenseIsLeft) {
  const std::string garbage(4096, '\x7f');
  ASSERT_EQ(write(peer_.get(), garbage.data(), garbage.size()),
            static_cast<ssize_t>(garbage.size()));
  EXPECT_FALSE(Get("a").has_value());
}

TEST_F(GcsClientTest, DestroyedWithCallsUnderWayItCallsNobody) {
  bool called = false;
  client_->Attach({});
  client_->KvGet({}, [&](Result<pb::KvGetReply>) { called = true; });
  client_.reset();
  work_.reset();
  loop_.run();
  EXPECT_FALSE(called);
  EXPECT_FALSE(disconnected_.has_value());
}

TEST_F(GcsClientTest, MayBeDestroyedByItsOwnHandler) {
  StartServer();
  client_->KvGet({}, [&](Result<pb::KvGetReply>) { client_.reset(); });
  RunUntil([&] { return client_ == nullptr; });
}

}  // namespace
}  // namespace skyray::rpc
