// SPDX-License-Identifier: Apache-2.0
#include "raylet/worker_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace skyray::raylet {
namespace {

using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class WorkerPoolTest : public ::testing::Test {
 protected:
  WorkerPool pool{2};
  JobId job = JobIdFromInt(1), other_job = JobIdFromInt(2);
  LeaseId a = LeaseId::FromRandom(), b = LeaseId::FromRandom(), c = LeaseId::FromRandom();
  TimePoint now{seconds(100)};
  int last_pid = 1000;

  void SetUp() override {
    for (const JobId& id : {job, other_job}) {
      JobEntry entry;
      entry.id = id;
      entry.driver = WorkerId::FromRandom();
      pool.AddJob(entry);
    }
  }
  std::vector<WorkerId> Forks() {
    std::vector<WorkerId> ids;
    for (const PoolWorker* worker : pool.TakeForks(now)) ids.push_back(worker->id);
    for (const WorkerId& id : ids) pool.OnForked(id, ++last_pid);
    return ids;
  }
  bool Register(const WorkerId& id) {
    return pool.OnRegistered(id, pool.Find(id) ? pool.Find(id)->pid : 1, now);
  }
  // A registered, idle worker of `of`.
  WorkerId IdleWorker(const JobId& of) {
    pool.Prestart(of, pool.WorkersOf(of).size() + 1);
    const auto forks = Forks();
    EXPECT_THAT(forks, SizeIs(1));
    EXPECT_TRUE(Register(forks[0]));
    return forks[0];
  }
};

TEST_F(WorkerPoolTest, PrestartedWorkersServeTheFirstLeases) {
  pool.Prestart(job, 2);
  const auto forks = Forks();
  ASSERT_THAT(forks, SizeIs(2));
  pool.Prestart(job, 2);
  EXPECT_THAT(Forks(), IsEmpty());
  EXPECT_EQ(pool.Assign({job}, a, now), nullptr) << "none has registered";
  EXPECT_THAT(Forks(), IsEmpty()) << "one is on its way already";
  EXPECT_TRUE(Register(forks[1]));
  ASSERT_NE(pool.FindByLease(a), nullptr);
  EXPECT_EQ(pool.FindByLease(a)->id, forks[1]);
  EXPECT_TRUE(Register(forks[0]));
  ASSERT_NE(pool.Assign({job}, b, now), nullptr);
}

TEST_F(WorkerPoolTest, AWorkerServesOnlyItsJob) {
  IdleWorker(other_job);
  EXPECT_EQ(pool.Assign({job}, a, now), nullptr);
  EXPECT_THAT(Forks(), SizeIs(1));
}

TEST_F(WorkerPoolTest, AReturnedWorkerTakesTheLeaseThatWaits) {
  const WorkerId worker = IdleWorker(job);
  EXPECT_NE(pool.Assign({job}, a, now), nullptr);
  EXPECT_EQ(pool.Assign({job}, b, now), nullptr);
  EXPECT_TRUE(pool.OnReturned(worker, now));
  EXPECT_EQ(pool.FindByLease(b)->id, worker);
  EXPECT_EQ(pool.FindByLease(a), nullptr);
  EXPECT_TRUE(pool.OnReturned(worker, now));
  EXPECT_FALSE(pool.OnReturned(worker, now));
}

TEST_F(WorkerPoolTest, OnlyTheForkedMayRegisterAndOnlyOnce) {
  EXPECT_FALSE(pool.OnRegistered(WorkerId::FromRandom(), 1, now));
  pool.Prestart(job, 1);
  const auto forks = Forks();
  EXPECT_FALSE(pool.OnRegistered(forks[0], last_pid + 1, now)) << "another process";
  EXPECT_TRUE(Register(forks[0]));
  EXPECT_FALSE(Register(forks[0]));
}

TEST_F(WorkerPoolTest, StartsAreBoundedAndGoOnAsWorkersRegister) {
  for (int i = 0; i < 10; ++i) pool.Assign({job}, LeaseId::FromRandom(), now);
  const auto forks = Forks();
  EXPECT_THAT(forks, SizeIs(4));
  Register(forks[0]);
  EXPECT_THAT(Forks(), SizeIs(1));
}

TEST_F(WorkerPoolTest, AWorkerThatExitsIsReportedWithItsLease) {
  const WorkerId worker = IdleWorker(job);
  pool.Assign({job}, a, now);
  EXPECT_TRUE(pool.MarkEnding(worker, true, "killed by skyray.kill()"));
  EXPECT_FALSE(pool.MarkEnding(worker, false, "late"));
  const auto gone = pool.OnExited(last_pid);
  ASSERT_TRUE(gone.has_value());
  EXPECT_EQ(gone->lease, a);
  EXPECT_TRUE(gone->expected);
  EXPECT_EQ(gone->end_reason, "killed by skyray.kill()");
  EXPECT_FALSE(pool.OnExited(last_pid).has_value());
  EXPECT_EQ(pool.FindByLease(a), nullptr);
}

TEST_F(WorkerPoolTest, OneThatIsEndingIsGivenNothing) {
  const WorkerId worker = IdleWorker(job);
  EXPECT_TRUE(pool.MarkEnding(worker, true, "idle"));
  EXPECT_EQ(pool.Assign({job}, a, now), nullptr);
  pool.OnExited(last_pid);
  EXPECT_THAT(Forks(), SizeIs(1)) << "the lease still wants one";
}

TEST_F(WorkerPoolTest, AnActorGetsAProcessThatHasRunNothing) {
  const WorkerId worker = IdleWorker(job);
  ASSERT_NE(pool.Assign({job}, a, now), nullptr);
  pool.OnReturned(worker, now);
  EXPECT_EQ(pool.Assign({job}, b, now, /*fresh=*/true), nullptr);
  // The used one serves who takes any; for the other there is a fork.
  EXPECT_EQ(pool.Assign({job}, c, now)->id, worker);
  pool.OnReturned(worker, now);
  EXPECT_EQ(pool.FindByLease(b), nullptr);
  const auto forks = Forks();
  ASSERT_THAT(forks, SizeIs(1));
  EXPECT_TRUE(Register(forks[0]));
  ASSERT_NE(pool.FindByLease(b), nullptr);
  EXPECT_EQ(pool.FindByLease(b)->id, forks[0]);
  EXPECT_TRUE(pool.Recount());
}

TEST_F(WorkerPoolTest, AWorkerThatIsStillNeededIdlesOn) {
  const WorkerId first = IdleWorker(job);
  IdleWorker(job);
  IdleWorker(job);
  now += seconds(2);
  EXPECT_THAT(pool.Surplus(now), SizeIs(1));
  EXPECT_FALSE(pool.StillNeeded(first, now)) << "it was not asked";
  ASSERT_TRUE(pool.MarkAsked(first, "idle"));
  EXPECT_TRUE(pool.Find(first)->ending);
  ASSERT_TRUE(pool.StillNeeded(first, now));
  EXPECT_FALSE(pool.Find(first)->ending);
  EXPECT_FALSE(pool.StillNeeded(first, now)) << "said already";
  EXPECT_TRUE(pool.Recount());
  now += seconds(5);
  EXPECT_THAT(pool.Surplus(now), SizeIs(1)) << "asked again, as it is one too many";
  EXPECT_NE(pool.NextWake(), std::nullopt);
}

TEST_F(WorkerPoolTest, AWorkerThatIsToEndAllTheSameIsNotNeeded) {
  const WorkerId worker = IdleWorker(job);
  ASSERT_TRUE(pool.MarkAsked(worker, "idle"));
  pool.MarkEnding(worker, true, "its job has ended");
  EXPECT_FALSE(pool.StillNeeded(worker, now));
  EXPECT_EQ(pool.Find(worker)->end_reason, "its job has ended");
}

TEST_F(WorkerPoolTest, WhatAWorkerSaysOfItsEndCountsThoughItWasLostSightOfBefore) {
  const WorkerId worker = IdleWorker(job);
  ASSERT_TRUE(pool.MarkEnding(worker, false, ""));
  pool.MarkEnding(worker, true, "it leaves");
  EXPECT_TRUE(pool.Find(worker)->expected);
  EXPECT_EQ(pool.Find(worker)->end_reason, "it leaves");
  pool.MarkEnding(worker, false, "it hung up");
  EXPECT_TRUE(pool.Find(worker)->expected) << "the first reason is the reason";
  EXPECT_EQ(pool.Find(worker)->end_reason, "it leaves");
}

TEST_F(WorkerPoolTest, IdleWorkersBeyondTheCpusGoAfterASecond) {
  const WorkerId first = IdleWorker(job);
  now += seconds(1);
  IdleWorker(job);
  EXPECT_FALSE(pool.NextWake().has_value()) << "two CPUs, two idle: they stay";
  now += seconds(5);
  const WorkerId third = IdleWorker(job);
  EXPECT_THAT(pool.Surplus(now), ElementsAre(first)) << "it has idled longest";
  pool.MarkEnding(first, true, "idle");
  EXPECT_THAT(pool.Surplus(now), IsEmpty());
  EXPECT_NE(pool.Find(third), nullptr);
}

TEST_F(WorkerPoolTest, OneThatDoesNotRegisterIsTooLateAfterAMinute) {
  pool.Prestart(job, 1);
  const auto forks = Forks();
  EXPECT_EQ(*pool.NextWake(), now + kRegisterTimeout);
  now += kRegisterTimeout;
  EXPECT_THAT(pool.Surplus(now), ElementsAre(forks[0]));
}

TEST_F(WorkerPoolTest, AFailedForkFailsOneLease) {
  pool.Assign({job}, a, now);
  pool.Assign({job}, b, now);
  const auto forks = pool.TakeForks(now);
  ASSERT_THAT(forks, SizeIs(2));
  const WorkerId first = forks[0]->id;
  EXPECT_EQ(pool.OnForkFailed(first), a);
  EXPECT_EQ(pool.OnForkFailed(first), std::nullopt);
  EXPECT_THAT(Forks(), IsEmpty()) << "the other fork is for b";
}

TEST_F(WorkerPoolTest, AJobWhoseWorkersNeverComeUpIsGivenUp) {
  pool.Assign({job}, a, now);
  for (int i = 0; i < kFailedStartsMax; ++i) {
    EXPECT_THAT(pool.TakeHopeless({job}), IsEmpty());
    ASSERT_THAT(Forks(), SizeIs(1));
    EXPECT_TRUE(pool.OnExited(last_pid).has_value());
  }
  EXPECT_THAT(pool.TakeHopeless({job}), ElementsAre(a));
  EXPECT_THAT(Forks(), IsEmpty());
}

TEST_F(WorkerPoolTest, AFinishedJobGetsNoWorkersAheadOfNeed) {
  pool.Prestart(job, 1);
  pool.FinishJob(job);
  pool.Prestart(job, 3);
  EXPECT_THAT(Forks(), IsEmpty());
  pool.Assign({job}, a, now);  // Of one of its detached actors.
  EXPECT_THAT(Forks(), SizeIs(1));
}

TEST_F(WorkerPoolTest, WithTheZygoteGoneEveryWorkerIs) {
  IdleWorker(job);
  pool.Assign({job}, a, now);
  pool.Assign({job}, b, now);
  Forks();
  EXPECT_THAT(pool.OnAllExited(), SizeIs(2));
  EXPECT_EQ(pool.size(), 0u);
  EXPECT_THAT(Forks(), SizeIs(1)) << "b still waits";
}

TEST_F(WorkerPoolTest, ALeaseThatWaitsNoLongerCausesNoFork) {
  pool.Assign({job}, a, now);
  EXPECT_TRUE(pool.StopWaiting(a));
  EXPECT_FALSE(pool.StopWaiting(a));
  EXPECT_THAT(Forks(), IsEmpty());
}

TEST_F(WorkerPoolTest, AWorkerServesOnlyItsEnvironment) {
  const PoolKey special{job, R"({"env_vars": {"A": "1"}})"};
  const WorkerId plain = IdleWorker(job);
  EXPECT_EQ(pool.Assign(special, a, now), nullptr);
  const auto forks = Forks();
  ASSERT_THAT(forks, SizeIs(1));
  EXPECT_EQ(pool.Find(forks[0])->key, special);
  EXPECT_TRUE(Register(forks[0]));
  EXPECT_EQ(pool.FindByLease(a)->id, forks[0]);
  EXPECT_TRUE(pool.OnReturned(forks[0], now));
  EXPECT_EQ(pool.Assign({job}, b, now)->id, plain);
  EXPECT_EQ(pool.Assign({other_job, special.runtime_env}, c, now), nullptr);
  EXPECT_EQ(pool.Assign(special, a, now)->id, forks[0]);
}

TEST_F(WorkerPoolTest, OneEnvironmentsFailuresAreNotTheOthers) {
  const PoolKey bad{job, "bad"};
  pool.Assign(bad, a, now);
  for (int i = 0; i < kFailedStartsMax; ++i) {
    EXPECT_THAT(pool.TakeHopeless(bad), IsEmpty());
    ASSERT_THAT(Forks(), SizeIs(1));
    pool.OnExited(last_pid);
  }
  pool.Assign({job}, b, now);
  EXPECT_THAT(pool.TakeHopeless({job}), IsEmpty());
  EXPECT_THAT(pool.TakeHopeless(bad), ElementsAre(a));
  EXPECT_THAT(Forks(), SizeIs(1)) << "for b alone";
}

TEST_F(WorkerPoolTest, IdleWorkersOfManyEnvironmentsAreFew) {
  std::vector<WorkerId> ended;
  for (int i = 0; i < 100; ++i) {
    const LeaseId lease = LeaseId::FromRandom();
    EXPECT_EQ(pool.Assign({job, std::to_string(i)}, lease, now), nullptr);
    const auto forks = Forks();
    ASSERT_THAT(forks, SizeIs(1));
    EXPECT_TRUE(Register(forks[0]));
    EXPECT_TRUE(pool.OnReturned(forks[0], now));
    now += std::chrono::milliseconds(1);
    for (const WorkerId& surplus : pool.Surplus(now)) {
      ASSERT_LE(*pool.NextWake(), now);
      pool.MarkEnding(surplus, true, "idle");
      const int pid = pool.Find(surplus)->pid;
      ASSERT_TRUE(pool.OnExited(pid).has_value());
      ended.push_back(surplus);
    }
    ASSERT_LE(pool.size(), 2 + kIdleSpecialExtra);
  }
  EXPECT_THAT(ended, SizeIs(100 - 2 - kIdleSpecialExtra));
  now += kIdleWorkerKeep;
  EXPECT_THAT(pool.Surplus(now), SizeIs(kIdleSpecialExtra)) << "later only one a CPU stays";
}

// Leases of five kinds come and go, workers start, fail, idle and end, in any order.
TEST_F(WorkerPoolTest, CountsAreRightWhateverHappens) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const auto pick = [&](size_t count) { return random() % count; };
  const std::vector<PoolKey> keys{{job}, {job, "1"}, {job, "2"}, {other_job}, {other_job, "1"}};
  std::vector<LeaseId> waiting;
  for (int step = 0; step < 20'000; ++step) {
    const std::vector<WorkerId> all = pool.All();
    const WorkerId some = all.empty() ? WorkerId() : all[pick(all.size())];
    const PoolWorker* worker = pool.Find(some);
    now += std::chrono::milliseconds(pick(50));
    switch (pick(10)) {
      case 0:
      case 1:
        waiting.push_back(LeaseId::FromRandom());
        pool.Assign(keys[pick(keys.size())], waiting.back(), now);
        break;
      case 2:
        Forks();
        break;
      case 3:
      case 4:
        if (worker != nullptr) pool.OnRegistered(some, worker->pid, now);
        break;
      case 5:
        pool.OnReturned(some, now);
        break;
      case 6:
        if (worker != nullptr) pool.OnExited(worker->pid);
        break;
      case 7:
        pool.MarkEnding(some, true, "asked to");
        break;
      case 8:
        if (!waiting.empty()) pool.StopWaiting(waiting[pick(waiting.size())]);
        pool.TakeHopeless(keys[pick(keys.size())]);
        break;
      case 9:
        for (const WorkerId& surplus : pool.Surplus(now)) pool.MarkEnding(surplus, true, "idle");
        if (pick(50) == 0) pool.OnAllExited();
        break;
    }
    if (step % 50 == 0) pool.Prestart(job, pick(3));
    ASSERT_TRUE(pool.Recount()) << "after step " << step;
  }
}

}  // namespace
}  // namespace skyray::raylet
