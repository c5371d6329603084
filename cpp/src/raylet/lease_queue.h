// SPDX-License-Identifier: Apache-2.0
// Requests for a worker with resources, from the moment they arrive until they
// are granted here, sent to a better node, or given up.
//
//   Add ─► waiting ─Schedule─► granted (the ledger is debited) ─Return─► gone
//             │  └───────────► spilled back: another node has room, or only
//             │                another node could ever run it
//             └─ infeasible: no node known now could; stays, and says so once,
//                or fails, if it insists on one node
//
// Requests with the same demand, strategy and environment form a class. Within a class owners
// take turns, and each owner is served in its own order; classes take turns too.
// When somebody waits for what another's leases hold, those owners are asked
// to give leases back (LeasesWanted): idle ones at once, the others after they
// had them for kLeaseQuantum.
//
// Threading:  lives on the raylet's loop; not thread-safe. Time comes in.
// Ownership:  refers to the ledger, which must outlive it.
// Errors:     a request fails with Unschedulable only if it insists on a node: at once if
//             that is dead, after kInfeasibleNoticeAfter if it is unknown or too small.
#pragma once

#include <chrono>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "common/id.h"
#include "common/resource_set.h"
#include "common/status.h"
#include "raylet/placement.h"
#include "raylet/resource_ledger.h"

namespace skyray::raylet {

// After so long without a node that could run it, a request's owner is told.
constexpr std::chrono::seconds kInfeasibleNoticeAfter{5};
// A lease in use is not asked back before its owner had it for so long.
constexpr std::chrono::milliseconds kLeaseQuantum{5};

// Who asks: a core worker, here or at another node. The GCS, which asks for
// actors, is the owner with a nil worker id.
struct LeaseOwner {
  NodeId node;
  WorkerId worker;
  friend auto operator<=>(const LeaseOwner&, const LeaseOwner&) = default;
};

struct LeaseRequest {
  LeaseOwner owner;
  uint64_t request_id = 0;
  JobId job;
  ActorId actor;       // Nil: for tasks.
  ResourceSet demand;  // Must be free to place it.
  ResourceSet held;    // Is debited for as long as the lease lasts.
  Strategy strategy;
  bool spilled = false;  // Another raylet sent it: stays if it can ever run here.
  std::string name;
  std::string runtime_env;  // JSON, opaque here; empty: the job's.
  bool retriable = false;   // What runs on it may be run again.
};

struct Lease {
  LeaseId id;
  LeaseRequest request;
};

// What one Schedule() made happen; the shell tells those concerned.
struct LeaseOutcome {
  struct SentOn {
    LeaseRequest request;
    NodeId node;
  };
  struct Failed {
    LeaseRequest request;
    Status status;
  };
  struct Infeasible {
    LeaseRequest request;
    std::string message;
    bool tell_driver = false;  // The first of its kind of its job.
  };
  std::vector<Lease> granted;
  std::vector<SentOn> sent_on;
  std::vector<Failed> failed;
  std::vector<Infeasible> infeasible;
  std::set<LeaseOwner> wanted_from;
  std::set<LeaseOwner> idle_wanted_from;  // Only what they do not use.
};

class LeaseQueue {
 public:
  explicit LeaseQueue(ResourceLedger& ledger) : ledger_(ledger) {}

  void Add(LeaseRequest request, TimePoint now);
  // Grants and decides what can be. Call after anything that may have made room.
  // Debits in `placement` what it sends to other nodes, until they report again.
  LeaseOutcome Schedule(Placement& placement, TimePoint now);
  // When Schedule() has something to do though nothing happens.
  std::optional<TimePoint> NextWake() const { return next_wake_; }

  // Gives back what a granted lease held. False if there is no such lease.
  bool Return(const LeaseId& lease);
  const Lease* Find(const LeaseId& lease) const;
  std::vector<LeaseId> LeasesOf(const LeaseOwner& owner) const;
  // What the actor holds, or will once it has a worker.
  std::optional<LeaseId> LeaseOf(const ActorId& actor) const;

  // Takes requests that still wait out of the queue.
  std::optional<LeaseRequest> Cancel(const LeaseOwner& owner, uint64_t request_id);
  std::optional<LeaseRequest> CancelActor(const ActorId& actor);
  void RemoveOwner(const LeaseOwner& owner);
  void RemoveNode(const NodeId& node);
  size_t waiting_count() const;

  // For a person who wonders why nothing happens (lease_queue_explain.cc).
  //
  // What the request, or the actor's, waits for; empty: it does not wait here.
  std::string WhyWaiting(const LeaseOwner& owner, uint64_t request_id) const;
  std::string WhyWaiting(const ActorId& actor) const;
  // "CPU: 0 of 2 free, held by f (2 leases)", of these resources; of none: of all.
  std::string WhoHolds(const ResourceSet& of) const;

 private:
  struct Entry {
    LeaseRequest request;
    TimePoint added;
    bool noticed = false;
  };
  using ClassKey = std::tuple<std::map<std::string, ResourceAmount, std::less<>>,
                              std::map<std::string, ResourceAmount, std::less<>>, Strategy,
                              std::string, bool, bool>;
  struct Class {
    std::map<LeaseOwner, std::deque<Entry>> queues;
    std::deque<LeaseOwner> turns;  // Those with a queue, next one first.
    std::set<JobId> noticed_jobs;
    std::string why_infeasible;  // Empty: feasible.
  };
  struct Granted {
    Lease lease;
    TimePoint since;
    bool idle_wanted = false;
    bool wanted = false;
  };

  static ClassKey KeyOf(const LeaseRequest& request);
  // Moves the first request of the class on. False if it has to wait.
  bool ServeFirst(Class& waiting, Placement& placement, TimePoint now, LeaseOutcome& out);
  LeaseRequest PopFirst(Class& waiting);
  void NoticeInfeasible(Class& waiting, TimePoint now, LeaseOutcome& out);
  void AskForLeases(const ClassKey& key, const Class& waiting, TimePoint now, LeaseOutcome& out);
  void WakeAt(TimePoint time);
  std::string WhyWaiting(const Class& waiting, const LeaseRequest& request) const;
  template <class Predicate>
  std::vector<LeaseRequest> TakeIf(Predicate predicate);

  ResourceLedger& ledger_;
  std::map<ClassKey, Class> classes_;
  ClassKey last_served_;
  std::unordered_map<LeaseId, Granted> granted_;
  std::optional<TimePoint> next_wake_;
};

}  // namespace skyray::raylet
