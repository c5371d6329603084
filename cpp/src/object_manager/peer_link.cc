// SPDX-License-Identifier: Apache-2.0
#include "object_manager/peer_link.h"

#include <flatbuffers/flatbuffers.h>

#include <utility>

namespace skyray::object_manager {

PeerLink::PeerLink(boost::asio::io_context& loop, const ClusterToken& token,
                   const PeerAddress& address, const Introduction& introduction,
                   uint32_t frame_bytes_max, StreamHandlers handlers)
    : loop_(loop), frame_bytes_max_(frame_bytes_max), handlers_(std::move(handlers)) {
  connector_ = std::make_unique<PeerConnector>(
      loop, token, address, introduction,
      [this](Result<UniqueFd> socket) { Opened(std::move(socket)); });
}

void PeerLink::Send(const flatbuffers::FlatBufferBuilder& message) {
  if (stream_ != nullptr) return stream_->Send(message);
  waiting_.emplace_back(message.GetBufferPointer(), message.GetBufferPointer() + message.GetSize());
}

void PeerLink::Opened(Result<UniqueFd> socket) {
  if (!socket) {
    // Last: the handler may destroy this.
    const auto on_closed = std::move(handlers_.on_closed);
    return on_closed(socket.error());
  }
  stream_ = std::make_unique<FrameStream>(loop_, std::move(*socket), frame_bytes_max_);
  for (const auto& message : waiting_) stream_->Send(ipc::kFlatBuffer, message);
  waiting_.clear();
  stream_->Start(std::move(handlers_));
}

}  // namespace skyray::object_manager
