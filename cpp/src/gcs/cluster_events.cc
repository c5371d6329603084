// SPDX-License-Identifier: Apache-2.0
// Cluster: what workers have run, and the rounds in which all are asked for it.
#include <algorithm>

#include "gcs/cluster.h"

namespace skyray::gcs {

std::optional<pb::GetTaskEventsReply> Cluster::GetTaskEvents(
    const pb::GetTaskEventsRequest& request, WaiterId waiter, Now now) {
  if (request.flush_wait_ms() == 0) return task_events_.Read(request.after());
  std::set<NodeId> alive;
  for (const auto& [id, node] : nodes_.nodes()) {
    if (node.alive()) alive.insert(id);
  }
  const uint64_t round = ++last_flush_;
  for (const NodeId& node : alive) {
    pb::NodeCommand command;
    command.set_flush_task_events(round);
    Tell(node, std::move(command));
  }
  if (flushes_.Begin(round, std::move(alive))) return task_events_.Read(request.after());
  const int64_t wait_ms = std::min<int64_t>(request.flush_wait_ms(), kFlushWaitMsMax);
  awaiting_flush_.emplace(round, FlushWaiter{waiter, request.after(), now.monotonic_ms + wait_ms});
  return std::nullopt;
}

void Cluster::EndFlush(uint64_t round) {
  const auto it = awaiting_flush_.find(round);
  if (it == awaiting_flush_.end()) return;  // Its time was up.
  effects_.task_event_answers.push_back({it->second.waiter, task_events_.Read(it->second.after)});
  awaiting_flush_.erase(it);
}

void Cluster::EndFlushes(const std::vector<uint64_t>& rounds) {
  for (const uint64_t round : rounds) EndFlush(round);
}

void Cluster::ExpireFlushes(int64_t now_ms) {
  std::vector<uint64_t> late;
  for (const auto& [round, waiting] : awaiting_flush_) {
    if (waiting.deadline_ms <= now_ms) late.push_back(round);
  }
  for (const uint64_t round : late) flushes_.Forget(round);
  EndFlushes(late);
}

std::optional<int64_t> Cluster::NextFlushDeadlineMs() const {
  std::optional<int64_t> first;
  for (const auto& [round, waiting] : awaiting_flush_) {
    first = std::min(first.value_or(waiting.deadline_ms), waiting.deadline_ms);
  }
  return first;
}

}  // namespace skyray::gcs
