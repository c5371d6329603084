// SPDX-License-Identifier: Apache-2.0
#include "ipc/fd_passing.h"

#include <errno.h>
#include <sys/socket.h>

#include <cstring>

#include "ipc/frame.h"

namespace skyray::ipc {

ssize_t SendWithFds(int fd, const iovec* parts, int count, std::span<const int> fds, int flags) {
  if (fds.size() > kFrameFdsMax) {
    errno = EINVAL;
    return -1;
  }
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(parts);
  message.msg_iovlen = static_cast<size_t>(count);
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kFrameFdsMax)];
  if (!fds.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(head), fds.data(), fds.size_bytes());
  }
  return sendmsg(fd, &message, flags);
}

ssize_t ReceiveWithFds(int fd, void* buffer, size_t size, std::vector<UniqueFd>& fds, int flags) {
  iovec part{buffer, size};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kFrameFdsMax)];
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t got = recvmsg(fd, &message, flags | MSG_CMSG_CLOEXEC);
  if (got < 0) return got;
  size_t taken = 0;
  for (cmsghdr* head = CMSG_FIRSTHDR(&message); head != nullptr;
       head = CMSG_NXTHDR(&message, head)) {
    if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int received;
      std::memcpy(&received, CMSG_DATA(head) + i * sizeof(int), sizeof received);
      fds.emplace_back(received);
    }
    taken += count;
  }
  if ((message.msg_flags & MSG_CTRUNC) != 0) {
    errno = taken < kFrameFdsMax ? EMFILE : EMSGSIZE;
    return -1;
  }
  return got;
}

}  // namespace skyray::ipc
