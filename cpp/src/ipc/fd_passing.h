// SPDX-License-Identifier: Apache-2.0
// sendmsg and recvmsg with descriptors, and nothing else.
//
// Threading: functions. Ownership: received descriptors are appended to `fds`,
// close-on-exec. Errors: as the system calls: -1 and errno. Descriptors that
// came and could not be received: EMFILE (this process has too many open) or
// EMSGSIZE (more than kFrameFdsMax at once); the stream is of no use after that.
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <cstddef>
#include <span>
#include <vector>

#include "common/unique_fd.h"

namespace skyray::ipc {

ssize_t SendWithFds(int fd, const iovec* parts, int count, std::span<const int> fds, int flags);
ssize_t ReceiveWithFds(int fd, void* buffer, size_t size, std::vector<UniqueFd>& fds, int flags);

}  // namespace skyray::ipc
