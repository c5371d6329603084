// SPDX-License-Identifier: Apache-2.0
// Actors: created, called in order, restarted, dead.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "core_worker/core_worker_fixture.h"

namespace skyray::core_worker {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class CoreWorkerActorsTest : public CoreWorkerTest {
 protected:
  Actor* Create(ActorOptions options = {}) {
    options.class_id = FunctionId::FromRandom();
    options.class_name = "Counter";
    auto created = driver->CreateActor(std::move(options), Arguments("of __init__"));
    EXPECT_TRUE(created.has_value());
    return created->actor;
  }
  void TellUpdate(Actor* actor, fbr::ActorState state, const WorkerId& at = {}, int signal = 0) {
    raylet.Send(driver_id(), 0, Body::ActorUpdate, [&](Builder& builder) {
      const auto id = PutId(builder, actor->id);
      const auto address = PutAddress(builder, {raylet.node, at});
      flatbuffers::Offset<fbr::ExitInfo> exit;
      if (signal != 0) exit = PutExit(builder, signal);
      fbr::ActorInfoBuilder info(builder);
      info.add_actor_id(id);
      info.add_state(state);
      info.add_version(++version);
      if (state == fbr::ActorState::Alive) info.add_address(address);
      if (signal != 0) info.add_exit(exit);
      return fbr::CreateActorUpdate(builder, info.Finish()).Union();
    });
  }
  // The raylet and the worker do their parts of bringing it to life.
  Actor* CreateAlive() {
    Actor* actor = Create();
    Start(actor);
    return actor;
  }
  void Start(Actor* actor) {
    const auto create = raylet.Await(Body::CreateActor);
    raylet.Send(create.from, create->request_id(), Body::CreateActorReply,
                [](Builder& builder) { return fbr::CreateCreateActorReply(builder).Union(); });
    const auto* spec = create->body_as_CreateActor()->spec();
    EXPECT_EQ(ToId<ActorId>(spec->actor_id()), actor->id);
    raylet.Send(worker_id(), 0, Body::StartActor, [&](Builder& builder) {
      const auto id = PutId(builder, actor->id);
      const auto job = PutId(builder, raylet.job);
      const auto class_name = builder.CreateString("Counter");
      const auto owner = PutAddress(builder, {raylet.node, driver_id()});
      const auto task =
          builder.CreateVector(spec->creation_task()->data(), spec->creation_task()->size());
      fbr::ActorSpecBuilder copy(builder);
      copy.add_actor_id(id);
      copy.add_job_id(job);
      copy.add_class_name(class_name);
      copy.add_owner(owner);
      copy.add_creation_task(task);
      return fbr::CreateStartActor(builder, copy.Finish()).Union();
    });
    Call creation = Next(*worker);
    EXPECT_EQ(creation->method(), "__init__");
    EXPECT_EQ(creation->start->actor_id, actor->id);
    EXPECT_EQ(TextOf(creation->call.args), "of __init__");
    worker->ActorStarted(*creation, std::nullopt, "");
    EXPECT_FALSE(raylet.Await(Body::ActorStarted)->body_as_ActorStarted()->failed());
    TellUpdate(actor, fbr::ActorState::Alive, worker_id());
  }
  Object* CallActor(Actor* actor, const std::string& text = "",
                    CallArguments arguments = Arguments()) {
    if (!text.empty()) arguments.payload = Arguments(text).payload;
    return driver->SubmitActorCall(actor, driver->InternMethod(actor, "add"), 1,
                                   std::move(arguments), nullptr);
  }
  static MethodOptions InGroup(const std::string& group) {
    MethodOptions options;
    options.group = group;
    return options;
  }
  WorkerId worker_id() const { return worker->session().worker_id; }

  uint64_t version = 0;
  std::unique_ptr<CoreWorker> worker = NewWorker();
};

TEST_F(CoreWorkerActorsTest, CallsMadeBeforeItsBirthAndAfterRunInOrder) {
  Actor* actor = Create();
  std::vector<Object*> results;
  for (int i = 0; i < 10; ++i) results.push_back(CallActor(actor, std::to_string(i)));
  Start(actor);
  for (int i = 10; i < 50; ++i) results.push_back(CallActor(actor, std::to_string(i)));
  for (int i = 0; i < 50; ++i) {
    Call call = Next(*worker);
    EXPECT_EQ(call->method(), "add");
    EXPECT_EQ(TextOf(call->call.args), std::to_string(i));
    Reply(*worker, *call, "result " + std::to_string(i));
  }
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(Take(results[static_cast<size_t>(i)]), "result " + std::to_string(i));
  }
  EXPECT_EQ(driver->GetStatistics().tasks_pending, 0u);
}

TEST_F(CoreWorkerActorsTest, TheEndWaitsForWhatRunsAndIsQueued) {
  ActorOptions options;
  options.concurrency.groups = {{"", 2}, {"io", 1}};
  Actor* actor = Create(std::move(options));
  Start(actor);
  Function* io = driver->InternMethod(actor, "read", InGroup("io"));
  std::vector<Object*> results;
  for (int i = 0; i < 3; ++i) results.push_back(CallActor(actor));
  results.push_back(driver->SubmitActorCall(actor, io, 1, Arguments(), nullptr));
  Call first = Next(*worker);
  Call second = Next(*worker);
  Call other = worker->NextCall(1);
  EXPECT_EQ(other->method(), "read");
  EXPECT_EQ(worker->TakeCall(), nullptr);  // Both groups are full.
  worker->RequestExit("told to", Leaving::AfterQueued);
  Reply(*worker, *other, "io");
  Reply(*worker, *second, "second");
  Call third = worker->TakeCall();
  ASSERT_NE(third, nullptr);
  Reply(*worker, *third, "third");
  Reply(*worker, *first, "first");
  EXPECT_EQ(worker->NextCall(), nullptr);
  EXPECT_EQ(raylet.Await(Body::Exiting)->body_as_Exiting()->reason()->str(), "told to");
  EXPECT_EQ(Take(results[0]), "first");
  EXPECT_EQ(Take(results[2]), "third");
  EXPECT_EQ(Take(results[3]), "io");
  EXPECT_EQ(Take(results[1]), "second");
}

TEST_F(CoreWorkerActorsTest, AnEndAtOnceStartsNothingMore) {
  Actor* actor = CreateAlive();
  Object* running = CallActor(actor);
  Object* queued = CallActor(actor);
  Call call = Next(*worker);
  worker->RequestExit("exit_actor() was called");
  EXPECT_EQ(worker->TakeCall(), nullptr);
  worker->Abandon(*call);
  EXPECT_EQ(worker->NextCall(), nullptr);
  EXPECT_EQ(raylet.Await(Body::Exiting)->body_as_Exiting()->reason()->str(),
            "exit_actor() was called");
  call.reset();  // It keeps the caller's socket open.
  worker.reset();
  TellUpdate(actor, fbr::ActorState::Dead, {}, SIGKILL);
  EXPECT_THAT(Take(running), StartsWith("ActorDied: "));
  EXPECT_THAT(Take(queued), StartsWith("ActorDied: "));
}

TEST_F(CoreWorkerActorsTest, ACallForAGroupThatIsNotThereIsRefused) {
  Actor* actor = CreateAlive();
  Function* method = driver->InternMethod(actor, "add", InGroup("nowhere"));
  Object* result = driver->SubmitActorCall(actor, method, 1, Arguments(), nullptr);
  Call call = Next(*worker);
  EXPECT_NE(call->refused.find("no concurrency group 'nowhere'"), std::string::npos);
  Reply(*worker, *call, "refused");
  EXPECT_EQ(Take(result), "refused");
}

TEST_F(CoreWorkerActorsTest, AnArgumentThatIsNotReadyHoldsTheCallsBehindIt) {
  Actor* actor = CreateAlive();
  auto task_worker = NewWorker();
  Object* argument = Submit();
  Object* first = CallActor(actor, "first", ArgumentsOf(argument));
  Object* second = CallActor(actor, "second");
  Grant(*task_worker);
  RunOne(*task_worker, "late");
  for (const char* text : {"first", "second"}) {
    Call call = Next(*worker);
    EXPECT_EQ(TextOf(call->call.args), text);
    Reply(*worker, *call, text);
  }
  EXPECT_EQ(Take(first), "first");
  EXPECT_EQ(Take(second), "second");
  driver->Drop(argument);
}

TEST_F(CoreWorkerActorsTest, AFailedArgumentLetsNoCallOvertake) {
  Actor* actor = CreateAlive();
  auto task_worker = NewWorker();
  Object* argument = Submit();
  // a fails with its argument, c with a; b and d are well, and in that order.
  Object* a = CallActor(actor, "a", ArgumentsOf(argument));
  Object* b = CallActor(actor, "b");
  Object* c = CallActor(actor, "c", ArgumentsOf(a));
  Object* d = CallActor(actor, "d");
  Grant(*task_worker);
  Call failing = Next(*task_worker);
  task_worker->ReplyError(*failing, 1, {PayloadFormat::TaskError, "the cause", {}});
  for (const char* text : {"b", "d"}) {
    Call call = Next(*worker);
    EXPECT_EQ(TextOf(call->call.args), text);
    Reply(*worker, *call, text);
  }
  EXPECT_EQ(Take(c), "the cause");
  EXPECT_EQ(Take(a), "the cause");
  EXPECT_EQ(Take(b), "b");
  EXPECT_EQ(Take(d), "d");
  driver->Drop(argument);
}

// The first of them that goes on completes the others, too.
TEST_F(CoreWorkerActorsTest, SeveralCallsFailWithOneArgument) {
  Actor* actor = CreateAlive();
  auto task_worker = NewWorker();
  Object* argument = Submit();
  std::vector<Object*> results;
  for (int i = 0; i < 5; ++i) results.push_back(CallActor(actor, "", ArgumentsOf(argument)));
  driver->Drop(argument);
  Grant(*task_worker);
  Call failing = Next(*task_worker);
  task_worker->ReplyError(*failing, 1, {PayloadFormat::TaskError, "the cause", {}});
  for (Object* result : results) EXPECT_EQ(Take(result), "the cause");
  EXPECT_EQ(driver->GetStatistics().tasks_pending, 0u);
}

TEST_F(CoreWorkerActorsTest, AConstructorAndCallsFailWithOneArgument) {
  Object* argument = Submit();
  ActorOptions options;
  options.class_name = "Counter";
  auto created = driver->CreateActor(std::move(options), ArgumentsOf(argument));
  ASSERT_TRUE(created.has_value());
  std::vector<Object*> results;
  for (int i = 0; i < 5; ++i) {
    results.push_back(CallActor(created->actor, "", ArgumentsOf(argument)));
  }
  driver->Drop(argument);
  Grant(*worker);
  Call failing = Next(*worker);
  worker->ReplyError(*failing, 1, {PayloadFormat::TaskError, "the cause", {}});
  const std::string cause = "C" + created->actor->id.Hex() + "the cause";
  for (Object* result : results) EXPECT_EQ(Take(result), cause);
  EXPECT_EQ(driver->GetStatistics().tasks_pending, 0u);
}

TEST_F(CoreWorkerActorsTest, ItsDeathFailsCallsUnderWayAndLaterOnes) {
  for (const bool told_first : {true, false}) {
    if (worker == nullptr) worker = NewWorker();
    Actor* actor = CreateAlive();
    Object* running = CallActor(actor);
    Object* behind = CallActor(actor);
    (void)Next(*worker);
    if (told_first) {
      TellUpdate(actor, fbr::ActorState::Dead, {}, SIGKILL);
      worker.reset();
    } else {
      worker.reset();
      TellUpdate(actor, fbr::ActorState::Dead, {}, SIGKILL);
    }
    EXPECT_THAT(Take(running), AllOf(StartsWith("ActorDied: "), HasSubstr("Counter"),
                                     HasSubstr("signal 9 (SIGKILL)"), HasSubstr("last words")));
    EXPECT_THAT(Take(behind), StartsWith("ActorDied: "));
    EXPECT_THAT(Take(CallActor(actor)), StartsWith("ActorDied: "));
  }
}

TEST_F(CoreWorkerActorsTest, ARestartFailsCallsUnderWayAndServesLaterOnes) {
  for (const bool told_first : {true, false}) {
    if (worker == nullptr) worker = NewWorker();
    Actor* actor = CreateAlive();
    Object* running = CallActor(actor);
    (void)Next(*worker);
    if (told_first) {
      TellUpdate(actor, fbr::ActorState::Restarting, {}, SIGKILL);
      worker.reset();
    } else {
      worker.reset();
      TellUpdate(actor, fbr::ActorState::Restarting, {}, SIGKILL);
    }
    EXPECT_THAT(Take(running), StartsWith("ActorUnavailable: "));
    Object* later = CallActor(actor, "after the restart");
    worker = NewWorker();
    TellUpdate(actor, fbr::ActorState::Alive, worker_id());
    Call call = Next(*worker);
    EXPECT_EQ(TextOf(call->call.args), "after the restart");
    Reply(*worker, *call, "served");
    EXPECT_EQ(Take(later), "served");
  }
}

TEST_F(CoreWorkerActorsTest, CallsWithRetriesAreServedAfterTheRestartInTheirOrder) {
  for (const bool told_first : {true, false}) {
    if (worker == nullptr) worker = NewWorker();
    Actor* actor = CreateAlive();
    MethodOptions options;
    options.max_retries = 1;
    Function* method = driver->InternMethod(actor, "add", options);
    std::vector<Object*> results;
    for (const char* text : {"a", "b", "c"}) {
      results.push_back(driver->SubmitActorCall(actor, method, 1, Arguments(text), nullptr));
    }
    RunOne(*worker, "done before");
    (void)Next(*worker);
    EXPECT_EQ(Get(*driver, results[0]), "done before");
    EXPECT_EQ(driver->PendingCalls(actor), 2u);
    if (told_first) {
      TellUpdate(actor, fbr::ActorState::Restarting, {}, SIGKILL);
      worker.reset();
    } else {
      worker.reset();
      TellUpdate(actor, fbr::ActorState::Restarting, {}, SIGKILL);
    }
    AwaitThatTheDriverKnows();
    results.push_back(driver->SubmitActorCall(actor, method, 1, Arguments("d"), nullptr));
    worker = NewWorker();
    TellUpdate(actor, fbr::ActorState::Alive, worker_id());
    for (const char* text : {"b", "c", "d"}) {
      Call call = Next(*worker);
      EXPECT_EQ(TextOf(call->call.args), text);
      Reply(*worker, *call, text);
    }
    EXPECT_EQ(Take(results[1]), "b");
    EXPECT_EQ(Take(results[2]), "c");
    EXPECT_EQ(Take(results[3]), "d");
    driver->Drop(results[0]);
    EXPECT_EQ(driver->PendingCalls(actor), 0u);
  }
}

TEST_F(CoreWorkerActorsTest, RetriesEndWithTheirNumber) {
  Actor* actor = CreateAlive();
  MethodOptions options;
  options.max_retries = 1;
  Object* running = driver->SubmitActorCall(actor, driver->InternMethod(actor, "add", options), 1,
                                            Arguments(), nullptr);
  for (int i = 0; i < 2; ++i) {
    (void)Next(*worker);
    worker.reset();
    TellUpdate(actor, fbr::ActorState::Restarting, {}, SIGKILL);
    worker = NewWorker();
    TellUpdate(actor, fbr::ActorState::Alive, worker_id());
  }
  EXPECT_THAT(Take(running), AllOf(StartsWith("ActorUnavailable: "), HasSubstr("SIGKILL")));
}

TEST_F(CoreWorkerActorsTest, TheConstructorsArgumentsAreKeptForARestart) {
  Object* argument = *driver->Put(TextParts("for the constructor"), {});
  for (const int max_restarts : {0, 1}) {
    ActorOptions options;
    options.class_name = "Counter";
    options.max_restarts = max_restarts;
    auto created = driver->CreateActor(std::move(options), ArgumentsOf(argument));
    ASSERT_TRUE(created.has_value());
    const auto create = raylet.Await(Body::CreateActor);
    TellUpdate(created->actor, fbr::ActorState::Alive, worker_id());
    AwaitThatTheDriverKnows();
    EXPECT_EQ(driver->GetStatistics().tasks_pending, max_restarts == 0 ? 0u : 1u);
    TellUpdate(created->actor, fbr::ActorState::Dead, {}, SIGKILL);
    worker.reset();
    worker = NewWorker();
    EXPECT_THAT(Take(CallActor(created->actor)), StartsWith("ActorDied: "));
    EXPECT_EQ(driver->GetStatistics().tasks_pending, 0u);
  }
  driver->Drop(argument);
}

TEST_F(CoreWorkerActorsTest, ANewLifeToldBeforeTheOldOnesEndFailsOnlyTheOldCalls) {
  Actor* actor = CreateAlive();
  Object* running = CallActor(actor);
  (void)Next(*worker);
  auto second = NewWorker();
  TellUpdate(actor, fbr::ActorState::Alive, second->session().worker_id);
  AwaitThatTheDriverKnows();
  Object* later = CallActor(actor, "to the new one");
  worker.reset();
  EXPECT_THAT(Take(running), StartsWith("ActorUnavailable: "));
  Call call = Next(*second);
  Reply(*second, *call, "new");
  EXPECT_EQ(Take(later), "new");
}

TEST_F(CoreWorkerActorsTest, ATakenNameIsSaidAtCreation) {
  std::thread raylets_part([&] {
    const auto create = raylet.Await(Body::CreateActor);
    raylet.Send(create.from, create->request_id(), Body::CreateActorReply, [](Builder& builder) {
      const auto why = builder.CreateString("the name is taken");
      return fbr::CreateCreateActorReply(builder, ErrorCode::AlreadyExists, why).Union();
    });
  });
  ActorOptions options;
  options.class_name = "Counter";
  options.name = "taken";
  auto created = driver->CreateActor(std::move(options), Arguments());
  raylets_part.join();
  ASSERT_FALSE(created.has_value());
  EXPECT_EQ(created.error().code(), ErrorCode::AlreadyExists);
  EXPECT_EQ(created.error().message(), "the name is taken");
}

TEST_F(CoreWorkerActorsTest, ACallMadeAfterAKillIsNotQuickerThanIt) {
  Actor* actor = CreateAlive();
  Object* before = CallActor(actor, "before");
  Call running = Next(*worker);
  std::thread raylets_part([&] {
    const auto asked = raylet.Await(Body::KillActor);
    raylet.Send(asked.from, asked->request_id(), Body::Ack,
                [](Builder& builder) { return fbr::CreateAck(builder).Union(); });
  });
  ASSERT_TRUE(driver->KillActor(actor->id, /*no_restart=*/true).ok());
  raylets_part.join();
  Object* after = CallActor(actor, "after");
  Reply(*worker, *running, "done");
  running.reset();
  EXPECT_EQ(Take(before), "done");
  TellUpdate(actor, fbr::ActorState::Dead, {}, SIGKILL);
  worker.reset();
  EXPECT_THAT(Take(after), StartsWith("ActorDied: "));
}

TEST_F(CoreWorkerActorsTest, ACallMadeAfterAKillThatRestartsIsForTheNextLife) {
  Actor* actor = CreateAlive();
  Object* before = CallActor(actor);
  RunOne(*worker, "known to be alive");
  EXPECT_EQ(Take(before), "known to be alive");
  for (const bool told_first : {false, true}) {
    std::thread raylets_part([&] {
      const auto asked = raylet.Await(Body::KillActor);
      if (told_first) TellUpdate(actor, fbr::ActorState::Restarting, {}, SIGKILL);
      raylet.Send(asked.from, asked->request_id(), Body::Ack,
                  [](Builder& builder) { return fbr::CreateAck(builder).Union(); });
    });
    ASSERT_TRUE(driver->KillActor(actor->id, /*no_restart=*/false).ok());
    raylets_part.join();
    Object* after = CallActor(actor, "after");
    if (!told_first) TellUpdate(actor, fbr::ActorState::Restarting, {}, SIGKILL);
    worker = NewWorker();
    TellUpdate(actor, fbr::ActorState::Alive, worker_id());
    Call call = Next(*worker);
    EXPECT_EQ(TextOf(call->call.args), "after");
    Reply(*worker, *call, "served");
    EXPECT_EQ(Take(after), "served");
  }
}

TEST_F(CoreWorkerActorsTest, TheEndOfAKilledOnesProcessIsNotWaitedFor) {
  Actor* actor = CreateAlive();
  Object* answered = CallActor(actor);
  Object* running = CallActor(actor);
  RunOne(*worker, "in time");
  EXPECT_EQ(Take(answered), "in time");
  (void)Next(*worker);
  TellUpdate(actor, fbr::ActorState::Dead);  // And nobody has seen its process end.
  EXPECT_THAT(Take(running), StartsWith("ActorDied: "));
  EXPECT_THAT(Take(CallActor(actor)), StartsWith("ActorDied: "));
}

TEST_F(CoreWorkerActorsTest, ADeadOneIsForgottenWithItsLastHandle) {
  Actor* actor = CreateAlive();
  const ActorId id = actor->id;
  Object* result = CallActor(actor);
  EXPECT_NE(Next(*worker), nullptr);
  worker.reset();
  TellUpdate(actor, fbr::ActorState::Dead, {}, SIGKILL);
  EXPECT_THAT(Take(result), StartsWith("ActorDied"));
  EXPECT_EQ(driver->GetStatistics().actors, 1u);  // A call to it has to say that it is dead.
  EXPECT_THAT(Take(CallActor(actor)), StartsWith("ActorDied"));
  driver->DropHandle(actor);
  const auto unsubscribed = raylet.Await(Body::UnsubscribeActor);
  EXPECT_EQ(ToId<ActorId>(unsubscribed->body_as_UnsubscribeActor()->actor_id()), id);
  EXPECT_EQ(driver->GetStatistics().actors, 0u);

  // A handle that comes back asks anew.
  Actor* again = driver->GetActor(id);
  EXPECT_EQ(ToId<ActorId>(raylet.Await(Body::SubscribeActor)->body_as_SubscribeActor()->actor_id()),
            id);
  Object* late = CallActor(again);
  TellUpdate(again, fbr::ActorState::Dead, {}, SIGKILL);
  EXPECT_THAT(Take(late), StartsWith("ActorDied"));
  driver->DropHandle(again);
  raylet.Await(Body::UnsubscribeActor);
  EXPECT_EQ(driver->GetStatistics().actors, 0u);
}

TEST_F(CoreWorkerActorsTest, OneWithoutHandlesIsForgottenWhenItIsDead) {
  Actor* actor = CreateAlive();
  Object* result = CallActor(actor);
  driver->DropHandle(actor);  // The last: its end is queued behind the call.
  RunOne(*worker, "the last result");
  EXPECT_EQ(Take(result), "the last result");
  EXPECT_EQ(Next(*worker)->method(), "__ray_terminate__");
  AwaitThatTheDriverKnows();
  EXPECT_EQ(driver->GetStatistics().actors, 1u);
  TellUpdate(actor, fbr::ActorState::Dead, {}, SIGTERM);
  worker.reset();
  raylet.Await(Body::UnsubscribeActor);
  EXPECT_EQ(driver->GetStatistics().actors, 0u);
  EXPECT_EQ(driver->GetStatistics().tasks_pending, 0u);
}

TEST_F(CoreWorkerActorsTest, ANameThatIsTakenLeavesNoActorBehind) {
  ActorOptions options;
  options.name = "taken";
  options.class_id = FunctionId::FromRandom();
  std::thread gcs([&] {
    const auto create = raylet.Await(Body::CreateActor);
    raylet.Send(create.from, create->request_id(), Body::CreateActorReply, [](Builder& builder) {
      return fbr::CreateCreateActorReply(builder, ErrorCode::AlreadyExists).Union();
    });
  });
  EXPECT_FALSE(driver->CreateActor(std::move(options), Arguments()).has_value());
  gcs.join();
  raylet.Await(Body::UnsubscribeActor);
  EXPECT_EQ(driver->GetStatistics().actors, 0u);
}

TEST_F(CoreWorkerActorsTest, WithoutTheRayletAnActorIsDead) {
  Actor* before = Create();
  Object* queued = CallActor(before);
  raylet.HangUpOn(driver_id());
  EXPECT_THAT(Take(queued), StartsWith("NodeDied: "));
  EXPECT_THAT(Take(CallActor(Create())), StartsWith("NodeDied: "));
  ActorOptions named;
  named.name = "a name";
  EXPECT_THAT(Take(CallActor(Create(std::move(named)))), StartsWith("NodeDied: "));
  Actor* unknown = driver->GetActor(RandomActorId(raylet.job));
  EXPECT_THAT(Take(CallActor(unknown)), StartsWith("NodeDied: "));
}

TEST_F(CoreWorkerActorsTest, AnActorWhoseConstructorsArgumentFailedIsDead) {
  Object* argument = Submit();
  Grant(*worker);
  Call failing = Next(*worker);
  worker->ReplyError(*failing, 1, {PayloadFormat::TaskError, "the cause", {}});
  EXPECT_EQ(Get(*driver, argument), "the cause");
  ActorOptions options;
  options.class_name = "Counter";
  auto created = driver->CreateActor(std::move(options), ArgumentsOf(argument));
  ASSERT_TRUE(created.has_value());
  EXPECT_EQ(Take(CallActor(created->actor)), "C" + created->actor->id.Hex() + "the cause");
  driver->Drop(argument);
}

}  // namespace
}  // namespace skyray::core_worker
