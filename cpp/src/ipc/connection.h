// SPDX-License-Identifier: Apache-2.0
// One framed stream socket on an Asio loop, for the daemons' shells.
//
// Reads frames and hands each to `on_frame`; queues what is sent and lets the
// socket take it when it can. While the peer leaves more than
// kSendQueueBytesMax, or more than kSendQueueFdsMax descriptors, unread, nothing
// more is read from it: a slow reader slows only itself.
//
// Threading:  lives on one loop; every call is made there.
// Ownership:  owns the socket. May be destroyed at any time, also from inside
//             its own handlers; no handler runs afterwards.
// Errors:     on_closed(why) once: the peer closed, a frame was over its cap,
//             the socket failed, or all was sent before CloseAfterSend. Never after
//             Close() or destruction.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <span>

#include "common/status.h"
#include "common/unique_fd.h"
#include "ipc/frame.h"

namespace flatbuffers {
class FlatBufferBuilder;
}

namespace skyray::ipc {

struct ConnectionHandlers {
  std::function<void(Frame)> on_frame;
  std::function<void(const Status&)> on_closed;
};

class Connection {
 public:
  // Takes over a connected stream socket (unix or TCP). Reading starts with Start().
  Connection(boost::asio::io_context& loop, UniqueFd socket, ConnectionHandlers handlers);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void Start();
  // Hands out at once, from inside this call, what has arrived by now: of a peer that
  // is known to have ended, this is all it said.
  void DeliverArrived();
  // The cap on what the peer may send; kHelloBytesMax until raised.
  void SetFrameBytesMax(uint32_t bytes);
  // REQUIRES: at most kFrameFdsMax descriptors.
  void Send(uint16_t kind, std::span<const uint8_t> body, std::vector<SharedFd> fds = {});
  // Sends a finished FlatBuffer.
  void Send(const flatbuffers::FlatBufferBuilder& message, std::vector<SharedFd> fds = {});
  // Closes after what is queued has been sent, or has failed; reads nothing more.
  void CloseAfterSend();
  void Close();
  // Gives the socket up (to hand it to another process). REQUIRES: nothing queued.
  UniqueFd Release();
  int fd() const;
  size_t queued_bytes() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

// A slow peer may have this much waiting before it is no longer read from.
constexpr size_t kSendQueueBytesMax = 16u << 20;
constexpr size_t kSendQueueFdsMax = 64;

}  // namespace skyray::ipc
