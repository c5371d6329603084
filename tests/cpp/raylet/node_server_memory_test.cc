// SPDX-License-Identifier: Apache-2.0
// A raylet whose machine's memory is what the test writes into files; and its
// answer to those who wonder why they wait.
#include <algorithm>

#include "node_fixture.h"

namespace skyray::raylet {
namespace {

using ::testing::HasSubstr;

class NodeServerMemoryTest : public NodeServerTest {
 protected:
  NodeServerMemoryTest() {
    options.memory_root = options.session_dir + "/root";
    options.memory_refresh_ms = 1;
    std::filesystem::create_directories(options.memory_root + "/proc");
    SetFree(800);
  }
  void SetFree(int megabytes) {
    const std::string path = options.memory_root + "/proc/meminfo";
    std::ofstream(path + ".new") << "MemTotal: 1024000 kB\nMemFree: " << megabytes * 1024
                                 << " kB\n";
    std::filesystem::rename(path + ".new", path);  // Never half written.
  }
};

TEST_F(NodeServerMemoryTest, ALoneTaskIsEndedWithTheReasonAndNotToBeRetried) {
  StartNode();
  const auto driver = Driver();
  const TestWorker worker = Worker();
  RequestLease(*driver);
  ASSERT_EQ(Await<wire::LeaseReply>(*driver)->result(), wire::LeaseResult::Granted);
  SetFree(10);
  const wire::ExitInfo* exit = Await<wire::LeaseLost>(*driver)->exit();
  EXPECT_EQ(exit->error(), ErrorCode::OutOfMemoryKilled);
  EXPECT_TRUE(exit->no_retry());
  EXPECT_EQ(exit->signal(), SIGKILL);
  EXPECT_THAT(exit->reason()->str(), HasSubstr("990 MiB of the 1000 MiB of this machine are used"));
}

TEST_F(NodeServerMemoryTest, WhatWaitsIsBegunWhenNobodyIsLeftToEnd) {
  StartNode();
  const auto driver = Driver();
  const TestWorker first = Worker();
  const TestWorker second = Worker();
  RequestLease(*driver);
  ASSERT_EQ(Await<wire::LeaseReply>(*driver)->result(), wire::LeaseResult::Granted);
  driver->received.clear();
  SetFree(10);
  Await<wire::LeaseLost>(*driver);
  // With nobody left to end, what waits has its chance, and is ended in turn.
  RequestLease(*driver);
  ASSERT_EQ(Await<wire::LeaseReply>(*driver)->result(), wire::LeaseResult::Granted);
  driver->received.clear();
  Await<wire::LeaseLost>(*driver);
}

TEST_F(NodeServerMemoryTest, ItGoesOnLookingWhenSomethingElseIsDueFirst) {
  options.memory_refresh_ms = 50;
  StartNode();
  const auto driver = Driver();
  const TestWorker worker = Worker();
  const auto other = Driver();
  RequestLease(*driver, 2 * kResourceUnit);
  ASSERT_EQ(Await<wire::LeaseReply>(*driver)->result(), wire::LeaseResult::Granted);
  // It is asked back after kLeaseQuantum, long before the next look.
  RequestLease(*other);
  RunUntil([&] {
    return std::any_of(driver->received.begin(), driver->received.end(), [](const auto& frame) {
      const auto* wanted = ipc::Verified<wire::Message>(frame)->body_as_LeasesWanted();
      return wanted != nullptr && !wanted->idle_only();
    });
  });
  SetFree(10);
  EXPECT_EQ(Await<wire::LeaseLost>(*driver)->exit()->error(), ErrorCode::OutOfMemoryKilled);
}

TEST_F(NodeServerMemoryTest, SwitchedOffItDoesNothing) {
  options.memory_refresh_ms = 0;
  SetFree(10);
  StartNode();
  const auto driver = Driver();
  TestWorker worker = Worker();
  RequestLease(*driver);
  ASSERT_EQ(Await<wire::LeaseReply>(*driver)->result(), wire::LeaseResult::Granted);
  worker.Do("exit 3");
  EXPECT_EQ(Await<wire::LeaseLost>(*driver)->exit()->error(), ErrorCode::Ok);
}

TEST_F(NodeServerTest, WhoeverWaitsIsToldWhy) {
  options.node_name = "home";
  StartNode();
  const auto driver = Driver();
  const TestWorker worker = Worker();
  RequestLease(*driver, 2 * kResourceUnit);
  ASSERT_EQ(Await<wire::LeaseReply>(*driver)->result(), wire::LeaseResult::Granted);
  const uint64_t waiting = RequestLease(*driver);
  const auto ask = [&](uint64_t request) {
    driver->Send([&](Builder& builder) { return wire::CreateExplainLease(builder, request); });
    const ipc::Frame frame = Take<wire::LeaseExplanation>(*driver);
    return In<wire::LeaseExplanation>(frame).text()->str();
  };
  EXPECT_EQ(ask(waiting), "on node home it needs {CPU: 1}; CPU: 0 of 2 free, held by f");
  EXPECT_EQ(ask(12345), "");
  const auto stranger = ActorId::FromRandom();
  driver->Send([&](Builder& builder) {
    return wire::CreateExplainLease(builder, 0, 0, PutBytes(builder, stranger.Binary()));
  });
  const ipc::Frame frame = Take<wire::LeaseExplanation>(*driver);
  EXPECT_THAT(In<wire::LeaseExplanation>(frame).text()->str(),
              HasSubstr("no node has taken it yet; on node home are CPU: 0 of 2 free"));
}

}  // namespace
}  // namespace skyray::raylet
