// SPDX-License-Identifier: Apache-2.0
// What has come from a peer, cut into frames. Pure: bytes and descriptors in,
// frames out, however they were cut on their way.
//
// Threading:  none.
// Ownership:  owns what was not taken yet; a Frame owns what is its own.
// Errors:     InvalidRequest for a header that lies, at once and without memory
//             being taken for what it announces. The input is of no use after that.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "common/status.h"
#include "common/unique_fd.h"
#include "ipc/frame.h"

namespace skyray::ipc {

class FrameInput {
 public:
  // The cap on a frame's body, from the next frame on.
  void SetFrameBytesMax(uint32_t bytes) { frame_bytes_max_ = bytes; }
  void Append(std::span<const uint8_t> bytes);
  // Descriptors that come with the bytes are put here, before those are appended.
  // Errors: InvalidRequest if there are more than any frame may still claim.
  std::vector<UniqueFd>& fds() { return fds_; }
  Status CheckFds() const;

  // The next frame, or nothing while its end has not come.
  Result<std::optional<Frame>> Next();
  // Whether Next has a frame, or an error, to give.
  bool HasNext() const;
  // Gives memory back. To be called when Next was called as often as is wanted.
  void Compact();

  size_t size_bytes() const { return bytes_.size() - begin_; }

 private:
  // REQUIRES: size_bytes() is at least a header's.
  FrameHeader Header() const;
  bool IsBad(const FrameHeader& header) const;

  std::vector<uint8_t> bytes_;
  size_t begin_ = 0;
  std::vector<UniqueFd> fds_;
  uint32_t frame_bytes_max_ = kHelloBytesMax;
};

}  // namespace skyray::ipc
