// SPDX-License-Identifier: Apache-2.0
#include "raylet/lease_queue.h"

#include <algorithm>

#include "common/logging.h"

namespace skyray::raylet {
namespace {

// No other node may run it, whoever joins.
bool Insists(const LeaseRequest& request) {
  return request.strategy.kind == Strategy::Kind::NodeAffinity && !request.strategy.soft;
}

}  // namespace

LeaseQueue::ClassKey LeaseQueue::KeyOf(const LeaseRequest& request) {
  return {request.demand.amounts(), request.held.amounts(), request.strategy,
          request.runtime_env,      request.retriable,      request.spilled};
}

void LeaseQueue::WakeAt(TimePoint time) {
  if (!next_wake_ || time < *next_wake_) next_wake_ = time;
}

void LeaseQueue::Add(LeaseRequest request, TimePoint now) {
  // What is held is also needed to place it, whatever the requester says.
  for (const auto& [name, amount] : request.held.amounts()) {
    if (request.demand.Get(name) < amount) request.demand.Set(name, amount);
  }
  Class& waiting = classes_[KeyOf(request)];
  const LeaseOwner owner = request.owner;
  auto& queue = waiting.queues[owner];
  if (queue.empty()) waiting.turns.push_back(owner);
  queue.push_back({std::move(request), now, false});
}

LeaseOutcome LeaseQueue::Schedule(Placement& placement, TimePoint now) {
  LeaseOutcome out;
  next_wake_.reset();
  placement.UndoDebits(now);
  // Passes over the classes, one request of each at a time, from the one after
  // the last that was served, until a pass serves nobody.
  for (bool progress = true; progress && !classes_.empty();) {
    progress = false;
    auto it = classes_.upper_bound(last_served_);
    for (size_t left = classes_.size(); left > 0 && !classes_.empty(); --left) {
      if (it == classes_.end()) it = classes_.begin();
      if (ServeFirst(it->second, placement, now, out)) {
        progress = true;
        last_served_ = it->first;
      }
      it = it->second.turns.empty() ? classes_.erase(it) : std::next(it);
    }
  }
  if (const auto old = placement.UndoDebits(now); old && !classes_.empty()) WakeAt(*old);
  const size_t failed = out.failed.size();
  for (auto& [key, waiting] : classes_) {
    if (!waiting.why_infeasible.empty()) {
      NoticeInfeasible(waiting, now, out);
    } else {
      AskForLeases(key, waiting, now, out);
    }
  }
  if (out.failed.size() > failed) {
    TakeIf([](const Entry& entry) { return entry.noticed && Insists(entry.request); });
  }
  return out;
}

LeaseRequest LeaseQueue::PopFirst(Class& waiting) {
  const LeaseOwner owner = waiting.turns.front();
  waiting.turns.pop_front();
  const auto it = waiting.queues.find(owner);
  LeaseRequest request = std::move(it->second.front().request);
  it->second.pop_front();
  if (it->second.empty()) {
    waiting.queues.erase(it);
  } else {
    waiting.turns.push_back(owner);
  }
  return request;
}

bool LeaseQueue::ServeFirst(Class& waiting, Placement& placement, TimePoint now,
                            LeaseOutcome& out) {
  if (waiting.turns.empty()) return false;
  const LeaseRequest& first = waiting.queues.at(waiting.turns.front()).front().request;
  Decision decision = placement.Decide({first.held, first.demand, first.strategy}, first.spilled);
  waiting.why_infeasible = std::move(decision.why);
  switch (decision.kind) {
    case Decision::Kind::Wait:
    case Decision::Kind::Infeasible:
      return false;
    case Decision::Kind::Local: {
      Lease lease{LeaseId::FromRandom(), PopFirst(waiting)};
      SKYRAY_CHECK(ledger_.Allocate(lease.id, lease.request.held));
      granted_.emplace(lease.id, Granted{lease, now, false, false});
      out.granted.push_back(std::move(lease));
      return true;
    }
    case Decision::Kind::SendOn:
      placement.Debit(decision.node, first.demand, now);
      out.sent_on.push_back({PopFirst(waiting), decision.node});
      return true;
    case Decision::Kind::NodeDied: {
      LeaseRequest request = PopFirst(waiting);
      const std::string text = (request.name.empty() ? "the task" : request.name) +
                               " must run on node " + request.strategy.node.Hex() +
                               ", which has died; use soft=True to let it run elsewhere";
      out.failed.push_back({std::move(request), Status(ErrorCode::Unschedulable, text)});
      return true;
    }
  }
  return false;
}

void LeaseQueue::NoticeInfeasible(Class& waiting, TimePoint now, LeaseOutcome& out) {
  for (auto& [owner, queue] : waiting.queues) {
    for (Entry& entry : queue) {
      if (entry.noticed) continue;
      if (now < entry.added + kInfeasibleNoticeAfter) {
        WakeAt(entry.added + kInfeasibleNoticeAfter);
        break;  // Those behind it came later.
      }
      entry.noticed = true;
      const LeaseRequest& request = entry.request;
      std::string text = (request.name.empty() ? "a task" : request.name) +
                         " cannot be scheduled: " + waiting.why_infeasible;
      if (Insists(request)) {
        out.failed.push_back({request, Status(ErrorCode::Unschedulable, text)});
        continue;
      }
      text += ". Ask for less, or add a node that has it; the request stays queued meanwhile";
      const bool first = waiting.noticed_jobs.insert(request.job).second;
      out.infeasible.push_back({request, text, first});
    }
  }
}

void LeaseQueue::AskForLeases(const ClassKey& key, const Class& waiting, TimePoint now,
                              LeaseOutcome& out) {
  const auto& demand = std::get<0>(key);
  for (auto& [id, granted] : granted_) {
    const LeaseRequest& holder = granted.lease.request;
    if (granted.wanted || !holder.actor.IsNil()) continue;
    // An owner that waits only for more of the same knows that itself.
    const bool others = waiting.queues.size() > 1 || !waiting.queues.contains(holder.owner);
    if (!others && KeyOf(holder) == key) continue;
    bool useful = false;
    for (const auto& [name, amount] : demand) {
      useful |= holder.held.Get(name) > 0 && ledger_.available().Get(name) < amount;
    }
    if (!useful) continue;
    if (now < granted.since + kLeaseQuantum) {
      WakeAt(granted.since + kLeaseQuantum);
      if (!granted.idle_wanted) out.idle_wanted_from.insert(holder.owner);
      granted.idle_wanted = true;
      continue;
    }
    granted.wanted = true;
    out.wanted_from.insert(holder.owner);
  }
}

bool LeaseQueue::Return(const LeaseId& lease) {
  const auto it = granted_.find(lease);
  if (it == granted_.end()) return false;
  ledger_.Release(lease);
  granted_.erase(it);
  return true;
}

const Lease* LeaseQueue::Find(const LeaseId& lease) const {
  const auto it = granted_.find(lease);
  return it == granted_.end() ? nullptr : &it->second.lease;
}

std::vector<LeaseId> LeaseQueue::LeasesOf(const LeaseOwner& owner) const {
  std::vector<LeaseId> leases;
  for (const auto& [id, granted] : granted_) {
    const LeaseRequest& request = granted.lease.request;
    if (request.actor.IsNil() && request.owner == owner) leases.push_back(id);
  }
  return leases;
}

std::optional<LeaseId> LeaseQueue::LeaseOf(const ActorId& actor) const {
  for (const auto& [id, granted] : granted_) {
    if (granted.lease.request.actor == actor) return id;
  }
  return std::nullopt;
}

template <class Predicate>
std::vector<LeaseRequest> LeaseQueue::TakeIf(Predicate predicate) {
  std::vector<LeaseRequest> taken;
  for (auto it = classes_.begin(); it != classes_.end();) {
    Class& waiting = it->second;
    for (auto queue = waiting.queues.begin(); queue != waiting.queues.end();) {
      auto& entries = queue->second;
      const auto gone = std::stable_partition(entries.begin(), entries.end(),
                                              [&](const Entry& e) { return !predicate(e); });
      for (auto entry = gone; entry != entries.end(); ++entry) {
        taken.push_back(std::move(entry->request));
      }
      entries.erase(gone, entries.end());
      if (entries.empty()) {
        std::erase(waiting.turns, queue->first);
        queue = waiting.queues.erase(queue);
      } else {
        ++queue;
      }
    }
    it = waiting.turns.empty() ? classes_.erase(it) : std::next(it);
  }
  return taken;
}

std::optional<LeaseRequest> LeaseQueue::Cancel(const LeaseOwner& owner, uint64_t request_id) {
  auto taken = TakeIf([&](const Entry& entry) {
    const LeaseRequest& request = entry.request;
    return request.actor.IsNil() && request.owner == owner && request.request_id == request_id;
  });
  if (taken.empty()) return std::nullopt;
  return std::move(taken.front());
}

std::optional<LeaseRequest> LeaseQueue::CancelActor(const ActorId& actor) {
  auto taken = TakeIf([&](const Entry& entry) { return entry.request.actor == actor; });
  if (taken.empty()) return std::nullopt;
  return std::move(taken.front());
}

void LeaseQueue::RemoveOwner(const LeaseOwner& owner) {
  TakeIf([&](const Entry& entry) {
    return entry.request.actor.IsNil() && entry.request.owner == owner;
  });
}

void LeaseQueue::RemoveNode(const NodeId& node) {
  TakeIf([&](const Entry& entry) {
    return entry.request.actor.IsNil() && entry.request.owner.node == node;
  });
}

size_t LeaseQueue::waiting_count() const {
  size_t count = 0;
  for (const auto& [key, waiting] : classes_) {
    for (const auto& [owner, queue] : waiting.queues) count += queue.size();
  }
  return count;
}

}  // namespace skyray::raylet
