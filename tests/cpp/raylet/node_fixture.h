// SPDX-License-Identifier: Apache-2.0
// A whole raylet in the test's thread, with a fake GCS and a fake zygote, and
// the words to speak to it as a driver or as a worker.
//
// Threading: one loop, run by the test while it waits (RunUntil).
// Ownership: the fixture owns all; processes it caused end with it.
// Errors:    RunUntil fails the test after 30 s.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <deque>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>

#include "fake_gcs.h"
#include "fake_zygote.h"
#include "ipc/connection.h"
#include "ipc/fd_passing.h"
#include "ipc/socket.h"
#include "ipc/verify.h"
#include "raylet/messages.h"
#include "raylet/node_server.h"

namespace skyray::raylet {

// One client of the raylet: frames out, frames in.
class TestClient {
 public:
  TestClient(boost::asio::io_context& loop, UniqueFd socket) {
    EXPECT_TRUE(ipc::SetNonBlocking(socket.get(), true).ok());
    connection_ = std::make_unique<ipc::Connection>(
        loop, std::move(socket),
        ipc::ConnectionHandlers{[this](ipc::Frame frame) { received.push_back(std::move(frame)); },
                                [this](const Status&) { closed = true; }});
    connection_->SetFrameBytesMax(ipc::kFrameBytesMax);
    connection_->Start();
  }

  template <class Make>
  uint64_t Send(Make make) {
    Builder builder;
    const auto body = make(builder);
    Finish(builder, ++last_request, body);
    connection_->Send(builder);
    return last_request;
  }
  void SendRaw(uint16_t kind, std::string_view bytes) {
    connection_->Send(kind, {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
  }
  // The first received message of that type, or null.
  template <class Body>
  const Body* Find() const {
    for (const ipc::Frame& frame : received) {
      const auto* message = ipc::Verified<wire::Message>(frame);
      if (message != nullptr && message->body_type() == wire::BodyTraits<Body>::enum_value) {
        return static_cast<const Body*>(message->body());
      }
    }
    return nullptr;
  }
  template <class Body>
  size_t Count() const {
    size_t count = 0;
    for (const ipc::Frame& frame : received) {
      const auto* message = ipc::Verified<wire::Message>(frame);
      count += message != nullptr && message->body_type() == wire::BodyTraits<Body>::enum_value;
    }
    return count;
  }
  void Close() { connection_->Close(); }

  WorkerId id = WorkerId::FromRandom();
  std::deque<ipc::Frame> received;
  bool closed = false;
  uint64_t last_request = 0;

 private:
  std::unique_ptr<ipc::Connection> connection_;
};

// A worker process that obeys (fake_zygote.h), and its connection.
struct TestWorker {
  std::unique_ptr<TestClient> client;
  UniqueFd control;
  int pid = 0;

  void Do(const std::string& order) {
    const std::string line = order + "\n";
    EXPECT_EQ(send(control.get(), line.data(), line.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(line.size()));
    char done;  // Or its end.
    EXPECT_GE(recv(control.get(), &done, 1, 0), 0);
  }
};

class NodeServerTest : public ::testing::Test {
 protected:
  NodeServerTest() {
    char dir[] = "/tmp/skyray-raylet-test-XXXXXX";
    EXPECT_NE(mkdtemp(dir), nullptr);
    options.session_dir = dir;
    options.gcs_socket = options.session_dir + "/gcs.sock";
    options.node_id = NodeId::FromRandom();
    options.python = options.session_dir + "/zygote.py";
    options.object_store_bytes = 16 << 20;
    options.resources.Set("CPU", 2 * kResourceUnit);
    std::ofstream(options.python) << kFakeZygote;
    chmod(options.python.c_str(), 0700);
    auto listener = ipc::ListenUnix(options.session_dir + "/test.sock", 100);
    EXPECT_TRUE(listener.has_value());
    listener_ = std::move(*listener);
    gcs = std::make_unique<FakeGcs>(loop, options.gcs_socket);
  }
  ~NodeServerTest() override {
    if (node != nullptr && !stopped) StopNode();
    node.reset();
    gcs.reset();
    std::filesystem::remove_all(options.session_dir);
  }

  void StartNode() {
    node = std::make_unique<NodeServer>(loop, options);
    node->OnStopped([this] { stopped = true; });
    bool ready = false;
    ASSERT_TRUE(node->Start([&](const Status& status) { ready = status.ok(); }).ok());
    RunUntil([&] { return ready; });
  }
  void StopNode() {
    node->Stop("the test is over");
    RunUntil([&] { return stopped; });
  }

  void RunUntil(const std::function<bool()>& done) {
    boost::asio::steady_timer limit(loop, std::chrono::seconds(30));
    bool too_late = false;
    limit.async_wait([&](const boost::system::error_code& error) { too_late = !error; });
    while (!done() && !too_late) loop.run_one();
    EXPECT_FALSE(too_late) << "what was waited for did not happen";
    limit.cancel();
    loop.poll();
  }
  template <class Body>
  const Body* Await(TestClient& client) {
    RunUntil([&] { return client.Find<Body>() != nullptr; });
    return client.Find<Body>();
  }
  // Takes the first such message out once it came; `read` looks at it.
  template <class Body>
  ipc::Frame Take(TestClient& client) {
    Await<Body>(client);
    for (auto it = client.received.begin(); it != client.received.end(); ++it) {
      const auto* message = ipc::Verified<wire::Message>(*it);
      if (message->body_type() != wire::BodyTraits<Body>::enum_value) continue;
      ipc::Frame frame = std::move(*it);
      client.received.erase(it);
      return frame;
    }
    return {};
  }
  template <class Body>
  static const Body& In(const ipc::Frame& frame) {
    return *static_cast<const Body*>(ipc::Verified<wire::Message>(frame)->body());
  }

  std::unique_ptr<TestClient> Connect() {
    auto socket = ipc::ConnectUnix(options.raylet_socket());
    EXPECT_TRUE(socket.has_value());
    return std::make_unique<TestClient>(loop, std::move(*socket));
  }
  static void SendRegister(TestClient& client, wire::ClientKind kind, const std::string& config) {
    client.Send([&](Builder& builder) {
      const auto id = PutBytes(builder, client.id.Binary());
      const auto text = builder.CreateString(config);
      wire::RegisterBuilder message(builder);
      message.add_protocol_version(1);
      message.add_kind(kind);
      message.add_worker_id(id);
      message.add_job_config(text);
      return message.Finish();
    });
  }
  // A registered driver.
  std::unique_ptr<TestClient> Driver(const std::string& config = "{}") {
    auto client = Connect();
    SendRegister(*client, wire::ClientKind::Driver, config);
    EXPECT_EQ(Await<wire::RegisterReply>(*client)->error(), ErrorCode::Ok);
    return client;
  }
  // The next forked process, registered.
  TestWorker Worker() {
    TestWorker worker = UnregisteredWorker();
    SendRegister(*worker.client, wire::ClientKind::Worker, "");
    EXPECT_EQ(Await<wire::RegisterReply>(*worker.client)->error(), ErrorCode::Ok);
    return worker;
  }
  TestWorker UnregisteredWorker() {
    TestWorker worker;
    bool knocked = false;
    boost::asio::posix::stream_descriptor knock(loop, dup(listener_.get()));
    knock.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                     [&](const boost::system::error_code& error) { knocked = !error; });
    RunUntil([&] { return knocked; });
    worker.control = UniqueFd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    std::vector<UniqueFd> fds;
    char hello[WorkerId::kSize + 4];
    EXPECT_EQ(ipc::ReceiveWithFds(worker.control.get(), hello, sizeof hello, fds, 0),
              static_cast<ssize_t>(sizeof hello));
    worker.client = std::make_unique<TestClient>(loop, std::move(fds.at(0)));
    worker.client->id = WorkerId::FromBytes(hello);
    std::memcpy(&worker.pid, hello + WorkerId::kSize, sizeof worker.pid);
    return worker;
  }
  uint64_t RequestLease(TestClient& owner, int64_t cpu = kResourceUnit,
                        const char* resource = "CPU") {
    return owner.Send([&](Builder& builder) {
      ResourceSet set;
      set.Set(resource, cpu);
      const auto resources = PutResources(builder, set);
      const auto name = builder.CreateString("f");
      wire::RequestLeaseBuilder message(builder);
      message.add_resources(resources);
      message.add_name(name);
      return message.Finish();
    });
  }
  void ReturnLease(TestClient& owner, const wire::LeaseReply& reply, bool failed = false) {
    const std::string lease(BytesOf(reply.lease_id()));
    owner.Send([&](Builder& builder) {
      const auto id = PutBytes(builder, lease);
      const auto node_id = PutBytes(builder, options.node_id.Binary());
      return wire::CreateReturnLease(builder, id, node_id, failed);
    });
  }
  // The last event of that kind that the GCS was told, or null.
  const pb::NodeEvent* Event(pb::NodeEvent::EventCase kind) const {
    for (auto it = gcs->events.rbegin(); it != gcs->events.rend(); ++it) {
      if (it->event_case() == kind) return &*it;
    }
    return nullptr;
  }

  boost::asio::io_context loop;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work{
      loop.get_executor()};
  Options options;
  std::unique_ptr<FakeGcs> gcs;
  std::unique_ptr<NodeServer> node;
  bool stopped = false;

 private:
  UniqueFd listener_;
};

}  // namespace skyray::raylet
