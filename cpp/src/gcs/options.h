// SPDX-License-Identifier: Apache-2.0
// The command line of gcs_server (docs/design/001-processes.md).
//
// Threading: functions. Ownership: values. Errors: InvalidArgument naming the flag.
#pragma once

#include <string>

#include "common/status.h"
#include "gcs/task_event_store.h"

namespace skyray::gcs {

struct Options {
  int listen_fd = -1;
  std::string session_dir;
  std::string storage = "memory";
  int owner_pid = 0;  // 0: nobody in particular.
  int ready_fd = -1;
  int task_events_max = kTaskEventsMax;
  std::string log_level = "info";
};

Result<Options> ParseOptions(int argc, const char* const* argv);

}  // namespace skyray::gcs
