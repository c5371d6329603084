// SPDX-License-Identifier: Apache-2.0
#include "ipc/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <vector>

#include "ipc/fd_passing.h"

namespace skyray::ipc {
namespace {

Result<sockaddr_un> UnixAddress(const std::string& path) {
  if (path.size() > kSocketPathBytesMax) {
    return Status(ErrorCode::InvalidArgument,
                  "socket path of " + std::to_string(path.size()) + " bytes exceeds " +
                      std::to_string(kSocketPathBytesMax) + ": " + path +
                      "; choose a shorter temporary directory (SKYRAY_TMPDIR)");
  }
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, path.size());
  return address;
}

struct TcpAddress {
  sockaddr_storage storage{};
  socklen_t bytes = 0;
};

Result<TcpAddress> ParseTcpAddress(const std::string& host, uint16_t port) {
  TcpAddress address;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&address.storage);
  if (inet_pton(AF_INET, host.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    address.bytes = sizeof(sockaddr_in);
    return address;
  }
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&address.storage);
  if (inet_pton(AF_INET6, host.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    address.bytes = sizeof(sockaddr_in6);
    return address;
  }
  return Status(ErrorCode::InvalidArgument, "not a numeric IP address: " + host);
}

Status WaitReadable(int fd, int timeout_ms) {
  pollfd entry{fd, POLLIN, 0};
  for (;;) {
    const int ready = poll(&entry, 1, timeout_ms);
    if (ready > 0) return Status();
    if (ready == 0) {
      return Status(ErrorCode::TimedOut,
                    "no data from the peer within " + std::to_string(timeout_ms) + " ms");
    }
    if (errno != EINTR) return ErrnoStatus("poll", errno);
  }
}

// Reads exactly `size` bytes, collecting descriptors that come with them.
Status ReceiveExactly(int fd, void* buffer, size_t size, int timeout_ms,
                      std::vector<UniqueFd>& fds) {
  auto* at = static_cast<uint8_t*>(buffer);
  while (size > 0) {
    if (timeout_ms >= 0) {
      if (Status status = WaitReadable(fd, timeout_ms); !status.ok()) return status;
    }
    const ssize_t got = ReceiveWithFds(fd, at, size, fds, /*flags=*/0);
    if (got == 0) return Status(ErrorCode::Disconnected, "the peer closed the connection");
    if (got < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) {
        if (Status status = WaitReadable(fd, timeout_ms); !status.ok()) return status;
        continue;
      }
      if (errno == ECONNRESET) {
        return Status(ErrorCode::Disconnected, "the peer reset the connection");
      }
      return ErrnoStatus("recvmsg", errno);
    }
    at += got;
    size -= static_cast<size_t>(got);
  }
  return Status();
}

}  // namespace

// Makes way for a socket at `path`: what a process that ended left there goes,
// nothing else does.
static Status RemoveStale(const std::string& path, const sockaddr_un& address) {
  struct stat status {};
  if (lstat(path.c_str(), &status) != 0) return Status();
  if (!S_ISSOCK(status.st_mode)) {
    return Status(ErrorCode::AlreadyExists,
                  path + " exists and is no socket; choose another path, or remove it");
  }
  // Not blocking: a listener whose queue is full is a listener too.
  const UniqueFd probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe.valid()) return ErrnoStatus("socket", errno);
  const auto* target = reinterpret_cast<const sockaddr*>(&address);
  if (connect(probe.get(), target, sizeof address) == 0 || errno != ECONNREFUSED) {
    return Status(ErrorCode::AlreadyExists,
                  "a process listens on " + path + " already; choose another path, or end it");
  }
  if (unlink(path.c_str()) != 0 && errno != ENOENT) {
    return ErrnoStatus("removing the socket " + path + " that nobody listens on", errno);
  }
  return Status();
}

Result<UniqueFd> ListenUnix(const std::string& path, int backlog) {
  auto address = UnixAddress(path);
  if (!address) return address.error();
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return ErrnoStatus("socket", errno);
  if (Status status = RemoveStale(path, *address); !status.ok()) return status;
  // The mode is set on the socket before bind, so there is no moment at which
  // the file is open to others.
  fchmod(fd.get(), S_IRUSR | S_IWUSR);
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&*address), sizeof(sockaddr_un)) != 0) {
    return ErrnoStatus("bind " + path, errno);
  }
  if (chmod(path.c_str(), S_IRUSR | S_IWUSR) != 0) return ErrnoStatus("chmod " + path, errno);
  if (listen(fd.get(), backlog) != 0) return ErrnoStatus("listen " + path, errno);
  return fd;
}

Result<UniqueFd> ConnectUnix(const std::string& path) {
  auto address = UnixAddress(path);
  if (!address) return address.error();
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return ErrnoStatus("socket", errno);
  while (connect(fd.get(), reinterpret_cast<sockaddr*>(&*address), sizeof(sockaddr_un)) != 0) {
    if (errno != EINTR) return ErrnoStatus("connect " + path, errno);
  }
  return fd;
}

Result<UniqueFd> ListenTcp(const std::string& host, uint16_t port, int backlog) {
  auto address = ParseTcpAddress(host, port);
  if (!address) return address.error();
  UniqueFd fd(socket(address->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return ErrnoStatus("socket", errno);
  const int on = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const std::string name = host + ":" + std::to_string(port);
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&address->storage), address->bytes) != 0) {
    return ErrnoStatus("bind " + name, errno);
  }
  if (listen(fd.get(), backlog) != 0) return ErrnoStatus("listen " + name, errno);
  return fd;
}

Result<UniqueFd> ConnectTcp(const std::string& host, uint16_t port) {
  auto address = ParseTcpAddress(host, port);
  if (!address) return address.error();
  UniqueFd fd(socket(address->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return ErrnoStatus("socket", errno);
  while (connect(fd.get(), reinterpret_cast<sockaddr*>(&address->storage), address->bytes) != 0) {
    if (errno != EINTR) {
      return ErrnoStatus("connect " + host + ":" + std::to_string(port), errno);
    }
  }
  const int on = 1;
  setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

Result<uint16_t> LocalPort(int fd) {
  sockaddr_storage storage{};
  socklen_t bytes = sizeof storage;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &bytes) != 0) {
    return ErrnoStatus("getsockname", errno);
  }
  if (storage.ss_family == AF_INET) {
    return ntohs(reinterpret_cast<sockaddr_in*>(&storage)->sin_port);
  }
  if (storage.ss_family == AF_INET6) {
    return ntohs(reinterpret_cast<sockaddr_in6*>(&storage)->sin6_port);
  }
  return Status(ErrorCode::InvalidArgument, "not a TCP socket");
}

Status SetNonBlocking(int fd, bool non_blocking) {
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0) return ErrnoStatus("fcntl", errno);
  const int wanted = non_blocking ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
  if (fcntl(fd, F_SETFL, wanted) != 0) return ErrnoStatus("fcntl", errno);
  return Status();
}

Result<PeerCredentials> GetPeerCredentials(int fd) {
  ucred credentials{};
  socklen_t bytes = sizeof credentials;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &bytes) != 0) {
    return ErrnoStatus("getsockopt SO_PEERCRED", errno);
  }
  return PeerCredentials{credentials.pid, credentials.uid};
}

namespace {

struct OutgoingParts {
  FrameHeader header;
  std::span<const uint8_t> body;

  size_t size() const { return sizeof header + body.size(); }
};

// One sendmsg of what follows the first `sent` bytes; how many it took: none if the
// socket takes none now, or a signal came.
Result<size_t> SendRest(int fd, const OutgoingParts& frame, size_t sent, std::span<const int> fds,
                        int flags) {
  iovec rest[2];
  int count = 0;
  if (sent < sizeof frame.header) {
    auto* header = reinterpret_cast<uint8_t*>(const_cast<FrameHeader*>(&frame.header));
    rest[count++] = {header + sent, sizeof frame.header - sent};
  }
  const size_t of_body = sent < sizeof frame.header ? 0 : sent - sizeof frame.header;
  if (of_body < frame.body.size()) {
    rest[count++] = {const_cast<uint8_t*>(frame.body.data()) + of_body,
                     frame.body.size() - of_body};
  }
  const ssize_t done =
      SendWithFds(fd, rest, count, sent == 0 ? fds : std::span<const int>(), flags | MSG_NOSIGNAL);
  if (done >= 0) return static_cast<size_t>(done);
  if (errno == EINTR || errno == EAGAIN) return size_t{0};
  if (errno == EPIPE || errno == ECONNRESET) {
    return Status(ErrorCode::Disconnected, "the peer closed the connection");
  }
  return ErrnoStatus("sendmsg", errno);
}

OutgoingParts PartsOf(uint16_t kind, std::span<const uint8_t> body, size_t fds) {
  return {{static_cast<uint32_t>(body.size()), kind, static_cast<uint16_t>(fds)}, body};
}

}  // namespace

Result<size_t> SendFrameSome(int fd, uint16_t kind, std::span<const uint8_t> body) {
  return SendRest(fd, PartsOf(kind, body, 0), 0, {}, MSG_DONTWAIT);
}

Status SendFrame(int fd, uint16_t kind, std::span<const uint8_t> body, std::span<const int> fds) {
  const OutgoingParts frame = PartsOf(kind, body, fds.size());
  for (size_t sent = 0; sent < frame.size();) {
    const auto some = SendRest(fd, frame, sent, fds, 0);
    if (!some) return some.error();
    sent += *some;
    if (*some > 0) continue;
    // The socket may be one that does not wait by itself.
    pollfd entry{fd, POLLOUT, 0};
    poll(&entry, 1, -1);
  }
  return Status();
}

Result<Frame> ReceiveFrame(int fd, int timeout_ms, uint32_t body_bytes_max) {
  FrameHeader header;
  Frame frame;
  if (Status status = ReceiveExactly(fd, &header, sizeof header, timeout_ms, frame.fds);
      !status.ok()) {
    return status;
  }
  if (header.body_bytes > body_bytes_max) {
    return Status(ErrorCode::InvalidRequest,
                  "the peer announces a frame of " + std::to_string(header.body_bytes) +
                      " bytes, over the cap of " + std::to_string(body_bytes_max));
  }
  frame.kind = header.kind;
  frame.body.resize(header.body_bytes);
  if (Status status =
          ReceiveExactly(fd, frame.body.data(), frame.body.size(), timeout_ms, frame.fds);
      !status.ok()) {
    return status;
  }
  if (frame.fds.size() != header.fds) {
    return Status(ErrorCode::InvalidRequest, "a frame announces " + std::to_string(header.fds) +
                                                 " descriptors and brings " +
                                                 std::to_string(frame.fds.size()));
  }
  return frame;
}

}  // namespace skyray::ipc
