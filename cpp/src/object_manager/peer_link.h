// SPDX-License-Identifier: Apache-2.0
// A stream to another node that is opened when it is made; what is sent before
// it is open waits.
//
// Threading:  lives on one loop. Ownership: owns its connection. May be destroyed
//             inside its own handlers; none runs afterwards.
// Errors:     handlers.on_closed(why) once: it could not be opened, or has ended.
#pragma once

#include <boost/asio/io_context.hpp>
#include <memory>
#include <vector>

#include "object_manager/frame_stream.h"
#include "object_manager/peer_handshake.h"

namespace skyray::object_manager {

class PeerLink {
 public:
  PeerLink(boost::asio::io_context& loop, const ClusterToken& token, const PeerAddress& address,
           const Introduction& introduction, uint32_t frame_bytes_max, StreamHandlers handlers);

  void Send(const flatbuffers::FlatBufferBuilder& message);

 private:
  void Opened(Result<UniqueFd> socket);

  boost::asio::io_context& loop_;
  const uint32_t frame_bytes_max_;
  StreamHandlers handlers_;
  std::vector<std::vector<uint8_t>> waiting_;
  std::unique_ptr<FrameStream> stream_;
  std::unique_ptr<PeerConnector> connector_;
};

}  // namespace skyray::object_manager
