// SPDX-License-Identifier: Apache-2.0
// ipc::Server and ipc::Connection without sockets, and a clock that stands still:
// linked into a fuzz target in place of ipc/server.cc and ipc/connection.cc, so
// that a server runs as it is, deterministic and without a system call.
//
// Threading:  one thread. There is one server at a time.
// Ownership:  the registry finds what the server owns.
// Errors:     none; a connection that was dropped is not found any more.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "ipc/frame.h"
#include "ipc/server.h"

namespace skyray::fuzz {

// The steady clock of this program. Timers run when the loop is polled.
void SetClockMs(int64_t now_ms);
int64_t ClockMs();

// A peer connects to the server there is. Nothing if there is none.
std::optional<ipc::ConnectionId> Connect();
// False if the server has dropped the connection.
bool IsOpen(ipc::ConnectionId connection);
// Bytes from the peer, cut anyhow.
void Receive(ipc::ConnectionId connection, std::span<const uint8_t> bytes);
// The peer reads what it was sent; what it had sent meanwhile is then handled.
std::vector<ipc::Frame> TakeSent(ipc::ConnectionId connection);
void Disconnect(ipc::ConnectionId connection);

// Called with each frame just before the server's handler is.
using FrameWatcher = void (*)(ipc::ConnectionId connection, const ipc::Frame& frame);
void WatchFrames(FrameWatcher watcher);

}  // namespace skyray::fuzz
