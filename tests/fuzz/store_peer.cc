// SPDX-License-Identifier: Apache-2.0
#include "store_peer.h"

#include <cstring>
#include <string>
#include <unordered_map>
#include <utility>

#include "fake_ipc.h"
#include "ipc/verify.h"
#include "store_script.h"

namespace skyray::fuzz {
namespace {

namespace fbp = fb::plasma;
using fbp::Body;

// What the store has been asked on each connection, and not answered yet.
std::unordered_map<ipc::ConnectionId, std::multiset<std::pair<uint64_t, Body>>> asked;

Body ReplyTo(Body request) {
  switch (request) {
    case Body::Connect:
      return Body::ConnectReply;
    case Body::CreateObject:
    case Body::CreateRetry:
      return Body::CreateReply;
    case Body::Get:
      return Body::GetReply;
    case Body::Contains:
      return Body::ContainsReply;
    case Body::GetDebugState:
      return Body::DebugStateReply;
    case Body::GetStats:
      return Body::StatsReply;
    case Body::List:
      return Body::ListReply;
    case Body::Evict:
      return Body::EvictReply;
    default:
      return Body::NONE;
  }
}

}  // namespace

void Peer::OnFrame(ipc::ConnectionId connection, const ipc::Frame& frame) {
  const auto* message = ipc::Verified<fbp::Message>(frame);
  if (message == nullptr) return;
  const Body reply = ReplyTo(message->body_type());
  if (reply != Body::NONE) asked[connection].emplace(message->request_id(), reply);
}

void Peer::JoinInSilence() {
  Leave();
  WatchFrames(&OnFrame);
  connection_ = Connect();
}

void Peer::Join(uint32_t version) {
  JoinInSilence();
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(fbp::CreateMessage(builder, NextRequest(), Body::Connect,
                                    fbp::CreateConnect(builder, version).Union()));
  Say({builder.GetBufferPointer(), builder.GetSize()});
}

void Peer::JoinOnce(uint32_t version) {
  if (!connection_ || !IsOpen(*connection_)) Join(version);
}

void Peer::Leave() {
  if (connection_) {
    Read();
    Disconnect(*connection_);
    asked.erase(*connection_);
  }
  connection_.reset();
  unsaid_.clear();
  segment_bytes_.clear();
  next_request_ = 1;
}

void Peer::CorruptNext(uint32_t at, uint32_t with) { corrupt_next_ = {at, with}; }

void Peer::Say(std::span<const uint8_t> message) {
  const ipc::FrameHeader header{static_cast<uint32_t>(message.size()), ipc::kFlatBuffer, 0};
  std::vector<uint8_t> bytes(sizeof header + message.size());
  std::memcpy(bytes.data(), &header, sizeof header);
  std::memcpy(bytes.data() + sizeof header, message.data(), message.size());
  if (const auto damage = std::exchange(corrupt_next_, std::nullopt)) {
    for (size_t i = 0; i < sizeof damage->second; ++i) {
      bytes[(damage->first + i) % bytes.size()] ^= static_cast<uint8_t>(damage->second >> (8 * i));
    }
  }
  SayBytes(bytes);
}

void Peer::SayBytes(std::span<const uint8_t> bytes) {
  if (!connection_) return;
  std::vector<uint8_t> all = std::exchange(unsaid_, {});
  all.insert(all.end(), bytes.begin(), bytes.end());
  size_t now = all.size();
  if (const auto cut = std::exchange(cut_next_, std::nullopt); cut && !all.empty()) {
    now = *cut % all.size();
  }
  unsaid_.assign(all.begin() + static_cast<ptrdiff_t>(now), all.end());
  all.resize(now);
  Receive(*connection_, all);
}

void Peer::Read() {
  if (!connection_) return;
  // What it reads makes room for answers to what it had said before.
  for (;;) {
    const auto frames = TakeSent(*connection_);
    if (frames.empty()) return;
    for (const ipc::Frame& frame : frames) CheckReply(frame);
  }
}

void Peer::ExpectAnswers() {
  Read();
  if (!connection_ || !IsOpen(*connection_)) return;
  for (const auto& [request_id, reply] : asked[*connection_]) {
    if (reply == Body::GetReply) continue;
    Fail(std::string("request ") + std::to_string(request_id) + " waits for ever for its " +
         fbp::EnumNameBody(reply));
  }
}

void Peer::CheckReply(const ipc::Frame& frame) {
  const auto* message = ipc::Verified<fbp::Message>(frame);
  if (message == nullptr) Fail("the store sends what is no message");
  const Body type = message->body_type();
  auto& mine = asked[*connection_];
  if (const auto* segments = message->body_as_Segments()) {
    if (!mine.contains({message->request_id(), Body::GetReply})) {
      Fail("the store sends segments that nobody asked for");
    }
    return TakeSegments(*segments, frame.fds.size());
  }
  const auto question = mine.find({message->request_id(), type});
  if (question == mine.end()) {
    Fail(std::string("the store answers what nobody asked: ") + fbp::EnumNameBody(type) + " to " +
         std::to_string(message->request_id()));
  }
  mine.erase(question);
  if (const auto* created = message->body_as_CreateReply()) {
    TakeSegments(*created, frame.fds.size());
    const bool done = created->error() == ErrorCode::Ok && !created->unfinished();
    if (done && created->place() == nullptr) Fail("a created object has no place");
    if (done) CheckPlace(*created->place(), 0);
  } else if (const auto* got = message->body_as_GetReply()) {
    TakeSegments(*got, frame.fds.size());
    const auto* metadata = got->metadata_bytes();
    if (metadata != nullptr && metadata->size() != got->places()->size()) {
      Fail("a get's metadata are not one for each place");
    }
    for (flatbuffers::uoffset_t i = 0; i < got->places()->size(); ++i) {
      const fbp::Place& place = *got->places()->Get(i);
      if (place.found()) CheckPlace(place, metadata == nullptr ? 0 : metadata->Get(i));
    }
  } else if (!frame.fds.empty()) {
    Fail("the store sends descriptors with a reply that has none");
  }
}

template <class Reply>
void Peer::TakeSegments(const Reply& reply, size_t fds) {
  const size_t listed = reply.new_segments() == nullptr ? 0 : reply.new_segments()->size();
  if (listed != fds) Fail("segments and descriptors are not as many");
  for (size_t i = 0; i < listed; ++i) {
    const fbp::NewSegment& segment =
        *reply.new_segments()->Get(static_cast<flatbuffers::uoffset_t>(i));
    segment_bytes_[segment.index()] = segment.bytes();
  }
}

void Peer::CheckPlace(const fbp::Place& place, uint64_t metadata_bytes) const {
  const auto segment = segment_bytes_.find(place.segment());
  if (segment == segment_bytes_.end()) Fail("a place in a segment that was never sent");
  const uint64_t bytes = segment->second;
  if (place.bytes() > bytes || metadata_bytes > bytes - place.bytes() ||
      place.offset() > bytes - place.bytes() - metadata_bytes) {
    Fail("a place outside its segment");
  }
  if (place.offset() % 64 != 0) Fail("a place that is not aligned");
}

}  // namespace skyray::fuzz
