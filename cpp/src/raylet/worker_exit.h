// SPDX-License-Identifier: Apache-2.0
// How a worker's process ended, as its parent saw it.
//
// Threading: values. Ownership: values. Errors: none.
#pragma once

#include <string>
#include <vector>

namespace skyray::raylet {

struct WorkerExit {
  int pid = 0;
  int exit_code = -1;  // -1 if ended by a signal.
  int signal = 0;      // 0 if it exited.
  bool expected = false;
  std::string reason;
  std::vector<std::string> stderr_tail;
};

// `status` as waitpid gives it. Without a reason of its own, one in words.
WorkerExit DescribeExit(int pid, int status, bool expected, std::string reason);

}  // namespace skyray::raylet
