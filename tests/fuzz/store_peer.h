// SPDX-License-Identifier: Apache-2.0
// A client of the store under test that may say anything, and believes nothing
// it is told: each reply must be one, to something that was asked, and true.
//
// Threading:  one thread. Ownership: its connection belongs to the server.
// Errors:     Fail() when the store breaks the protocol.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "fbs/plasma_generated.h"
#include "ipc/frame.h"
#include "ipc/server.h"

namespace skyray::fuzz {

class Peer {
 public:
  // A new connection that begins with Connect.
  void Join(uint32_t version);
  void JoinOnce(uint32_t version);
  // A new connection on which nothing has been said.
  void JoinInSilence();
  void Leave();
  // One frame of the store's channel; says nothing if there is no connection.
  void Say(std::span<const uint8_t> message);
  void SayBytes(std::span<const uint8_t> bytes);
  // The next frame is damaged, or comes in two parts.
  void CorruptNext(uint32_t at, uint32_t with);
  void CutNext(uint32_t at) { cut_next_ = at; }
  // Reads and checks what the store has sent.
  void Read();
  // After much time: only a get may still be unanswered.
  void ExpectAnswers();
  uint64_t NextRequest() { return next_request_++; }

 private:
  static void OnFrame(ipc::ConnectionId connection, const ipc::Frame& frame);
  void CheckReply(const ipc::Frame& frame);
  template <class Reply>
  void TakeSegments(const Reply& reply, size_t fds);
  void CheckPlace(const fb::plasma::Place& place, uint64_t metadata_bytes) const;

  std::optional<ipc::ConnectionId> connection_;
  uint64_t next_request_ = 1;
  std::vector<uint8_t> unsaid_;
  std::optional<uint32_t> cut_next_;
  std::optional<std::pair<uint32_t, uint32_t>> corrupt_next_;
  std::map<uint32_t, uint64_t> segment_bytes_;
};

}  // namespace skyray::fuzz
