// SPDX-License-Identifier: Apache-2.0
// Serves chunks of this node's objects to nodes that pull them, straight from
// the store's memory.
//
// Threading:  lives on the raylet's loop.
// Ownership:  owns the streams; an object is pinned in the store from OpenObject
//             to CloseObject or the stream's end. The store must outlive *this.
// Errors:     a peer that asks for what it may not have is hung up on.
#pragma once

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>

#include "fbs/transfer_generated.h"
#include "object_manager/frame_stream.h"
#include "object_manager/pull_manager.h"
#include "plasma/store_runner.h"

namespace skyray::object_manager {

// Objects one peer may have open at a time.
constexpr size_t kOpenPerStreamMax = 4096;

class ObjectSender {
 public:
  ObjectSender(boost::asio::io_context& loop, plasma::StoreRunner& store,
               std::chrono::milliseconds seal_timeout);

  // Serves a peer that has introduced itself.
  void Serve(const NodeId& peer, UniqueFd socket);
  void NodeDead(const NodeId& node);
  size_t streams() const { return streams_.size(); }

 private:
  struct Open {
    ObjectId object;
    std::chrono::steady_clock::time_point asked = {};  // When the store was, for it.
    std::span<const uint8_t> bytes;
    bool pinned = false;
    bool closed = false;  // To be unpinned once `sending` is 0.
    size_t sending = 0;
  };
  struct Stream {
    Stream(boost::asio::io_context& loop, UniqueFd socket, const NodeId& peer);
    NodeId node;
    std::unordered_map<TransferId, Open> open;
    FrameStream frames;  // Last: destroyed first, so that nothing is sent from `open`.
  };
  using StreamId = uint64_t;

  void OnFrame(StreamId id, const ipc::Frame& frame);
  bool OnOpen(StreamId id, Stream& stream, const fb::transfer::OpenObject& open);
  void Pin(StreamId id, TransferId transfer, Open& open);
  void OnPinned(StreamId id, TransferId transfer, const ObjectId& object,
                const std::optional<plasma::PinnedObject>& pinned);
  // The store has not sealed it in time, and has it, perhaps, on a disk that is slow.
  void OnLate(StreamId id, TransferId transfer, bool there);
  bool OnRead(StreamId id, Stream& stream, const fb::transfer::ReadChunk& read);
  void OnSent(StreamId id, TransferId transfer);
  void OnClose(Stream& stream, TransferId transfer);
  void Drop(StreamId id, const Status& why);

  boost::asio::io_context& loop_;
  plasma::StoreRunner& store_;
  const std::chrono::milliseconds seal_timeout_;
  StreamId next_id_ = 1;
  std::unordered_map<StreamId, std::unique_ptr<Stream>> streams_;
  const std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace skyray::object_manager
