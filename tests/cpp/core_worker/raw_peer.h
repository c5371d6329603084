// SPDX-License-Identifier: Apache-2.0
// Somebody who speaks to a core worker byte by byte, well or badly.
//
// Threading: blocking, on the test's thread. Ownership: owns its socket.
// Errors: fail the test; Hear answers nothing when the core worker hung up.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "core_worker/frames_out.h"
#include "core_worker/words.h"
#include "ipc/socket.h"
#include "ipc/verify.h"

namespace skyray::core_worker {

namespace fbw = fb::worker;

class RawPeer {
 public:
  explicit RawPeer(UniqueFd socket) : socket_(std::move(socket)) {
    const timeval far_too_long{60, 0};
    setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &far_too_long, sizeof far_too_long);
  }
  static RawPeer ConnectTo(const std::string& directory, const WorkerId& worker) {
    auto socket = ipc::ConnectUnix(directory + "/w-" + worker.Hex().substr(0, 16));
    EXPECT_TRUE(socket.has_value());
    return RawPeer(std::move(*socket));
  }

  void Send(std::string_view bytes) {
    (void)send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  }
  void Say(fbw::Body type, const std::function<flatbuffers::Offset<void>(Builder&)>& build) {
    Builder builder(256);
    const auto body = build(builder);
    builder.Finish(fbw::CreateMessage(builder, type, body));
    std::string frame;
    AppendFrame(frame, builder);
    Send(frame);
  }
  void SayHello() {
    Say(fbw::Body::Hello, [&](Builder& builder) {
      const auto address = PutPeerAddress(builder, self);
      const auto job = PutId(builder, JobIdFromInt(3));
      return fbw::CreateHello(builder, kProtocolVersion, address, job).Union();
    });
  }
  void AskFor(const ObjectId& id) {
    Say(fbw::Body::GetObject, [&](Builder& builder) {
      return fbw::CreateGetObject(builder, PutId(builder, id)).Union();
    });
  }
  std::optional<ipc::Frame> Hear() {
    auto frame = ipc::ReceiveFrame(socket_.get(), 60'000);
    if (!frame) return std::nullopt;
    return std::move(*frame);
  }
  // The next frame of that kind; others are passed over.
  std::optional<ipc::Frame> HearKind(uint16_t kind) {
    for (;;) {
      auto frame = Hear();
      if (!frame || frame->kind == kind) return frame;
    }
  }
  // True once the core worker has hung up; what it says before is passed over.
  bool IsHungUpOn() {
    char bytes[4096];
    ssize_t got;
    do {
      got = recv(socket_.get(), bytes, sizeof bytes, 0);
    } while (got > 0);
    return got == 0 || errno == ECONNRESET;
  }

  const WorkerAddress self = SomeWorker();

 private:
  UniqueFd socket_;
};

}  // namespace skyray::core_worker
