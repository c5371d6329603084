// SPDX-License-Identifier: Apache-2.0
#include "common/daemon.h"

#include <errno.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string>

#include "common/logging.h"

namespace skyray {

void ReportReady(UniqueFd& ready_fd, const Status& status) {
  if (!ready_fd.valid()) return;
  const std::string line = status.ok() ? "ready\n" : "error: " + status.message() + "\n";
  if (write(ready_fd.get(), line.data(), line.size()) < 0) {
    SKYRAY_LOG(Warning) << ErrnoStatus("writing to --ready-fd", errno).message();
  }
  ready_fd.Reset();
}

Result<UniqueFd> WatchOwner(int pid) {
  UniqueFd owner(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  // The number may already be another process's: ours is our parent.
  if (!owner.valid() || getppid() != pid) {
    return Status(ErrorCode::InvalidArgument,
                  "--owner-pid " + std::to_string(pid) + " is not the parent of this process");
  }
  return owner;
}

void RaiseOpenFilesLimit() {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace skyray
