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
  void Push(std::string name, ChannelPtr channel, std::string method = "", size_t bytes = 1) {
    auto call = std::make_unique<IncomingCall>();
    call->name = std::move(name);
    call->channel = std::move(channel);
    call->method = std::move(method);
    call->body.resize(bytes);
    queue.Push(std::move(call));
  }
  std::vector<std::string> PopAll() {
    std::vector<std::string> names;
    while (auto call = queue.Pop()) names.push_back(call->name);
    return names;
  }
  static std::vector<std::string> Names(const std::vector<std::unique_ptr<IncomingCall>>& calls) {
    std::vector<std::string> names;
    for (const auto& call : calls) names.push_back(call->name);
    return names;
  }

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

}  // namespace
}  // namespace skyray::core_worker
