// SPDX-License-Identifier: Apache-2.0
// Plain sockets without an event loop: what clients, handshakes and tests use.
//
// Threading: functions on descriptors the caller owns. Ownership: returned
// descriptors belong to the caller and are close-on-exec.
// Errors: IoError with errno in words; Disconnected when the peer has closed;
// InvalidRequest for a frame over its cap; TimedOut.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "common/status.h"
#include "common/unique_fd.h"
#include "ipc/frame.h"

namespace skyray::ipc {

// A socket path may have this many bytes (sockaddr_un, with its final zero).
constexpr size_t kSocketPathBytesMax = 107;

// Binds and listens; the file is readable by its owner only. A socket there that
// nobody listens on is replaced. Errors: AlreadyExists, somebody does, or it is
// another kind of file.
Result<UniqueFd> ListenUnix(const std::string& path, int backlog);
Result<UniqueFd> ConnectUnix(const std::string& path);
// `host` is a numeric IPv4 or IPv6 address. Port 0 binds any; see LocalPort.
Result<UniqueFd> ListenTcp(const std::string& host, uint16_t port, int backlog);
Result<UniqueFd> ConnectTcp(const std::string& host, uint16_t port);
Result<uint16_t> LocalPort(int fd);
Status SetNonBlocking(int fd, bool non_blocking);

struct PeerCredentials {
  pid_t pid = 0;
  uid_t uid = 0;
};
// Who is at the other end of a unix socket.
Result<PeerCredentials> GetPeerCredentials(int fd);

// Sends what the socket takes at once; how much of header and body that is, in bytes.
Result<size_t> SendFrameSome(int fd, uint16_t kind, std::span<const uint8_t> body);
// Blocking; sends all of it, the descriptors with the first byte.
Status SendFrame(int fd, uint16_t kind, std::span<const uint8_t> body,
                 std::span<const int> fds = {});
// Blocking; waits up to `timeout_ms` (-1: for ever) for each piece of the frame.
Result<Frame> ReceiveFrame(int fd, int timeout_ms = -1, uint32_t body_bytes_max = kFrameBytesMax);

}  // namespace skyray::ipc
