// SPDX-License-Identifier: Apache-2.0
// NodeServer: the order in which everything ends.
//
//   Stop ─► no new clients; Exit to all ─all workers gone, or kStopGrace─►
//   SIGKILL ─all gone, or kStopGrace again─► zygote, sockets, directory
#include <filesystem>
#include <system_error>

#include "common/logging.h"
#include "raylet/node_server.h"

namespace skyray::raylet {

namespace {
constexpr std::chrono::milliseconds kStopGrace{300};
}  // namespace

void NodeServer::Stop(const std::string& reason) {
  if (stopping_) return;
  stopping_ = true;
  SKYRAY_LOG(Info) << "stopping: " << reason;
  if (gcs_ != nullptr) {
    pb::NodeEvent event;
    event.set_leaving(true);
    gcs_->SendEvent(std::move(event));
  }
  for (const auto& [connection, client] : clients_) {
    if (!client.registered) continue;
    Builder builder;
    const auto text = builder.CreateString(reason);
    Send(connection, 0, builder, wire::CreateExit(builder, text));
  }
  for (const WorkerId& worker : pool_.All()) {
    pool_.MarkEnding(worker, true, reason);
    const PoolWorker* starting = pool_.Find(worker);
    if (ConnectionOf(worker) == 0) zygote_.Kill(starting->pid);
  }
  stop_deadline_ = Now() + kStopGrace;
  WakeAt(stop_deadline_);
  StopStep();
}

void NodeServer::StopStep() {
  if (stopped_) return;
  if (pool_.size() == 0) return StopNow();
  if (Now() < stop_deadline_) return WakeAt(stop_deadline_);
  if (kill_sent_) return StopNow();  // The zygote takes those left along.
  kill_sent_ = true;
  for (const WorkerId& worker : pool_.All()) zygote_.Kill(pool_.Find(worker)->pid);
  stop_deadline_ = Now() + kStopGrace;
  WakeAt(stop_deadline_);
}

void NodeServer::StopNow() {
  stopped_ = true;
  timer_.cancel();
  zygote_.Stop();
  server_.Stop();
  objects_.reset();
  spills_.reset();  // With its files; only then may the memory go.
  store_.reset();
  // With the sockets of processes that had no time to take theirs away.
  std::error_code ignored;
  std::filesystem::remove_all(options_.socket_dir(), ignored);
  if (on_stopped_) on_stopped_();
}

}  // namespace skyray::raylet
