// SPDX-License-Identifier: Apache-2.0
// What workers have run passes through their raylet.
#include "node_fixture.h"

namespace skyray::raylet {
namespace {

using ::testing::ElementsAre;

class NodeServerEventsTest : public NodeServerTest {
 protected:
  void Ask(uint64_t round) {
    pb::NodeCommand command;
    command.set_flush_task_events(round);
    gcs->Command(command);
  }
  static void Tell(TestClient& worker, const std::string& batch, uint64_t flushed) {
    worker.Send([&](Builder& builder) {
      if (batch.empty()) return wire::CreateTaskEvents(builder, 0, 0, 0, flushed);
      const auto data = PutBytes(builder, batch);
      const std::vector<fb::task_event::Execution> one(1);
      const auto executions = builder.CreateVectorOfStructs(one);
      return wire::CreateTaskEvents(builder, data, executions, 0, flushed);
    });
  }
  // What the GCS was told of it, in order.
  std::vector<std::string> Told() const {
    std::vector<std::string> told;
    for (const pb::NodeEvent& event : gcs->events) {
      if (event.has_task_events()) told.push_back(event.task_events().batch());
      if (event.task_events_flushed() > 0) {
        told.push_back("round " + std::to_string(event.task_events_flushed()));
      }
    }
    return told;
  }
  void AwaitTold(size_t count) {
    RunUntil([&] { return Told().size() >= count; });
  }
};

TEST_F(NodeServerEventsTest, TheGcsHearsThemBeforeTheEndOfTheRound) {
  StartNode();
  auto driver = Driver();
  TestWorker first = Worker(), second = Worker();
  Tell(*first.client, "unasked", 0);
  AwaitTold(1);
  Ask(5);
  EXPECT_EQ(Await<wire::FlushTaskEvents>(*first.client)->round(), 5u);
  Await<wire::FlushTaskEvents>(*second.client);
  Tell(*first.client, "one", 5);
  AwaitTold(2);
  Tell(*second.client, "", 5);
  AwaitTold(3);
  EXPECT_THAT(Told(), ElementsAre("unasked", "one", "round 5"));
  EXPECT_EQ(driver->Count<wire::FlushTaskEvents>(), 0u) << "it runs nothing";
}

TEST_F(NodeServerEventsTest, AWorkerThatDiesIsNotWaitedFor) {
  StartNode();
  auto driver = Driver();
  TestWorker first = Worker(), second = Worker();
  Ask(1);
  Await<wire::FlushTaskEvents>(*second.client);
  Tell(*first.client, "one", 1);
  AwaitTold(1);
  second.Do("kill 9");
  second.client->Close();
  AwaitTold(2);
  EXPECT_THAT(Told(), ElementsAre("one", "round 1"));
}

TEST_F(NodeServerEventsTest, ANodeWithoutWorkersHasNothingToTell) {
  StartNode();
  Ask(1);
  AwaitTold(1);
  EXPECT_THAT(Told(), ElementsAre("round 1"));
}

}  // namespace
}  // namespace skyray::raylet
