// SPDX-License-Identifier: Apache-2.0
#include "raylet/worker_pool.h"

#include <algorithm>

#include "common/logging.h"

namespace skyray::raylet {

using State = PoolWorker::State;

void WorkerPool::AddJob(JobEntry job) {
  JobEntry& entry = jobs_[job.id];
  entry.id = job.id;
  if (entry.driver.IsNil()) entry = std::move(job);
}

const JobEntry* WorkerPool::FindJob(const JobId& job) const {
  const auto it = jobs_.find(job);
  return it == jobs_.end() ? nullptr : &it->second;
}

void WorkerPool::FinishJob(const JobId& job) {
  const auto it = jobs_.find(job);
  if (it == jobs_.end()) return;
  it->second.finished = true;
  for (auto& [key, group] : groups_) {
    if (key.job == job) group.prestart = 0;
  }
  DropUnused();
}

void WorkerPool::Prestart(const JobId& job, size_t count) {
  const auto it = jobs_.find(job);
  if (it == jobs_.end() || it->second.finished) return;
  Group& group = groups_[PoolKey{job}];
  const auto fresh = std::count_if(group.idle.begin(), group.idle.end(),
                                   [this](const WorkerId& id) { return !workers_.at(id).used; });
  const size_t have = static_cast<size_t>(fresh) + group.starting;
  if (count > have) group.prestart = std::max(group.prestart, count - have);
  DropIfUnused(PoolKey{job});
}

void WorkerPool::Lend(PoolWorker& worker, const LeaseId& lease, TimePoint now) {
  worker.state = State::Leased;
  worker.lease = lease;
  worker.since = now;
  by_lease_[lease] = worker.id;
}

void WorkerPool::MakeIdle(PoolWorker& worker, TimePoint now) {
  Group& group = groups_.at(worker.key);
  worker.lease = LeaseId::Nil();
  worker.blocked = false;
  worker.since = now;
  // Nobody else can serve those that want a fresh one.
  const bool takes_fresh = !worker.used && !group.waiting_fresh.empty();
  auto& waiting = takes_fresh ? group.waiting_fresh : group.waiting;
  if (!worker.ending && !waiting.empty()) {
    const LeaseId lease = waiting.front();
    waiting.pop_front();
    Lend(worker, lease, now);
    return;
  }
  worker.state = State::Idle;
  if (worker.ending) return;
  group.idle.push_back(worker.id);
  ++idle_;
  if (worker.key.special()) ++idle_special_;
}

void WorkerPool::NotIdle(const PoolWorker& worker) {
  const size_t erased = std::erase(groups_.at(worker.key).idle, worker.id);
  idle_ -= erased;
  if (worker.key.special()) idle_special_ -= erased;
}

const PoolWorker* WorkerPool::Assign(const PoolKey& key, const LeaseId& lease, TimePoint now,
                                     bool fresh) {
  jobs_[key.job].id = key.job;
  Group& group = groups_[key];
  const auto idle = std::find_if(group.idle.rbegin(), group.idle.rend(), [&](const WorkerId& id) {
    return !fresh || !workers_.at(id).used;
  });
  if (idle == group.idle.rend()) {
    (fresh ? group.waiting_fresh : group.waiting).push_back(lease);
    return nullptr;
  }
  PoolWorker& worker = workers_.at(*idle);
  NotIdle(worker);
  Lend(worker, lease, now);
  return &worker;
}

bool WorkerPool::StopWaiting(const LeaseId& lease) {
  for (auto& [key, group] : groups_) {
    if (std::erase(group.waiting, lease) + std::erase(group.waiting_fresh, lease) == 0) continue;
    DropIfUnused(PoolKey(key));
    return true;
  }
  return false;
}

std::vector<const PoolWorker*> WorkerPool::TakeForks(TimePoint now) {
  std::vector<const PoolWorker*> forks;
  for (auto& [key, group] : groups_) {
    while (starting_ < starting_max_ &&
           (group.waiting_count() > group.starting || group.prestart > 0)) {
      // A fork for a waiting lease may be one that was wished for anyway.
      if (group.prestart > 0) --group.prestart;
      PoolWorker worker;
      worker.id = WorkerId::FromRandom();
      worker.key = key;
      worker.since = now;
      ++group.workers;
      ++group.starting;
      ++starting_;
      forks.push_back(&workers_.emplace(worker.id, worker).first->second);
    }
  }
  return forks;
}

void WorkerPool::OnForked(const WorkerId& worker, int pid) {
  if (const auto it = workers_.find(worker); it != workers_.end()) it->second.pid = pid;
}

std::optional<LeaseId> WorkerPool::OnForkFailed(const WorkerId& worker) {
  const auto it = workers_.find(worker);
  if (it == workers_.end() || it->second.state != State::Starting) return std::nullopt;
  const PoolKey key = it->second.key;
  Group& group = groups_.at(key);
  std::optional<LeaseId> lease;
  if (auto& waiting = group.waiting.empty() ? group.waiting_fresh : group.waiting;
      !waiting.empty()) {
    lease = waiting.front();
    waiting.pop_front();
  }
  Forget(it->second);
  workers_.erase(it);
  DropIfUnused(key);
  return lease;
}

bool WorkerPool::OnRegistered(const WorkerId& worker_id, int pid, TimePoint now) {
  const auto it = workers_.find(worker_id);
  if (it == workers_.end() || it->second.state != State::Starting) return false;
  PoolWorker& worker = it->second;
  // The zygote's report may still be under way; if it came, it must agree.
  if (worker.pid != 0 && worker.pid != pid) return false;
  worker.pid = pid;
  Group& group = groups_.at(worker.key);
  --group.starting;
  --starting_;
  group.failed_starts = 0;
  MakeIdle(worker, now);
  return true;
}

std::vector<LeaseId> WorkerPool::Group::TakeWaiting() {
  std::vector<LeaseId> all(waiting.begin(), waiting.end());
  all.insert(all.end(), waiting_fresh.begin(), waiting_fresh.end());
  waiting.clear();
  waiting_fresh.clear();
  return all;
}

bool WorkerPool::OnReturned(const WorkerId& worker_id, TimePoint now) {
  const auto it = workers_.find(worker_id);
  if (it == workers_.end() || it->second.state != State::Leased) return false;
  by_lease_.erase(it->second.lease);
  it->second.used = true;
  MakeIdle(it->second, now);
  return true;
}

void WorkerPool::Forget(const PoolWorker& worker) {
  Group& group = groups_.at(worker.key);
  --group.workers;
  if (worker.state == State::Starting) {
    --group.starting;
    --starting_;
  } else if (worker.state == State::Idle) {
    NotIdle(worker);
  } else {
    by_lease_.erase(worker.lease);
  }
}

void WorkerPool::DropIfUnused(const PoolKey& key) {
  const auto it = groups_.find(key);
  if (it != groups_.end() && it->second.unused()) groups_.erase(it);
}

void WorkerPool::DropUnused() {
  std::erase_if(groups_, [](const auto& entry) { return entry.second.unused(); });
}

const PoolWorker* WorkerPool::FindByPid(int pid) const {
  const auto it = std::find_if(workers_.begin(), workers_.end(),
                               [pid](const auto& entry) { return entry.second.pid == pid; });
  return pid == 0 || it == workers_.end() ? nullptr : &it->second;
}

std::optional<PoolWorker> WorkerPool::OnExited(int pid) {
  const PoolWorker* found = FindByPid(pid);
  if (found == nullptr) return std::nullopt;
  PoolWorker worker = std::move(workers_.extract(found->id).mapped());
  Forget(worker);
  if (worker.state == State::Starting && !worker.expected) ++groups_.at(worker.key).failed_starts;
  DropIfUnused(worker.key);
  return worker;
}

std::vector<LeaseId> WorkerPool::TakeHopeless(const PoolKey& key) {
  const auto it = groups_.find(key);
  if (it == groups_.end() || it->second.failed_starts < kFailedStartsMax) return {};
  const std::vector<LeaseId> waiting = it->second.TakeWaiting();
  it->second.failed_starts = 0;
  it->second.prestart = 0;
  DropIfUnused(PoolKey(key));
  return waiting;
}

std::vector<LeaseId> WorkerPool::TakeWaiting(const JobId& job) {
  std::vector<LeaseId> waiting;
  for (auto& [key, group] : groups_) {
    if (key.job != job) continue;
    const std::vector<LeaseId> taken = group.TakeWaiting();
    waiting.insert(waiting.end(), taken.begin(), taken.end());
  }
  DropUnused();
  return waiting;
}

std::vector<PoolWorker> WorkerPool::OnAllExited() {
  std::vector<PoolWorker> gone;
  for (auto& [id, worker] : workers_) {
    Forget(worker);
    gone.push_back(std::move(worker));
  }
  workers_.clear();
  DropUnused();
  return gone;
}

bool WorkerPool::MarkEnding(const WorkerId& worker_id, bool expected, const std::string& reason) {
  const auto it = workers_.find(worker_id);
  if (it == workers_.end()) return false;
  PoolWorker& worker = it->second;
  if (worker.ending) {
    // Without a reason it was only lost sight of: what is said of its end since counts.
    if (worker.end_reason.empty() && !reason.empty()) worker.expected = expected;
    if (worker.end_reason.empty() || worker.asked) worker.end_reason = reason;
    worker.asked = false;
    return false;
  }
  worker.ending = true;
  worker.expected = expected;
  worker.end_reason = reason;
  if (worker.state == State::Idle) NotIdle(worker);
  return true;
}

bool WorkerPool::MarkAsked(const WorkerId& worker_id, const std::string& reason) {
  if (!MarkEnding(worker_id, /*expected=*/true, reason)) return false;
  workers_.at(worker_id).asked = true;
  return true;
}

bool WorkerPool::StillNeeded(const WorkerId& worker_id, TimePoint now) {
  const auto it = workers_.find(worker_id);
  if (it == workers_.end() || !it->second.asked || it->second.state != State::Idle) return false;
  PoolWorker& worker = it->second;
  worker.ending = worker.asked = worker.expected = false;
  worker.end_reason.clear();
  worker.keep_until = now + kIdleWorkerKeep;
  groups_.try_emplace(worker.key);  // Nobody may have needed that kind meanwhile.
  MakeIdle(worker, now);
  return true;
}

bool WorkerPool::SetBlocked(const WorkerId& worker_id, bool blocked) {
  const auto it = workers_.find(worker_id);
  if (it == workers_.end() || it->second.state != State::Leased) return false;
  if (it->second.blocked == blocked) return false;
  it->second.blocked = blocked;
  return true;
}

std::vector<WorkerId> WorkerPool::Surplus(TimePoint now) const {
  std::vector<WorkerId> surplus;
  std::vector<const PoolWorker*> idle;
  for (const auto& [id, worker] : workers_) {
    if (worker.ending) continue;
    if (worker.state == State::Starting && now >= worker.since + kRegisterTimeout) {
      surplus.push_back(id);
    } else if (worker.state == State::Idle && now >= worker.keep_until) {
      idle.push_back(&worker);
    }
  }
  // Those that are kept as they are needed count, too.
  const size_t excess = std::min(idle_ - std::min(idle_, cpus_), idle.size());
  std::sort(idle.begin(), idle.end(),
            [](const PoolWorker* a, const PoolWorker* b) { return a->since < b->since; });
  size_t crowd = idle_special_ - std::min(idle_special_, idle_special_max());
  for (size_t i = 0; i < excess; ++i) {
    const bool crowded = idle[i]->key.special() && crowd > 0;
    if (crowded) --crowd;
    if (crowded || now >= idle[i]->since + kIdleWorkerKeep) surplus.push_back(idle[i]->id);
  }
  return surplus;
}

std::optional<TimePoint> WorkerPool::NextWake() const {
  std::optional<TimePoint> next;
  const auto wake_at = [&next](TimePoint time) {
    if (!next || time < *next) next = time;
  };
  if (starting_ == 0 && idle_ <= cpus_) return next;
  for (const auto& [id, worker] : workers_) {
    if (worker.ending) continue;
    if (worker.state == State::Starting) wake_at(worker.since + kRegisterTimeout);
    if (worker.state != State::Idle || idle_ <= cpus_) continue;
    const bool crowded = worker.key.special() && idle_special_ > idle_special_max();
    wake_at(std::max(crowded ? worker.since : worker.since + kIdleWorkerKeep, worker.keep_until));
  }
  return next;
}

const PoolWorker* WorkerPool::Find(const WorkerId& worker) const {
  const auto it = workers_.find(worker);
  return it == workers_.end() ? nullptr : &it->second;
}

const PoolWorker* WorkerPool::FindByLease(const LeaseId& lease) const {
  const auto it = by_lease_.find(lease);
  return it == by_lease_.end() ? nullptr : Find(it->second);
}

std::vector<WorkerId> WorkerPool::WorkersOf(const JobId& job) const {
  std::vector<WorkerId> workers;
  for (const auto& [id, worker] : workers_) {
    if (worker.key.job == job) workers.push_back(id);
  }
  return workers;
}

std::vector<WorkerId> WorkerPool::All() const {
  std::vector<WorkerId> workers;
  for (const auto& [id, worker] : workers_) workers.push_back(id);
  return workers;
}

std::vector<JobId> WorkerPool::Jobs() const {
  std::vector<JobId> jobs;
  for (const auto& [id, job] : jobs_) jobs.push_back(id);
  return jobs;
}

size_t WorkerPool::CountIn(State state) const {
  return static_cast<size_t>(std::count_if(workers_.begin(), workers_.end(),
                                           [&](const auto& e) { return e.second.state == state; }));
}

bool WorkerPool::Recount() const {
  std::map<PoolKey, Group> counted;
  size_t starting = 0, idle = 0, special = 0;
  for (const auto& [id, worker] : workers_) {
    Group& group = counted[worker.key];
    ++group.workers;
    group.starting += worker.state == State::Starting;
    starting += worker.state == State::Starting;
    if (worker.state == State::Leased && by_lease_.at(worker.lease) != id) return false;
    if (worker.state != State::Idle || worker.ending) continue;
    group.idle.push_back(id);
    ++idle;
    special += worker.key.special();
  }
  for (const auto& [key, group] : groups_) {
    const Group& right = counted[key];
    if (group.unused() || group.workers != right.workers || group.starting != right.starting ||
        group.idle.size() != right.idle.size()) {
      return false;
    }
  }
  return counted.size() == groups_.size() && starting == starting_ && idle == idle_ &&
         special == idle_special_ && by_lease_.size() == CountIn(State::Leased);
}

}  // namespace skyray::raylet
