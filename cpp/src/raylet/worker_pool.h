// SPDX-License-Identifier: Apache-2.0
// The worker processes of this node: whom to fork, who idles, who works for
// which lease, who has to go.
//
//   TakeForks ─► starting ─registered─► idle ◄──► leased
//                    └──────────┴─────────┴──────────┴─► exited (as the zygote reports)
//
// A worker belongs to one job and one runtime environment from its fork. Leases
// that find no idle worker of their own wait here, in order, and the pool forks
// for them, a few at a time. Idle workers beyond one per CPU are kept for a
// moment; of those in environments of their own, which come and go, only a few.
//
// Threading:  lives on the raylet's loop; not thread-safe. Time comes in.
// Ownership:  values; a pointer it hands out is good until the next non-const call.
// Errors:     none; a worker that is unknown, or not in the right state, is
//             told by null or false (peers may cause that).
#pragma once

#include <chrono>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/id.h"

namespace skyray::raylet {

using TimePoint = std::chrono::steady_clock::time_point;

// Idle workers beyond one per CPU are ended after so long.
constexpr std::chrono::seconds kIdleWorkerKeep{1};
// So many idle ones in environments of their own, beyond one per CPU, are kept at all.
constexpr size_t kIdleSpecialExtra = 4;
// A forked worker that has not registered by then is ended.
constexpr std::chrono::seconds kRegisterTimeout{60};
constexpr int kFailedStartsMax = 3;

// What a job's workers are told before they connect.
struct JobEntry {
  JobId id;
  std::string config;  // JSON, opaque here.
  std::string name_space;
  NodeId driver_node;
  WorkerId driver;
  bool finished = false;
};

// Whose workers are alike.
struct PoolKey {
  JobId job;
  std::string runtime_env = {};  // JSON, opaque here; empty: the job's.
  bool special() const { return !runtime_env.empty(); }
  friend auto operator<=>(const PoolKey&, const PoolKey&) = default;
};

struct PoolWorker {
  enum class State { Starting, Idle, Leased };
  WorkerId id;
  PoolKey key;
  State state = State::Starting;
  int pid = 0;           // 0 until forked.
  LeaseId lease;         // Leased.
  bool blocked = false;  // Leased, and waiting in get.
  bool used = false;     // Has had a lease: it may own what tasks have made.
  bool ending = false;   // Told to exit, or killed.
  bool expected = false;
  bool asked = false;  // Ending only if it is not needed: it may say that it is.
  std::string end_reason;
  TimePoint since;       // Of this state.
  TimePoint keep_until;  // It was needed when it was last asked.
};

class WorkerPool {
 public:
  explicit WorkerPool(size_t cpus) : cpus_(cpus), starting_max_(cpus * 2 < 4 ? 4 : cpus * 2) {}

  // A job known already keeps its entry.
  void AddJob(JobEntry job);
  const JobEntry* FindJob(const JobId& job) const;
  // No more workers ahead of need. What still waits is of its detached actors, or
  // withdrawn as its owners end; the caller ends its workers.
  void FinishJob(const JobId& job);
  // Wishes for `count` unused workers in the job's own environment, idle or starting.
  void Prestart(const JobId& job, size_t count);

  // An idle worker of that kind for `lease`; else the lease waits for one. `fresh`: one
  // that was not used, as an actor takes along at its end what its process owns.
  const PoolWorker* Assign(const PoolKey& key, const LeaseId& lease, TimePoint now,
                           bool fresh = false);
  // Forgets a lease that waits. False if it does not.
  bool StopWaiting(const LeaseId& lease);
  // Which workers to fork now; each is `starting` from here on.
  std::vector<const PoolWorker*> TakeForks(TimePoint now);

  void OnForked(const WorkerId& worker, int pid);
  // The worker never was. The lease that may not wait any longer, if any: forking
  // again is tried for those behind it only.
  std::optional<LeaseId> OnForkFailed(const WorkerId& worker);
  // False if nobody was forked by that name. A lease that waited is now the worker's.
  bool OnRegistered(const WorkerId& worker, int pid, TimePoint now);
  // Its lease is over: it idles, or takes a waiting lease of its kind.
  bool OnReturned(const WorkerId& worker, TimePoint now);
  // The leases that wait, if the last kFailedStartsMax workers of that kind all
  // ended before they registered: forking for them again would not help.
  std::vector<LeaseId> TakeHopeless(const PoolKey& key);
  // All leases of the job that wait for a worker.
  std::vector<LeaseId> TakeWaiting(const JobId& job);
  // Takes the worker out, to be looked at once more.
  std::optional<PoolWorker> OnExited(int pid);
  // The zygote is gone, and with it all its children, forked or not.
  std::vector<PoolWorker> OnAllExited();

  // Nothing is given to it any more. False if unknown or said already.
  bool MarkEnding(const WorkerId& worker, bool expected, const std::string& reason);
  // The same, but it may answer that it is still needed.
  bool MarkAsked(const WorkerId& worker, const std::string& reason);
  // It does: it idles again, or takes a waiting lease. False if it was not asked, or
  // is to end all the same by now.
  bool StillNeeded(const WorkerId& worker, TimePoint now);
  bool SetBlocked(const WorkerId& worker, bool blocked);
  // Idle ones that are too many, and starting ones that took too long.
  std::vector<WorkerId> Surplus(TimePoint now) const;
  // When Surplus() may have more to say.
  std::optional<TimePoint> NextWake() const;

  const PoolWorker* Find(const WorkerId& worker) const;
  const PoolWorker* FindByLease(const LeaseId& lease) const;
  const PoolWorker* FindByPid(int pid) const;
  std::vector<WorkerId> WorkersOf(const JobId& job) const;
  std::vector<WorkerId> All() const;
  std::vector<JobId> Jobs() const;
  size_t size() const { return workers_.size(); }
  size_t CountIn(PoolWorker::State state) const;
  // All counts as the workers say they must be, and no group that nobody needs.
  bool Recount() const;

 private:
  // The workers of one kind. Gone when nobody works, waits or starts.
  struct Group {
    std::deque<LeaseId> waiting;
    std::deque<LeaseId> waiting_fresh;
    std::deque<WorkerId> idle;  // The one used last is at the back, and is taken first.
    size_t workers = 0;         // In any state.
    size_t starting = 0;
    size_t prestart = 0;    // Wished for, not forked yet.
    int failed_starts = 0;  // In a row.
    size_t waiting_count() const { return waiting.size() + waiting_fresh.size(); }
    std::vector<LeaseId> TakeWaiting();
    bool unused() const { return workers == 0 && prestart == 0 && waiting_count() == 0; }
  };

  void Lend(PoolWorker& worker, const LeaseId& lease, TimePoint now);
  void MakeIdle(PoolWorker& worker, TimePoint now);
  void NotIdle(const PoolWorker& worker);
  // Takes the worker out of its group's counts.
  void Forget(const PoolWorker& worker);
  void DropIfUnused(const PoolKey& key);
  void DropUnused();
  size_t idle_special_max() const { return cpus_ + kIdleSpecialExtra; }

  size_t cpus_;
  size_t starting_max_;
  size_t starting_ = 0;
  size_t idle_ = 0;
  size_t idle_special_ = 0;  // Of these, in environments of their own.
  std::map<JobId, JobEntry> jobs_;
  std::map<PoolKey, Group> groups_;
  std::unordered_map<WorkerId, PoolWorker> workers_;
  std::unordered_map<LeaseId, WorkerId> by_lease_;
};

}  // namespace skyray::raylet
