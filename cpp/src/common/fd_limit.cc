// SPDX-License-Identifier: Apache-2.0
#include "common/fd_limit.h"

#include <limits.h>
#include <sys/resource.h>

#include <algorithm>

namespace skyray {

int FdLimitLess(int part, int reserved_max) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  const int fds = static_cast<int>(std::min<rlim_t>(limit.rlim_cur, INT_MAX));
  return fds - std::min(fds / part, reserved_max);
}

}  // namespace skyray
