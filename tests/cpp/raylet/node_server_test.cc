// SPDX-License-Identifier: Apache-2.0
#include "raylet/node_server.h"

#include <signal.h>

#include "node_fixture.h"

namespace skyray::raylet {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST_F(NodeServerTest, ADriverRegistersAndItsWorkersAreStartedAhead) {
  StartNode();
  auto driver = Driver();
  const auto* reply = driver->Find<wire::RegisterReply>();
  EXPECT_EQ(BytesOf(reply->node_id()), options.node_id.Binary());
  EXPECT_EQ(BytesOf(reply->job_id()), JobIdFromInt(1).Binary());
  EXPECT_EQ(TextOf(reply->store_socket()), options.store_socket());
  Worker();
  Worker();
}

TEST_F(NodeServerTest, ALeaseIsGrantedReturnedAndGrantedAgain) {
  StartNode();
  auto driver = Driver();
  TestWorker worker = Worker();
  RequestLease(*driver, 2 * kResourceUnit);
  const auto first = Take<wire::LeaseReply>(*driver);
  const auto& granted = In<wire::LeaseReply>(first);
  ASSERT_EQ(granted.result(), wire::LeaseResult::Granted);
  EXPECT_EQ(BytesOf(granted.worker()->worker_id()), worker.client->id.Binary());
  EXPECT_EQ(granted.worker_pid(), worker.pid);

  // Nothing is free until it is returned.
  const uint64_t waiting = RequestLease(*driver);
  ReturnLease(*driver, granted);
  const auto second = Take<wire::LeaseReply>(*driver);
  EXPECT_EQ(ipc::Verified<wire::Message>(second)->request_id(), waiting);
}

TEST_F(NodeServerTest, TheOwnerHearsTheSignalAndTheLastWordsOfItsWorker) {
  StartNode();
  auto driver = Driver();
  TestWorker worker = Worker();
  RequestLease(*driver);
  Await<wire::LeaseReply>(*driver);
  worker.Do("err everything is lost\\n");
  worker.Do("kill 11");
  const auto* lost = Await<wire::LeaseLost>(*driver);
  EXPECT_EQ(lost->exit()->signal(), SIGSEGV);
  EXPECT_EQ(lost->exit()->exit_code(), -1);
  EXPECT_EQ(lost->exit()->pid(), worker.pid);
  EXPECT_FALSE(lost->exit()->expected());
  EXPECT_THAT(TextOf(lost->exit()->reason()), HasSubstr("SIGSEGV"));
  ASSERT_EQ(lost->exit()->stderr_tail()->size(), 1u);
  EXPECT_EQ(lost->exit()->stderr_tail()->Get(0)->str(), "everything is lost");
  RunUntil([&] { return Event(pb::NodeEvent::kWorkerDied) != nullptr; });
}

TEST_F(NodeServerTest, HowFarADeadWorkerWasIsToldToWhoeverHeldIt) {
  StartNode();
  auto driver = Driver();
  TestWorker worker = Worker();
  RequestLease(*driver, 2 * kResourceUnit);
  const ipc::Frame granted = Take<wire::LeaseReply>(*driver);
  worker.Do("mark 9");
  ReturnLease(*driver, In<wire::LeaseReply>(granted));
  RequestLease(*driver, 2 * kResourceUnit);
  Take<wire::LeaseReply>(*driver);
  worker.Do("kill 9");
  const ipc::Frame untold = Take<wire::LeaseLost>(*driver);
  EXPECT_EQ(In<wire::LeaseLost>(untold).started(), UINT64_MAX) << "the mark was another lease's";

  RequestLease(*driver, 2 * kResourceUnit);
  TestWorker other = Worker();
  Take<wire::LeaseReply>(*driver);
  other.Do("mark 5");
  other.Do("exit 1");
  const ipc::Frame told = Take<wire::LeaseLost>(*driver);
  EXPECT_EQ(In<wire::LeaseLost>(told).started(), 4u);
}

TEST_F(NodeServerTest, AWorkerThatSaysThatItLeavesIsBelievedHoweverTheNewsComes) {
  StartNode();
  auto driver = Driver();
  for (const bool missed_by_owner : {false, true}) {
    TestWorker worker = Worker();
    RequestLease(*driver, 2 * kResourceUnit);
    const ipc::Frame granted = Take<wire::LeaseReply>(*driver);
    if (missed_by_owner) {
      ReturnLease(*driver, In<wire::LeaseReply>(granted), /*failed=*/true);
    }
    worker.client->Send([](Builder& builder) {
      return wire::CreateExiting(builder, builder.CreateString("it is tired"));
    });
    worker.Do("exit 0");
    const ipc::Frame frame = Take<wire::LeaseLost>(*driver);
    const auto& lost = In<wire::LeaseLost>(frame);
    EXPECT_TRUE(lost.exit()->expected());
    EXPECT_EQ(TextOf(lost.exit()->reason()), "it is tired");
  }
}

TEST_F(NodeServerTest, AnExitCodeIsToldTooAndTheCpuIsFreeAgain) {
  StartNode();
  auto driver = Driver();
  TestWorker worker = Worker();
  RequestLease(*driver, 2 * kResourceUnit);
  Await<wire::LeaseReply>(*driver);
  driver->received.clear();
  worker.Do("exit 3");
  EXPECT_EQ(Await<wire::LeaseLost>(*driver)->exit()->exit_code(), 3);
  RequestLease(*driver, 2 * kResourceUnit);
  Worker();
  Await<wire::LeaseReply>(*driver);
}

TEST_F(NodeServerTest, WhatWorkersPrintReachesTheDriverUnderItsName) {
  StartNode();
  auto driver = Driver();
  TestWorker worker = Worker();
  worker.Do("out \\x01name:f\\nhello\\n");
  const auto* lines = Await<wire::LogLines>(*driver);
  EXPECT_EQ(TextOf(lines->name()), "f");
  EXPECT_EQ(lines->pid(), worker.pid);
  EXPECT_EQ(lines->lines()->Get(0)->str(), "hello");
}

TEST_F(NodeServerTest, GarbageDropsThatClientOnly) {
  StartNode();
  auto driver = Driver();
  auto garbled = Connect();
  garbled->SendRaw(0, std::string(64, '\x7f'));
  auto oversized = Connect();
  auto socket = ipc::ConnectUnix(options.raylet_socket());
  const ipc::FrameHeader header{1u << 30, 0, 0};
  ASSERT_EQ(write(socket->get(), &header, sizeof header), static_cast<ssize_t>(sizeof header));
  TestClient announced(loop, std::move(*socket));
  auto early = Connect();
  early->Send([](Builder& builder) { return wire::CreateBlocked(builder); });
  auto wrong = Driver();
  wrong->Send([](Builder& builder) { return wire::CreateLeasesWanted(builder); });
  RunUntil([&] { return garbled->closed && announced.closed && early->closed && wrong->closed; });
  EXPECT_FALSE(driver->closed);
  Worker();
}

TEST_F(NodeServerTest, AnImpostorIsNoWorker) {
  StartNode();
  auto driver = Driver();
  auto impostor = Connect();
  SendRegister(*impostor, wire::ClientKind::Worker, "");
  EXPECT_EQ(Await<wire::RegisterReply>(*impostor)->error(), ErrorCode::Unauthenticated);
  RunUntil([&] { return impostor->closed; });
}

TEST_F(NodeServerTest, AnotherVersionIsToldSo) {
  StartNode();
  auto client = Connect();
  client->Send([&](Builder& builder) {
    const auto id = PutBytes(builder, client->id.Binary());
    wire::RegisterBuilder message(builder);
    message.add_protocol_version(77);
    message.add_worker_id(id);
    return message.Finish();
  });
  EXPECT_EQ(Await<wire::RegisterReply>(*client)->error(), ErrorCode::VersionMismatch);
}

TEST_F(NodeServerTest, ABlockedWorkerLendsItsCpu) {
  StartNode();
  auto driver = Driver();
  TestWorker worker = Worker();
  TestWorker other = Worker();
  RequestLease(*driver, 2 * kResourceUnit);
  const auto frame = Take<wire::LeaseReply>(*driver);
  const bool first_has_it =
      BytesOf(In<wire::LeaseReply>(frame).worker()->worker_id()) == worker.client->id.Binary();
  RequestLease(*driver, 2 * kResourceUnit);
  TestClient& holder = first_has_it ? *worker.client : *other.client;
  holder.Send([](Builder& builder) { return wire::CreateBlocked(builder); });
  Await<wire::LeaseReply>(*driver);
}

TEST_F(NodeServerTest, WhenTheDriverGoesItsWorkersGoAndTheGcsIsTold) {
  StartNode();
  auto driver = Driver();
  TestWorker worker = Worker();
  driver->Close();
  Await<wire::Exit>(*worker.client);
  RunUntil([&] { return !gcs->finished_jobs.empty(); });
  EXPECT_THAT(gcs->finished_jobs, ElementsAre(JobIdFromInt(1)));
  RunUntil([&] { return worker.client->closed; });  // It did not obey: SIGKILL.
}

TEST_F(NodeServerTest, AnInfeasibleRequestIsExplained) {
  StartNode();
  auto driver = Driver();
  const uint64_t request = RequestLease(*driver, kResourceUnit, "unobtainium");
  const auto* told = Await<wire::LeaseInfeasible>(*driver);
  EXPECT_EQ(told->request_id(), request);
  EXPECT_THAT(TextOf(told->message()), HasSubstr("unobtainium"));
  EXPECT_NE(driver->Find<wire::Notice>(), nullptr);
}

TEST_F(NodeServerTest, ACancelledRequestIsAnsweredAndNotGranted) {
  StartNode();
  auto driver = Driver();
  const uint64_t request = RequestLease(*driver, kResourceUnit, "unobtainium");
  driver->Send([&](Builder& builder) { return wire::CreateCancelLeaseRequest(builder, request); });
  const auto* reply = Await<wire::LeaseReply>(*driver);
  EXPECT_EQ(reply->error(), ErrorCode::Cancelled);
}

TEST_F(NodeServerTest, WorkersThatNeverComeUpFailTheLeaseWithTheirWords) {
  StartNode();
  auto driver = Driver("{\"crash\": 1}");
  RequestLease(*driver);
  const auto* reply = Await<wire::LeaseReply>(*driver);
  EXPECT_EQ(reply->error(), ErrorCode::RuntimeEnvFailed);
  EXPECT_THAT(TextOf(reply->message()), HasSubstr("no such directory"));
  EXPECT_THAT(TextOf(reply->message()), HasSubstr("exited with code 3"));
}

TEST_F(NodeServerTest, AForkThatFailsFailsTheLease) {
  StartNode();
  auto driver = Driver("{\"unforkable\": 1}");
  RequestLease(*driver);
  const auto* reply = Await<wire::LeaseReply>(*driver);
  EXPECT_EQ(reply->error(), ErrorCode::RuntimeEnvFailed);
  EXPECT_THAT(TextOf(reply->message()), HasSubstr("no more processes"));
}

TEST_F(NodeServerTest, FunctionsAreServedFromTheNode) {
  StartNode();
  auto driver = Driver();
  const auto kv = [&](wire::KvOp op, const char* name_space) {
    driver->Send([&](Builder& builder) {
      const auto ns = builder.CreateString(name_space);
      const auto key = PutBytes(builder, "k");
      const auto value = PutBytes(builder, "v");
      return wire::CreateKv(builder, op, ns, key, value);
    });
    return Take<wire::KvReply>(*driver);
  };
  EXPECT_TRUE(In<wire::KvReply>(kv(wire::KvOp::Put, "fun")).found());
  const auto got = kv(wire::KvOp::Get, "fun");
  EXPECT_EQ(BytesOf(In<wire::KvReply>(got).value()), "v");
  EXPECT_EQ(gcs->gets, 0);
  EXPECT_FALSE(In<wire::KvReply>(kv(wire::KvOp::Get, "else")).found());
  EXPECT_EQ(gcs->gets, 1);
}

class NodeServerActorTest : public NodeServerTest {
 protected:
  pb::ActorSpec Spec(ResourceAmount held) {
    pb::ActorSpec spec;
    spec.set_actor_id(std::string(actor.Binary()));
    spec.set_job_id(std::string(JobIdFromInt(1).Binary()));
    spec.set_class_name("Counter");
    spec.mutable_owner()->set_node_id(std::string(options.node_id.Binary()));
    spec.mutable_owner()->set_worker_id(std::string(WorkerId::FromRandom().Binary()));
    (*spec.mutable_placement_resources()->mutable_amounts())["CPU"] = kResourceUnit;
    if (held > 0) (*spec.mutable_resources()->mutable_amounts())["CPU"] = held;
    spec.set_creation_task("task");
    return spec;
  }
  void Started(TestWorker& worker, bool failed) {
    worker.client->Send([&](Builder& builder) {
      const auto id = PutBytes(builder, actor.Binary());
      const auto error = PutBytes(builder, failed ? "boom" : "");
      return wire::CreateActorStarted(builder, id, failed, error);
    });
  }
  ActorId actor = RandomActorId(JobIdFromInt(1));
};

TEST_F(NodeServerActorTest, AnOrderedActorIsBornAndItsDeathIsTold) {
  StartNode();
  auto driver = Driver();
  TestWorker worker = Worker();
  gcs->StartActor(Spec(0));
  const auto* start = Await<wire::StartActor>(*worker.client);
  EXPECT_EQ(BytesOf(start->spec()->creation_task()), "task");
  Started(worker, false);
  RunUntil([&] { return Event(pb::NodeEvent::kActorStarted) != nullptr; });
  EXPECT_EQ(Event(pb::NodeEvent::kActorStarted)->actor_started().pid(), worker.pid);
  worker.Do("exit 7");
  RunUntil([&] { return Event(pb::NodeEvent::kActorExited) != nullptr; });
  EXPECT_EQ(Event(pb::NodeEvent::kActorExited)->actor_exited().exit().exit_code(), 7);
}

TEST_F(NodeServerActorTest, AnActorWhoseInitRaisedIsEnded) {
  StartNode();
  auto driver = Driver();
  TestWorker worker = Worker();
  gcs->StartActor(Spec(0));
  Await<wire::StartActor>(*worker.client);
  Started(worker, true);
  RunUntil([&] { return Event(pb::NodeEvent::kActorStarted) != nullptr; });
  EXPECT_EQ(Event(pb::NodeEvent::kActorStarted)->actor_started().creation_error(), "boom");
  Await<wire::Exit>(*worker.client);
}

TEST_F(NodeServerActorTest, AWorkerIsKeptReadyForTheNext) {
  StartNode();
  auto driver = Driver();
  const TestWorker first = Worker();
  const TestWorker second = Worker();
  gcs->StartActor(Spec(0));
  actor = RandomActorId(JobIdFromInt(1));
  gcs->StartActor(Spec(0));
  Worker();
}

TEST_F(NodeServerActorTest, AStoppedActorDiesWithTheReasonGiven) {
  StartNode();
  auto driver = Driver();
  TestWorker worker = Worker();
  gcs->StartActor(Spec(kResourceUnit));
  Await<wire::StartActor>(*worker.client);
  Started(worker, false);
  pb::NodeCommand stop;
  stop.mutable_stop_actor()->set_actor_id(std::string(actor.Binary()));
  stop.mutable_stop_actor()->set_reason("killed by skyray.kill()");
  gcs->Command(stop);
  RunUntil([&] { return Event(pb::NodeEvent::kActorExited) != nullptr; });
  const pb::ExitInfo& exit = Event(pb::NodeEvent::kActorExited)->actor_exited().exit();
  EXPECT_TRUE(exit.expected());
  EXPECT_EQ(exit.reason(), "killed by skyray.kill()");
  EXPECT_EQ(exit.signal(), SIGKILL);
}

TEST_F(NodeServerActorTest, AnActorStoppedBeforeItIsPlacedIsGone) {
  StartNode();
  auto driver = Driver();
  pb::ActorSpec spec = Spec(0);
  (*spec.mutable_placement_resources()->mutable_amounts())["CPU"] = 99 * kResourceUnit;
  gcs->StartActor(spec);
  pb::NodeCommand stop;
  stop.mutable_stop_actor()->set_actor_id(std::string(actor.Binary()));
  gcs->Command(stop);
  RunUntil([&] { return Event(pb::NodeEvent::kActorExited) != nullptr; });
}

TEST_F(NodeServerActorTest, SubscribersHearOfTheActor) {
  StartNode();
  auto driver = Driver();
  auto other = Driver();
  const auto subscribe = [&](TestClient& client) {
    client.Send([&](Builder& builder) {
      return wire::CreateSubscribeActor(builder, PutBytes(builder, actor.Binary()));
    });
  };
  subscribe(*driver);
  RunUntil([&] { return Event(pb::NodeEvent::kSubscribeActor) != nullptr; });
  pb::NodeCommand news;
  news.mutable_actor()->set_actor_id(std::string(actor.Binary()));
  news.mutable_actor()->set_state(pb::ALIVE);
  news.mutable_actor()->set_version(2);
  gcs->Command(news);
  EXPECT_EQ(Await<wire::ActorUpdate>(*driver)->info()->version(), 2u);
  subscribe(*other);  // Told at once what is known.
  EXPECT_EQ(Await<wire::ActorUpdate>(*other)->info()->state(), wire::ActorState::Alive);
  driver->Close();
  other->Close();
  RunUntil([&] { return Event(pb::NodeEvent::kUnsubscribeActor) != nullptr; });
}

TEST_F(NodeServerActorTest, TheDriverIsToldWhyAnActorWaits) {
  StartNode();
  const auto driver = Driver();
  driver->Send([&](Builder& builder) {
    return wire::CreateSubscribeActor(builder, PutBytes(builder, actor.Binary()));
  });
  RunUntil([&] { return Event(pb::NodeEvent::kSubscribeActor) != nullptr; });
  pb::NodeCommand news;
  news.mutable_actor()->set_actor_id(std::string(actor.Binary()));
  news.mutable_actor()->set_job_id(std::string(JobIdFromInt(1).Binary()));
  news.mutable_actor()->set_class_name("Big");
  news.mutable_actor()->set_pending_reason("GPU: 8 is asked for, but no node has any GPU");
  gcs->Command(news);
  gcs->Command(news);
  EXPECT_THAT(TextOf(Await<wire::Notice>(*driver)->text()), HasSubstr("no node has any GPU"));
  RunUntil([&] { return driver->Count<wire::ActorUpdate>() == 2; });
  EXPECT_EQ(driver->Count<wire::Notice>(), 1u);
}

TEST_F(NodeServerTest, StoppingEndsEveryWorkerAndLeavesNoSocket) {
  StartNode();
  auto driver = Driver();
  TestWorker polite = Worker();
  TestWorker deaf = Worker();
  node->Stop("enough");
  Await<wire::Exit>(*polite.client);
  polite.Do("exit 0");
  RunUntil([&] { return stopped; });
  EXPECT_NE(kill(polite.pid, 0), 0);
  EXPECT_NE(kill(deaf.pid, 0), 0);
  EXPECT_FALSE(std::filesystem::exists(options.socket_dir()));
}

TEST_F(NodeServerTest, AZygoteThatDiesIsStartedAgain) {
  StartNode();
  auto driver = Driver();
  TestWorker worker = Worker();
  TestWorker other = Worker();
  RequestLease(*driver);
  Await<wire::LeaseReply>(*driver);
  driver->received.clear();
  std::ifstream stat("/proc/" + std::to_string(worker.pid) + "/stat");
  std::string pid, name, state;
  int zygote = 0;
  stat >> pid >> name >> state >> zygote;
  ASSERT_GT(zygote, 1);
  kill(zygote, SIGKILL);
  const auto* lost = Await<wire::LeaseLost>(*driver);
  EXPECT_THAT(TextOf(lost->exit()->reason()), HasSubstr("zygote"));
  RequestLease(*driver);
  Worker();
  Await<wire::LeaseReply>(*driver);
}

}  // namespace
}  // namespace skyray::raylet
