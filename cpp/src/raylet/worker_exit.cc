// SPDX-License-Identifier: Apache-2.0
#include "raylet/worker_exit.h"

#include <string.h>
#include <sys/wait.h>

namespace skyray::raylet {

WorkerExit DescribeExit(int pid, int status, bool expected, std::string reason) {
  WorkerExit exit;
  exit.pid = pid;
  exit.expected = expected;
  exit.reason = std::move(reason);
  if (WIFSIGNALED(status)) {
    exit.signal = WTERMSIG(status);
  } else {
    exit.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  if (!exit.reason.empty()) return exit;
  if (exit.signal != 0) {
    const char* name = sigabbrev_np(exit.signal);
    const char* meaning = sigdescr_np(exit.signal);
    exit.reason = "ended by signal " + std::to_string(exit.signal) + " (SIG" +
                  (name != nullptr ? name : "?") + ", " +
                  (meaning != nullptr ? meaning : "unknown") + ")";
  } else {
    exit.reason = "exited with code " + std::to_string(exit.exit_code);
  }
  return exit;
}

}  // namespace skyray::raylet
