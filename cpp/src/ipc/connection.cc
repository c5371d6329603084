// SPDX-License-Identifier: Apache-2.0
#include "ipc/connection.h"

#include <errno.h>
#include <flatbuffers/flatbuffers.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <deque>
#include <utility>

#include "common/logging.h"
#include "ipc/fd_passing.h"
#include "ipc/frame_input.h"
#include "ipc/socket.h"

namespace skyray::ipc {
namespace asio = boost::asio;

namespace {
constexpr size_t kReadBytes = 64 << 10;
// Frames handled per wake-up, so that one busy peer does not starve the others.
constexpr int kFramesPerWakeMax = 64;
// What a queued frame takes up beside its bytes, about.
constexpr size_t kFrameOverheadBytes = 96;

Status DoneWithPeer() {
  return Status(ErrorCode::Disconnected, "closed after the last that was sent");
}
}  // namespace

struct OutgoingFrame {
  std::vector<uint8_t> bytes;  // Header and body.
  std::vector<SharedFd> fds;
};

// Shared with the pending Asio handlers, which find it closed when they come late.
struct Connection::State {
  State(asio::io_context& loop, UniqueFd fd, ConnectionHandlers h)
      : socket(loop, fd.Release()),
        handlers(std::make_shared<const ConnectionHandlers>(std::move(h))) {}

  asio::posix::stream_descriptor socket;
  // Null once closed. Shared with the call that runs: it may destroy the Connection.
  std::shared_ptr<const ConnectionHandlers> handlers;
  FrameInput input;
  std::deque<OutgoingFrame> output;
  size_t output_offset = 0;
  size_t output_bytes = 0;
  size_t output_fds = 0;
  bool open = true;
  bool reading = false;
  bool writing = false;
  bool close_after_send = false;
};

template <class S>
static void Shut(const std::shared_ptr<S>& state, const Status& why) {
  if (!state->open) return;
  state->open = false;
  boost::system::error_code ignored;
  state->socket.close(ignored);
  const auto handlers = std::move(state->handlers);
  if (handlers->on_closed && !why.ok()) handlers->on_closed(why);
}

// Whether the peer leaves so much unread that it is no longer read from.
template <class S>
static bool IsBehind(const S& state) {
  return state.output_bytes + state.output.size() * kFrameOverheadBytes > kSendQueueBytesMax ||
         state.output_fds > kSendQueueFdsMax;
}

template <class S>
static void WaitToRead(const std::shared_ptr<S>& state);

// Hands out the complete frames of the input. False once closed.
template <class S>
static bool Deliver(const std::shared_ptr<S>& state) {
  const auto handlers = state->handlers;
  for (int delivered = 0; state->open && delivered < kFramesPerWakeMax; ++delivered) {
    if (IsBehind(*state) || state->close_after_send) break;
    auto frame = state->input.Next();
    if (!frame) {
      Shut(state, frame.error());
      return false;
    }
    if (!*frame) break;
    if (handlers->on_frame) handlers->on_frame(std::move(**frame));
  }
  state->input.Compact();
  return state->open;
}

// Adds what has arrived, a buffer full at most, to the input; its bytes. False once closed.
template <class S>
static bool Receive(const std::shared_ptr<S>& state, size_t& bytes) {
  // By way of the stack: a connection that waits keeps no buffer, however many there are.
  uint8_t buffer[kReadBytes];
  const ssize_t got = ReceiveWithFds(state->socket.native_handle(), buffer, sizeof buffer,
                                     state->input.fds(), MSG_DONTWAIT);
  const int error = errno;
  bytes = got > 0 ? static_cast<size_t>(got) : 0;
  if (bytes > 0) state->input.Append({buffer, bytes});
  if (got == 0) Shut(state, Status(ErrorCode::Disconnected, "the peer closed"));
  if (got < 0 && error != EAGAIN && error != EINTR) {
    Shut(state,
         Status(ErrorCode::Disconnected, ErrnoStatus("reading from the peer", error).message()));
  }
  if (!state->open) return false;
  if (Status status = state->input.CheckFds(); !status.ok()) Shut(state, status);
  return state->open;
}

template <class S>
static void ReadSome(const std::shared_ptr<S>& state) {
  size_t bytes = 0;
  if (!state->open || (!state->input.HasNext() && !Receive(state, bytes))) return;
  if (Deliver(state)) WaitToRead(state);
}

template <class S>
static void WaitToRead(const std::shared_ptr<S>& state) {
  if (!state->open || state->reading || IsBehind(*state) || state->close_after_send) return;
  state->reading = true;
  auto resume = [state](const boost::system::error_code& error) {
    state->reading = false;
    if (!error) ReadSome(state);
  };
  if (state->input.HasNext()) {
    asio::post(state->socket.get_executor(),
               [resume = std::move(resume)] { resume(boost::system::error_code()); });
  } else {
    state->socket.async_wait(asio::posix::stream_descriptor::wait_read, std::move(resume));
  }
}

// One sendmsg, with the descriptors beside its first byte; -1 with errno.
static ssize_t SendParts(int socket, const iovec* parts, int count,
                         const std::vector<SharedFd>& with) {
  int fds[kFrameFdsMax];
  size_t fd_count = 0;
  for (const SharedFd& fd : with) fds[fd_count++] = fd->get();
  return SendWithFds(socket, parts, count, std::span<const int>(fds, fd_count),
                     MSG_DONTWAIT | MSG_NOSIGNAL);
}

// Sends what the socket takes of the first frame. False if it takes no more for
// now, or has failed: then `error` is not 0.
template <class S>
static bool WriteFront(S& state, int& error) {
  OutgoingFrame& frame = state.output.front();
  const iovec part{frame.bytes.data() + state.output_offset,
                   frame.bytes.size() - state.output_offset};
  const ssize_t done = SendParts(state.socket.native_handle(), &part, 1, frame.fds);
  if (done < 0) {
    if (errno == EINTR) return true;
    if (errno != EAGAIN) error = errno;
    return false;
  }
  state.output_fds -= frame.fds.size();
  frame.fds.clear();
  state.output_offset += static_cast<size_t>(done);
  state.output_bytes -= static_cast<size_t>(done);
  if (state.output_offset == frame.bytes.size()) {
    state.output.pop_front();
    state.output_offset = 0;
  }
  return true;
}

template <class S>
static void WriteSome(const std::shared_ptr<S>& state) {
  int error = 0;
  while (state->open && !state->output.empty() && WriteFront(*state, error)) {
  }
  if (!state->open) return;
  if (error != 0) {
    return Shut(state, Status(ErrorCode::Disconnected,
                              ErrnoStatus("writing to the peer", error).message()));
  }
  if (state->output.empty()) {
    if (state->close_after_send) return Shut(state, DoneWithPeer());
  } else if (!state->writing) {
    state->writing = true;
    state->socket.async_wait(asio::posix::stream_descriptor::wait_write,
                             [state](const boost::system::error_code& failed) {
                               state->writing = false;
                               if (!failed) WriteSome(state);
                             });
  }
  WaitToRead(state);
}

Connection::Connection(asio::io_context& loop, UniqueFd socket, ConnectionHandlers handlers)
    : state_(std::make_shared<State>(loop, std::move(socket), std::move(handlers))) {}

Connection::~Connection() { Close(); }

void Connection::Start() { WaitToRead(state_); }

void Connection::DeliverArrived() {
  const auto state = state_;  // Outlives a handler that destroys this.
  int arrived = 0;
  if (!state->open || ioctl(state->socket.native_handle(), FIONREAD, &arrived) != 0) return;
  size_t left = static_cast<size_t>(arrived);
  while (state->open && !IsBehind(*state) && (left > 0 || state->input.HasNext())) {
    size_t bytes = 0;
    if (!state->input.HasNext() && (!Receive(state, bytes) || bytes == 0)) return;
    left -= std::min(left, bytes);
    if (!Deliver(state)) return;
  }
}

void Connection::SetFrameBytesMax(uint32_t bytes) { state_->input.SetFrameBytesMax(bytes); }

void Connection::Send(uint16_t kind, std::span<const uint8_t> body, std::vector<SharedFd> fds) {
  SKYRAY_CHECK(fds.size() <= kFrameFdsMax);
  if (!state_->open) return;
  FrameHeader header{static_cast<uint32_t>(body.size()), kind, static_cast<uint16_t>(fds.size())};
  const size_t bytes = sizeof header + body.size();
  size_t sent = 0;
  if (state_->output.empty()) {
    // Most often the socket takes it all, and nothing is copied or kept.
    const iovec parts[] = {{&header, sizeof header},
                           {const_cast<uint8_t*>(body.data()), body.size()}};
    const ssize_t done = SendParts(state_->socket.native_handle(), parts, 2, fds);
    if (done > 0) sent = static_cast<size_t>(done);
    if (sent == bytes) return;
  }
  OutgoingFrame frame;
  frame.bytes.resize(bytes);
  std::memcpy(frame.bytes.data(), &header, sizeof header);
  if (!body.empty()) std::memcpy(frame.bytes.data() + sizeof header, body.data(), body.size());
  if (sent == 0) frame.fds = std::move(fds);
  state_->output_bytes += bytes - sent;
  state_->output_fds += frame.fds.size();
  state_->output.push_back(std::move(frame));
  if (state_->output.size() > 1) return;  // The writer is waiting for the socket.
  state_->output_offset = sent;
  // From the loop, not from here: a write that failed must not call on_closed
  // inside the caller's Send.
  asio::post(state_->socket.get_executor(), [state = state_] { WriteSome(state); });
}

void Connection::Send(const flatbuffers::FlatBufferBuilder& message, std::vector<SharedFd> fds) {
  Send(kFlatBuffer, {message.GetBufferPointer(), message.GetSize()}, std::move(fds));
}

void Connection::CloseAfterSend() {
  state_->close_after_send = true;
  asio::post(state_->socket.get_executor(), [state = state_] { WriteSome(state); });
}

void Connection::Close() { Shut(state_, Status()); }

UniqueFd Connection::Release() {
  UniqueFd fd(state_->socket.release());
  Close();
  return fd;
}

int Connection::fd() const {
  return const_cast<asio::posix::stream_descriptor&>(state_->socket).native_handle();
}

size_t Connection::queued_bytes() const { return state_->output_bytes; }

}  // namespace skyray::ipc
