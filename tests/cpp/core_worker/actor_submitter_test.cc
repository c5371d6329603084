// SPDX-License-Identifier: Apache-2.0
#include "core_worker/actor_submitter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core_worker/words.h"

namespace skyray::core_worker {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class ActorSubmitterTest : public ::testing::Test {
 protected:
  ActorSubmitterTest() {
    bool made = false;
    actor = submitter.Get(id, made);
    EXPECT_TRUE(made);
  }
  Task* Queue(int unresolved = 0) {
    auto& task = tasks.emplace_back(std::make_unique<Task>());
    task->unresolved = unresolved;
    actor->queue.push_back(task.get());
    return task.get();
  }
  void Connect() {
    actor->state = ActorState::Alive;
    actor->channel = std::make_shared<Channel>();
  }
  std::vector<Task*> Sendable() {
    std::vector<Task*> all;
    while (Task* task = submitter.NextSendable(actor)) all.push_back(task);
    return all;
  }

  ActorId id = RandomActorId(JobIdFromInt(7));
  ActorSubmitter submitter;
  Actor* actor;
  std::vector<std::unique_ptr<Task>> tasks;
};

TEST_F(ActorSubmitterTest, AnActorIsMadeOnce) {
  bool made = true;
  EXPECT_EQ(submitter.Get(id, made), actor);
  EXPECT_FALSE(made);
  EXPECT_EQ(submitter.Find(id), actor);
  EXPECT_EQ(submitter.Find(RandomActorId(JobIdFromInt(7))), nullptr);
  EXPECT_EQ(actor->state, ActorState::Pending);
}

TEST_F(ActorSubmitterTest, NothingLeavesBeforeTheActorIsConnected) {
  Task* task = Queue();
  EXPECT_THAT(Sendable(), IsEmpty());
  actor->state = ActorState::Alive;
  EXPECT_THAT(Sendable(), IsEmpty());
  actor->channel = std::make_shared<Channel>();
  EXPECT_THAT(Sendable(), ElementsAre(task));
}

TEST_F(ActorSubmitterTest, CallsLeaveInTheirOrder) {
  Connect();
  Task* a = Queue();
  Task* b = Queue();
  Task* c = Queue();
  EXPECT_THAT(Sendable(), ElementsAre(a, b, c));
  EXPECT_THAT(Sendable(), IsEmpty());
}

TEST_F(ActorSubmitterTest, ACallThatWaitsForAnArgumentHoldsThoseBehindIt) {
  Connect();
  Task* first = Queue();
  Task* waits = Queue(1);
  Task* behind = Queue();
  EXPECT_THAT(Sendable(), ElementsAre(first));
  EXPECT_THAT(Sendable(), IsEmpty());
  waits->unresolved = 0;
  EXPECT_THAT(Sendable(), ElementsAre(waits, behind));
}

TEST_F(ActorSubmitterTest, ACallMayNotOvertakeTheQueue) {
  Connect();
  Task ready;
  EXPECT_TRUE(actor->CanSend(ready));
  Queue(1);
  EXPECT_FALSE(actor->CanSend(ready));
}

TEST_F(ActorSubmitterTest, OnlyAResolvedCallToAConnectedActorCanBeSent) {
  Task ready, waits;
  waits.unresolved = 1;
  EXPECT_FALSE(actor->CanSend(ready));
  Connect();
  EXPECT_TRUE(actor->CanSend(ready));
  EXPECT_FALSE(actor->CanSend(waits));
  actor->state = ActorState::Dead;
  EXPECT_FALSE(actor->CanSend(ready));
}

TEST_F(ActorSubmitterTest, NothingIsSentToTheDead) {
  Connect();
  actor->state = ActorState::Dead;
  Task* task = Queue();
  EXPECT_THAT(Sendable(), IsEmpty());
  EXPECT_THAT(submitter.TakeQueued(actor), ElementsAre(task));
  EXPECT_THAT(submitter.TakeQueued(actor), IsEmpty());
}

// --- The end of its process, and its next life ---

class ActorRestartTest : public ActorSubmitterTest {
 protected:
  ActorRestartTest() {
    EXPECT_THAT(submitter.LivesAt(actor, first), IsEmpty());
    EXPECT_TRUE(actor->WantsConnection());
    actor->channel = std::make_shared<Channel>();
  }
  Task* UnderWay(int32_t retries) {
    auto& task = tasks.emplace_back(std::make_unique<Task>());
    task->retries_left = retries;
    task->sent = true;
    return task.get();
  }
  std::vector<Task*> Queued() const { return {actor->queue.begin(), actor->queue.end()}; }

  const WorkerAddress first = SomeWorker();
  const WorkerAddress second = SomeWorker();
};

TEST_F(ActorRestartTest, CallsUnderWayGoAgainBeforeThoseThatWereQueued) {
  Task* a = UnderWay(1);
  Task* without = UnderWay(0);
  Task* b = UnderWay(-1);
  Task* queued = Queue();
  EXPECT_THAT(submitter.ConnectionLost(actor, {a, without, b}), IsEmpty());
  EXPECT_FALSE(actor->WantsConnection());  // Nobody said yet what became of it.
  EXPECT_THAT(submitter.ProcessEnded(actor, "why"), ElementsAre(without));
  EXPECT_THAT(Queued(), ElementsAre(a, b, queued));
  EXPECT_EQ(a->retries_left, 0);
  EXPECT_EQ(b->retries_left, -1);
  EXPECT_FALSE(a->sent);
  EXPECT_FALSE(actor->WantsConnection());
  EXPECT_THAT(submitter.LivesAt(actor, second), IsEmpty());
  EXPECT_TRUE(actor->WantsConnection());
  EXPECT_EQ(actor->address, second);
}

TEST_F(ActorRestartTest, ItsSocketIsReadToTheEndBeforeAnythingGoesAgain) {
  Task* a = UnderWay(1);
  Task* without = UnderWay(0);
  EXPECT_THAT(submitter.ProcessEnded(actor, "why"), IsEmpty());
  EXPECT_THAT(submitter.LivesAt(actor, second), IsEmpty());
  EXPECT_FALSE(actor->WantsConnection());
  EXPECT_EQ(actor->address, first);
  EXPECT_THAT(submitter.ConnectionLost(actor, {a, without}), ElementsAre(without));
  EXPECT_THAT(Queued(), ElementsAre(a));
  EXPECT_TRUE(actor->WantsConnection());
  EXPECT_EQ(actor->address, second);
}

TEST_F(ActorRestartTest, NewsOfTheNextLifeAloneTellOfTheEndOfTheLast) {
  Task* without = UnderWay(0);
  EXPECT_THAT(submitter.ConnectionLost(actor, {without}), IsEmpty());
  EXPECT_THAT(submitter.LivesAt(actor, second), ElementsAre(without));
  EXPECT_TRUE(actor->WantsConnection());
}

TEST_F(ActorRestartTest, AProcessThatAnswersHasLostItsConnectionOnly) {
  Task* a = UnderWay(1);
  Task* without = UnderWay(0);
  Task* queued = Queue();
  EXPECT_THAT(submitter.ConnectionLost(actor, {a, without}), IsEmpty());
  EXPECT_TRUE(actor->WantsProbe());
  EXPECT_THAT(submitter.StillThere(actor), ElementsAre(without));
  EXPECT_THAT(Queued(), ElementsAre(a, queued));
  EXPECT_EQ(a->retries_left, 0);
  EXPECT_FALSE(actor->WantsProbe());
  EXPECT_TRUE(actor->WantsConnection());
  EXPECT_EQ(actor->address, first);
}

TEST_F(ActorRestartTest, OneThatEndedIsNotAskedAnyMore) {
  EXPECT_THAT(submitter.ConnectionLost(actor, {}), IsEmpty());
  EXPECT_THAT(submitter.ProcessEnded(actor, "why"), IsEmpty());
  EXPECT_FALSE(actor->WantsProbe());
}

TEST_F(ActorRestartTest, ALifeThatIsToldTwiceChangesNothing) {
  EXPECT_THAT(submitter.LivesAt(actor, first), IsEmpty());
  EXPECT_EQ(actor->state, ActorState::Alive);
  EXPECT_TRUE(actor->channel);
  EXPECT_FALSE(actor->ended);
}

TEST_F(ActorRestartTest, ALifeThatIsOverBeforeItWasReachedIsForgotten) {
  Task* a = UnderWay(2);
  EXPECT_THAT(submitter.ProcessEnded(actor, "why"), IsEmpty());
  EXPECT_THAT(submitter.LivesAt(actor, second), IsEmpty());
  EXPECT_THAT(submitter.ProcessEnded(actor, "again"), IsEmpty());
  EXPECT_THAT(submitter.ConnectionLost(actor, {a}), IsEmpty());
  EXPECT_FALSE(actor->WantsConnection());
  EXPECT_EQ(actor->state, ActorState::Pending);
  EXPECT_THAT(Queued(), ElementsAre(a));
}

TEST_F(ActorSubmitterTest, WhatIsRunAgainOvertakesWhatMayWaitForIt) {
  Connect();
  Task* waits = Queue(1);
  Task* behind = Queue();
  Task again, later;
  later.unresolved = 1;
  submitter.RunAgain(actor, &later);
  submitter.RunAgain(actor, &again);
  EXPECT_THAT(Sendable(), ElementsAre(&again));
  waits->unresolved = 0;
  EXPECT_THAT(Sendable(), ElementsAre(waits, behind));
  later.unresolved = 0;
  EXPECT_THAT(Sendable(), ElementsAre(&later));
  EXPECT_EQ(actor->reruns, 0u);
}

TEST_F(ActorSubmitterTest, WhatComesBackGoesBeforeWhatWasMadeLater) {
  Connect();
  Task bounced, behind, second;
  Task* later = Queue();
  bounced.bounced = true;
  bounced.unresolved = 1;
  submitter.PutBack(actor, {&bounced});
  submitter.PutBack(actor, {&behind, &second});
  EXPECT_THAT(Sendable(), IsEmpty());
  bounced.unresolved = 0;
  EXPECT_THAT(Sendable(), ElementsAre(&bounced, &behind, &second, later));
  EXPECT_FALSE(bounced.bounced);
}

TEST_F(ActorSubmitterTest, AWithdrawnCallIsNotSent) {
  Connect();
  Task* waits = Queue(1);
  Task again;
  submitter.RunAgain(actor, &again);
  submitter.Withdraw(actor, &again);
  EXPECT_EQ(actor->reruns, 0u);
  EXPECT_THAT(Sendable(), IsEmpty());
  submitter.Withdraw(actor, waits);
  EXPECT_TRUE(actor->queue.empty());
}

TEST_F(ActorSubmitterTest, AMethodWithRetriesIsAnother) {
  MethodOptions options;
  options.max_retries = -1;
  Function* method = submitter.Method(actor, "read", options);
  EXPECT_EQ(method->max_retries, -1);
  EXPECT_EQ(submitter.Method(actor, "read", options), method);
  EXPECT_NE(submitter.Method(actor, "read"), method);
  options.retry_exceptions = "*";
  EXPECT_NE(submitter.Method(actor, "read", options), method);
}

TEST_F(ActorSubmitterTest, AMethodIsKnownByItsNameAndShownWithItsClass) {
  actor->class_name = "Counter";
  Function* method = submitter.Method(actor, "increment");
  EXPECT_EQ(method->method, "increment");
  EXPECT_EQ(method->name, "Counter.increment");
  EXPECT_EQ(submitter.Method(actor, "increment"), method);
  EXPECT_NE(submitter.Method(actor, "read"), method);
}

}  // namespace
}  // namespace skyray::core_worker
