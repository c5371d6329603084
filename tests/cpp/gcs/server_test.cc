// SPDX-License-Identifier: Apache-2.0
// Server and GcsClient together, over a real unix socket, on one loop.
#include "gcs/server.h"

#include <gmock/gmock.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/asio/executor_work_guard.hpp>
#include <filesystem>
#include <optional>

#include "gcs/messages.h"
#include "rpc/gcs_client.h"

namespace skyray::gcs {
namespace {

using rpc::GcsClient;
using testing::HasSubstr;

// A raylet without workers: it notes its orders.
class FakeNode : public rpc::GcsHandler {
 public:
  FakeNode(boost::asio::io_context& loop, UniqueFd socket)
      : client(std::make_unique<GcsClient>(loop, std::move(socket), *this)) {}

  void OnCommand(pb::NodeCommand command) override {
    if (command.has_start_actor()) starts.push_back(command.start_actor());
    if (command.has_stop_actor()) stops.push_back(command.stop_actor());
    if (command.has_actor()) actors.push_back(command.actor());
    if (command.has_registered()) registered = command.registered();
    if (command.has_job_finished()) finished_jobs.push_back(command.job_finished().job_id());
    if (command.has_node()) nodes[command.node().node_id()] = command.node();
  }
  void OnDisconnected(const Status& status) override { disconnected = status; }

  std::optional<pb::Status> registered;
  std::optional<Status> disconnected;
  std::vector<pb::StartActor> starts;
  std::vector<pb::StopActor> stops;
  std::vector<pb::ActorInfo> actors;
  std::vector<std::string> finished_jobs;
  std::map<std::string, pb::NodeInfo> nodes;
  std::unique_ptr<GcsClient> client;
};

class FailingStorage final : public Storage {
 public:
  void Put(Table table, std::string key, std::string value) override {
    writes_.push_back({table, std::move(key), std::move(value), false});
  }
  void Delete(Table, std::string) override {}
  std::vector<Write> TakeWrites() override { return std::exchange(writes_, {}); }
  Status Load(Table, const Visitor&) override { return Status(); }
  Status Commit(const std::vector<Write>&) override {
    return Status(ErrorCode::OutOfDisk, "the disk is full");
  }

 private:
  std::vector<Write> writes_;
};

class ServerTest : public testing::Test {
 protected:
  ServerTest() { StartServer(storage); }
  ~ServerTest() override { std::filesystem::remove_all(folder); }

  void StartServer(Storage& with) {
    server =
        std::make_unique<Server>(loop, with, [this](const Status& status) { failure = status; });
    ASSERT_TRUE(server->Start().ok());
    if (!folder.empty()) std::filesystem::remove_all(folder);
    std::string text = std::filesystem::temp_directory_path() / "skyray_gcs_test_XXXXXX";
    folder = mkdtemp(text.data());
    address.sun_family = AF_UNIX;
    (folder + "/gcs.sock").copy(address.sun_path, sizeof address.sun_path - 1);
    UniqueFd listener(socket(AF_UNIX, SOCK_STREAM, 0));
    ASSERT_EQ(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ASSERT_EQ(listen(listener.get(), 64), 0);
    server->Listen(std::move(listener));
  }

  UniqueFd Connect() {
    UniqueFd fd(socket(AF_UNIX, SOCK_STREAM, 0));
    EXPECT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    return fd;
  }

  std::unique_ptr<FakeNode> NewNode() { return std::make_unique<FakeNode>(loop, Connect()); }

  std::unique_ptr<FakeNode> AttachedNode(const NodeId& id, double cpus = 4) {
    auto node = NewNode();
    node->client->Attach(Node(id, cpus));
    RunUntil([&] { return node->registered.has_value(); });
    return node;
  }

  void RunUntil(const std::function<bool()>& done) {
    while (!done()) loop.run_one();
  }

  template <class Request, class Reply>
  Result<Reply> Ask(FakeNode& node,
                    void (GcsClient::*method)(const Request&, rpc::ReplyHandler<Reply>),
                    const Request& request) {
    std::optional<Result<Reply>> answer;
    ((*node.client).*method)(request, [&](Result<Reply> reply) { answer = std::move(reply); });
    RunUntil([&] { return answer.has_value(); });
    return *answer;
  }

  JobId AddJob(FakeNode& node) {
    return *JobId::FromBinary(Ask(node, &GcsClient::AddJob, Job(driver, n1))->job_id());
  }

  Status Create(FakeNode& node, const pb::ActorSpec& spec) {
    pb::CreateActorRequest request;
    *request.mutable_spec() = spec;
    const auto reply = Ask(node, &GcsClient::CreateActor, request);
    return reply ? Status() : reply.error();
  }

  // Creates the actor and plays its birth on the node that is ordered to start it.
  void CreateAlive(FakeNode& node, const pb::ActorSpec& spec) {
    const size_t before = node.starts.size();
    ASSERT_TRUE(Create(node, spec).ok());
    RunUntil([&] { return node.starts.size() > before; });
    node.client->SendEvent(SubscribeTo(*ActorId::FromBinary(spec.actor_id())));
    node.client->SendEvent(Started(*ActorId::FromBinary(spec.actor_id()), worker));
    RunUntil([&] { return !node.actors.empty() && node.actors.back().state() == pb::ALIVE; });
  }

  const NodeId n1 = NumberedId<NodeId>(1), n2 = NumberedId<NodeId>(2);
  const WorkerId driver = NumberedId<WorkerId>(1), worker = NumberedId<WorkerId>(2);
  const ActorId a = NumberedId<ActorId>(1), b = NumberedId<ActorId>(2);

  boost::asio::io_context loop;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work{
      loop.get_executor()};
  std::string folder;
  sockaddr_un address{};
  MemoryStorage storage;
  std::optional<Status> failure;
  std::unique_ptr<Server> server;
};

TEST_F(ServerTest, NodesLearnOfEachOther) {
  const auto one = AttachedNode(n1);
  const auto two = AttachedNode(n2, 8);
  RunUntil([&] { return one->nodes.size() == 2 && two->nodes.size() == 2; });
  EXPECT_EQ(one->nodes[Bytes(n2)].total().amounts().at("CPU"), 8 * kResourceUnit);
  two->client->SendEvent(Report(1, 3));
  RunUntil([&] { return one->nodes[Bytes(n2)].version() == 1; });
  EXPECT_EQ(one->nodes[Bytes(n2)].available().amounts().at("CPU"), 3 * kResourceUnit);
  EXPECT_EQ(Ask(*one, &GcsClient::GetNodes, {})->nodes_size(), 2);
}

TEST_F(ServerTest, AnActorIsBornAndKilled) {
  const auto node = AttachedNode(n1);
  const JobId job = AddJob(*node);
  pb::ActorSpec spec = Actor(a, job, driver, n1);
  spec.set_name("alice");
  CreateAlive(*node, spec);
  EXPECT_EQ(node->starts.at(0).spec().creation_task(), "task");
  EXPECT_EQ(node->starts.at(0).job().job_id(), Bytes(job));
  EXPECT_EQ(node->actors.back().address().worker_id(), Bytes(worker));

  pb::GetNamedActorRequest by_name;
  by_name.set_name("alice");
  by_name.set_namespace_("ns");
  EXPECT_EQ(Ask(*node, &GcsClient::GetNamedActor, by_name)->actor().handle(), "handle");

  pb::KillActorRequest kill;
  kill.set_actor_id(Bytes(a));
  kill.set_no_restart(true);
  EXPECT_TRUE(Ask(*node, &GcsClient::KillActor, kill).has_value());
  RunUntil([&] { return !node->stops.empty() && node->actors.back().state() == pb::DEAD; });
  EXPECT_EQ(node->stops.at(0).worker_id(), Bytes(worker));
  EXPECT_EQ(Ask(*node, &GcsClient::GetNamedActor, by_name).error().code(), ErrorCode::NotFound);
}

TEST_F(ServerTest, ANameIsTakenOnce) {
  const auto node = AttachedNode(n1);
  const JobId job = AddJob(*node);
  pb::CreateActorRequest request;
  *request.mutable_spec() = Actor(a, job, driver, n1);
  request.mutable_spec()->set_name("alice");
  EXPECT_TRUE(Ask(*node, &GcsClient::CreateActor, request).has_value());
  request.mutable_spec()->set_actor_id(Bytes(b));
  EXPECT_EQ(Ask(*node, &GcsClient::CreateActor, request).error().code(), ErrorCode::AlreadyExists);
  request.set_get_if_exists(true);
  EXPECT_EQ(Ask(*node, &GcsClient::CreateActor, request)->existing().actor_id(), Bytes(a));
}

TEST_F(ServerTest, AGetWaitsForItsKey) {
  const auto node = AttachedNode(n1);
  std::optional<pb::KvGetReply> got;
  pb::KvGetRequest get;
  get.set_key("k");
  get.set_wait_ms(600'000);
  node->client->KvGet(get, [&](Result<pb::KvGetReply> reply) { got = *reply; });
  pb::KvPutRequest put;
  put.set_key("k");
  put.set_value("v");
  // The wait has begun: calls of one connection are taken in order, except across
  // methods; so ask for something of the same method first.
  pb::KvGetRequest other;
  other.set_key("other");
  EXPECT_FALSE(Ask(*node, &GcsClient::KvGet, other)->found());
  EXPECT_FALSE(got.has_value());
  EXPECT_TRUE(Ask(*node, &GcsClient::KvPut, put)->added());
  RunUntil([&] { return got.has_value(); });
  EXPECT_EQ(got->value(), "v");
}

TEST_F(ServerTest, AGetGivesUpAtItsDeadline) {
  const auto node = AttachedNode(n1);
  pb::KvGetRequest get;
  get.set_key("k");
  get.set_wait_ms(1);
  EXPECT_FALSE(Ask(*node, &GcsClient::KvGet, get)->found());
}

TEST_F(ServerTest, ANodeWhoseStreamEndsIsDead) {
  const auto one = AttachedNode(n1);
  auto two = AttachedNode(n2);
  RunUntil([&] { return one->nodes.contains(Bytes(n2)); });
  const JobId job = AddJob(*one);
  pb::ActorSpec spec = Actor(a, job, driver, n1);
  spec.mutable_strategy()->set_kind(pb::Strategy::NODE_AFFINITY);
  spec.mutable_strategy()->set_node_id(Bytes(n2));
  spec.mutable_strategy()->set_soft(true);
  spec.set_max_restarts(1);
  CreateAlive(*two, spec);
  one->client->SendEvent(SubscribeTo(a));
  RunUntil([&] { return !one->actors.empty(); });

  two.reset();
  // Told dead, and the actor starts again on the other node.
  RunUntil([&] { return !one->nodes[Bytes(n2)].alive() && !one->starts.empty(); });
  EXPECT_EQ(one->actors.back().state(), pb::RESTARTING);
  EXPECT_THAT(one->actors.back().exit().reason(), HasSubstr("died"));
  EXPECT_EQ(one->starts.back().restarts(), 1u);

  const auto ghost = AttachedNode(n2);  // Declared dead, it may not come back.
  EXPECT_EQ(ghost->registered->code(), static_cast<uint32_t>(ErrorCode::NodeDied));
  RunUntil([&] { return ghost->disconnected.has_value(); });
}

TEST_F(ServerTest, TheSameNodeAttachesOnce) {
  const auto one = AttachedNode(n1);
  const auto again = AttachedNode(n1);
  EXPECT_EQ(again->registered->code(), static_cast<uint32_t>(ErrorCode::AlreadyExists));
  EXPECT_EQ(Ask(*one, &GcsClient::GetNodes, {})->nodes(0).alive(), true);
}

TEST_F(ServerTest, AStreamMustBeginWithRegister) {
  const auto node = NewNode();
  pb::NodeInfo nameless;
  node->client->Attach(nameless);
  RunUntil([&] { return node->disconnected.has_value(); });
  EXPECT_EQ(node->registered->code(), static_cast<uint32_t>(ErrorCode::InvalidArgument));
}

TEST_F(ServerTest, ADriversEndEndsItsJobAndActors) {
  const auto node = AttachedNode(n1);
  const JobId job = AddJob(*node);
  CreateAlive(*node, Actor(a, job, driver, n1));
  node->client->SendEvent(WorkerDied(driver, /*is_driver=*/true));
  RunUntil([&] { return !node->finished_jobs.empty() && node->actors.back().state() == pb::DEAD; });
  EXPECT_EQ(node->finished_jobs.at(0), Bytes(job));
  EXPECT_EQ(node->stops.size(), 1u);
  EXPECT_EQ(Create(*node, Actor(b, job, driver, n1)).code(), ErrorCode::InvalidArgument);
}

TEST_F(ServerTest, GarbageHurtsOnlyItsSender) {
  const auto node = AttachedNode(n1);
  const std::string hello = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  const std::string settings("\0\0\0\4\0\0\0\0\0", 9);
  const std::string huge("\xff\xff\xff\1\4\0\0\0\1", 9);  // HEADERS of 16 MB.
  std::vector<UniqueFd> peers;
  for (const std::string& bytes :
       {std::string(100'000, 'x'), std::string(100'000, '\0'), hello + std::string(1000, '\xff'),
        hello + settings + huge, std::string("GET / HTTP/1.1\r\n\r\n"), std::string()}) {
    peers.push_back(Connect());
    // The peer may have been dropped before all of it is written.
    [[maybe_unused]] const ssize_t sent =
        send(peers.back().get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    EXPECT_TRUE(Ask(*node, &GcsClient::GetNodes, {}).has_value());
  }
  peers.clear();
  EXPECT_TRUE(AddJob(*node) == JobIdFromInt(1));
}

TEST_F(ServerTest, NothingIsAnsweredThatIsNotStored) {
  FailingStorage failing;
  server.reset();
  StartServer(failing);
  const auto node = NewNode();
  bool answered = false;
  node->client->AddJob(Job(driver, n1), [&](Result<pb::AddJobReply> reply) {
    EXPECT_EQ(reply.error().code(), ErrorCode::Disconnected);
    answered = true;
  });
  RunUntil([&] { return failure.has_value() && answered; });
  EXPECT_EQ(failure->code(), ErrorCode::OutOfDisk);
  server.reset();
}

TEST_F(ServerTest, StopsWithCallsUnderWay) {
  const auto node = AttachedNode(n1);
  std::optional<ErrorCode> code;
  pb::KvGetRequest get;
  get.set_wait_ms(600'000);
  get.set_key("never");
  node->client->KvGet(get, [&](Result<pb::KvGetReply> reply) { code = reply.error().code(); });
  EXPECT_TRUE(Ask(*node, &GcsClient::GetNodes, {}).has_value());
  server->Stop();
  RunUntil([&] { return code.has_value() && node->disconnected.has_value(); });
  EXPECT_EQ(code, ErrorCode::Disconnected);
}

}  // namespace
}  // namespace skyray::gcs
