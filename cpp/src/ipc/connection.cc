// SPDX-License-Identifier: Apache-2.0
#include "ipc/connection.h"

#include <errno.h>
#include <flatbuffers/flatbuffers.h>
#include <sys/socket.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <deque>
#include <utility>

#include "ipc/fd_passing.h"
#include "ipc/socket.h"

namespace skyray::ipc {
namespace asio = boost::asio;

namespace {
constexpr size_t kReadBytes = 64 << 10;
// Frames handled per wake-up, so that one busy peer does not starve the others.
constexpr int kFramesPerWakeMax = 64;
}  // namespace

struct OutgoingFrame {
  std::vector<uint8_t> bytes;  // Header and body.
  std::vector<UniqueFd> fds;
};

// Shared with the pending Asio handlers, which find it closed when they come late.
struct Connection::State {
  State(asio::io_context& loop, UniqueFd fd, ConnectionHandlers h)
      : socket(loop, fd.Release()), handlers(std::move(h)) {}

  asio::posix::stream_descriptor socket;
  ConnectionHandlers handlers;
  std::vector<uint8_t> input;
  size_t input_begin = 0;
  std::vector<UniqueFd> input_fds;
  std::deque<OutgoingFrame> output;
  size_t output_offset = 0;
  size_t output_bytes = 0;
  uint32_t frame_bytes_max = kHelloBytesMax;
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
  // Moved out first: the handler may destroy the Connection, and with it these.
  auto on_closed = std::move(state->handlers.on_closed);
  state->handlers = {};
  if (on_closed && !why.ok()) on_closed(why);
}

template <class S>
static void WaitToRead(const std::shared_ptr<S>& state);

// Hands out the complete frames of the input. False once closed.
template <class S>
static bool Deliver(const std::shared_ptr<S>& state) {
  int delivered = 0;
  while (state->open && delivered < kFramesPerWakeMax) {
    const size_t have = state->input.size() - state->input_begin;
    if (have < sizeof(FrameHeader)) break;
    FrameHeader header;
    std::memcpy(&header, state->input.data() + state->input_begin, sizeof header);
    if (header.body_bytes > state->frame_bytes_max || header.fds > kFrameFdsMax) {
      Shut(state, Status(ErrorCode::InvalidRequest,
                         "the peer announces a frame of " + std::to_string(header.body_bytes) +
                             " bytes, over the cap of " + std::to_string(state->frame_bytes_max)));
      return false;
    }
    if (have < sizeof header + header.body_bytes) break;
    if (state->input_fds.size() < header.fds) {
      Shut(state, Status(ErrorCode::InvalidRequest, "a frame came without its descriptors"));
      return false;
    }
    Frame frame;
    frame.kind = header.kind;
    const auto* body = state->input.data() + state->input_begin + sizeof header;
    frame.body.assign(body, body + header.body_bytes);
    for (uint16_t i = 0; i < header.fds; ++i) frame.fds.push_back(std::move(state->input_fds[i]));
    state->input_fds.erase(state->input_fds.begin(), state->input_fds.begin() + header.fds);
    state->input_begin += sizeof header + header.body_bytes;
    ++delivered;
    // Copied: a handler that destroys the Connection must not destroy itself.
    auto on_frame = state->handlers.on_frame;
    if (on_frame) on_frame(std::move(frame));
  }
  if (state->input_begin > 0) {
    state->input.erase(state->input.begin(),
                       state->input.begin() + static_cast<ptrdiff_t>(state->input_begin));
    state->input_begin = 0;
  }
  if (state->input.empty()) std::vector<uint8_t>().swap(state->input);
  return state->open;
}

// True if the input begins with a whole frame (or a header to be refused).
template <class S>
static bool HasWholeFrame(const S& state) {
  if (state.input.size() < sizeof(FrameHeader)) return false;
  FrameHeader header;
  std::memcpy(&header, state.input.data(), sizeof header);
  return header.body_bytes > state.frame_bytes_max ||
         state.input.size() >= sizeof header + header.body_bytes;
}

template <class S>
static void ReadSome(const std::shared_ptr<S>& state) {
  if (!state->open) return;
  if (!HasWholeFrame(*state)) {
    // By way of the stack: a connection that waits keeps no buffer, however many there are.
    uint8_t buffer[kReadBytes];
    const ssize_t got = ReceiveWithFds(state->socket.native_handle(), buffer, sizeof buffer,
                                       state->input_fds, MSG_DONTWAIT);
    const int error = errno;
    if (got > 0) state->input.insert(state->input.end(), buffer, buffer + got);
    if (got == 0) return Shut(state, Status(ErrorCode::Disconnected, "the peer closed"));
    if (got < 0 && error != EAGAIN && error != EINTR) {
      return Shut(state, Status(ErrorCode::Disconnected,
                                ErrnoStatus("reading from the peer", error).message()));
    }
    // Descriptors no frame has claimed yet are bounded, whatever the peer sends.
    if (state->input_fds.size() > 4 * kFrameFdsMax) {
      return Shut(state, Status(ErrorCode::InvalidRequest, "the peer sends stray descriptors"));
    }
  }
  if (Deliver(state)) WaitToRead(state);
}

template <class S>
static void WaitToRead(const std::shared_ptr<S>& state) {
  if (!state->open || state->reading || state->output_bytes > kSendQueueBytesMax) return;
  state->reading = true;
  auto resume = [state](const boost::system::error_code& error) {
    state->reading = false;
    if (!error) ReadSome(state);
  };
  if (HasWholeFrame(*state)) {
    asio::post(state->socket.get_executor(),
               [resume = std::move(resume)] { resume(boost::system::error_code()); });
  } else {
    state->socket.async_wait(asio::posix::stream_descriptor::wait_read, std::move(resume));
  }
}

// Sends what the socket takes of the first frame. False if it takes no more for
// now, or has failed: then `error` is not 0.
template <class S>
static bool WriteFront(S& state, int& error) {
  OutgoingFrame& frame = state.output.front();
  const iovec part{frame.bytes.data() + state.output_offset,
                   frame.bytes.size() - state.output_offset};
  int fds[kFrameFdsMax];
  size_t fd_count = 0;
  if (state.output_offset == 0) {
    for (const UniqueFd& fd : frame.fds) fds[fd_count++] = fd.get();
  }
  const ssize_t done =
      SendWithFds(state.socket.native_handle(), &part, 1, std::span<const int>(fds, fd_count),
                  MSG_DONTWAIT | MSG_NOSIGNAL);
  if (done < 0) {
    if (errno == EINTR) return true;
    if (errno != EAGAIN) error = errno;
    return false;
  }
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
    if (state->close_after_send) return Shut(state, Status());
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

void Connection::SetFrameBytesMax(uint32_t bytes) { state_->frame_bytes_max = bytes; }

void Connection::Send(uint16_t kind, std::span<const uint8_t> body, std::vector<UniqueFd> fds) {
  if (!state_->open) return;
  const FrameHeader header{static_cast<uint32_t>(body.size()), kind,
                           static_cast<uint16_t>(fds.size())};
  OutgoingFrame frame;
  frame.bytes.resize(sizeof header + body.size());
  std::memcpy(frame.bytes.data(), &header, sizeof header);
  if (!body.empty()) std::memcpy(frame.bytes.data() + sizeof header, body.data(), body.size());
  frame.fds = std::move(fds);
  state_->output_bytes += frame.bytes.size();
  state_->output.push_back(std::move(frame));
  if (state_->output.size() > 1) return;  // The writer is waiting for the socket.
  int error = 0;
  while (!state_->output.empty() && WriteFront(*state_, error) && error == 0) {
  }
  if (state_->output.empty()) return;  // Most often: the peer has it already.
  // From the loop, not from here: a write that failed must not call on_closed
  // inside the caller's Send.
  asio::post(state_->socket.get_executor(), [state = state_] { WriteSome(state); });
}

void Connection::Send(const flatbuffers::FlatBufferBuilder& message, std::vector<UniqueFd> fds) {
  Send(kFlatBuffer, {message.GetBufferPointer(), message.GetSize()}, std::move(fds));
}

void Connection::CloseAfterSend() {
  state_->close_after_send = true;
  if (state_->output.empty()) Close();
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
