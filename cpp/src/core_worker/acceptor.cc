// SPDX-License-Identifier: Apache-2.0
#include "core_worker/acceptor.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <utility>

#include "common/logging.h"
#include "common/status.h"
#include "ipc/socket.h"

namespace skyray::core_worker {
namespace {

constexpr int64_t kPauseNs = 100'000'000;

}  // namespace

void Acceptor::Start(UniqueFd listener, int epoll, uint64_t tag) {
  listener_ = std::move(listener);
  epoll_ = epoll;
  tag_ = tag;
  Watch(EPOLL_CTL_ADD, EPOLLIN);
}

void Acceptor::Watch(int operation, uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = tag_;
  epoll_ctl(epoll_, operation, listener_.get(), &event);
}

void Acceptor::Pause(int64_t now_ns, int error) {
  if (again_ns_ == INT64_MAX) {
    Watch(EPOLL_CTL_MOD, 0);
    SKYRAY_LOG(Error) << "new connections must wait: " << ErrnoStatus("accept", error).message()
                      << ". Raise the limit on open files (ulimit -n)";
  }
  again_ns_ = now_ns + kPauseNs;
}

void Acceptor::AcceptAll(int64_t now_ns, const std::function<void(UniqueFd)>& take) {
  for (;;) {
    UniqueFd socket(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket.valid()) {
      const int error = errno;
      if (error == EINTR || error == ECONNABORTED) continue;
      if (error != EAGAIN) return Pause(now_ns, error);
      break;
    }
    const auto peer = ipc::GetPeerCredentials(socket.get());
    if (!peer || peer->uid != geteuid()) continue;  // Closed: not one of us.
    take(std::move(socket));
  }
  // Nobody waits any more: only now it is over, so that a crowd is told of once.
  if (again_ns_ == INT64_MAX) return;
  again_ns_ = INT64_MAX;
  Watch(EPOLL_CTL_MOD, EPOLLIN);
  SKYRAY_LOG(Info) << "new connections are accepted again";
}

}  // namespace skyray::core_worker
