// SPDX-License-Identifier: Apache-2.0
// The unit of every data-plane connection: an eight-byte header and a body.
//
//   | body_bytes u32 | kind u16 | fds u16 | body ... |        little-endian
//
// `kind` says how to read the body: kFlatBuffer is the channel's FlatBuffers
// envelope (always verified); other kinds are the hot messages of
// core_worker/hot_frames.h. Descriptors travel by SCM_RIGHTS with the frame's
// first byte. The length is checked against a cap before memory is taken.
//
// Threading: values. Ownership: a Frame owns its body and descriptors.
// Errors: none here; readers drop a peer whose header lies.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "common/unique_fd.h"

namespace skyray::ipc {

constexpr uint16_t kFlatBuffer = 0;
constexpr uint32_t kFrameBytesMax = 64u << 20;
// Before a peer has introduced itself it may send only this much.
constexpr uint32_t kHelloBytesMax = 64u << 10;
constexpr uint16_t kFrameFdsMax = 16;

struct FrameHeader {
  uint32_t body_bytes = 0;
  uint16_t kind = kFlatBuffer;
  uint16_t fds = 0;
};
static_assert(sizeof(FrameHeader) == 8);

struct Frame {
  uint16_t kind = kFlatBuffer;
  std::vector<uint8_t> body;
  std::vector<UniqueFd> fds;

  std::string_view text() const {
    return {reinterpret_cast<const char*>(body.data()), body.size()};
  }
};

}  // namespace skyray::ipc
