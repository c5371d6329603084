// SPDX-License-Identifier: Apache-2.0
// Brings tasks to leased workers.
//
// A lease is the right to use one worker, and with it some resources, for tasks
// of one class (same resources, strategy, environment). It is kept while there is work and
// for kLeaseLingerNs after. Short tasks are pipelined on it: as many as fit into
// kPipelineUs by what their function took before; a function not seen yet, or a
// long one, runs alone.
//
//   Submit ─► queue ─► in flight on a lease ─Reply─► done
//                ▲             ├─HandBack─► queue
//                └─ retry ─────┴─LeaseLost, no retries left─► failed (by the caller)
//
// Threading:  a core of the gateway's monitor: only under its mutex.
// Ownership:  owns classes and leases; tasks only while they are queued here.
// Errors:     none; unknown lease ids are ignored.
#pragma once

#include <boost/container/small_vector.hpp>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "common/id.h"
#include "common/label_selector.h"
#include "common/resource_set.h"
#include "core_worker/channel.h"
#include "core_worker/task.h"

namespace skyray::core_worker {

constexpr int64_t kLeaseLingerNs = 100'000'000;
constexpr double kPipelineUs = 2'000;
constexpr int kPipelineTasksMax = 256;
constexpr int kLeaseRequestsMax = 16;

struct Strategy {
  enum class Kind : uint8_t { Default, Spread, NodeAffinity };
  Kind kind = Kind::Default;
  NodeId node;
  bool soft = false;
  std::vector<LabelSelector> selectors = {};  // Of nodes; the best choice first.
  friend auto operator<=>(const Strategy&, const Strategy&) = default;
};

struct Lease {
  LeaseId id;
  NodeId node;  // Whose raylet granted it.
  WorkerAddress worker;
  int pid = 0;
  LeaseClass* lease_class = nullptr;
  ChannelPtr channel;  // Null until the worker is connected.
  int in_flight = 0;
  double load_us = 0;         // Expected time of what is in flight.
  bool unknown_load = false;  // Something in flight has no expected time.
  bool broken = false;        // The worker is gone; LeaseLost will say why.
  bool wanted_back = false;
  int64_t idle_since_ns = 0;
  std::vector<NumberedTask> lost_tasks;  // Were in flight when it broke; oldest first.
};

struct LeaseClass {
  ResourceSet resources;
  Strategy strategy;
  std::string runtime_env;  // JSON, opaque here; empty: the job's.
  bool retriable = true;    // Its tasks may be run again.
  std::string name;         // Of the last function submitted, for people.
  std::deque<Task*> queue;
  std::vector<Lease*> leases;
  int requests = 0;  // Asked of a raylet, not answered.
};

struct SubmitActions {
  boost::container::small_vector<std::pair<Lease*, Task*>, 4> send;
  std::vector<LeaseClass*> request;  // Ask for one more lease, each.
  std::vector<std::unique_ptr<Lease>> give_back;
};

class TaskSubmitter {
 public:
  LeaseClass* ClassOf(const ResourceSet& resources, const Strategy& strategy,
                      const std::string& runtime_env = {}, bool retriable = true);

  // REQUIRES: the task's arguments are ready.
  void Submit(Task* task, SubmitActions& actions);
  // The request of that class failed: its queued tasks, which will not run.
  std::vector<Task*> RequestFailed(LeaseClass* lease_class);
  // A request was granted; the lease is idle, or connecting.
  Lease* Granted(LeaseClass* lease_class, std::unique_ptr<Lease> lease, int64_t now_ns,
                 SubmitActions& actions);
  // Assigns what can be assigned, and asks for the leases that are lacking.
  void Pump(LeaseClass* lease_class, SubmitActions& actions);
  void Replied(Task* task, uint32_t execute_us, int64_t now_ns, SubmitActions& actions);
  void HandedBack(const std::vector<Task*>& tasks, int64_t now_ns, SubmitActions& actions);
  // It will not run: takes it out of the queue, or off its lease.
  void Withdraw(Task* task, int64_t now_ns, SubmitActions& actions);
  // All that are queued or under way, and those lost with their lease.
  std::vector<Task*> AllTasks() const;
  // Idle leases go back at once; the others, unless `idle_only`, with their task.
  void LeasesWanted(bool idle_only, SubmitActions& actions);
  // Its leases go back, too: at once, or when their tasks have been handed back.
  void Retired(const WorkerId& worker, SubmitActions& actions);
  // The worker of some leases can be sent to from now on.
  void WorkerConnected(const WorkerId& worker, const ChannelPtr& channel, SubmitActions& actions);
  // Marks the leases on that worker broken; LeaseLost will follow for each.
  std::vector<Lease*> WorkerGone(const WorkerId& worker);
  // All its workers are; each lease's loss is still told by itself.
  void NodeGone(const NodeId& node);
  // Those whose LeaseLost has not come.
  std::vector<Lease*> BrokenLeases() const;
  // Takes the lease out. The caller has taken the tasks in flight off its channel.
  std::unique_ptr<Lease> Lost(const LeaseId& id);
  Lease* Find(const LeaseId& id) const;
  void set_lease_linger(int64_t ns) { lease_linger_ns_ = ns; }
  // Returns leases idle for too long; the time to look again, or INT64_MAX.
  int64_t ReturnIdle(int64_t now_ns, SubmitActions& actions);
  // Everything queued, e.g. because the raylet is gone.
  std::vector<Task*> TakeQueued();

  const auto& classes() const { return classes_; }
  size_t lease_count() const { return leases_.size(); }
  size_t queued_count() const;

 private:
  using ClassKey = std::tuple<std::string, Strategy, std::string, bool>;
  Lease* BestLease(const LeaseClass& lease_class, const Task& task) const;
  void Assign(Lease* lease, Task* task, SubmitActions& actions);
  void Unassign(Task* task, int64_t now_ns);
  void GiveBack(Lease* lease, SubmitActions& actions);

  int64_t lease_linger_ns_ = kLeaseLingerNs;
  std::unordered_map<LeaseId, std::unique_ptr<Lease>> leases_;
  std::map<ClassKey, std::unique_ptr<LeaseClass>> classes_;
};

}  // namespace skyray::core_worker
