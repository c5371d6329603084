// SPDX-License-Identifier: Apache-2.0
#include "core_worker/call_queue.h"

#include <algorithm>

namespace skyray::core_worker {

int BoundLease::threads() const {
  return std::max(1, static_cast<int>(resources.Get("CPU") / kResourceUnit));
}

void CallQueue::SetGroups(const std::vector<ConcurrencyGroup>& groups) {
  limits_ = groups;
  // The creation of the actor itself is in the first.
  while (groups_.size() < limits_.size()) groups_.emplace_back();
}

std::optional<size_t> CallQueue::FindGroup(std::string_view name) const {
  const auto it = std::find_if(limits_.begin(), limits_.end(),
                               [&](const ConcurrencyGroup& group) { return group.name == name; });
  if (it == limits_.end()) return std::nullopt;
  return static_cast<size_t>(it - limits_.begin());
}

void CallQueue::Push(std::unique_ptr<IncomingCall> call) {
  bytes_ += call->body.size();
  ++size_;
  call->arrival = arrivals_++;
  groups_[call->group].calls.push_back(std::move(call));
}

size_t CallQueue::NextGroup() const {
  size_t best = kNone;
  for (size_t i = 0; i < groups_.size(); ++i) {
    if (groups_[i].calls.empty() || !HasRoom(i)) continue;
    if (best == kNone || groups_[i].calls.front()->arrival < groups_[best].calls.front()->arrival) {
      best = i;
    }
  }
  return best;
}

std::unique_ptr<IncomingCall> CallQueue::Pop() {
  const size_t group = NextGroup();
  return group == kNone ? nullptr : PopFrom(group);
}

std::unique_ptr<IncomingCall> CallQueue::PopFrom(size_t group) {
  Group& from = groups_[group];
  if (from.calls.empty() || !HasRoom(group)) return nullptr;
  auto call = std::move(from.calls.front());
  from.calls.pop_front();
  bytes_ -= call->body.size();
  --size_;
  ++from.running;
  call->running_at = running_.size();
  running_.push_back(call.get());
  call->running = true;
  return call;
}

void CallQueue::Finished(IncomingCall& call) {
  if (!call.running) return;
  call.running = false;
  --groups_[call.group].running;
  running_.back()->running_at = call.running_at;
  running_[call.running_at] = running_.back();
  running_.pop_back();
}

std::unique_ptr<IncomingCall> CallQueue::TakeOne(const Channel& channel, uint64_t sequence) {
  for (Group& group : groups_) {
    for (auto it = group.calls.begin(); it != group.calls.end(); ++it) {
      if ((*it)->channel.get() != &channel || (*it)->call.header.sequence != sequence) continue;
      auto call = std::move(*it);
      group.calls.erase(it);
      bytes_ -= call->body.size();
      --size_;
      return call;
    }
  }
  return nullptr;
}

IncomingCall* CallQueue::FindRunning(const Channel& channel, uint64_t sequence) const {
  for (IncomingCall* call : running_) {
    if (call->channel.get() == &channel && call->call.header.sequence == sequence) return call;
  }
  return nullptr;
}

std::vector<std::unique_ptr<IncomingCall>> CallQueue::Take(const Channel* channel) {
  std::vector<std::unique_ptr<IncomingCall>> taken;
  for (Group& group : groups_) {
    std::deque<std::unique_ptr<IncomingCall>> rest;
    for (auto& call : group.calls) {
      const bool wanted = channel != nullptr ? call->channel.get() == channel
                                             : call->channel && call->method().empty();
      if (wanted) {
        bytes_ -= call->body.size();
        --size_;
        taken.push_back(std::move(call));
      } else {
        rest.push_back(std::move(call));
      }
    }
    group.calls.swap(rest);
  }
  return taken;
}

}  // namespace skyray::core_worker
