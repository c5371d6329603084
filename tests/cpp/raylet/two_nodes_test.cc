// SPDX-License-Identifier: Apache-2.0
// Two raylets in one thread: what is asked of one and done by the other.
#include <signal.h>

#include "node_fixture.h"

namespace skyray::raylet {
namespace {

using ::testing::HasSubstr;

class TwoNodesTest : public NodeServerTest {
 protected:
  TwoNodesTest() {
    std::ofstream(options.session_dir + "/token") << std::string(64, 'a');
    chmod((options.session_dir + "/token").c_str(), 0600);
    options.data_host = "127.0.0.1";
    there = options;
    there.node_id = NodeId::FromRandom();
    there.resources = ResourceSet();
    there.resources.Set("oil", 2 * kResourceUnit);
  }
  ~TwoNodesTest() override {
    if (other != nullptr && !other_stopped) StopOther();
  }
  void StopOther() {
    other->Stop("its part is over");
    RunUntil([&] { return other_stopped; });
    other.reset();
  }
  void StartBoth() {
    StartNode();
    other = std::make_unique<NodeServer>(loop, there);
    other->OnStopped([this] { other_stopped = true; });
    bool ready = false;
    ASSERT_TRUE(other->Start([&](const Status& status) { ready = status.ok(); }).ok());
    RunUntil([&] { return ready; });
    driver = Driver();
    here.push_back(Worker());
    here.push_back(Worker());
  }
  // Asks here, is sent there, asks there; the worker, and its lease in `reply`.
  TestWorker LeaseThere() {
    RequestLease(*driver, kResourceUnit, "oil");
    const auto sent = Take<wire::LeaseReply>(*driver);
    EXPECT_EQ(In<wire::LeaseReply>(sent).result(), wire::LeaseResult::Spillback);
    EXPECT_EQ(BytesOf(In<wire::LeaseReply>(sent).node_id()), there.node_id.Binary());
    RequestThere();
    TestWorker worker = Worker();
    reply = Take<wire::LeaseReply>(*driver);
    EXPECT_EQ(In<wire::LeaseReply>(reply).result(), wire::LeaseResult::Granted);
    EXPECT_EQ(BytesOf(In<wire::LeaseReply>(reply).worker()->node_id()), there.node_id.Binary());
    EXPECT_EQ(In<wire::LeaseReply>(reply).worker_pid(), worker.pid);
    return worker;
  }
  uint64_t RequestThere() {
    return driver->Send([&](Builder& builder) {
      ResourceSet set;
      set.Set("oil", kResourceUnit);
      const auto resources = PutResources(builder, set);
      wire::RequestLeaseBuilder request(builder);
      request.add_resources(resources);
      const auto body = request.Finish();
      return wire::CreateRequestLeaseAt(builder, PutBytes(builder, there.node_id.Binary()), body);
    });
  }

  Options there;
  std::unique_ptr<NodeServer> other;
  bool other_stopped = false;
  std::unique_ptr<TestClient> driver;
  std::vector<TestWorker> here;
  ipc::Frame reply;
};

TEST_F(TwoNodesTest, ATaskGoesWhereItsResourceIsAndItsWorkersDeathIsTold) {
  StartBoth();
  TestWorker worker = LeaseThere();
  worker.Do("err farewell\\n");
  worker.Do("kill 6");
  const auto* lost = Await<wire::LeaseLost>(*driver);
  EXPECT_EQ(lost->exit()->signal(), SIGABRT);
  EXPECT_EQ(lost->exit()->stderr_tail()->Get(0)->str(), "farewell");
  EXPECT_EQ(BytesOf(lost->exit()->node_id()), there.node_id.Binary());
  const auto* lines = Await<wire::LogLines>(*driver);
  EXPECT_EQ(lines->lines()->Get(0)->str(), "farewell");
}

TEST_F(TwoNodesTest, AReturnedLeaseIsFreeThere) {
  StartBoth();
  const TestWorker first = LeaseThere();
  RequestThere();
  const TestWorker next = Worker();
  const auto second = Take<wire::LeaseReply>(*driver);
  RequestThere();  // Both units of oil are taken: it waits.
  driver->Send([&](Builder& builder) {
    const auto id = PutBytes(builder, BytesOf(In<wire::LeaseReply>(reply).lease_id()));
    return wire::CreateReturnLease(builder, id, PutBytes(builder, there.node_id.Binary()));
  });
  EXPECT_EQ(Await<wire::LeaseReply>(*driver)->result(), wire::LeaseResult::Granted);
}

TEST_F(TwoNodesTest, WhenTheOwnerGoesItsWorkersThereGo) {
  StartBoth();
  TestWorker worker = LeaseThere();
  driver->Close();
  RunUntil([&] { return worker.client->closed; });
}

TEST_F(TwoNodesTest, ASocketToAWorkerThereIsHandedOver) {
  StartBoth();
  TestWorker worker = LeaseThere();
  driver->Send([&](Builder& builder) {
    return wire::CreateConnect(builder, PutAddress(builder, there.node_id, worker.client->id));
  });
  auto connected = Take<wire::ConnectReply>(*driver);
  ASSERT_EQ(In<wire::ConnectReply>(connected).error(), ErrorCode::Ok);
  auto accepted = Take<wire::Accepted>(*worker.client);
  ASSERT_EQ(connected.fds.size(), 1u);
  ASSERT_EQ(accepted.fds.size(), 1u);
  ASSERT_EQ(send(connected.fds[0].get(), "x", 1, 0), 1);
  char byte = 0;
  EXPECT_EQ(recv(accepted.fds[0].get(), &byte, 1, 0), 1);
  EXPECT_EQ(byte, 'x');

  driver->Send([&](Builder& builder) {
    return wire::CreateConnect(builder, PutAddress(builder, there.node_id, WorkerId::FromRandom()));
  });
  EXPECT_EQ(Await<wire::ConnectReply>(*driver)->error(), ErrorCode::NotFound);
}

TEST_F(TwoNodesTest, WithTheNodeItsLeasesAreLostAndWhatWaitsComesBack) {
  StartBoth();
  const TestWorker first = LeaseThere();
  RequestThere();
  const TestWorker next = Worker();
  Take<wire::LeaseReply>(*driver);
  const uint64_t waiting = RequestThere();
  StopOther();
  RunUntil([&] { return driver->Count<wire::LeaseLost>() == 2; });
  const auto back = Take<wire::LeaseReply>(*driver);
  EXPECT_EQ(ipc::Verified<wire::Message>(back)->request_id(), waiting);
  EXPECT_EQ(In<wire::LeaseReply>(back).result(), wire::LeaseResult::Spillback);
  EXPECT_EQ(BytesOf(In<wire::LeaseReply>(back).node_id()), options.node_id.Binary());
}

TEST_F(TwoNodesTest, AnObjectNobodyHasCannotBeFetched) {
  StartBoth();
  driver->Send([&](Builder& builder) {
    const auto id = PutBytes(builder, ObjectId::FromRandom().Binary());
    const auto node_id = wire::CreateBytes(builder, PutBytes(builder, there.node_id.Binary()));
    return wire::CreateFetch(builder, id, builder.CreateVector(&node_id, 1));
  });
  const auto* fetched = Await<wire::FetchReply>(*driver);
  EXPECT_EQ(fetched->error(), ErrorCode::ObjectLost);
}

TEST_F(TwoNodesTest, TheOtherNodeSaysWhyARequestWaitsThere) {
  there.node_name = "far";
  StartBoth();
  const TestWorker first = LeaseThere();
  RequestThere();
  const TestWorker second = Worker();
  ASSERT_EQ(In<wire::LeaseReply>(Take<wire::LeaseReply>(*driver)).result(),
            wire::LeaseResult::Granted);
  const uint64_t waiting = RequestThere();
  driver->Send([&](Builder& builder) {
    const auto node_id = PutBytes(builder, there.node_id.Binary());
    return wire::CreateExplainLease(builder, waiting, node_id);
  });
  const ipc::Frame frame = Take<wire::LeaseExplanation>(*driver);
  EXPECT_THAT(In<wire::LeaseExplanation>(frame).text()->str(),
              HasSubstr("on node far it needs {oil: 1}; oil: 0 of 2 free, held by a task (2"));
}

}  // namespace
}  // namespace skyray::raylet
