// SPDX-License-Identifier: Apache-2.0
#include "object_manager/frame_stream.h"

#include <errno.h>
#include <flatbuffers/flatbuffers.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <cstring>
#include <deque>
#include <utility>

#include "ipc/fd_passing.h"
#include "ipc/socket.h"

namespace skyray::object_manager {
namespace asio = boost::asio;

namespace {
// Read or written per wake-up, so that one busy stream does not starve the loop.
constexpr size_t kBytesPerWakeMax = 2u << 20;
// A peer that leaves this much unread is not read from: it asks faster than it takes.
constexpr size_t kQueuedBytesMax = 16u << 20;
}  // namespace

struct FrameStream::State {
  struct Outgoing {
    std::vector<uint8_t> head;  // Header, and the body of a frame that is no chunk.
    std::span<const uint8_t> payload;
    std::function<void()> sent;
    size_t bytes() const { return head.size() + payload.size(); }
  };
  enum class Reading { Header, Body, ChunkHead, ChunkPayload };

  State(asio::io_context& loop, UniqueFd fd, uint32_t cap)
      : socket(loop, fd.Release()), frame_bytes_max(cap) {}

  asio::posix::stream_descriptor socket;
  StreamHandlers handlers;
  const uint32_t frame_bytes_max;
  bool open = true;
  bool waiting_to_write = false;
  bool reading_paused = false;

  Reading reading = Reading::Header;
  ipc::FrameHeader header;
  ChunkHeader chunk;
  ipc::Frame frame;
  std::span<uint8_t> target{reinterpret_cast<uint8_t*>(&header), sizeof header};  // Still to fill.

  std::deque<Outgoing> output;
  size_t output_offset = 0;
  size_t output_bytes = 0;
  std::function<void(UniqueFd)> when_sent;  // Set: give the socket away when all is sent.
  bool close_when_sent = false;
};

template <class S>
static void Shut(const std::shared_ptr<S>& state, const Status& why) {
  if (!state->open) return;
  state->open = false;
  boost::system::error_code ignored;
  state->socket.close(ignored);
  auto on_closed = std::move(state->handlers.on_closed);
  state->handlers = {};
  state->when_sent = nullptr;
  state->output.clear();
  if (on_closed && !why.ok()) on_closed(why);
}

template <class S>
static void ExpectHeader(S& state) {
  state.reading = S::Reading::Header;
  state.target = {reinterpret_cast<uint8_t*>(&state.header), sizeof state.header};
}

static Status Refused(const std::string& what) { return Status(ErrorCode::InvalidRequest, what); }

// A frame's header is here: what comes next.
template <class S>
static Status HeaderRead(S& state) {
  const ipc::FrameHeader& header = state.header;
  if (header.fds != 0) return Refused("a frame with descriptors, over TCP");
  if (header.kind == kChunk && state.handlers.on_chunk) {
    if (header.body_bytes < sizeof(ChunkHeader)) return Refused("a chunk without its header");
    state.reading = S::Reading::ChunkHead;
    state.target = {reinterpret_cast<uint8_t*>(&state.chunk), sizeof state.chunk};
    return Status();
  }
  if (header.body_bytes > state.frame_bytes_max) {
    return Refused("the peer announces a frame of " + std::to_string(header.body_bytes) +
                   " bytes, over the cap of " + std::to_string(state.frame_bytes_max));
  }
  state.frame = {};
  state.frame.kind = header.kind;
  state.frame.body.resize(header.body_bytes);
  state.reading = S::Reading::Body;
  state.target = state.frame.body;
  return Status();
}

// What was awaited has been read completely; `target` is set to what follows.
template <class S>
static Status PieceRead(const std::shared_ptr<S>& state) {
  switch (state->reading) {
    case S::Reading::Header:
      return HeaderRead(*state);
    case S::Reading::Body: {
      ExpectHeader(*state);
      // Copied: a handler that destroys the stream must not destroy itself.
      const auto on_frame = state->handlers.on_frame;
      if (on_frame) on_frame(std::move(state->frame));
      return Status();
    }
    case S::Reading::ChunkHead: {
      const uint64_t bytes = state->header.body_bytes - sizeof(ChunkHeader);
      const auto on_chunk = state->handlers.on_chunk;
      const auto target = on_chunk(state->chunk, bytes);
      if (!state->open) return Status();
      if (!target || target->size() != bytes) return Refused("a chunk that was not asked for");
      state->reading = S::Reading::ChunkPayload;
      state->target = *target;
      return Status();
    }
    case S::Reading::ChunkPayload: {
      ExpectHeader(*state);
      const auto on_chunk_done = state->handlers.on_chunk_done;
      if (on_chunk_done) on_chunk_done(state->chunk);
      return Status();
    }
  }
  return Status();
}

template <class S>
static void WaitToRead(const std::shared_ptr<S>& state);

template <class S>
static void ReadSome(const std::shared_ptr<S>& state) {
  size_t budget = kBytesPerWakeMax;
  while (state->open && !state->when_sent) {
    if (state->target.empty()) {
      const Status status = PieceRead(state);
      if (!status.ok()) return Shut(state, status);
      continue;
    }
    if (state->output_bytes > kQueuedBytesMax) {
      state->reading_paused = true;
      return;
    }
    if (budget == 0) break;
    const size_t want = std::min(state->target.size(), budget);
    const ssize_t got =
        recv(state->socket.native_handle(), state->target.data(), want, MSG_DONTWAIT);
    if (got == 0) return Shut(state, Status(ErrorCode::Disconnected, "the peer closed"));
    if (got < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) break;
      return Shut(state, Status(ErrorCode::Disconnected,
                                ErrnoStatus("reading from the peer", errno).message()));
    }
    state->target = state->target.subspan(static_cast<size_t>(got));
    budget -= static_cast<size_t>(got);
  }
  WaitToRead(state);
}

template <class S>
static void WaitToRead(const std::shared_ptr<S>& state) {
  if (!state->open || state->when_sent) return;
  state->socket.async_wait(asio::posix::stream_descriptor::wait_read,
                           [state](const boost::system::error_code& error) {
                             if (!error && state->open) ReadSome(state);
                           });
}

// Sends what the socket takes; true if it takes no more for now.
template <class S>
static bool WriteFront(const std::shared_ptr<S>& state) {
  auto& front = state->output.front();
  iovec parts[2];
  int count = 0;
  size_t skip = state->output_offset;
  if (skip < front.head.size()) {
    parts[count++] = {front.head.data() + skip, front.head.size() - skip};
    skip = 0;
  } else {
    skip -= front.head.size();
  }
  if (skip < front.payload.size()) {
    parts[count++] = {const_cast<uint8_t*>(front.payload.data()) + skip,
                      front.payload.size() - skip};
  }
  const ssize_t done = ipc::SendWithFds(state->socket.native_handle(), parts, count, {},
                                        MSG_DONTWAIT | MSG_NOSIGNAL);
  if (done < 0) {
    if (errno == EINTR) return false;
    if (errno == EAGAIN) return true;
    Shut(state,
         Status(ErrorCode::Disconnected, ErrnoStatus("writing to the peer", errno).message()));
    return true;
  }
  state->output_offset += static_cast<size_t>(done);
  state->output_bytes -= static_cast<size_t>(done);
  if (state->output_offset == front.bytes()) {
    const auto sent = std::move(front.sent);
    state->output.pop_front();
    state->output_offset = 0;
    if (sent) sent();
  }
  return false;
}

template <class S>
static void WriteSome(const std::shared_ptr<S>& state) {
  if (state->waiting_to_write) return;
  size_t written = 0;
  while (state->open && !state->output.empty() && written < kBytesPerWakeMax) {
    const size_t before = state->output_bytes;
    if (WriteFront(state)) break;
    written += before - std::min(before, state->output_bytes);
  }
  if (!state->open) return;
  if (state->reading_paused && state->output_bytes <= kQueuedBytesMax) {
    state->reading_paused = false;
    WaitToRead(state);
  }
  if (!state->output.empty()) {
    state->waiting_to_write = true;
    state->socket.async_wait(asio::posix::stream_descriptor::wait_write,
                             [state](const boost::system::error_code& error) {
                               state->waiting_to_write = false;
                               if (!error && state->open) WriteSome(state);
                             });
    return;
  }
  if (state->when_sent) {
    const auto released = std::move(state->when_sent);
    UniqueFd fd(state->socket.release());
    state->open = false;
    state->handlers = {};
    return released(std::move(fd));
  }
  if (state->close_when_sent) {
    Shut(state, Status(ErrorCode::Disconnected, "closed here, after the last frame"));
  }
}

FrameStream::FrameStream(asio::io_context& loop, UniqueFd socket, uint32_t frame_bytes_max)
    : state_(std::make_shared<State>(loop, std::move(socket), frame_bytes_max)) {}

FrameStream::~FrameStream() { Close(); }

void FrameStream::Start(StreamHandlers handlers) {
  state_->handlers = std::move(handlers);
  WaitToRead(state_);
}

static std::vector<uint8_t> HeadOf(uint16_t kind, std::span<const uint8_t> body, size_t payload) {
  const ipc::FrameHeader header{static_cast<uint32_t>(body.size() + payload), kind, 0};
  std::vector<uint8_t> head(sizeof header + body.size());
  std::memcpy(head.data(), &header, sizeof header);
  if (!body.empty()) std::memcpy(head.data() + sizeof header, body.data(), body.size());
  return head;
}

template <class S>
static void Enqueue(const std::shared_ptr<S>& state, typename S::Outgoing outgoing) {
  if (!state->open) return;
  state->output_bytes += outgoing.bytes();
  state->output.push_back(std::move(outgoing));
  if (state->output.size() > 1) return;
  // From the loop, not from here: a failing write must not call on_closed inside
  // the caller's Send.
  asio::post(state->socket.get_executor(), [state] {
    if (state->open) WriteSome(state);
  });
}

void FrameStream::Send(uint16_t kind, std::span<const uint8_t> body) {
  Enqueue(state_, State::Outgoing{HeadOf(kind, body, 0), {}, nullptr});
}

void FrameStream::Send(const flatbuffers::FlatBufferBuilder& message) {
  Send(ipc::kFlatBuffer, {message.GetBufferPointer(), message.GetSize()});
}

void FrameStream::SendChunk(const ChunkHeader& header, std::span<const uint8_t> payload,
                            std::function<void()> sent) {
  const std::span<const uint8_t> body(reinterpret_cast<const uint8_t*>(&header), sizeof header);
  Enqueue(state_, State::Outgoing{HeadOf(kChunk, body, payload.size()), payload, std::move(sent)});
}

void FrameStream::ReleaseAfterSend(std::function<void(UniqueFd)> released) {
  state_->when_sent = std::move(released);
  // Nothing more is read: it belongs to whoever gets the socket.
  boost::system::error_code ignored;
  state_->socket.cancel(ignored);
  asio::post(state_->socket.get_executor(), [state = state_] {
    if (state->open) WriteSome(state);
  });
}

void FrameStream::CloseAfterSend() {
  state_->close_when_sent = true;
  asio::post(state_->socket.get_executor(), [state = state_] {
    if (state->open) WriteSome(state);
  });
}

void FrameStream::Close() { Shut(state_, Status()); }

size_t FrameStream::queued_bytes() const { return state_->output_bytes; }

}  // namespace skyray::object_manager
