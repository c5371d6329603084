// SPDX-License-Identifier: Apache-2.0
// A peer of the store that speaks frames by hand, and so may say anything.
//
// Threading: blocking calls. Ownership: owns its socket. Errors: fail the test.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <string>
#include <string_view>
#include <utility>

#include "ipc/fd_passing.h"
#include "ipc/socket.h"
#include "ipc/verify.h"
#include "plasma/wire.h"

namespace skyray::plasma {

class RawPeer {
 public:
  explicit RawPeer(const std::string& path) : socket(*ipc::ConnectUnix(path)) {}

  template <class Table>
  void Say(flatbuffers::FlatBufferBuilder& builder, fb::plasma::Body type,
           flatbuffers::Offset<Table> body, uint64_t request_id = 1) {
    builder.Finish(fb::plasma::CreateMessage(builder, request_id, type, body.Union()));
    EXPECT_TRUE(
        ipc::SendFrame(socket.get(), 0, {builder.GetBufferPointer(), builder.GetSize()}).ok());
    builder.Clear();
  }
  ipc::Frame Hear() {
    auto reply = ipc::ReceiveFrame(socket.get(), 30000);
    EXPECT_TRUE(reply.has_value());
    return reply ? std::move(*reply) : ipc::Frame();
  }
  // The next message, which must be a `Reply`; good until the one after.
  template <class Reply>
  const Reply* Expect(uint64_t request_id = 1) {
    heard = Hear();
    const auto* message = ipc::Verified<fb::plasma::Message>(heard);
    EXPECT_NE(message, nullptr);
    if (message == nullptr) return nullptr;
    EXPECT_EQ(message->request_id(), request_id);
    const auto* reply = message->template body_as<Reply>();
    EXPECT_NE(reply, nullptr) << fb::plasma::EnumNameBody(message->body_type());
    return reply;
  }
  ipc::Frame Connect(uint32_t version = kProtocolVersion, uint32_t version_min = 0) {
    flatbuffers::FlatBufferBuilder builder;
    Say(builder, fb::plasma::Body::Connect,
        fb::plasma::CreateConnect(builder, version, version_min));
    return Hear();
  }
  void SendBytes(std::string_view bytes) {
    // The store may have hung up half way through; that is what is tested.
    (void)!send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  }
  bool IsHungUp() {
    auto frame = ipc::ReceiveFrame(socket.get(), 30000);
    return !frame.has_value() && frame.error().code() == ErrorCode::Disconnected;
  }

  UniqueFd socket;
  ipc::Frame heard;
};

}  // namespace skyray::plasma
