// SPDX-License-Identifier: Apache-2.0
#include "ipc/frame_input.h"

#include <cstring>
#include <iterator>
#include <string>
#include <utility>

namespace skyray::ipc {

void FrameInput::Append(std::span<const uint8_t> bytes) {
  bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
}

Status FrameInput::CheckFds() const {
  if (fds_.size() <= 4 * size_t{kFrameFdsMax}) return Status();
  return Status(ErrorCode::InvalidRequest, "the peer sends stray descriptors");
}

FrameHeader FrameInput::Header() const {
  FrameHeader header;
  std::memcpy(&header, bytes_.data() + begin_, sizeof header);
  return header;
}

bool FrameInput::IsBad(const FrameHeader& header) const {
  return header.body_bytes > frame_bytes_max_ || header.fds > kFrameFdsMax;
}

bool FrameInput::HasNext() const {
  if (size_bytes() < sizeof(FrameHeader)) return false;
  const FrameHeader header = Header();
  return IsBad(header) || size_bytes() - sizeof header >= header.body_bytes;
}

Result<std::optional<Frame>> FrameInput::Next() {
  if (!HasNext()) return std::optional<Frame>();
  const FrameHeader header = Header();
  if (IsBad(header)) {
    return Status(ErrorCode::InvalidRequest,
                  "the peer announces a frame of " + std::to_string(header.body_bytes) +
                      " bytes with " + std::to_string(header.fds) + " descriptors; at most " +
                      std::to_string(frame_bytes_max_) + " and " + std::to_string(kFrameFdsMax) +
                      " are allowed");
  }
  if (fds_.size() < header.fds) {
    return Status(ErrorCode::InvalidRequest, "a frame came without its descriptors");
  }
  Frame frame;
  frame.kind = header.kind;
  const auto body = bytes_.begin() + static_cast<ptrdiff_t>(begin_ + sizeof header);
  frame.body.assign(body, body + header.body_bytes);
  const auto fds_end = fds_.begin() + header.fds;
  frame.fds.assign(std::make_move_iterator(fds_.begin()), std::make_move_iterator(fds_end));
  fds_.erase(fds_.begin(), fds_end);
  begin_ += sizeof header + header.body_bytes;
  return std::optional<Frame>(std::move(frame));
}

void FrameInput::Compact() {
  if (begin_ > 0) bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<ptrdiff_t>(begin_));
  begin_ = 0;
  // A connection that waits keeps no buffer, however many there are.
  if (bytes_.empty()) std::vector<uint8_t>().swap(bytes_);
}

}  // namespace skyray::ipc
