// SPDX-License-Identifier: Apache-2.0
#include "gcs/task_event_store.h"

#include <gmock/gmock.h>

namespace skyray::gcs {
namespace {

using testing::ElementsAre;

class TaskEventStoreTest : public testing::Test {
 protected:
  void Add(const std::string& batch, uint32_t count, uint64_t dropped = 0) {
    pb::TaskEvents events;
    events.set_batch(batch);
    std::string& executions = *events.mutable_executions();
    for (uint32_t i = 0; i < count; ++i) executions.append(kExecutionBytes, static_cast<char>(i));
    events.set_dropped(dropped);
    store.Add(events);
  }
  // What a page has, each as "batch-first execution".
  std::vector<std::string> Page(uint64_t after) {
    reply = store.Read(after);
    std::vector<std::string> found;
    for (const pb::TaskEventBatch& batch : reply.batches()) {
      found.push_back(batch.data().substr(0, 1) + "-" + std::to_string(batch.executions()[0]));
    }
    return found;
  }
  TaskEventStore store{10};
  pb::GetTaskEventsReply reply;
};

TEST_F(TaskEventStoreTest, BatchesAreReadInTheOrderInWhichTheyCame) {
  EXPECT_THAT(Page(0), ElementsAre());
  Add("a", 1);
  Add("b", 2);
  EXPECT_THAT(Page(0), ElementsAre("a-0", "b-0"));
  EXPECT_EQ(reply.next(), 0u);
  EXPECT_EQ(reply.dropped(), 0u);
}

TEST_F(TaskEventStoreTest, BeyondTheBoundTheOldestExecutionsAreForgotten) {
  Add("a", 4);
  Add("b", 4);
  Add("c", 4);
  EXPECT_THAT(Page(0), ElementsAre("a-2", "b-0", "c-0"));
  EXPECT_EQ(store.executions(), 10u);
  EXPECT_EQ(reply.dropped(), 2u);
  Add("d", 3);
  EXPECT_THAT(Page(0), ElementsAre("b-1", "c-0", "d-0"));
  EXPECT_EQ(reply.dropped(), 5u);
  Add("e", 25);
  EXPECT_THAT(Page(0), ElementsAre("e-15"));
  EXPECT_EQ(store.executions(), 10u);
  EXPECT_EQ(store.bytes(), 1u + 25 * kExecutionBytes);
  EXPECT_EQ(reply.dropped(), 5u + 10u + 15u);
}

TEST_F(TaskEventStoreTest, WhatWorkersDroppedIsCountedToo) {
  Add("a", 1, 7);
  Add("", 0, 5);
  EXPECT_THAT(Page(0), ElementsAre("a-0"));
  EXPECT_EQ(reply.dropped(), 12u);
}

TEST_F(TaskEventStoreTest, ItIsReadInPages) {
  const std::string half(kTaskEventPageBytes / 2, '.');
  Add("a" + half, 1);
  Add("b" + half, 1);
  Add("c" + half + half, 1);
  EXPECT_THAT(Page(0), ElementsAre("a-0"));
  EXPECT_THAT(Page(reply.next()), ElementsAre("b-0"));
  EXPECT_THAT(Page(reply.next()), ElementsAre("c-0")) << "at least one, however large";
  EXPECT_EQ(reply.next(), 0u);
}

TEST_F(TaskEventStoreTest, APageGoesOnBehindWhatIsForgotten) {
  const std::string large(kTaskEventPageBytes, '.');
  Add("a" + large, 5);
  Add("b" + large, 5);
  EXPECT_THAT(Page(0), ElementsAre("a-0"));
  Add("c", 9);
  EXPECT_THAT(Page(reply.next()), ElementsAre("b-4"));
  EXPECT_THAT(Page(reply.next()), ElementsAre("c-0"));
}

TEST_F(TaskEventStoreTest, TheirBytesAreBoundedAsWell) {
  const std::string large(kTaskEventBytesMax / 2, '.');
  for (const char* name : {"a", "b", "c"}) Add(name + large, 1);
  EXPECT_LE(store.bytes(), kTaskEventBytesMax);
  EXPECT_THAT(Page(0), ElementsAre("c-0"));
  EXPECT_EQ(reply.dropped(), 2u);
}

}  // namespace
}  // namespace skyray::gcs
