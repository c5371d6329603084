// SPDX-License-Identifier: Apache-2.0
#include "core_worker/task_submitter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core_worker/words.h"

namespace skyray::core_worker {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class TaskSubmitterTest : public ::testing::Test {
 protected:
  TaskSubmitterTest() {
    one_cpu = submitter.ClassOf(Cpus(1), {});
    function.name = "f";
    other_function.name = "g";
  }
  static ResourceSet Cpus(int64_t count) {
    ResourceSet resources;
    resources.Set("CPU", count * kResourceUnit);
    return resources;
  }
  Task* NewTask(Function* of = nullptr) {
    auto& task = tasks.emplace_back(std::make_unique<Task>());
    task->function = of == nullptr ? &function : of;
    task->lease_class = one_cpu;
    return task.get();
  }
  Task* Submit(Function* of = nullptr) {
    Task* task = NewTask(of);
    submitter.Submit(task, actions);
    return task;
  }
  std::vector<Task*> SubmitMany(int count) {
    std::vector<Task*> all;
    for (int i = 0; i < count; ++i) all.push_back(Submit());
    return all;
  }
  Lease* Grant(bool connected = true, LeaseClass* of = nullptr) {
    auto lease = std::make_unique<Lease>();
    lease->id = LeaseId::FromRandom();
    lease->worker = SomeWorker();
    if (connected) lease->channel = std::make_shared<Channel>();
    return submitter.Granted(of == nullptr ? one_cpu : of, std::move(lease), now, actions);
  }
  void Reply(Task* task, uint32_t execute_us) { submitter.Replied(task, execute_us, now, actions); }
  // Tasks sent since the last look, in order.
  std::vector<Task*> Sent() {
    std::vector<Task*> sent;
    for (const auto& [lease, task] : actions.send) sent.push_back(task);
    actions.send.clear();
    return sent;
  }
  size_t Requested() { return std::exchange(actions.request, {}).size(); }
  std::vector<LeaseId> GivenBack() {
    std::vector<LeaseId> ids;
    for (const auto& lease : actions.give_back) ids.push_back(lease->id);
    actions.give_back.clear();
    return ids;
  }
  // Brings the expected time of `function` to `us`.
  Lease* GrantKnown(uint32_t us) {
    Task* first = Submit();
    Lease* lease = Grant();
    Reply(first, us);
    Sent();
    Requested();
    return lease;
  }

  int64_t now = 1'000'000'000;
  std::vector<std::unique_ptr<Task>> tasks;
  Function function, other_function;
  TaskSubmitter submitter;
  LeaseClass* one_cpu;
  SubmitActions actions;
};

// --- Asking for leases ---

TEST_F(TaskSubmitterTest, OneClassForTheSameResourcesAndStrategy) {
  EXPECT_EQ(submitter.ClassOf(Cpus(1), {}), one_cpu);
  EXPECT_NE(submitter.ClassOf(Cpus(2), {}), one_cpu);
  Strategy spread;
  spread.kind = Strategy::Kind::Spread;
  EXPECT_NE(submitter.ClassOf(Cpus(1), spread), one_cpu);
  Strategy here;
  here.kind = Strategy::Kind::NodeAffinity;
  here.node = NodeId::FromRandom();
  Strategy there = here;
  there.node = NodeId::FromRandom();
  Strategy rather_here = here;
  rather_here.soft = true;
  EXPECT_NE(submitter.ClassOf(Cpus(1), here), submitter.ClassOf(Cpus(1), there));
  EXPECT_NE(submitter.ClassOf(Cpus(1), here), submitter.ClassOf(Cpus(1), rather_here));
  EXPECT_EQ(submitter.ClassOf(Cpus(1), here), submitter.ClassOf(Cpus(1), here));
}

TEST_F(TaskSubmitterTest, ATaskAsksForALease) {
  Submit();
  EXPECT_THAT(actions.request, ElementsAre(one_cpu));
  EXPECT_THAT(Sent(), IsEmpty());
  EXPECT_EQ(one_cpu->name, "f");
}

TEST_F(TaskSubmitterTest, ALeasePerQueuedTaskUpToALimit) {
  SubmitMany(5);
  EXPECT_EQ(Requested(), 5u);
  SubmitMany(100);
  EXPECT_EQ(Requested(), static_cast<size_t>(kLeaseRequestsMax) - 5);
  EXPECT_EQ(one_cpu->requests, kLeaseRequestsMax);
}

TEST_F(TaskSubmitterTest, AGrantTakesTheFirstTask) {
  const auto two = SubmitMany(2);
  Lease* lease = Grant();
  EXPECT_THAT(Sent(), ElementsAre(two[0]));
  EXPECT_EQ(two[0]->lease, lease);
  EXPECT_EQ(submitter.queued_count(), 1u);
}

TEST_F(TaskSubmitterTest, AConnectingLeaseTakesItsTaskWhenItIsConnected) {
  Task* task = Submit();
  Requested();
  Lease* lease = Grant(/*connected=*/false);
  EXPECT_THAT(Sent(), IsEmpty());
  EXPECT_EQ(Requested(), 0u) << "the connecting one will take it";
  const auto channel = std::make_shared<Channel>();
  submitter.WorkerConnected(lease->worker.worker, channel, actions);
  EXPECT_THAT(Sent(), ElementsAre(task));
  EXPECT_EQ(lease->channel, channel);
}

TEST_F(TaskSubmitterTest, AFailedRequestFailsWhatIsQueued) {
  const auto three = SubmitMany(3);
  EXPECT_THAT(submitter.RequestFailed(one_cpu), ElementsAre(three[0], three[1], three[2]));
  EXPECT_EQ(submitter.queued_count(), 0u);
  EXPECT_EQ(one_cpu->requests, 2);
  Requested();
  Submit();
  EXPECT_EQ(Requested(), 0u) << "two are still under way";
}

TEST_F(TaskSubmitterTest, AnIdleLeaseIsUsedAgainWithoutAsking) {
  GrantKnown(10);
  Task* second = Submit();
  EXPECT_THAT(Sent(), ElementsAre(second));
  EXPECT_EQ(Requested(), 0u);
}

// --- Pipelining ---

TEST_F(TaskSubmitterTest, AFunctionNotSeenYetRunsAlone) {
  const auto two = SubmitMany(2);
  Lease* lease = Grant();
  EXPECT_THAT(Sent(), ElementsAre(two[0]));
  EXPECT_TRUE(lease->unknown_load);
  Reply(two[0], 10);
  EXPECT_THAT(Sent(), ElementsAre(two[1]));
}

TEST_F(TaskSubmitterTest, NothingIsPutBehindAFunctionNotSeenYet) {
  Lease* lease = GrantKnown(10);
  Task* unknown = Submit(&other_function);
  EXPECT_THAT(Sent(), ElementsAre(unknown));
  Submit();
  EXPECT_THAT(Sent(), IsEmpty());
  EXPECT_EQ(lease->in_flight, 1);
}

TEST_F(TaskSubmitterTest, ShortTasksArePipelinedByTheTimeTheyTake) {
  Lease* lease = GrantKnown(100);
  const auto many = SubmitMany(100);
  EXPECT_EQ(Sent().size(), 20u);  // 20 x 100 µs are kPipelineUs.
  EXPECT_EQ(lease->in_flight, 20);
  Reply(many[0], 100);
  EXPECT_THAT(Sent(), ElementsAre(many[20]));
}

TEST_F(TaskSubmitterTest, ALongTaskRunsAlone) {
  Lease* lease = GrantKnown(1'000'000);
  SubmitMany(3);
  EXPECT_EQ(Sent().size(), 1u);
  EXPECT_EQ(lease->in_flight, 1);
}

TEST_F(TaskSubmitterTest, TheShortestTasksAreBoundedByNumber) {
  GrantKnown(0);
  SubmitMany(3 * kPipelineTasksMax);
  EXPECT_EQ(Sent().size(), static_cast<size_t>(kPipelineTasksMax));
}

TEST_F(TaskSubmitterTest, OneLongRunCountsAtOnce) {
  GrantKnown(10);
  Task* slow = Submit();
  Reply(slow, 500'000);
  EXPECT_GE(function.execute_us, 500'000);
  Sent();
  SubmitMany(2);
  EXPECT_EQ(Sent().size(), 1u);
}

TEST_F(TaskSubmitterTest, ShortRunsBringTheExpectationDownSlowly) {
  GrantKnown(1000);
  for (int i = 0; i < 5; ++i) Reply(Submit(), 10);
  EXPECT_LT(function.execute_us, 1000);
  EXPECT_GT(function.execute_us, 100);
}

TEST_F(TaskSubmitterTest, TasksSpreadOverTheLeases) {
  Lease* first = GrantKnown(100);
  Submit();
  Lease* second = Grant();
  SubmitMany(9);
  EXPECT_EQ(first->in_flight, 5);
  EXPECT_EQ(second->in_flight, 5);
}

TEST_F(TaskSubmitterTest, TasksOfOneClassLeaveInOrder) {
  Lease* lease = GrantKnown(200);
  const auto many = SubmitMany(50);
  std::vector<Task*> order = Sent();
  for (size_t next = 0; next < many.size(); ++next) {
    Reply(many[next], 200);
    for (Task* task : Sent()) order.push_back(task);
  }
  EXPECT_EQ(order, many);
  EXPECT_EQ(lease->in_flight, 0);
}

// --- Handing back ---

TEST_F(TaskSubmitterTest, HandedBackTasksKeepTheirOrder) {
  Lease* lease = GrantKnown(500);
  const auto many = SubmitMany(6);  // Four in flight.
  ASSERT_EQ(Sent().size(), 4u);
  submitter.HandedBack({many[1], many[2], many[3]}, now, actions);
  EXPECT_THAT(Sent(), IsEmpty()) << "what runs there is a long one";
  EXPECT_THAT(one_cpu->queue, ElementsAre(many[1], many[2], many[3], many[4], many[5]));
  EXPECT_EQ(many[1]->lease, nullptr);
  Lease* second = Grant();
  EXPECT_THAT(Sent(), ElementsAre(many[1], many[2], many[3], many[4]));
  EXPECT_EQ(lease->in_flight, 1);
  EXPECT_EQ(second->in_flight, 4);
}

TEST_F(TaskSubmitterTest, HandedBackTasksAskForOtherLeases) {
  GrantKnown(500);
  const auto many = SubmitMany(4);
  EXPECT_EQ(Requested(), 0u);
  submitter.HandedBack({many[1], many[2]}, now, actions);
  EXPECT_EQ(Requested(), 2u);
}

TEST_F(TaskSubmitterTest, ALeaseWantedBackThatHandsAllBackIsReturned) {
  Lease* lease = GrantKnown(500);
  const LeaseId id = lease->id;
  const auto many = SubmitMany(2);
  Sent();
  submitter.LeasesWanted(/*idle_only=*/false, actions);
  submitter.HandedBack({many[0], many[1]}, now, actions);
  EXPECT_THAT(GivenBack(), ElementsAre(id));
  EXPECT_EQ(submitter.lease_count(), 0u);
  EXPECT_EQ(Requested(), 2u);
}

// --- Giving leases back ---

TEST_F(TaskSubmitterTest, IdleLeasesAreReturnedAfterAWhile) {
  Lease* lease = GrantKnown(10);
  const LeaseId id = lease->id;
  EXPECT_EQ(submitter.ReturnIdle(now + kLeaseLingerNs - 1, actions), now + kLeaseLingerNs);
  EXPECT_THAT(GivenBack(), IsEmpty());
  EXPECT_EQ(submitter.ReturnIdle(now + kLeaseLingerNs, actions), INT64_MAX);
  EXPECT_THAT(GivenBack(), ElementsAre(id));
  EXPECT_EQ(submitter.Find(id), nullptr);
  Submit();
  EXPECT_EQ(Requested(), 1u);
}

TEST_F(TaskSubmitterTest, ABusyLeaseIsNotIdle) {
  GrantKnown(10);
  Task* task = Submit();
  EXPECT_EQ(submitter.ReturnIdle(now + 10 * kLeaseLingerNs, actions), INT64_MAX);
  now += 10 * kLeaseLingerNs;
  Reply(task, 10);
  EXPECT_EQ(submitter.ReturnIdle(now, actions), now + kLeaseLingerNs);
  EXPECT_THAT(GivenBack(), IsEmpty());
}

TEST_F(TaskSubmitterTest, LeasesWantedElsewhereGoAtOnceOrWithTheirTask) {
  Lease* idle = GrantKnown(1'000'000);
  Task* running = Submit();  // On the idle one.
  Lease* second = Grant();
  const LeaseId busy_id = idle->id, idle_id = second->id;
  submitter.LeasesWanted(/*idle_only=*/false, actions);
  EXPECT_THAT(GivenBack(), ElementsAre(idle_id));
  Reply(running, 10);
  EXPECT_THAT(GivenBack(), ElementsAre(busy_id));
  EXPECT_EQ(submitter.lease_count(), 0u);
}

TEST_F(TaskSubmitterTest, ALeaseWantedBackGetsNoMoreTasks) {
  GrantKnown(10);
  Submit();
  Sent();
  submitter.LeasesWanted(/*idle_only=*/false, actions);
  Submit();
  EXPECT_THAT(Sent(), IsEmpty());
  EXPECT_EQ(Requested(), 1u);
}

// --- Losing leases ---

TEST_F(TaskSubmitterTest, ALostLeaseComesWithNothingMoreToSend) {
  Lease* lease = GrantKnown(10);
  const LeaseId id = lease->id;
  const WorkerId worker = lease->worker.worker;
  Submit();
  Sent();
  EXPECT_THAT(submitter.WorkerGone(worker), ElementsAre(lease));
  EXPECT_TRUE(lease->broken);
  Submit();
  EXPECT_THAT(Sent(), IsEmpty());
  EXPECT_EQ(Requested(), 1u);
  const auto owned = submitter.Lost(id);
  ASSERT_NE(owned, nullptr);
  EXPECT_EQ(owned->id, id);
  EXPECT_THAT(one_cpu->leases, IsEmpty());
  EXPECT_EQ(submitter.Lost(id), nullptr);
}

TEST_F(TaskSubmitterTest, ALostNodesLeasesAreGivenNothingMore) {
  Lease* here = GrantKnown(10);
  Lease* there = GrantKnown(10);
  there->node = NodeId::FromRandom();
  submitter.NodeGone(NodeId::FromRandom());
  EXPECT_FALSE(here->broken || there->broken);
  submitter.NodeGone(there->node);
  EXPECT_TRUE(there->broken);
  EXPECT_FALSE(here->broken);
}

TEST_F(TaskSubmitterTest, ABrokenLeaseIsNotReturnedForIdleness) {
  Lease* lease = GrantKnown(10);
  submitter.WorkerGone(lease->worker.worker);
  EXPECT_EQ(submitter.ReturnIdle(now + 2 * kLeaseLingerNs, actions), INT64_MAX);
  EXPECT_EQ(submitter.lease_count(), 1u);
}

TEST_F(TaskSubmitterTest, ABrokenLeaseDoesNotComeToLife) {
  Lease* lease = Grant(/*connected=*/false);
  submitter.WorkerGone(lease->worker.worker);
  submitter.WorkerConnected(lease->worker.worker, std::make_shared<Channel>(), actions);
  EXPECT_EQ(lease->channel, nullptr);
}

TEST_F(TaskSubmitterTest, ALeaseThatBreaksWhileConnectingIsAskedForAgain) {
  Submit();
  Requested();
  Lease* lease = Grant(/*connected=*/false);
  submitter.WorkerGone(lease->worker.worker);
  submitter.Lost(lease->id);
  submitter.Pump(one_cpu, actions);
  EXPECT_EQ(Requested(), 1u);
}

TEST_F(TaskSubmitterTest, UnknownLeasesAreNobodys) {
  EXPECT_EQ(submitter.Find(LeaseId::FromRandom()), nullptr);
  EXPECT_EQ(submitter.Lost(LeaseId::FromRandom()), nullptr);
  EXPECT_THAT(submitter.WorkerGone(WorkerId::FromRandom()), IsEmpty());
}

TEST_F(TaskSubmitterTest, EverythingQueuedCanBeTaken) {
  LeaseClass* two_cpus = submitter.ClassOf(Cpus(2), {});
  Task* one = Submit();
  Task* two = NewTask();
  two->lease_class = two_cpus;
  submitter.Submit(two, actions);
  EXPECT_THAT(submitter.TakeQueued(), ::testing::UnorderedElementsAre(one, two));
  EXPECT_EQ(submitter.queued_count(), 0u);
}

}  // namespace
}  // namespace skyray::core_worker
