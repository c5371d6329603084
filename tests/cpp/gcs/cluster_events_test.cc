// SPDX-License-Identifier: Apache-2.0
// What workers have run is read when all nodes have told it.
#include <gmock/gmock.h>

#include "gcs/cluster.h"
#include "gcs/messages.h"

namespace skyray::gcs {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class ClusterEventsTest : public testing::Test {
 protected:
  ClusterEventsTest() {
    EXPECT_TRUE(cluster.Register(Node(n1, 1)).has_value());
    EXPECT_TRUE(cluster.Register(Node(n2, 1)).has_value());
    cluster.TakeEffects();
  }
  void Told(const NodeId& node, const std::string& batch) {
    pb::NodeEvent event;
    event.mutable_task_events()->set_batch(batch);
    event.mutable_task_events()->set_executions(std::string(kExecutionBytes, '.'));
    cluster.OnNodeEvent(node, event, now);
  }
  void Flushed(const NodeId& node, uint64_t round) {
    pb::NodeEvent event;
    event.set_task_events_flushed(round);
    cluster.OnNodeEvent(node, event, now);
  }
  std::optional<pb::GetTaskEventsReply> Get(WaiterId waiter, uint32_t wait_ms) {
    pb::GetTaskEventsRequest request;
    request.set_flush_wait_ms(wait_ms);
    return cluster.GetTaskEvents(request, waiter, now);
  }
  // The rounds in which nodes are asked, each as "round @node".
  std::vector<std::string> Asked() {
    std::vector<std::string> asked;
    for (const auto& [node, command] : cluster.TakeEffects().commands) {
      if (command.flush_task_events() == 0) continue;
      asked.push_back(std::to_string(command.flush_task_events()) + " @" +
                      std::to_string(node.data()[1]));
    }
    return asked;
  }
  // Who is answered, and with how many batches.
  std::vector<std::string> Answers() {
    std::vector<std::string> answers;
    for (const auto& answer : cluster.TakeEffects().task_event_answers) {
      answers.push_back(std::to_string(answer.waiter) + ": " +
                        std::to_string(answer.reply.batches_size()));
    }
    return answers;
  }

  const NodeId n1 = NumberedId<NodeId>(1), n2 = NumberedId<NodeId>(2);
  Now now{1000, 0};
  MemoryStorage storage;
  Cluster cluster{storage};
};

TEST_F(ClusterEventsTest, WithoutAWaitItIsAnsweredWithWhatIsThere) {
  Told(n1, "a");
  const auto reply = Get(1, 0);
  ASSERT_TRUE(reply.has_value());
  EXPECT_EQ(reply->batches_size(), 1);
  EXPECT_THAT(Asked(), IsEmpty());
}

TEST_F(ClusterEventsTest, AllNodesAreAskedAndWaitedFor) {
  EXPECT_FALSE(Get(7, 100).has_value());
  EXPECT_THAT(Asked(), ElementsAre("1 @1", "1 @2"));
  Told(n1, "a");
  Flushed(n1, 1);
  EXPECT_THAT(Answers(), IsEmpty());
  Told(n2, "b");
  Flushed(n2, 1);
  EXPECT_THAT(Answers(), ElementsAre("7: 2"));
  EXPECT_EQ(cluster.NextDeadlineMs(), std::nullopt);
}

TEST_F(ClusterEventsTest, ANodeThatDiesIsNotWaitedFor) {
  EXPECT_FALSE(Get(7, 100).has_value());
  Flushed(n2, 1);
  cluster.OnNodeLost(n1, "it is gone", now);
  EXPECT_THAT(Answers(), ElementsAre("7: 0"));
}

TEST_F(ClusterEventsTest, ThoseThatDoNotAnswerAreWaitedForNoLonger) {
  EXPECT_FALSE(Get(7, 100).has_value());
  now.monotonic_ms += 50;
  EXPECT_FALSE(Get(8, 1'000'000).has_value());
  Told(n1, "a");
  EXPECT_EQ(cluster.NextDeadlineMs(), 1100);
  now.monotonic_ms = 1100;
  cluster.OnTime(now);
  EXPECT_THAT(Answers(), ElementsAre("7: 1"));
  EXPECT_EQ(cluster.NextDeadlineMs(), 1050 + kFlushWaitMsMax);
  // Late answers, to both.
  Flushed(n1, 2);
  Flushed(n2, 1);
  EXPECT_THAT(Answers(), IsEmpty());
  Flushed(n2, 2);
  EXPECT_THAT(Answers(), ElementsAre("8: 1"));
}

TEST_F(ClusterEventsTest, WithoutNodesThereIsNobodyToWaitFor) {
  cluster.OnNodeLost(n1, "it is gone", now);
  cluster.OnNodeLost(n2, "it is gone", now);
  EXPECT_TRUE(Get(7, 100).has_value());
}

}  // namespace
}  // namespace skyray::gcs
