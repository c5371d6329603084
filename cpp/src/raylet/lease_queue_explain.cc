// SPDX-License-Identifier: Apache-2.0
// LeaseQueue, in words: what a request waits for and who has it.
#include <algorithm>
#include <cstdio>

#include "raylet/lease_queue.h"

namespace skyray::raylet {
namespace {

constexpr size_t kHoldersShown = 4;

std::string Amount(ResourceAmount amount) {
  char text[40];
  snprintf(text, sizeof text, "%.10g", ResourceAmountToDouble(std::max<ResourceAmount>(0, amount)));
  return text;
}

std::string NameOf(const LeaseRequest& request) {
  const std::string name = request.name.empty() ? "a task" : request.name;
  return request.actor.IsNil() ? name : "actor " + name;
}

}  // namespace

std::string LeaseQueue::WhyWaiting(const LeaseOwner& owner, uint64_t request_id) const {
  for (const auto& [key, waiting] : classes_) {
    const auto queue = waiting.queues.find(owner);
    if (queue == waiting.queues.end()) continue;
    for (const Entry& entry : queue->second) {
      const LeaseRequest& request = entry.request;
      if (request.actor.IsNil() && request.request_id == request_id) {
        return WhyWaiting(waiting, request);
      }
    }
  }
  return "";
}

std::string LeaseQueue::WhyWaiting(const ActorId& actor) const {
  for (const auto& [key, waiting] : classes_) {
    for (const auto& [owner, queue] : waiting.queues) {
      for (const Entry& entry : queue) {
        if (entry.request.actor == actor) return WhyWaiting(waiting, entry.request);
      }
    }
  }
  return "";
}

std::string LeaseQueue::WhyWaiting(const Class& waiting, const LeaseRequest& request) const {
  if (!waiting.why_infeasible.empty()) return "no node can run it: " + waiting.why_infeasible;
  ResourceSet lacking;
  for (const auto& [name, amount] : request.demand.amounts()) {
    if (ledger_.available().Get(name) < amount) lacking.Set(name, amount);
  }
  const std::string needs = "it needs " + request.demand.ToString();
  if (!lacking.empty()) return needs + "; " + WhoHolds(lacking);
  // A GPU that is free in parts, a better node that is busy, or another's turn.
  return needs + "; " + WhoHolds(request.demand) + "; it is not its turn yet";
}

std::string LeaseQueue::WhoHolds(const ResourceSet& of) const {
  std::string text;
  for (const auto& [name, total] : ledger_.total().amounts()) {
    // A byte or a mark of a node is nothing that one waits for unless one asks for it.
    if (of.empty() ? name != kCpu && name != kGpu : of.Get(name) == 0) continue;
    text += text.empty() ? "" : "; ";
    text += name + ": " + Amount(ledger_.available().Get(name)) + " of " + Amount(total) + " free";
    std::map<std::string, size_t> holders;
    for (const auto& [id, granted] : granted_) {
      const LeaseRequest& request = granted.lease.request;
      if (request.held.Get(name) > 0) ++holders[NameOf(request)];
    }
    const char* comma = ", held by ";
    size_t shown = 0;
    for (const auto& [holder, count] : holders) {
      if (++shown > kHoldersShown) break;
      text += comma + holder;
      if (count > 1) text += " (" + std::to_string(count) + " leases)";
      comma = ", ";
    }
    if (holders.size() > kHoldersShown) {
      text += " and " + std::to_string(holders.size() - kHoldersShown) + " more";
    }
  }
  return text;
}

}  // namespace skyray::raylet
