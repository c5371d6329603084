// SPDX-License-Identifier: Apache-2.0
// What a worker has run reaches its raylet: after a while, when it is asked, and when it ends.
#include <gmock/gmock.h>

#include "core_worker/core_worker_fixture.h"
#include "fbs/task_event_generated.h"

namespace skyray::core_worker {
namespace {

namespace fbt = fb::task_event;
constexpr int64_t kNever = int64_t{3600} * 1'000'000'000;

class CoreWorkerEventsTest : public CoreWorkerTest {
 protected:
  std::unique_ptr<CoreWorker> WorkerTelling(int64_t interval_ns) {
    CoreWorkerOptions options = Patient();
    options.task_events_interval_ns = interval_ns;
    return Connect(false, options);
  }
  // As the bindings do.
  void Run(CoreWorker& worker, const char* raises = nullptr) {
    Call call = Next(worker);
    EXPECT_GT(call->times.start_ns, 0);
    call->times.arguments_ns = NowNs();
    call->times.executed_ns = NowNs();
    if (raises != nullptr) {
      call->failure = std::make_unique<TaskFailure>(TaskFailure{false, "type", raises, "trace"});
    }
    Reply(worker, *call, "done");
  }
  const fbr::TaskEvents& Told() {
    told = std::make_unique<FakeRaylet::Received>(raylet.Await(Body::TaskEvents));
    return *(*told)->body_as_TaskEvents();
  }
  const fbr::TaskEvents& Ask(CoreWorker& worker, uint64_t round) {
    raylet.Send(worker.session().worker_id, 0, Body::FlushTaskEvents, [&](Builder& builder) {
      return fbr::CreateFlushTaskEvents(builder, round).Union();
    });
    // Its main thread is the test's, which is here: its I/O thread is to answer.
    return Told();
  }
  static std::vector<std::string> NamesIn(const fbr::TaskEvents& events) {
    const auto* batch = flatbuffers::GetRoot<fbt::Batch>(events.batch()->data());
    std::vector<std::string> names;
    for (const auto* execution : *events.executions()) {
      names.push_back(batch->functions()->Get(execution->function())->name()->str());
    }
    return names;
  }
  static size_t CountOf(const fbr::TaskEvents& events) {
    return events.executions() == nullptr ? 0 : events.executions()->size();
  }
  std::unique_ptr<FakeRaylet::Received> told;
};

TEST_F(CoreWorkerEventsTest, ItTellsOfItselfAWhileAfterTheFirst) {
  auto worker = WorkerTelling(/*interval_ns=*/1);
  Object* object = Submit();
  Grant(*worker);
  Run(*worker);
  EXPECT_EQ(Take(object), "done");
  const auto& events = Told();
  EXPECT_EQ(CountOf(events), 1u);
  EXPECT_EQ(events.flushed(), 0u);
  EXPECT_THAT(NamesIn(events), testing::ElementsAre("f"));
}

TEST_F(CoreWorkerEventsTest, ItSaysWhatItHasWhenItIsAsked) {
  auto worker = WorkerTelling(kNever);
  EXPECT_EQ(CountOf(Ask(*worker, 1)), 0u);
  EXPECT_EQ((*told)->body_as_TaskEvents()->flushed(), 1u);
  EXPECT_EQ((*told)->body_as_TaskEvents()->batch(), nullptr);
  std::vector<Object*> objects{Submit(), Submit()};
  Grant(*worker);
  Run(*worker);
  Run(*worker, "why");
  EXPECT_EQ(Take(objects[0]), "done");
  EXPECT_EQ(Take(objects[1]), "done");
  const auto& events = Ask(*worker, 2);
  EXPECT_EQ(events.flushed(), 2u);
  EXPECT_THAT(NamesIn(events), testing::ElementsAre("f", "f"));
  const auto* batch = flatbuffers::GetRoot<fbt::Batch>(events.batch()->data());
  EXPECT_EQ(events.executions()->Get(0)->failure(), 0u);
  ASSERT_EQ(events.executions()->Get(1)->failure(), 1u);
  EXPECT_EQ(batch->failures()->Get(0)->value()->str(), "why");
  EXPECT_EQ(batch->worker_id()->size(), WorkerId::kSize);
  EXPECT_EQ(CountOf(Ask(*worker, 3)), 0u) << "told once";
  EXPECT_EQ(raylet.Count(Body::TaskEvents), 0u) << "nor by itself";
}

TEST_F(CoreWorkerEventsTest, WhatItHasNotToldItTellsAtItsEnd) {
  auto worker = WorkerTelling(kNever);
  Object* object = Submit();
  Grant(*worker);
  Run(*worker);
  EXPECT_EQ(Take(object), "done");
  worker.reset();
  EXPECT_THAT(NamesIn(Told()), testing::ElementsAre("f"));
}

TEST_F(CoreWorkerEventsTest, AnOwnerThatLeavesGivesItsIdleWorkersBack) {
  // So that they end as they are meant to, and tell what they have run.
  auto worker = WorkerTelling(kNever);
  Object* object = Submit();
  const LeaseId lease = Grant(*worker);
  Run(*worker);
  EXPECT_EQ(Take(object), "done");
  driver.reset();
  const auto back = raylet.Await(Body::ReturnLease);
  EXPECT_EQ(ToId<LeaseId>(back->body_as_ReturnLease()->lease_id()), lease);
  EXPECT_FALSE(back->body_as_ReturnLease()->worker_failed());
}

TEST_F(CoreWorkerEventsTest, AFunctionWhoseEventsAreNotWantedLeavesNone) {
  FunctionOptions options;
  options.records_events = false;
  Function* quiet = driver->InternFunction(function->id, "f", options);
  EXPECT_NE(quiet, function) << "not the same as one that is recorded";
  function = quiet;
  auto worker = WorkerTelling(kNever);
  Object* object = Submit();
  Grant(*worker);
  Run(*worker);
  EXPECT_EQ(Take(object), "done");
  EXPECT_EQ(CountOf(Ask(*worker, 1)), 0u);
}

TEST_F(CoreWorkerEventsTest, WithoutAnIntervalNothingIsRecorded) {
  auto worker = WorkerTelling(0);
  Object* object = Submit();
  Grant(*worker);
  Run(*worker);
  EXPECT_EQ(Take(object), "done");
  EXPECT_EQ(CountOf(Ask(*worker, 1)), 0u);
}

TEST_F(CoreWorkerEventsTest, ACallThatWasNotRunIsNotRecorded) {
  auto worker = WorkerTelling(kNever);
  Object* object = Submit();
  Grant(*worker);
  Run(*worker);
  EXPECT_EQ(Take(object), "done");
  Object* lost = Submit();
  Call call = Next(*worker);
  call->lost = OwnedRef{ObjectId::FromRandom(), {raylet.node, WorkerId::FromRandom()}};
  worker->Bounce(*call);
  EXPECT_EQ(CountOf(Ask(*worker, 1)), 1u);
  driver->Drop(lost);
}

}  // namespace
}  // namespace skyray::core_worker
