// SPDX-License-Identifier: Apache-2.0
// NodeServer: what is done when memory runs short.
#include "common/logging.h"
#include "raylet/node_server.h"

namespace skyray::raylet {

namespace {
// An idle worker that keeps more than this is let go before any work is ended.
constexpr uint64_t kIdleBytesMax = 64ull << 20;
}  // namespace

void NodeServer::CheckMemory(TimePoint now) {
  if (options_.memory_refresh_ms <= 0 || now < next_memory_check_) return;
  next_memory_check_ = now + std::chrono::milliseconds(options_.memory_refresh_ms);
  const bool was_short = memory_short_;
  memory_short_ = false;
  if (pool_.CountIn(PoolWorker::State::Leased) == 0) {
    // Nothing to end. The next lease starts the looking again.
    next_memory_check_ = TimePoint{};
    if (was_short) ScheduleSoon();
    return;
  }
  WakeAt(next_memory_check_);
  std::vector<MemoryLevel> levels = memory_.Levels();
  if (options_.memory_limit_bytes > 0) levels.push_back(WorkersLevel());
  const MemoryLevel* level = Fullest(levels, options_.memory_threshold);
  if (level == nullptr) {
    if (was_short) ScheduleSoon();
    return;
  }
  memory_short_ = true;
  // What was told to end gives its memory back first.
  if (!oom_kills_.empty() || EndIdleHoarders()) return;
  KillForMemory(*level);
}

void NodeServer::ArmMemoryCheck() {
  if (options_.memory_refresh_ms <= 0 || next_memory_check_ != TimePoint{}) return;
  next_memory_check_ = Now() + std::chrono::milliseconds(options_.memory_refresh_ms);
  WakeAt(next_memory_check_);
}

MemoryLevel NodeServer::WorkersLevel() const {
  MemoryLevel level{"the workers' share", 0, options_.memory_limit_bytes};
  for (const WorkerId& id : pool_.All()) level.used += memory_.BytesOf(pool_.Find(id)->pid);
  return level;
}

bool NodeServer::EndIdleHoarders() {
  bool ended = false;
  for (const WorkerId& id : pool_.All()) {
    const PoolWorker& worker = *pool_.Find(id);
    if (worker.ending || worker.state != PoolWorker::State::Idle) continue;
    if (Now() < worker.keep_until) continue;  // It has just said that it is needed.
    if (memory_.BytesOf(worker.pid) <= kIdleBytesMax) continue;
    EndWorker(id, true, "it was idle and memory is short", HowToEnd::IfUnneeded);
    ended = true;
  }
  return ended;
}

std::vector<MemoryUser> NodeServer::MemoryUsers() const {
  std::vector<MemoryUser> users;
  for (const WorkerId& id : pool_.All()) {
    const PoolWorker& worker = *pool_.Find(id);
    if (worker.ending || worker.pid == 0) continue;
    const Lease* lease = worker.lease.IsNil() ? nullptr : queue_.Find(worker.lease);
    if (lease == nullptr) continue;
    MemoryUser user;
    user.worker = id;
    user.pid = worker.pid;
    user.name = lease->request.name.empty() ? "a task" : lease->request.name;
    user.owner = lease->request.owner;
    user.retriable = lease->request.retriable;
    user.since = worker.since;
    user.bytes = memory_.BytesOf(worker.pid);
    if (const auto actor = actors_.find(lease->request.actor); actor != actors_.end()) {
      const pb::WorkerAddress& owner = actor->second.spec.owner();
      user.owner.node = NodeId::FromBinary(owner.node_id()).value_or(NodeId());
      user.owner.worker = WorkerId::FromBinary(owner.worker_id()).value_or(WorkerId());
    }
    users.push_back(std::move(user));
  }
  return users;
}

void NodeServer::KillForMemory(const MemoryLevel& level) {
  const std::vector<MemoryUser> users = MemoryUsers();
  const auto victim = ChooseVictim(users);
  if (!victim) return;
  const WorkerId id = users[victim->index].worker;
  const std::string text = DescribeShortage(level, options_.memory_threshold, users, *victim);
  SKYRAY_LOG(Warning) << text;
  oom_kills_[id] = victim->retry;
  EndWorker(id, /*expected=*/false, text, HowToEnd::AtOnce);
}

void NodeServer::TakeMemoryKill(const WorkerId& worker, WorkerExit& exit) {
  const auto killed = oom_kills_.find(worker);
  if (killed == oom_kills_.end()) return;
  exit.error = ErrorCode::OutOfMemoryKilled;
  exit.no_retry = !killed->second;
  oom_kills_.erase(killed);
}

}  // namespace skyray::raylet
