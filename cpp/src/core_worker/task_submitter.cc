// SPDX-License-Identifier: Apache-2.0
#include "core_worker/task_submitter.h"

#include <algorithm>

namespace skyray::core_worker {

LeaseClass* TaskSubmitter::ClassOf(const ResourceSet& resources, const Strategy& strategy,
                                   const std::string& runtime_env, bool retriable) {
  ClassKey key{resources.ToString(), strategy, runtime_env, retriable};
  auto& slot = classes_[std::move(key)];
  if (!slot) {
    slot = std::make_unique<LeaseClass>();
    slot->resources = resources;
    slot->strategy = strategy;
    slot->runtime_env = runtime_env;
    slot->retriable = retriable;
  }
  return slot.get();
}

void TaskSubmitter::Submit(Task* task, SubmitActions& actions) {
  LeaseClass* lease_class = task->lease_class;
  lease_class->queue.push_back(task);
  lease_class->name = task->function->name;
  Pump(lease_class, actions);
}

Lease* TaskSubmitter::BestLease(const LeaseClass& lease_class, const Task& task) const {
  Lease* best = nullptr;
  for (Lease* lease : lease_class.leases) {
    if (lease->broken || lease->wanted_back || !lease->channel) continue;
    if (lease->in_flight > 0) {
      const double expected_us = task.function->execute_us;
      if (expected_us <= 0 || lease->unknown_load || lease->in_flight >= kPipelineTasksMax ||
          lease->load_us + expected_us > kPipelineUs) {
        continue;
      }
    }
    if (best == nullptr || lease->in_flight < best->in_flight) best = lease;
  }
  return best;
}

void TaskSubmitter::Assign(Lease* lease, Task* task, SubmitActions& actions) {
  task->lease = lease;
  ++lease->in_flight;
  lease->load_us += task->function->execute_us;
  if (task->function->execute_us <= 0) lease->unknown_load = true;
  actions.send.emplace_back(lease, task);
}

void TaskSubmitter::Unassign(Task* task, int64_t now_ns) {
  Lease* lease = task->lease;
  task->lease = nullptr;
  --lease->in_flight;
  lease->load_us = std::max(0.0, lease->load_us - task->function->execute_us);
  if (lease->in_flight == 0) {
    lease->load_us = 0;
    lease->unknown_load = false;
    lease->idle_since_ns = now_ns;
  }
}

void TaskSubmitter::Pump(LeaseClass* lease_class, SubmitActions& actions) {
  while (!lease_class->queue.empty()) {
    Lease* lease = BestLease(*lease_class, *lease_class->queue.front());
    if (lease == nullptr) break;
    Task* task = lease_class->queue.front();
    lease_class->queue.pop_front();
    Assign(lease, task, actions);
  }
  int wanted = static_cast<int>(std::min<size_t>(lease_class->queue.size(), kLeaseRequestsMax));
  for (const Lease* lease : lease_class->leases) {
    if (!lease->channel && !lease->broken) --wanted;  // Connecting: it will take one.
  }
  for (; lease_class->requests < wanted; ++lease_class->requests) {
    actions.request.push_back(lease_class);
  }
}

std::vector<Task*> TaskSubmitter::RequestFailed(LeaseClass* lease_class) {
  --lease_class->requests;
  std::vector<Task*> failed(lease_class->queue.begin(), lease_class->queue.end());
  lease_class->queue.clear();
  return failed;
}

Lease* TaskSubmitter::Granted(LeaseClass* lease_class, std::unique_ptr<Lease> lease, int64_t now_ns,
                              SubmitActions& actions) {
  --lease_class->requests;
  Lease* granted = lease.get();
  granted->lease_class = lease_class;
  granted->idle_since_ns = now_ns;
  lease_class->leases.push_back(granted);
  leases_.emplace(granted->id, std::move(lease));
  Pump(lease_class, actions);
  return granted;
}

void TaskSubmitter::Replied(Task* task, uint32_t execute_us, int64_t now_ns,
                            SubmitActions& actions) {
  Lease* lease = task->lease;
  LeaseClass* lease_class = task->lease_class;
  Unassign(task, now_ns);
  // At least half a microsecond, so that "known" and "zero" differ. A long run
  // counts at once (it must run alone), short ones bring the figure down slowly.
  const double measured = std::max(0.5, static_cast<double>(execute_us));
  double& expected = task->function->execute_us;
  expected = expected <= 0 || measured > expected * 4 ? measured : expected * 0.8 + measured * 0.2;
  if (lease->wanted_back && lease->in_flight == 0) GiveBack(lease, actions);
  Pump(lease_class, actions);
}

void TaskSubmitter::HandedBack(const std::vector<Task*>& tasks, int64_t now_ns,
                               SubmitActions& actions) {
  // Last first, so that the queue's front has them in their order.
  LeaseClass* lease_class = nullptr;
  for (auto it = tasks.rbegin(); it != tasks.rend(); ++it) {
    Task* task = *it;
    lease_class = task->lease_class;
    Lease* lease = task->lease;
    Unassign(task, now_ns);
    lease_class->queue.push_front(task);
    if (lease->in_flight > 0) {
      // What is still in flight there is long, whatever was expected.
      lease->unknown_load = true;
    } else if (lease->wanted_back) {
      GiveBack(lease, actions);
    }
  }
  if (lease_class != nullptr) Pump(lease_class, actions);
}

void TaskSubmitter::Withdraw(Task* task, int64_t now_ns, SubmitActions& actions) {
  LeaseClass* lease_class = task->lease_class;
  if (Lease* lease = task->lease; lease == nullptr) {
    std::erase(lease_class->queue, task);
  } else {
    Unassign(task, now_ns);
    if (lease->wanted_back && lease->in_flight == 0) GiveBack(lease, actions);
    Pump(lease_class, actions);
  }
}

std::vector<Task*> TaskSubmitter::AllTasks() const {
  std::vector<Task*> all;
  for (const auto& [key, lease_class] : classes_) {
    all.insert(all.end(), lease_class->queue.begin(), lease_class->queue.end());
  }
  for (const auto& [id, lease] : leases_) {
    for (const NumberedTask& lost : lease->lost_tasks) all.push_back(lost.task);
    if (!lease->channel) continue;
    for (Task* task : lease->channel->in_flight.All()) {
      if (task->lease == lease.get()) all.push_back(task);
    }
  }
  return all;
}

void TaskSubmitter::GiveBack(Lease* lease, SubmitActions& actions) {
  std::erase(lease->lease_class->leases, lease);
  auto node = leases_.extract(lease->id);
  actions.give_back.push_back(std::move(node.mapped()));
}

void TaskSubmitter::LeasesWanted(bool idle_only, SubmitActions& actions) {
  std::vector<Lease*> all;
  for (const auto& [id, lease] : leases_) all.push_back(lease.get());
  for (Lease* lease : all) {
    if (lease->in_flight == 0 && lease->channel) {
      GiveBack(lease, actions);
    } else if (!idle_only) {
      lease->wanted_back = true;
    }
  }
  for (auto& [key, lease_class] : classes_) Pump(lease_class.get(), actions);
}

void TaskSubmitter::Retired(const WorkerId& worker, SubmitActions& actions) {
  std::vector<Lease*> idle;
  for (const auto& [id, lease] : leases_) {
    if (lease->worker.worker != worker || lease->broken) continue;
    lease->wanted_back = true;
    if (lease->in_flight == 0) idle.push_back(lease.get());
  }
  for (Lease* lease : idle) GiveBack(lease, actions);
}

void TaskSubmitter::WorkerConnected(const WorkerId& worker, const ChannelPtr& channel,
                                    SubmitActions& actions) {
  std::vector<LeaseClass*> pump;
  for (const auto& [id, lease] : leases_) {
    if (lease->worker.worker != worker || lease->broken) continue;
    lease->channel = channel;
    pump.push_back(lease->lease_class);
  }
  for (LeaseClass* lease_class : pump) Pump(lease_class, actions);
}

std::vector<Lease*> TaskSubmitter::WorkerGone(const WorkerId& worker) {
  std::vector<Lease*> gone;
  for (const auto& [id, lease] : leases_) {
    if (lease->worker.worker != worker) continue;
    lease->broken = true;
    gone.push_back(lease.get());
  }
  return gone;
}

void TaskSubmitter::NodeGone(const NodeId& node) {
  for (const auto& [id, lease] : leases_) {
    if (lease->node == node) lease->broken = true;
  }
}

std::vector<Lease*> TaskSubmitter::BrokenLeases() const {
  std::vector<Lease*> broken;
  for (const auto& [id, lease] : leases_) {
    if (lease->broken) broken.push_back(lease.get());
  }
  return broken;
}

std::unique_ptr<Lease> TaskSubmitter::Lost(const LeaseId& id) {
  auto node = leases_.extract(id);
  if (node.empty()) return nullptr;
  std::erase(node.mapped()->lease_class->leases, node.mapped().get());
  return std::move(node.mapped());
}

Lease* TaskSubmitter::Find(const LeaseId& id) const {
  const auto it = leases_.find(id);
  return it == leases_.end() ? nullptr : it->second.get();
}

int64_t TaskSubmitter::ReturnIdle(int64_t now_ns, SubmitActions& actions) {
  int64_t next = INT64_MAX;
  std::vector<Lease*> idle;
  for (const auto& [id, lease] : leases_) {
    if (lease->in_flight > 0 || !lease->channel || lease->broken) continue;
    const int64_t due = lease->idle_since_ns + lease_linger_ns_;
    if (due <= now_ns) {
      idle.push_back(lease.get());
    } else {
      next = std::min(next, due);
    }
  }
  for (Lease* lease : idle) GiveBack(lease, actions);
  return next;
}

std::vector<Task*> TaskSubmitter::TakeQueued() {
  std::vector<Task*> all;
  for (auto& [key, lease_class] : classes_) {
    all.insert(all.end(), lease_class->queue.begin(), lease_class->queue.end());
    lease_class->queue.clear();
  }
  return all;
}

size_t TaskSubmitter::queued_count() const {
  size_t count = 0;
  for (const auto& [key, lease_class] : classes_) count += lease_class->queue.size();
  return count;
}

}  // namespace skyray::core_worker
