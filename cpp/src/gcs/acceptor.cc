// SPDX-License-Identifier: Apache-2.0
#include "gcs/acceptor.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>

#include "common/logging.h"
#include "common/status.h"

namespace skyray::gcs {
namespace {

constexpr std::chrono::milliseconds kOutOfFdsPause(100);

}  // namespace

Acceptor::Acceptor(boost::asio::io_context& loop, UniqueFd listener, Accepted accepted)
    : listener_(loop), pause_(loop), accepted_(std::move(accepted)) {
  fcntl(listener.get(), F_SETFD, FD_CLOEXEC);
  fcntl(listener.get(), F_SETFL, fcntl(listener.get(), F_GETFL) | O_NONBLOCK);
  listener_.assign(listener.Release());
  Wait();
}

Acceptor::~Acceptor() { Stop(); }

void Acceptor::Stop() {
  *open_ = false;
  boost::system::error_code ignored;
  listener_.close(ignored);
  pause_.cancel();
}

void Acceptor::Wait() {
  listener_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                       [this, open = open_](const boost::system::error_code& error) {
                         if (!error && *open) AcceptAll();
                       });
}

void Acceptor::AcceptAll() {
  while (*open_) {
    const int fd =
        accept4(listener_.native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
      Take(UniqueFd(fd));
      continue;
    }
    if (errno == EINTR || errno == ECONNABORTED) continue;
    if (errno == EAGAIN) return Wait();
    SKYRAY_LOG(Error) << ErrnoStatus("accept", errno).message() << "; trying again in "
                      << kOutOfFdsPause.count()
                      << " ms. Raise the limit on open files (ulimit -n) if this repeats";
    pause_.expires_after(kOutOfFdsPause);
    pause_.async_wait([this, open = open_](const boost::system::error_code& error) {
      if (!error && *open) AcceptAll();
    });
    return;
  }
}

void Acceptor::Take(UniqueFd connection) {
  ucred peer{};
  socklen_t bytes = sizeof peer;
  if (getsockopt(connection.get(), SOL_SOCKET, SO_PEERCRED, &peer, &bytes) != 0) {
    SKYRAY_LOG(Warning) << "a connection was dropped: "
                        << ErrnoStatus("getsockopt SO_PEERCRED", errno).message();
    return;
  }
  if (peer.uid != geteuid()) {
    SKYRAY_LOG(Warning) << "a connection from process " << peer.pid << " of user " << peer.uid
                        << " was dropped: only user " << geteuid() << " may talk to this GCS";
    return;
  }
  accepted_(std::move(connection));
}

}  // namespace skyray::gcs
