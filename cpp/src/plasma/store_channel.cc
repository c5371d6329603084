// SPDX-License-Identifier: Apache-2.0
#include "plasma/store_channel.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "ipc/fd_passing.h"
#include "ipc/socket.h"
#include "ipc/verify.h"

namespace skyray::plasma {
namespace {

constexpr size_t kReadBytes = 16 << 10;
constexpr size_t kInputKeptBytesMax = 1 << 20;
// What notices are sent under.
constexpr uint64_t kNobodysRequest = 0;

// Null if the message names none.
const StoreChannelUser::Listed* SegmentsIn(const fb::plasma::Message& message) {
  switch (message.body_type()) {
    case fb::plasma::Body::Segments:
      return message.body_as_Segments()->new_segments();
    case fb::plasma::Body::CreateReply:
      return message.body_as_CreateReply()->new_segments();
    case fb::plasma::Body::GetReply:
      return message.body_as_GetReply()->new_segments();
    default:
      return nullptr;
  }
}

}  // namespace

Status ProtocolBroken(const std::string& what) {
  return Status(ErrorCode::Disconnected, "the store broke the protocol: " + what);
}

ReplyWaiter::Turn ReplyWaiter::TakeTurn() { return Turn::Read; }

ReplyWaiter::Turn ReplyWaiter::Sleep(int fd) {
  pollfd entry{fd, POLLIN, 0};
  poll(&entry, 1, -1);
  return Turn::Read;
}

ReplyWaiter::Turn ReplyWaiter::SleepToSend(int fd) {
  pollfd entry{fd, POLLIN | POLLOUT, 0};
  poll(&entry, 1, -1);
  return Turn::Read;
}

void ReplyWaiter::EndTurn() {}

StoreChannel::StoreChannel(UniqueFd socket, ReplyWaiter* waiter, StoreChannelUser& user)
    : socket_(std::move(socket)),
      waiter_(waiter == nullptr ? &plain_waiter_ : waiter),
      user_(user) {
  input_.resize(kReadBytes);
}

Status StoreChannel::Send(uint64_t request_id, fb::plasma::Body type,
                          flatbuffers::Offset<void> body) {
  builder_.Finish(fb::plasma::CreateMessage(builder_, request_id, type, body));
  Status status = broken_;
  if (status.ok()) {
    status = SendOrQueue({builder_.GetBufferPointer(), builder_.GetSize()});
    if (!status.ok()) {
      status = Break(Status(status.code(), "writing to the plasma store: " + status.message()));
    }
  }
  // Before another thread may want it.
  builder_.Clear();
  return output_.empty() || flushing_ ? status : Flush();
}

Status StoreChannel::SendOrQueue(std::span<const uint8_t> body) {
  size_t sent = 0;
  if (output_.empty()) {
    const auto some = ipc::SendFrameSome(socket_.get(), ipc::kFlatBuffer, body);
    if (!some) return some.error();
    sent = *some;
  }
  const ipc::FrameHeader header{static_cast<uint32_t>(body.size()), ipc::kFlatBuffer, 0};
  if (sent == sizeof header + body.size()) return Status();
  const auto* head = reinterpret_cast<const uint8_t*>(&header);
  output_.insert(output_.end(), head + std::min(sent, sizeof header), head + sizeof header);
  const size_t of_body = sent - std::min(sent, sizeof header);
  output_.insert(output_.end(), body.begin() + static_cast<ptrdiff_t>(of_body), body.end());
  return Status();
}

Status StoreChannel::Flush() {
  flushing_ = true;
  while (broken_.ok() && output_sent_ < output_.size()) {
    const ssize_t done = send(socket_.get(), output_.data() + output_sent_,
                              output_.size() - output_sent_, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (done >= 0) {
      output_sent_ += static_cast<size_t>(done);
    } else if (errno == EAGAIN) {
      if (waiter_->SleepToSend(socket_.get()) != ReplyWaiter::Turn::Read) continue;
      if (broken_.ok()) (void)TryRead(kNobodysRequest).has_value();  // Or it is broken now.
      waiter_->EndTurn();
    } else if (errno != EINTR) {
      (void)Break(ErrnoStatus("writing to the plasma store", errno)).ok();
    }
  }
  output_ = std::vector<uint8_t>();
  output_sent_ = 0;
  flushing_ = false;
  return broken_;
}

Status StoreChannel::Notify(fb::plasma::Body type, flatbuffers::Offset<void> body) {
  return Send(kNobodysRequest, type, body);
}

Result<uint64_t> StoreChannel::Request(fb::plasma::Body type, flatbuffers::Offset<void> body) {
  const uint64_t request_id = next_request_id_++;
  // Its answer may be read while another's request is still being sent.
  open_.insert(request_id);
  if (Status status = Send(request_id, type, body); !status.ok()) {
    open_.erase(request_id);
    return status;
  }
  return request_id;
}

Result<StoreChannel::Reply> StoreChannel::Receive(uint64_t request_id) {
  for (;;) {
    if (auto filed = filed_.extract(request_id); !filed.empty()) return std::move(filed.mapped());
    if (!broken_.ok()) return broken_;
    ReplyWaiter::Turn turn = waiter_->TakeTurn();
    while (turn == ReplyWaiter::Turn::Read) {
      auto reply = broken_.ok() ? TryRead(request_id) : Result<std::optional<Reply>>(broken_);
      if (!reply || *reply) {
        waiter_->EndTurn();
        if (!reply) return reply.error();
        return std::move(**reply);
      }
      turn = waiter_->Sleep(socket_.get());
    }
    if (turn == ReplyWaiter::Turn::Look) continue;
    if (open_.erase(request_id) > 0) abandoned_.insert(request_id);
    // It may have come while the waiter made up its mind.
    if (auto filed = filed_.extract(request_id); !filed.empty()) {
      abandoned_replies_.push_back(std::move(filed.mapped()));
    }
    return Status(ErrorCode::Cancelled, "interrupted while waiting for the plasma store");
  }
}

Result<std::optional<StoreChannel::Reply>> StoreChannel::TryRead(uint64_t wanted) {
  for (look_.Begin();;) {
    for (;;) {
      auto frame = NextFrame();
      if (!frame) return frame.error();
      if (!*frame) break;
      auto reply = File(std::move(**frame), wanted);
      if (!reply) return reply.error();
      if (*reply) return std::move(*reply);
    }
    const auto some = ReadSome();
    if (!some) return some.error();
    if (*some) continue;
    if (!look_.Again()) return std::optional<Reply>();
  }
}

Result<std::optional<StoreChannel::Reply>> StoreChannel::File(ipc::Frame frame, uint64_t wanted) {
  Reply reply;
  reply.frame = std::move(frame);
  reply.message = ipc::Verified<fb::plasma::Message>(reply.frame);
  if (reply.message == nullptr) return Break(ProtocolBroken("a malformed message"));
  const fb::plasma::Body type = reply.message->body_type();
  const uint64_t request_id = reply.message->request_id();
  if (!open_.contains(request_id) && !abandoned_.contains(request_id)) {
    return Break(ProtocolBroken(std::string("an answer nobody asked for: ") +
                                fb::plasma::EnumNameBody(type)));
  }
  const auto* listed = SegmentsIn(*reply.message);
  if (type == fb::plasma::Body::Segments && listed->size() == 0) {
    return Break(ProtocolBroken("segments that are none"));
  }
  if (listed != nullptr) {
    const bool to_write = type == fb::plasma::Body::CreateReply;
    Status status = user_.TakeSegments(*listed, reply.frame.fds, to_write);
    if (!status.ok()) return status;
  }
  if (type == fb::plasma::Body::Segments) return std::optional<Reply>();
  if (abandoned_.erase(request_id) > 0) {
    abandoned_replies_.push_back(std::move(reply));
    return std::optional<Reply>();
  }
  open_.erase(request_id);
  if (request_id == wanted) return std::optional<Reply>(std::move(reply));
  filed_.emplace(request_id, std::move(reply));
  return std::optional<Reply>();
}

std::optional<StoreChannel::Reply> StoreChannel::TakeAbandoned() {
  if (abandoned_replies_.empty()) return std::nullopt;
  Reply reply = std::move(abandoned_replies_.back());
  abandoned_replies_.pop_back();
  return reply;
}

Result<std::optional<ipc::Frame>> StoreChannel::NextFrame() {
  ipc::FrameHeader header;
  const size_t there = end_ - begin_;
  if (there < sizeof header) return std::optional<ipc::Frame>();
  std::memcpy(&header, input_.data() + begin_, sizeof header);
  if (header.body_bytes > ipc::kFrameBytesMax || header.fds > ipc::kFrameFdsMax) {
    return Break(ProtocolBroken("an oversized frame"));
  }
  const size_t frame_bytes = sizeof header + size_t{header.body_bytes};
  if (there < frame_bytes) {
    // Room for the rest, so that large replies take few reads.
    if (input_.size() < frame_bytes) input_.resize(frame_bytes);
    return std::optional<ipc::Frame>();
  }
  if (input_fds_.size() < header.fds) {
    return Break(
        ProtocolBroken("a frame without its descriptors; has this process run out of them "
                       "(ulimit -n)?"));
  }
  ipc::Frame frame;
  frame.kind = header.kind;
  const uint8_t* body = input_.data() + begin_ + sizeof header;
  frame.body.assign(body, body + header.body_bytes);
  if (header.fds > 0) {
    const auto last = input_fds_.begin() + header.fds;
    frame.fds.assign(std::make_move_iterator(input_fds_.begin()), std::make_move_iterator(last));
    input_fds_.erase(input_fds_.begin(), last);
  }
  begin_ += frame_bytes;
  return std::optional<ipc::Frame>(std::move(frame));
}

Result<bool> StoreChannel::ReadSome() {
  if (begin_ == end_) {
    begin_ = end_ = 0;
    // One large reply does not cost its size for ever.
    if (input_.size() > kInputKeptBytesMax) input_ = std::vector<uint8_t>(kReadBytes);
  } else if (input_.size() - end_ < kReadBytes / 4) {
    std::memmove(input_.data(), input_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
    if (input_.size() == end_) input_.resize(end_ + kReadBytes);
  }
  for (;;) {
    const ssize_t got = ipc::ReceiveWithFds(socket_.get(), input_.data() + end_,
                                            input_.size() - end_, input_fds_, MSG_DONTWAIT);
    if (got > 0) {
      end_ += static_cast<size_t>(got);
      return true;
    }
    if (got == 0) {
      return Break(Status(ErrorCode::Disconnected, "the plasma store closed the connection"));
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) return false;
    if (errno == EINTR) continue;
    return Break(ErrnoStatus("reading from the plasma store", errno));
  }
}

Status StoreChannel::Break(const Status& why) {
  if (!broken_.ok()) return broken_;
  broken_ = Status(why.code() == ErrorCode::IoError ? ErrorCode::Disconnected : why.code(),
                   why.message());
  user_.OnBroken();
  // Not closed: another thread may be asleep on it, and is woken by this.
  shutdown(socket_.get(), SHUT_RDWR);
  return broken_;
}

}  // namespace skyray::plasma
