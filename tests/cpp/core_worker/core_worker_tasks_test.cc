// SPDX-License-Identifier: Apache-2.0
// Tasks from submission to their result, over sockets, between core workers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "core_worker/core_worker_fixture.h"

namespace skyray::core_worker {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class CoreWorkerTasksTest : public CoreWorkerTest {
 protected:
  // Something, or nothing; soon.
  bool StoreHolds(bool something) {
    return store.StatsBecome(
        [&](const plasma::StoreStats& stats) { return (stats.allocated_bytes > 0) == something; });
  }
  std::unique_ptr<CoreWorker> worker = NewWorker();
};

TEST_F(CoreWorkerTasksTest, ATaskRunsOnALeasedWorker) {
  Object* result = Submit();
  EXPECT_FALSE(driver->IsReady(result));
  Grant(*worker);
  Call call = Next(*worker);
  EXPECT_EQ(call->name(), "f");
  EXPECT_EQ(call->function->id, function->id);
  EXPECT_EQ(TextOf(call->call.args), "arguments");
  const auto bound = worker->LeaseOf(*call);
  ASSERT_NE(bound, nullptr);
  EXPECT_EQ(bound->resources.Get("CPU"), kResourceUnit);
  Reply(*worker, *call, "result");
  EXPECT_EQ(Take(result), "result");
  EXPECT_EQ(driver->GetStatistics().objects, 0u);
  EXPECT_EQ(driver->GetStatistics().tasks_pending, 0u);
}

TEST_F(CoreWorkerTasksTest, ALeaseIsUsedAgain) {
  Object* first = Submit();
  Grant(*worker);
  RunOne(*worker, "1");
  EXPECT_EQ(Take(first), "1");
  Object* second = Submit();
  RunOne(*worker, "2");
  EXPECT_EQ(Take(second), "2");
  EXPECT_EQ(driver->GetStatistics().leases, 1u);
}

TEST_F(CoreWorkerTasksTest, ALeaseIsGivenBackWhenIdle) {
  CoreWorkerOptions options = Patient();
  options.lease_linger_ns = 1;
  Submitter(/*is_driver=*/true, std::move(options));
  Object* result = Submit();
  const LeaseId lease = Grant(*worker);
  RunOne(*worker, "result");
  EXPECT_EQ(Take(result), "result");
  const auto back = raylet.Await(Body::ReturnLease);
  EXPECT_EQ(ToId<LeaseId>(back->body_as_ReturnLease()->lease_id()), lease);
  EXPECT_EQ(ToId<NodeId>(back->body_as_ReturnLease()->node_id()), raylet.node);
  EXPECT_EQ(driver->GetStatistics().leases, 0u);
}

TEST_F(CoreWorkerTasksTest, AReplyIsSentThoughALongCallFollows) {
  Object* first = Submit();
  Grant(*worker);
  RunOne(*worker, "1", /*execute_us=*/1);
  EXPECT_EQ(Take(first), "1");
  Object* second = Submit();
  Object* third = Submit();
  RunOne(*worker, "2", 1);
  Call runs_for_long = Next(*worker);
  EXPECT_EQ(Take(second), "2");  // While the third is being run.
  Reply(*worker, *runs_for_long, "3");
  EXPECT_EQ(Take(third), "3");
}

TEST_F(CoreWorkerTasksTest, ALargeResultLiesInTheStore) {
  Object* result = Submit();
  Grant(*worker);
  const std::string large(1 << 20, 'L');
  RunOne(*worker, large);
  EXPECT_EQ(Get(*driver, result), large);
  EXPECT_TRUE(StoreHolds(true));
  driver->Drop(result);
  EXPECT_TRUE(StoreHolds(false));
}

TEST_F(CoreWorkerTasksTest, AnErrorIsTheValue) {
  Object* result = Submit(/*max_retries=*/3);
  Grant(*worker);
  Call call = Next(*worker);
  worker->ReplyError(*call, 10, {PayloadFormat::TaskError, "the exception", {}});
  EXPECT_EQ(Take(result), "the exception");
  EXPECT_EQ(raylet.Count(Body::RequestLease), 0u) << "what user code raises is not retried";
}

TEST_F(CoreWorkerTasksTest, AnArgumentIsWaitedForAndRidesInTheCall) {
  Object* first = Submit();
  Object* second = Submit(0, ArgumentsOf(first));
  Grant(*worker);
  RunOne(*worker, "intermediate");
  Call call = Next(*worker);
  ASSERT_EQ(call->call.ref_args.size(), 1u);
  auto argument = worker->ReadArgument(call->call.ref_args[0]);
  ASSERT_TRUE(argument.has_value());
  EXPECT_EQ(TextOf(argument->bytes), "intermediate");
  Reply(*worker, *call, "done");
  EXPECT_EQ(Take(second), "done");
  driver->Drop(first);
  EXPECT_EQ(driver->GetStatistics().objects, 0u);
}

TEST_F(CoreWorkerTasksTest, OneArgumentGivenTwiceIsWaitedForOnce) {
  Object* first = Submit();
  CallArguments arguments = ArgumentsOf(first);
  driver->Hold(first);
  arguments.refs.push_back({1, "", first});
  Object* second = Submit(0, std::move(arguments));
  Grant(*worker);
  RunOne(*worker, "intermediate");
  Call call = Next(*worker);
  EXPECT_EQ(call->call.ref_args.size(), 2u);
  Reply(*worker, *call, "done");
  EXPECT_EQ(Take(second), "done");
  driver->Drop(first);
  EXPECT_EQ(driver->GetStatistics().objects, 0u);
  EXPECT_EQ(driver->GetStatistics().tasks_pending, 0u);
}

TEST_F(CoreWorkerTasksTest, ALargeArgumentIsReadFromTheStore) {
  const std::string large(1 << 20, 'A');
  auto put = driver->Put(TextParts(large), {});
  ASSERT_TRUE(put.has_value());
  Object* result = Submit(0, ArgumentsOf(*put));
  driver->Drop(*put);  // The task keeps it.
  Grant(*worker);
  Call call = Next(*worker);
  {
    auto argument = worker->ReadArgument(call->call.ref_args.at(0));
    ASSERT_TRUE(argument.has_value());
    EXPECT_EQ(TextOf(argument->bytes), large);
  }
  Reply(*worker, *call, "read");
  EXPECT_EQ(Take(result), "read");
  EXPECT_TRUE(StoreHolds(false));
}

TEST_F(CoreWorkerTasksTest, ACopyThatIsEvictedBeforeItIsReadIsFetchedAgain) {
  ReceivedRefArg argument;
  argument.head.object = ObjectId::FromRandom();
  argument.nodes = {NodeId::FromRandom()};
  std::string text;
  std::thread reader([&] {
    auto value = worker->ReadArgument(argument);
    text = value ? TextOf(value->bytes) : value.error().ToString();
  });
  const auto reply = [&](const FakeRaylet::Received& fetch) {
    raylet.Send(fetch.from, fetch->request_id(), Body::FetchReply,
                [](Builder& builder) { return fbr::CreateFetchReply(builder).Union(); });
  };
  reply(raylet.Await(Body::Fetch));  // Pulled, and gone again before the worker looked.
  const auto second = raylet.Await(Body::Fetch);
  const auto client = store.Connect();
  const ValuePtr value = TextValue("here at last");
  const std::string_view bytes(reinterpret_cast<const char*>(value->data()), value->bytes());
  auto room = client->Create(argument.head.object,
                             plasma::Room(bytes.size(), worker->session().worker_id, false));
  ASSERT_TRUE(room.has_value());
  std::memcpy(room->data, bytes.data(), bytes.size());
  ASSERT_TRUE(client->Seal(argument.head.object).ok());
  reply(second);
  reader.join();
  EXPECT_EQ(text, "here at last");
}

TEST_F(CoreWorkerTasksTest, AFailedArgumentFailsTheTaskWithoutRunningIt) {
  Object* first = Submit();
  Object* second = Submit(0, ArgumentsOf(first));
  Grant(*worker);
  Call call = Next(*worker);
  worker->ReplyError(*call, 10, {PayloadFormat::TaskError, "the cause", {}});
  EXPECT_EQ(Take(second), "the cause");
  driver->Drop(first);
}

TEST_F(CoreWorkerTasksTest, AFailedLeaseRequestFailsTheTask) {
  Object* result = Submit(/*max_retries=*/3);
  const auto request = raylet.Await(Body::RequestLease);
  raylet.Send(driver_id(), request->request_id(), Body::LeaseReply, [](Builder& builder) {
    const auto why = builder.CreateString("no node has 100 GPUs");
    fbr::LeaseReplyBuilder reply(builder);
    reply.add_result(fbr::LeaseResult::Failed);
    reply.add_error(ErrorCode::Unschedulable);
    reply.add_message(why);
    return reply.Finish().Union();
  });
  EXPECT_EQ(Take(result), "Unschedulable: no node has 100 GPUs");
}

// --- Workers that end ---

TEST_F(CoreWorkerTasksTest, ALostTaskIsRetriedAndThenFailsWithTheSignal) {
  Object* result = Submit(/*max_retries=*/1);
  for (const bool told_first : {true, false}) {
    if (worker == nullptr) worker = NewWorker();
    const LeaseId lease = Grant(*worker);
    (void)Next(*worker);
    if (told_first) {
      TellLeaseLost(lease, SIGKILL);
      worker.reset();
    } else {
      worker.reset();
      TellLeaseLost(lease, SIGSEGV);
    }
  }
  EXPECT_THAT(Take(result),
              AllOf(StartsWith("WorkerCrashed: "), HasSubstr("task f"), HasSubstr("pid 4711"),
                    HasSubstr("signal 11 (SIGSEGV)"), HasSubstr("last words")));
  EXPECT_EQ(driver->GetStatistics().leases, 0u);
}

TEST_F(CoreWorkerTasksTest, ARetrySucceeds) {
  Object* result = Submit(/*max_retries=*/1);
  const LeaseId lease = Grant(*worker);
  (void)Next(*worker);
  worker.reset();
  TellLeaseLost(lease, SIGKILL);
  worker = NewWorker();
  Grant(*worker);
  RunOne(*worker, "second attempt");
  EXPECT_EQ(Take(result), "second attempt");
}

TEST_F(CoreWorkerTasksTest, AnEndForItsMemoryIsNoneOfTheRetries) {
  Object* result = Submit(/*max_retries=*/1);
  for (int i = 0; i < 3; ++i) {
    const LeaseId lease = Grant(*worker);
    (void)Next(*worker);
    worker.reset();
    TellLeaseLost(lease, SIGKILL, ErrorCode::OutOfMemoryKilled);
    worker = NewWorker();
  }
  const LeaseId lease = Grant(*worker);
  (void)Next(*worker);
  worker.reset();
  TellLeaseLost(lease, SIGKILL, ErrorCode::OutOfMemoryKilled, /*no_retry=*/true);
  EXPECT_THAT(Take(result), StartsWith("OutOfMemoryKilled: "));
}

TEST_F(CoreWorkerTasksTest, WithoutRetriesAnEndForItsMemoryIsTheEnd) {
  Object* result = Submit(/*max_retries=*/0);
  const LeaseId lease = Grant(*worker);
  (void)Next(*worker);
  worker.reset();
  TellLeaseLost(lease, SIGKILL, ErrorCode::OutOfMemoryKilled);
  EXPECT_THAT(Take(result), StartsWith("OutOfMemoryKilled: "));
}

TEST_F(CoreWorkerTasksTest, WhatALostNodeRanDoesNotGoToAnotherOfItsWorkers) {
  std::unique_ptr<CoreWorker> other = NewWorker();
  Object* first = Submit(/*max_retries=*/1);
  Object* second = Submit(/*max_retries=*/1);
  const LeaseId lost = Grant(*worker);
  const LeaseId idle = Grant(*other);
  (void)Next(*worker);
  RunOne(*other, "done");
  EXPECT_EQ(Take(second), "done");
  worker.reset();
  TellLeaseLost(lost, /*signal=*/0);
  const auto request = raylet.Await(Body::RequestLease);
  EXPECT_EQ(other->TakeCall(), nullptr);
  TellLeaseLost(idle, /*signal=*/0);
  other.reset();
  worker = NewWorker();
  GrantFor(request, worker->session().worker_id);
  RunOne(*worker, "on another node");
  EXPECT_EQ(Take(first), "on another node");
}

class PipelinedTest : public CoreWorkerTasksTest {
 protected:
  // `tasks` on one worker, of which nothing is heard after it has taken the first.
  std::vector<Object*> LoseAll(int tasks, uint64_t started, int max_retries,
                               bool no_retry = false) {
    Object* warm = Submit(max_retries);
    const LeaseId lease = Grant(*worker);
    RunOne(*worker, "known to be short", /*execute_us=*/1);
    EXPECT_EQ(Take(warm), "known to be short");
    std::vector<Object*> results;
    for (int i = 0; i < tasks; ++i) results.push_back(Submit(max_retries));
    (void)Next(*worker);
    worker.reset();
    TellLeaseLost(lease, SIGKILL, ErrorCode::Ok, no_retry, started);
    return results;
  }
  void ExpectElsewhere(std::initializer_list<Object*> results) {
    worker = NewWorker();
    Grant(*worker);
    for (Object* result : results) {
      RunOne(*worker, "elsewhere");
      EXPECT_EQ(Take(result), "elsewhere");
    }
  }
};

TEST_F(PipelinedTest, OnlyWhatRanPaysForTheEndOfItsProcess) {
  const auto results = LoseAll(3, /*started=*/2, /*max_retries=*/0);
  EXPECT_THAT(Take(results[0]), StartsWith("WorkerCrashed: "));
  ExpectElsewhere({results[1], results[2]});
}

TEST_F(PipelinedTest, WhatHadEndedUnheardIsRunAgainUnlessItMayNot) {
  const auto results = LoseAll(3, /*started=*/4, /*max_retries=*/1, /*no_retry=*/true);
  EXPECT_THAT(Take(results[2]), StartsWith("WorkerCrashed: ")) << "it would only happen again";
  ExpectElsewhere({results[0], results[1]});
}

TEST_F(PipelinedTest, WithoutWordOfHowFarItWasAllPay) {
  for (Object* result : LoseAll(2, /*started=*/UINT64_MAX, /*max_retries=*/0)) {
    EXPECT_THAT(Take(result), StartsWith("WorkerCrashed: "));
  }
}

TEST_F(CoreWorkerTasksTest, AWorkerMarksWhatItStarts) {
  Progress place;
  place.Clear();
  CoreWorkerOptions options = Patient();
  options.progress = &place;
  worker = Connect(/*is_driver=*/false, options);
  Object* first = Submit();
  Object* second = Submit();
  Grant(*worker);
  Call call = Next(*worker);
  EXPECT_EQ(place.started(), 1u);
  Reply(*worker, *call, "one");
  EXPECT_EQ(Take(first), "one");
  EXPECT_EQ(place.started(), 1u);
  RunOne(*worker, "two");
  EXPECT_EQ(Take(second), "two");
  EXPECT_EQ(place.started(), 2u);
}

TEST_F(CoreWorkerTasksTest, AWorkerThatIsGoneBeforeItIsReachedCostsARetryOfTheLease) {
  Object* result = Submit();
  const LeaseId lease = Grant(WorkerId::FromRandom());  // Nobody listens there.
  TellLeaseLost(lease, SIGKILL);
  Grant(*worker);
  RunOne(*worker, "elsewhere");
  EXPECT_EQ(Take(result), "elsewhere");
}

// --- Handing back ---

TEST_F(CoreWorkerTasksTest, AWorkerThatBlocksHandsBackWhatWaitsBehind) {
  Object* warm = Submit();
  Grant(*worker);
  RunOne(*worker, "known to be short", /*execute_us=*/1);
  EXPECT_EQ(Take(warm), "known to be short");
  Object* first = Submit();
  Object* second = Submit();  // Pipelined behind the first.
  Call blocks = Next(*worker);
  ASSERT_TRUE(store.RunUntil([&] { return worker->GetStatistics().calls_queued == 1; }));
  Object* pending = worker
                        ->SubmitTask({worker->InternFunction(FunctionId::FromRandom(), "inner"),
                                      worker->InternLeaseClass({}, {}), 1, 0},
                                     Arguments())
                        .front();
  EXPECT_EQ(worker->WaitReady({&pending, 1}, 1, NowNs() + 50'000'000), WaitResult::TimedOut);
  EXPECT_EQ(raylet.Await(Body::Blocked).from, worker->session().worker_id);
  EXPECT_EQ(raylet.Await(Body::Unblocked).from, worker->session().worker_id);
  // Two requests: the inner task's and, from the driver, one for the second task.
  auto other = NewWorker();
  for (int i = 0; i < 2; ++i) {
    const auto request = raylet.Await(Body::RequestLease);
    if (request.from != driver_id()) {
      raylet.Send(request.from, request->request_id(), Body::LeaseReply, [](Builder& builder) {
        fbr::LeaseReplyBuilder reply(builder);
        reply.add_result(fbr::LeaseResult::Failed);
        reply.add_error(ErrorCode::Unschedulable);
        return reply.Finish().Union();
      });
      continue;
    }
    raylet.Send(request.from, request->request_id(), Body::LeaseReply, [&](Builder& builder) {
      const auto lease_id = PutId(builder, LeaseId::FromRandom());
      const auto address = PutAddress(builder, {raylet.node, other->session().worker_id});
      fbr::LeaseReplyBuilder reply(builder);
      reply.add_lease_id(lease_id);
      reply.add_worker(address);
      return reply.Finish().Union();
    });
  }
  RunOne(*other, "ran elsewhere");
  EXPECT_EQ(Take(second), "ran elsewhere");
  Reply(*worker, *blocks, "blocked");
  EXPECT_EQ(Take(first), "blocked");
  EXPECT_THAT(Get(*worker, pending), StartsWith("Unschedulable: "));
  worker->Drop(pending);
}

// --- The raylet's end ---

TEST_F(CoreWorkerTasksTest, WithoutItsRayletADriverWaitsForNothing) {
  Object* running = Submit(/*max_retries=*/3);
  Grant(*worker);
  (void)Next(*worker);
  Object* queued = Submit(/*max_retries=*/3);
  raylet.Await(Body::RequestLease);
  Object* dependent = Submit(3, ArgumentsOf(running));
  raylet.HangUpOn(driver_id());
  EXPECT_THAT(Take(queued), StartsWith("NodeDied: "));
  Object* late = Submit(/*max_retries=*/3);
  EXPECT_THAT(Take(late), StartsWith("NodeDied: "));
  worker.reset();  // With its raylet; nobody says how.
  EXPECT_THAT(Take(running), StartsWith("NodeDied: "));
  EXPECT_THAT(Take(dependent), StartsWith("NodeDied: "));
}

TEST_F(CoreWorkerTasksTest, ATaskWhoseArgumentComesAfterTheRayletsEndFails) {
  Object* running = Submit();
  Grant(*worker);
  Call call = Next(*worker);
  Object* dependent = Submit(0, ArgumentsOf(running));
  Object* queued = Submit();
  raylet.HangUpOn(driver_id());
  EXPECT_THAT(Take(queued), StartsWith("NodeDied: "));
  Reply(*worker, *call, "just in time");
  EXPECT_EQ(Take(running), "just in time");
  EXPECT_THAT(Take(dependent), StartsWith("NodeDied: "));
}

// --- Cancelling ---

TEST_F(CoreWorkerTasksTest, AQueuedTaskIsCancelledAtOnce) {
  Object* queued = Submit();
  EXPECT_TRUE(driver->Cancel(queued, false, true).ok());
  EXPECT_THAT(Take(queued), StartsWith("TaskCancelled: "));
  EXPECT_EQ(driver->GetStatistics().tasks_pending, 0u);
  EXPECT_EQ(driver->GetStatistics().objects, 0u);
}

TEST_F(CoreWorkerTasksTest, ATaskThatWaitsForAnArgumentIsCancelledAtOnce) {
  Object* argument = Submit();
  Object* waits = Submit(0, ArgumentsOf(argument));
  Object* behind = Submit(0, ArgumentsOf(waits));
  EXPECT_TRUE(driver->Cancel(waits, false, true).ok());
  EXPECT_THAT(Take(waits), StartsWith("TaskCancelled: "));
  EXPECT_THAT(Take(behind), StartsWith("TaskCancelled: "));
  Grant(*worker);
  RunOne(*worker, "done");
  EXPECT_EQ(Take(argument), "done");
  EXPECT_EQ(driver->GetStatistics().objects, 0u);
}

TEST_F(CoreWorkerTasksTest, ATaskInItsWorkersQueueIsAnsweredThere) {
  Object* first = Submit();
  Grant(*worker);
  RunOne(*worker, "1", /*execute_us=*/1);
  EXPECT_EQ(Take(first), "1");
  Object* second = Submit();
  Object* third = Submit();
  Object* fourth = Submit();
  Call running = Next(*worker);
  EXPECT_TRUE(driver->Cancel(third, false, true).ok());
  EXPECT_THAT(Take(third), StartsWith("TaskCancelled: "));
  Reply(*worker, *running, "2");
  RunOne(*worker, "4");
  EXPECT_EQ(Take(second), "2");
  EXPECT_EQ(Take(fourth), "4");
}

TEST_F(CoreWorkerTasksTest, ARunningTaskIsToldAndItsFailureIsACancellation) {
  Object* result = Submit(/*max_retries=*/3);
  Grant(*worker);
  Call running = Next(*worker);
  EXPECT_FALSE(worker->IsCancelled(*running));
  EXPECT_TRUE(driver->Cancel(result, false, true).ok());
  EXPECT_TRUE(store.RunUntil([&] { return worker->IsCancelled(*running); }));
  worker->ReplyError(*running, 1, {PayloadFormat::TaskError, "KeyboardInterrupt", {}});
  EXPECT_THAT(Take(result), StartsWith("TaskCancelled: "));
}

TEST_F(CoreWorkerTasksTest, ARunningTaskThatGoesOnHasItsResult) {
  Object* result = Submit();
  Grant(*worker);
  Call running = Next(*worker);
  EXPECT_TRUE(driver->Cancel(result, false, true).ok());
  EXPECT_TRUE(store.RunUntil([&] { return worker->IsCancelled(*running); }));
  Reply(*worker, *running, "all the same");
  EXPECT_EQ(Get(*driver, result), "all the same");
  EXPECT_TRUE(driver->Cancel(result, true, true).ok());  // Has finished.
  EXPECT_EQ(Take(result), "all the same");
}

TEST_F(CoreWorkerTasksTest, ACancelledTaskIsNotTriedAgain) {
  Object* result = Submit(/*max_retries=*/3);
  const LeaseId lease = Grant(*worker);
  (void)Next(*worker);
  EXPECT_TRUE(driver->Cancel(result, false, true).ok());
  worker.reset();
  TellLeaseLost(lease, SIGKILL);
  EXPECT_THAT(Take(result), StartsWith("TaskCancelled: "));
}

TEST_F(CoreWorkerTasksTest, AWorkerThatHasRetiredStaysForWhatOthersReferTo) {
  Object* outer = Submit();
  Grant(*worker);
  Call call = Next(*worker);
  auto inner = worker->Put(TextParts("of the worker"), {});
  ASSERT_TRUE(inner.has_value());
  const WorkerAddress owner = worker->Publish(*inner);
  const ObjectId id = (*inner)->id;
  std::vector<TaskReturn> returns(1);
  returns[0].parts = TextParts("outer");
  returns[0].contained.push_back(*inner);  // Its only hold goes with the reply.
  worker->Reply(*call, 100, std::move(returns));
  worker->Retire("it has run often enough");
  EXPECT_EQ(raylet.Await(Body::Exiting)->body_as_Exiting()->reason()->str(),
            "it has run often enough");
  EXPECT_EQ(Get(*driver, outer), "outer");

  // Its lease goes back, and what was sent on it is run elsewhere, at no cost.
  Object* next = Submit();
  raylet.Await(Body::ReturnLease);
  auto other = NewWorker();
  Grant(*other);
  RunOne(*other, "run elsewhere");
  EXPECT_EQ(Take(next), "run elsewhere");

  Object* borrowed = driver->Restore(id, owner);
  EXPECT_EQ(Take(borrowed), "of the worker");
  driver->Drop(outer);
  EXPECT_EQ(worker->NextCall(), nullptr);  // Nothing is left to stay for.
  EXPECT_EQ(worker->GetStatistics().objects, 0u);
}

TEST_F(CoreWorkerTasksTest, AWorkerThatHasRetiredWithNothingOfOthersEndsAtOnce) {
  Object* result = Submit();
  Grant(*worker);
  RunOne(*worker, "result");
  worker->Retire("it has run often enough");
  EXPECT_EQ(worker->NextCall(), nullptr);
  EXPECT_EQ(Take(result), "result");
}

TEST_F(CoreWorkerTasksTest, WhatMayBeTriedAgainIs) {
  Object* result = Submit(/*max_retries=*/1);
  Grant(*worker);
  for (const char* text : {"once", "twice"}) {
    Call running = Next(*worker);
    worker->ReplyError(*running, 1, {PayloadFormat::TaskError, text, {}}, /*retryable=*/true);
  }
  EXPECT_EQ(Take(result), "twice");
}

}  // namespace
}  // namespace skyray::core_worker
