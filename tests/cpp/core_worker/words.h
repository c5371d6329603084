// SPDX-License-Identifier: Apache-2.0
// Words of the core worker's tests.
//
// Threading: functions and values. Ownership: the caller's. Errors: fail the test.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/unique_fd.h"
#include "core_worker/object_table.h"
#include "core_worker/payload.h"
#include "ipc/frame.h"

namespace skyray::core_worker {

inline WorkerAddress SomeWorker() { return {NodeId::FromRandom(), WorkerId::FromRandom()}; }

inline PayloadParts TextParts(std::string_view text) { return {PayloadFormat::Bytes, text, {}}; }

inline ValuePtr TextValue(std::string_view text) { return MakeValue(TextParts(text)); }

// The in-band bytes of a payload; "not a payload" if it is none.
inline std::string TextOf(std::span<const uint8_t> payload) {
  const auto view = PayloadView::Parse(payload);
  if (!view) return "not a payload";
  return {reinterpret_cast<const char*>(view->inband.data()), view->inband.size()};
}

inline std::span<const uint8_t> BytesOf(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// A whole frame.
inline std::string FrameOf(std::string_view body, uint16_t kind = 0, uint16_t fds = 0) {
  std::string frame;
  AppendStruct(frame, ipc::FrameHeader{static_cast<uint32_t>(body.size()), kind, fds});
  frame.append(body);
  return frame;
}

inline std::pair<UniqueFd, UniqueFd> SocketPair() {
  int fds[2] = {-1, -1};
  EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

}  // namespace skyray::core_worker
