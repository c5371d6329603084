// SPDX-License-Identifier: Apache-2.0
#include "core_worker/call_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core_worker/words.h"

namespace skyray::core_worker {
namespace {

using ::testing::ElementsAre;

class CallQueueTest : public ::testing::Test {
 protected:
  void Push(std::string name, ChannelPtr channel, std::string method = "", size_t bytes = 1,
            size_t group = 0) {
    auto call = std::make_unique<IncomingCall>();
    call->group = group;
    call->function = Named(std::move(name), std::move(method));
    call->channel = std::move(channel);
    call->body.resize(bytes);
    queue.Push(std::move(call));
  }
  std::vector<std::string> PopAll() {
    std::vector<std::string> names;
    while (auto call = queue.Pop()) {
      names.push_back(call->name());
      queue.Finished(*call);
    }
    return names;
  }
  static std::vector<std::string> Names(const std::vector<std::unique_ptr<IncomingCall>>& calls) {
    std::vector<std::string> names;
    for (const auto& call : calls) names.push_back(call->name());
    return names;
  }

  const ReceivedFunction* Named(std::string name, std::string method = "") {
    auto& function = functions.emplace_back();
    function.name = std::move(name);
    function.method = std::move(method);
    return &function;
  }

  std::deque<ReceivedFunction> functions;
  CallQueue queue;
  ChannelPtr a = std::make_shared<Channel>();
  ChannelPtr b = std::make_shared<Channel>();
};

TEST_F(CallQueueTest, FirstInFirstOut) {
  for (const char* name : {"1", "2", "3"}) Push(name, a);
  EXPECT_EQ(queue.size(), 3u);
  EXPECT_THAT(PopAll(), ElementsAre("1", "2", "3"));
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(queue.Pop(), nullptr);
}

TEST_F(CallQueueTest, OneCallersCallsCanBeTakenOut) {
  Push("a1", a);
  Push("b1", b);
  Push("a2", a, "method");
  Push("creation", nullptr, "__init__");
  EXPECT_THAT(Names(queue.Take(a.get())), ElementsAre("a1", "a2"));
  EXPECT_THAT(PopAll(), ElementsAre("b1", "creation"));
}

TEST_F(CallQueueTest, NormalTasksCanBeTakenOutAndActorsCallsStay) {
  Push("creation", nullptr, "__init__");
  Push("task 1", a);
  Push("method", a, "increment");
  Push("task 2", b);
  EXPECT_THAT(Names(queue.Take(nullptr)), ElementsAre("task 1", "task 2"));
  EXPECT_THAT(PopAll(), ElementsAre("creation", "method"));
}

TEST_F(CallQueueTest, OneCallIsTakenOutByItsNumber) {
  for (uint64_t number : {0, 1, 2}) {
    auto call = std::make_unique<IncomingCall>();
    call->channel = a;
    call->call.header.sequence = number;
    call->function = Named(std::to_string(number));
    call->body.resize(10);
    queue.Push(std::move(call));
  }
  EXPECT_EQ(queue.TakeOne(*b, 1), nullptr);
  EXPECT_EQ(queue.TakeOne(*a, 3), nullptr);
  const auto taken = queue.TakeOne(*a, 1);
  ASSERT_NE(taken, nullptr);
  EXPECT_EQ(taken->name(), "1");
  EXPECT_EQ(queue.TakeOne(*a, 1), nullptr);
  EXPECT_EQ(queue.size(), 2u);
  EXPECT_THAT(PopAll(), ElementsAre("0", "2"));
}

TEST_F(CallQueueTest, WhatRunsIsFoundUntilItIsFinished) {
  queue.SetGroups({{"", 3}});
  std::vector<std::unique_ptr<IncomingCall>> running;
  for (uint64_t number : {0, 1, 2}) {
    auto call = std::make_unique<IncomingCall>();
    call->channel = a;
    call->call.header.sequence = number;
    queue.Push(std::move(call));
    running.push_back(queue.Pop());
  }
  EXPECT_EQ(queue.FindRunning(*a, 1), running[1].get());
  EXPECT_EQ(queue.FindRunning(*b, 1), nullptr);
  queue.Finished(*running[0]);
  EXPECT_EQ(queue.FindRunning(*a, 0), nullptr);
  EXPECT_EQ(queue.FindRunning(*a, 2), running[2].get());
  queue.Finished(*running[2]);
  queue.Finished(*running[1]);
  EXPECT_EQ(queue.running(), 0u);
}

TEST_F(CallQueueTest, ReadingStopsWhenTooMuchIsQueued) {
  EXPECT_TRUE(queue.ReadAllowed());
  Push("half", a, "", kQueuedBytesMax / 2);
  EXPECT_TRUE(queue.ReadAllowed());
  Push("rest", b, "", kQueuedBytesMax / 2);
  EXPECT_FALSE(queue.ReadAllowed());
  queue.Pop();
  EXPECT_TRUE(queue.ReadAllowed());
}

TEST_F(CallQueueTest, WhatIsTakenOutNoLongerCounts) {
  Push("large", a, "", kQueuedBytesMax);
  EXPECT_FALSE(queue.ReadAllowed());
  queue.Take(a.get());
  EXPECT_TRUE(queue.ReadAllowed());
  EXPECT_TRUE(queue.empty());
}

TEST_F(CallQueueTest, AGroupRunsNoMoreThanItsLimitAtOnce) {
  queue.SetGroups({{"", 2}});
  for (const char* name : {"1", "2", "3"}) Push(name, a, "m");
  auto first = queue.Pop();
  auto second = queue.Pop();
  EXPECT_EQ(queue.running(), 2u);
  EXPECT_FALSE(queue.CanStart());
  EXPECT_EQ(queue.Pop(), nullptr);
  queue.Finished(*second);
  queue.Finished(*second);  // Told twice, counted once.
  EXPECT_EQ(queue.running(), 1u);
  EXPECT_EQ(queue.Pop()->name(), "3");
  EXPECT_TRUE(queue.empty());
}

TEST_F(CallQueueTest, AFullGroupHoldsUpNoOther) {
  queue.SetGroups({{"", 1}, {"io", 1}});
  EXPECT_EQ(queue.FindGroup("io"), 1u);
  EXPECT_EQ(queue.FindGroup("cpu"), std::nullopt);
  Push("default 1", a, "m");
  Push("default 2", a, "m");
  Push("io 1", a, "m", 1, 1);
  Push("io 2", a, "m", 1, 1);
  auto running = queue.Pop();
  EXPECT_EQ(running->name(), "default 1");
  EXPECT_EQ(queue.PopFrom(0), nullptr);
  auto other = queue.Pop();
  EXPECT_EQ(other->name(), "io 1");
  EXPECT_FALSE(queue.CanStart());
  queue.Finished(*running);
  auto third = queue.Pop();
  EXPECT_EQ(third->name(), "default 2");
  queue.Finished(*other);
  auto fourth = queue.PopFrom(1);
  EXPECT_EQ(fourth->name(), "io 2");
}

TEST_F(CallQueueTest, GroupsWithRoomStartInTheOrderOfArrival) {
  queue.SetGroups({{"", 10}, {"io", 10}});
  Push("1", a, "m", 1, 1);
  Push("2", a, "m");
  Push("3", b, "m", 1, 1);
  EXPECT_THAT(PopAll(), ElementsAre("1", "2", "3"));
}

TEST_F(CallQueueTest, CallsAreTakenOutOfEveryGroup) {
  queue.SetGroups({{"", 1}, {"io", 1}});
  Push("default", a, "m");
  Push("io", a, "m", 1, 1);
  Push("b", b, "m", 1, 1);
  EXPECT_THAT(Names(queue.Take(a.get())), ElementsAre("default", "io"));
  EXPECT_EQ(queue.size(), 1u);
  EXPECT_THAT(PopAll(), ElementsAre("b"));
}

}  // namespace
}  // namespace skyray::core_worker
