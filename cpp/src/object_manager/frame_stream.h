// SPDX-License-Identifier: Apache-2.0
// A framed socket that reads exactly what it has to, and chunks of objects
// straight from and into shared memory.
//
// Frames are ipc/frame.h's. One of kind kChunk carries a ChunkHeader and then
// bytes that never pass through a buffer of ours. Because nothing beyond the
// current frame is ever read, the socket can be released between any two frames.
//
// Threading:  lives on one loop; every call and handler is there.
// Ownership:  owns the socket. What SendChunk is given must stay until its `sent`
//             ran or the stream is closed; where on_chunk points, likewise until
//             on_chunk_done. May be destroyed inside its own handlers.
// Errors:     on_closed(why) once, never after Close(), Release() or destruction.
#pragma once

#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "common/status.h"
#include "common/unique_fd.h"
#include "ipc/frame.h"

namespace flatbuffers {
class FlatBufferBuilder;
}

namespace skyray::object_manager {

constexpr uint16_t kHandshake = 200;
constexpr uint16_t kChunk = 201;

struct ChunkHeader {
  uint64_t transfer_id = 0;
  uint64_t offset = 0;
};
static_assert(sizeof(ChunkHeader) == 16);

struct StreamHandlers {
  std::function<void(ipc::Frame)> on_frame;
  // A chunk of `bytes` bytes comes: where to put it. Nothing: it is refused and
  // the stream closed, as it is when there is no such handler.
  std::function<std::optional<std::span<uint8_t>>(const ChunkHeader&, uint64_t bytes)> on_chunk;
  std::function<void(const ChunkHeader&)> on_chunk_done;
  std::function<void(const Status&)> on_closed;
};

class FrameStream {
 public:
  // Takes over a connected stream socket. Reading starts with Start().
  FrameStream(boost::asio::io_context& loop, UniqueFd socket, uint32_t frame_bytes_max);
  ~FrameStream();
  FrameStream(const FrameStream&) = delete;
  FrameStream& operator=(const FrameStream&) = delete;

  void Start(StreamHandlers handlers);
  void Send(uint16_t kind, std::span<const uint8_t> body);
  void Send(const flatbuffers::FlatBufferBuilder& message);
  void SendChunk(const ChunkHeader& header, std::span<const uint8_t> payload,
                 std::function<void()> sent);
  // Sends what is queued, then gives the socket to `released`, without closing it.
  void ReleaseAfterSend(std::function<void(UniqueFd)> released);
  void CloseAfterSend();
  void Close();
  // What is queued and not sent yet.
  size_t queued_bytes() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace skyray::object_manager
