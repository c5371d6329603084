// SPDX-License-Identifier: Apache-2.0
// How a worker's process ended, as its parent saw it.
//
// Threading: values. Ownership: values. Errors: none.
#pragma once

#include <string>
#include <vector>

#include "common/status.h"

namespace skyray::raylet {

struct WorkerExit {
  int pid = 0;
  int exit_code = -1;  // -1 if ended by a signal.
  int signal = 0;      // 0 if it exited.
  bool expected = false;
  std::string reason;
  std::vector<std::string> stderr_tail;
  ErrorCode error = ErrorCode::Ok;  // What it is to the caller, if more than a crash.
  bool no_retry = false;            // It would only happen again.
};

// `status` as waitpid gives it. Without a reason of its own, one in words.
WorkerExit DescribeExit(int pid, int status, bool expected, std::string reason);

}  // namespace skyray::raylet
