// SPDX-License-Identifier: Apache-2.0
// The wire between a client and its store: requests out, replies in, in any order.
//
// A caller that finds no reply yet takes a turn at reading. What it reads for
// somebody else is filed under its request. How turns are given, and what happens
// to the caller's lock while it sleeps, is the ReplyWaiter's business.
//
// Threading:  one caller at a time; while a ReplyWaiter sleeps another may enter.
// Ownership:  owns the socket. A reply is good until the next call here.
// Errors:     Disconnected once the store has gone or broken the protocol, then
//             for every later call; Cancelled if the waiter gave up: the reply is
//             then kept for TakeAbandoned.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "common/status.h"
#include "common/unique_fd.h"
#include "fbs/plasma_generated.h"
#include "ipc/frame.h"
#include "ipc/look_around.h"

namespace skyray::plasma {

// How a caller waits for its reply. This one is for a client that one thread uses.
class ReplyWaiter {
 public:
  enum class Turn : uint8_t {
    Read,   // The caller reads, until EndTurn.
    Look,   // Another read meanwhile: look whether the reply has been filed.
    GiveUp  // The caller wants it no more.
  };
  virtual ~ReplyWaiter() = default;
  virtual Turn TakeTurn();
  // The reader's: returns when `fd` may be readable, or earlier. If not Read, its turn
  // has ended with this.
  virtual Turn Sleep(int fd);
  // Who could not send all: returns when `fd` may take more, or earlier. Read: it has a
  // turn at reading, until EndTurn, as the store may wait for that; Look: it has not.
  virtual Turn SleepToSend(int fd);
  virtual void EndTurn();
};

// What the channel tells its client, from inside its own calls.
class StoreChannelUser {
 public:
  using Listed = flatbuffers::Vector<const fb::plasma::NewSegment*>;
  // Segments that the store names for the first time, in the order in which it does so,
  // whoever the reply is for, and whether it is still wanted: it names them once.
  // `to_write`: they come with an answer to a create.
  virtual Status TakeSegments(const Listed& listed, std::vector<UniqueFd>& fds, bool to_write) = 0;
  // The connection is of no use from now on; the store does not know yet.
  virtual void OnBroken() = 0;

 protected:
  ~StoreChannelUser() = default;
};

// What is said of a store that sends what it may not.
Status ProtocolBroken(const std::string& what);

class StoreChannel {
 public:
  // `waiter` and `user` outlive *this; without a waiter, the plain one.
  StoreChannel(UniqueFd socket, ReplyWaiter* waiter, StoreChannelUser& user);

  flatbuffers::FlatBufferBuilder& builder() { return builder_; }
  // Sends what the builder holds as a notice, or as a request whose reply is to be
  // taken with Receive.
  Status Notify(fb::plasma::Body type, flatbuffers::Offset<void> body);
  Result<uint64_t> Request(fb::plasma::Body type, flatbuffers::Offset<void> body);

  struct Reply {
    const fb::plasma::Message* message = nullptr;
    ipc::Frame frame;
  };
  // Waits for the reply to `request_id`. Errors: Disconnected; Cancelled.
  Result<Reply> Receive(uint64_t request_id);
  // A reply that came after its request was given up.
  std::optional<Reply> TakeAbandoned();

  // Whether a request is without its reply, or a reply has not been taken.
  bool waiting() const {
    return !open_.empty() || !abandoned_.empty() || !filed_.empty() || !abandoned_replies_.empty();
  }
  const Status& broken() const { return broken_; }
  int fd() const { return socket_.get(); }
  Status Break(const Status& why);

 private:
  Status Send(uint64_t request_id, fb::plasma::Body type, flatbuffers::Offset<void> body);
  // Behind what is there to be sent, or at once.
  Status SendOrQueue(std::span<const uint8_t> body);
  // Waits until all that is queued has been sent, unless another does already.
  Status Flush();
  // Reads what is there: the reply to `wanted` if it is among it; files the others.
  Result<std::optional<Reply>> TryRead(uint64_t wanted);
  // The next whole frame of the input, if there is one.
  Result<std::optional<ipc::Frame>> NextFrame();
  // False if nothing has come.
  Result<bool> ReadSome();
  Result<std::optional<Reply>> File(ipc::Frame frame, uint64_t wanted);

  UniqueFd socket_;
  ipc::LookAround look_;
  ReplyWaiter plain_waiter_;
  ReplyWaiter* const waiter_;
  StoreChannelUser& user_;
  Status broken_;  // Not Ok once the connection is of no use.
  uint64_t next_request_id_ = 1;
  flatbuffers::FlatBufferBuilder builder_;
  std::vector<uint8_t> input_;  // Bytes begin_ .. end_ were received and not yet read.
  size_t begin_ = 0;
  size_t end_ = 0;
  std::vector<UniqueFd> input_fds_;
  std::vector<uint8_t> output_;  // What the socket did not take yet, from output_sent_ on.
  size_t output_sent_ = 0;
  bool flushing_ = false;
  std::unordered_set<uint64_t> open_;
  std::unordered_map<uint64_t, Reply> filed_;
  std::unordered_set<uint64_t> abandoned_;
  std::vector<Reply> abandoned_replies_;
};

}  // namespace skyray::plasma
