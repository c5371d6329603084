// SPDX-License-Identifier: Apache-2.0
// The warm Python process that forks this node's workers, and the only way to a
// worker's process: fork, signal, and the report of its end.
//
//   down ─Start─► warming ─"ready"─► up ─its socket or process ends─► down
//
// Forks asked for while it warms up wait in its socket. When it goes down every
// worker it forked is gone with it (PDEATHSIG).
//
// Threading:  lives on the raylet's loop. Start() must always be called from the
//             same thread: the zygote ends with that thread.
// Ownership:  owns the process; the destructor ends it.
// Errors:     Start returns them. What it reports later goes to the handler; a
//             report that makes no sense ends it.
#pragma once

#include <boost/asio/io_context.hpp>
#include <memory>
#include <string>
#include <unordered_set>

#include "common/id.h"
#include "common/status.h"
#include "common/unique_fd.h"

namespace skyray::raylet {

struct ForkOrder {
  WorkerId worker;
  JobId job;
  std::string job_config;  // JSON, opaque here.
  std::string name_space;
  std::string raylet_socket;
  std::string log_name;
  std::string runtime_env;  // JSON, opaque here; empty: the job's.
  int progress_place = -1;  // On the board; -1: none.
};

// The read ends of a forked worker's stdout and stderr.
struct WorkerPipes {
  UniqueFd out, err;
};

class ZygoteHandler {
 public:
  virtual ~ZygoteHandler() = default;
  virtual void OnZygoteReady() = 0;
  virtual void OnForked(const WorkerId& worker, int pid) = 0;
  virtual void OnForkFailed(const WorkerId& worker, const std::string& message) = 0;
  virtual void OnWorkerExited(int pid, int status) = 0;
  // The zygote and all its workers are gone. `was_ready`: it had come up.
  virtual void OnZygoteDown(const std::string& why, bool was_ready) = 0;
};

class Zygote {
 public:
  // `log_path`: where the zygote's own output goes. `board`: of the workers' progress,
  // which is open as long as this lives; -1: none.
  Zygote(boost::asio::io_context& loop, ZygoteHandler& handler, std::string python,
         std::string log_path, int board);
  ~Zygote();
  Zygote(const Zygote&) = delete;
  Zygote& operator=(const Zygote&) = delete;

  // REQUIRES: it is down.
  Status Start();
  bool up() const;
  // Errors: Disconnected if it is down; IoError.
  Result<WorkerPipes> Fork(const ForkOrder& order);
  // SIGKILL to a worker it forked and has not reported ended; else nothing.
  void Kill(int pid);
  // Lets it go: its socket is closed, which ends it and its workers. No handler
  // runs afterwards.
  void Stop();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace skyray::raylet
