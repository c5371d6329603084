// SPDX-License-Identifier: Apache-2.0
#include "core_worker/lineage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core_worker/actor_submitter.h"
#include "core_worker/words.h"

namespace skyray::core_worker {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

// Tasks and objects as the core worker brings them to a Lineage, without it.
class LineageTest : public ::testing::Test {
 protected:
  ~LineageTest() override {
    for (Task* task : kept) {
      if (lineage.Keeps(task)) lineage.Remove(task);
    }
  }
  Object* New(size_t index = 1) {
    Object* object = table.New(ObjectIdOf(TaskId::FromRandom(), static_cast<uint32_t>(index)));
    table.Publish(object);  // The table frees what is left of those at its end.
    return object;
  }
  Object* InStore() {
    Object* object = New();
    table.SetInStore(object, self.node, 1000, ready);
    return object;
  }
  // Has run: its returns lie in the store, and each has one reference.
  Task* Ran(size_t returns, const std::vector<Object*>& arguments = {}, int32_t retries = 3) {
    auto* task = tasks.emplace_back(std::make_unique<Task>()).get();
    task->retries_left = retries;
    for (Object* argument : arguments) {
      task->ref_args.push_back({0, "", argument});
      table.Hold(argument);
      table.HoldForLineage(argument, freed);
    }
    for (size_t i = 0; i < returns; ++i) {
      Object* object = InStore();
      object->maker = task;
      task->returns.push_back(object);
      ++task->stored;
    }
    kept.push_back(task);
    task->kept = true;
    EXPECT_THAT(lineage.Keep(task), IsEmpty());
    return task;
  }
  void Drop(Object* object) { table.Drop(object, freed); }
  std::vector<Task*> Unneeded() { return std::exchange(freed.unneeded, {}); }
  std::vector<ObjectId> FreedCopies() {
    std::vector<ObjectId> ids;
    for (const auto& copy : std::exchange(freed.store_copies, {})) ids.push_back(copy.id);
    return ids;
  }

  WorkerAddress self = SomeWorker();
  ObjectTable table{self};
  ReadyEffects ready;
  FreedEffects freed;
  std::vector<std::unique_ptr<Task>> tasks;
  std::vector<Task*> kept;
  Lineage lineage;
};

TEST_F(LineageTest, ATaskIsNeededUntilItsLastReturnIsFreed) {
  Task* task = Ran(2);
  Object* first = task->returns[0];
  Object* second = task->returns[1];
  Drop(first);
  EXPECT_THAT(Unneeded(), IsEmpty());
  EXPECT_THAT(task->returns, ElementsAre(nullptr, second));
  Drop(second);
  EXPECT_THAT(Unneeded(), ElementsAre(task));
  EXPECT_EQ(table.size(), 0u);
}

TEST_F(LineageTest, AnArgumentsCopyGoesButItsRecordStays) {
  Object* argument = Ran(1)->returns[0];
  const ObjectId id = argument->id;
  Task* task = Ran(1, {argument});
  Drop(argument);
  EXPECT_THAT(FreedCopies(), ElementsAre(id));
  EXPECT_TRUE(argument->released());
  EXPECT_THAT(Unneeded(), IsEmpty());  // The argument's task is, by the other one.
  Drop(task->returns[0]);
  EXPECT_THAT(Unneeded(), ElementsAre(task));
  table.DropFromLineage(argument, freed);
  EXPECT_THAT(Unneeded(), ElementsAre(tasks[0].get()));
  EXPECT_EQ(table.size(), 0u);
}

TEST_F(LineageTest, ASmallArgumentIsKeptWithItsValue) {
  Object* argument = New();
  table.SetValue(argument, TextValue("small"), ready);
  Task* task = Ran(1, {argument});
  Drop(argument);
  EXPECT_EQ(argument->state, ObjectState::InProcess);
  EXPECT_THAT(PlanRecovery(task->returns[0]).again, ElementsAre(task));
  Drop(task->returns[0]);
  table.DropFromLineage(argument, freed);
  EXPECT_EQ(table.size(), 0u);
}

TEST_F(LineageTest, ABorrowedArgumentIsGivenBack) {
  const WorkerAddress owner = SomeWorker();
  Object* argument = table.Restore(ObjectId::FromRandom(), owner);
  argument->registered = true;
  table.SetInStore(argument, owner.node, 10, ready);
  Task* task = Ran(1, {argument});
  Drop(argument);
  ASSERT_EQ(freed.returned.size(), 1u);
  EXPECT_EQ(freed.returned[0].object, argument->id);
  EXPECT_FALSE(argument->registered);
  Drop(task->returns[0]);
  freed.returned.clear();
  table.DropFromLineage(argument, freed);
  EXPECT_THAT(freed.returned, IsEmpty());  // Once is enough.
  EXPECT_EQ(table.size(), 0u);
}

TEST_F(LineageTest, AChainIsMadeAgainAsFarAsItIsGone) {
  Object* a = Ran(1)->returns[0];
  Object* b = Ran(1, {a})->returns[0];
  Object* c = Ran(1, {b})->returns[0];
  Drop(b);  // Released; a is still there.
  EXPECT_THAT(PlanRecovery(c).again, ElementsAre(tasks[2].get(), tasks[1].get()));
  Drop(a);
  EXPECT_THAT(PlanRecovery(c).again, ElementsAre(tasks[2].get(), tasks[1].get(), tasks[0].get()));
  EXPECT_THAT(PlanRecovery(c).impossible, IsEmpty());
}

TEST_F(LineageTest, ATaskIsRunOnceForAllItsReturnsAndUsers) {
  Task* source = Ran(2);
  Object* left = source->returns[0];
  Object* right = source->returns[1];
  Task* user = Ran(1, {left, right, left});
  Drop(left);
  Drop(right);
  EXPECT_THAT(PlanRecovery(user->returns[0]).again, ElementsAre(user, source));
}

TEST_F(LineageTest, WhatIsOnItsWayIsWaitedFor) {
  Object* argument = Ran(1)->returns[0];
  Task* user = Ran(1, {argument});
  table.Forget(argument);
  argument->task_pending = true;
  EXPECT_THAT(PlanRecovery(user->returns[0]).again, ElementsAre(user));
  EXPECT_THAT(PlanRecovery(argument).again, IsEmpty());
}

TEST_F(LineageTest, WhatCannotBeMadeAgainIsNamedWithTheReason) {
  Object* put = InStore();
  EXPECT_THAT(PlanRecovery(put).impossible, ElementsAre(Pair(put, Unrecoverable::NoTask)));
  put->lineage_evicted = true;
  EXPECT_THAT(PlanRecovery(put).impossible, ElementsAre(Pair(put, Unrecoverable::Evicted)));
  Object* tired = Ran(1, {}, /*retries=*/0)->returns[0];
  EXPECT_THAT(PlanRecovery(tired).impossible, ElementsAre(Pair(tired, Unrecoverable::NoRetries)));
  Actor actor;
  actor.state = ActorState::Dead;
  Task* call = Ran(1);
  call->actor = &actor;
  Object* orphan = call->returns[0];
  EXPECT_THAT(PlanRecovery(orphan).impossible, ElementsAre(Pair(orphan, Unrecoverable::ActorDied)));
  actor.state = ActorState::Pending;  // It will be back.
  EXPECT_THAT(PlanRecovery(orphan).again, ElementsAre(call));
}

TEST_F(LineageTest, AReasonDeepInTheChainIsFound) {
  Object* put = InStore();
  Task* user = Ran(1, {put});
  Drop(put);
  const RecoveryPlan plan = PlanRecovery(user->returns[0]);
  EXPECT_THAT(plan.again, ElementsAre(user));
  EXPECT_THAT(plan.impossible, ElementsAre(Pair(put, Unrecoverable::NoTask)));
}

TEST_F(LineageTest, TheLongestKeptMakeRoom) {
  Task* first = Ran(1);
  const uint64_t each = lineage.bytes();
  Task* second = Ran(1);
  lineage.set_bytes_max(2 * each);
  auto third = std::make_unique<Task>();
  EXPECT_THAT(lineage.Keep(third.get()), ElementsAre(first));
  EXPECT_EQ(lineage.size(), 2u);
  EXPECT_EQ(lineage.bytes(), 2 * each);
  lineage.set_bytes_max(0);
  auto fourth = std::make_unique<Task>();
  EXPECT_THAT(lineage.Keep(fourth.get()), ElementsAre(second, third.get(), fourth.get()));
  EXPECT_EQ(lineage.bytes(), 0u);
}

TEST_F(LineageTest, ANewCopyIsTellableFromALostOne) {
  Object* object = Ran(1)->returns[0];
  EXPECT_EQ(object->attempt, 0u);
  table.Forget(object);
  EXPECT_EQ(object->attempt, 1u);
  table.SetInStore(object, SomeWorker().node, 10, ready);
  EXPECT_EQ(object->attempt, 1u);
  table.SetInStore(object, SomeWorker().node, 10, ready);  // Made again for a sibling's sake.
  EXPECT_EQ(object->attempt, 2u);
}

}  // namespace
}  // namespace skyray::core_worker
