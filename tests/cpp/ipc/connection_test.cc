// SPDX-License-Identifier: Apache-2.0
#include "ipc/connection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <optional>

#include "ipc/fixture.h"
#include "ipc/socket.h"
#include "ipc/verify.h"

namespace skyray::ipc {
namespace {

using ::testing::ElementsAre;

class ConnectionTest : public ::testing::Test {
 protected:
  ConnectionTest() {
    auto [ours, theirs] = SocketPair();
    peer = std::move(theirs);
    ConnectionHandlers handlers;
    handlers.on_frame = [this](Frame frame) { frames.push_back(std::move(frame)); };
    handlers.on_closed = [this](const Status& why) { closed = why; };
    connection = std::make_unique<Connection>(loop, std::move(ours), std::move(handlers));
    connection->Start();
  }
  void SendRaw(const void* bytes, size_t size) {
    ASSERT_EQ(send(peer.get(), bytes, size, MSG_NOSIGNAL), static_cast<ssize_t>(size));
  }
  bool RunUntilClosed() {
    return RunUntil(loop, [this] { return closed.has_value(); });
  }

  boost::asio::io_context loop;
  UniqueFd peer;
  std::vector<Frame> frames;
  std::optional<Status> closed;
  std::unique_ptr<Connection> connection;
};

TEST_F(ConnectionTest, FramesArriveInOrderHoweverTheyAreCut) {
  std::string wire;
  for (int i = 0; i < 200; ++i) {
    const std::string body(static_cast<size_t>(i), 'b');
    const FrameHeader header{static_cast<uint32_t>(body.size()), static_cast<uint16_t>(i), 0};
    wire.append(reinterpret_cast<const char*>(&header), sizeof header);
    wire += body;
  }
  for (size_t at = 0; at < wire.size(); at += 997) {
    SendRaw(wire.data() + at, std::min<size_t>(997, wire.size() - at));
    loop.restart();
    loop.poll();
  }
  ASSERT_TRUE(RunUntil(loop, [this] { return frames.size() == 200; }));
  for (size_t i = 0; i < 200; ++i) {
    EXPECT_EQ(frames[i].kind, i);
    EXPECT_EQ(frames[i].body.size(), i);
  }
}

TEST_F(ConnectionTest, WhatHasArrivedCanBeHandedOutAtOnce) {
  connection->DeliverArrived();
  EXPECT_EQ(frames.size(), 0u);
  for (uint16_t i = 0; i < 100; ++i) ASSERT_TRUE(SendFrame(peer.get(), i, Bytes("word")).ok());
  SendRaw("half", 4);
  connection->DeliverArrived();
  EXPECT_EQ(frames.size(), 100u) << "without a turn of the loop";
  peer.Reset();
  connection->DeliverArrived();
  ASSERT_TRUE(RunUntilClosed());
  EXPECT_EQ(frames.size(), 100u);
}

TEST_F(ConnectionTest, AFrameThatEndsTheConnectionIsTheLastHandedOut) {
  ConnectionHandlers handlers;
  auto [ours, theirs] = SocketPair();
  size_t seen = 0;
  handlers.on_frame = [&](const Frame&) {
    ++seen;
    connection.reset();
  };
  connection = std::make_unique<Connection>(loop, std::move(ours), std::move(handlers));
  connection->Start();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(SendFrame(theirs.get(), 1, Bytes("word")).ok());
  connection->DeliverArrived();
  EXPECT_EQ(seen, 1u);
}

TEST_F(ConnectionTest, WhatIsSentArrivesWithItsDescriptors) {
  connection->Send(3, Bytes("first"), {Share(UniqueFd(dup(0)))});
  connection->Send(4, Bytes("second"));
  ASSERT_TRUE(RunUntil(loop, [this] { return connection->queued_bytes() == 0; }));
  const auto first = ReceiveFrame(peer.get(), 30000);
  EXPECT_EQ(first->text(), "first");
  EXPECT_EQ(first->fds.size(), 1u);
  EXPECT_EQ(ReceiveFrame(peer.get(), 30000)->text(), "second");
}

TEST_F(ConnectionTest, DescriptorsStayWithTheirFrames) {
  int pipe_fds[2];
  ASSERT_EQ(pipe(pipe_fds), 0);
  const UniqueFd a(pipe_fds[0]);
  const UniqueFd b(pipe_fds[1]);
  const int two[] = {a.get(), b.get()};
  const int one[] = {a.get()};
  ASSERT_TRUE(SendFrame(peer.get(), 1, Bytes("none")).ok());
  ASSERT_TRUE(SendFrame(peer.get(), 2, Bytes("two"), two).ok());
  ASSERT_TRUE(SendFrame(peer.get(), 3, Bytes("one"), one).ok());
  ASSERT_TRUE(RunUntil(loop, [this] { return frames.size() == 3; }));
  std::vector<size_t> counts;
  for (const Frame& frame : frames) counts.push_back(frame.fds.size());
  EXPECT_THAT(counts, ElementsAre(0, 2, 1));
}

TEST_F(ConnectionTest, ThePeersCloseIsToldOnce) {
  peer.Reset();
  ASSERT_TRUE(RunUntilClosed());
  EXPECT_EQ(closed->code(), ErrorCode::Disconnected);
  connection->Send(1, Bytes("into the void"));
  connection->Close();
}

TEST_F(ConnectionTest, AFrameOverTheCapClosesTheConnection) {
  const FrameHeader header{kHelloBytesMax + 1, 0, 0};
  SendRaw(&header, sizeof header);
  ASSERT_TRUE(RunUntilClosed());
  EXPECT_EQ(closed->code(), ErrorCode::InvalidRequest);
}

TEST_F(ConnectionTest, ARaisedCapLetsLargerFramesThrough) {
  connection->SetFrameBytesMax(kHelloBytesMax + 1);
  const FrameHeader header{kHelloBytesMax + 1, 0, 0};
  const std::string body(kHelloBytesMax + 1, 'x');
  SendRaw(&header, sizeof header);
  SendRaw(body.data(), body.size());
  ASSERT_TRUE(RunUntil(loop, [this] { return frames.size() == 1; }));
  EXPECT_TRUE(frames[0].text() == body);
}

TEST_F(ConnectionTest, AnnouncedDescriptorsMustCome) {
  const FrameHeader header{0, 0, 2};
  SendRaw(&header, sizeof header);
  ASSERT_TRUE(RunUntilClosed());
  EXPECT_EQ(closed->code(), ErrorCode::InvalidRequest);
}

TEST_F(ConnectionTest, StrayDescriptorsAreBounded) {
  std::vector<int> fds(kFrameFdsMax, peer.get());
  const FrameHeader header{0, 0, 0};
  for (int i = 0; i < 10 && !closed; ++i) {
    // A frame that brings descriptors it does not announce.
    std::vector<uint8_t> wire(sizeof header);
    std::memcpy(wire.data(), &header, sizeof header);
    msghdr message{};
    iovec part{wire.data(), wire.size()};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    std::vector<char> control(CMSG_SPACE(sizeof(int) * kFrameFdsMax));
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int) * kFrameFdsMax);
    std::memcpy(CMSG_DATA(rights), fds.data(), sizeof(int) * kFrameFdsMax);
    if (sendmsg(peer.get(), &message, MSG_NOSIGNAL) < 0) break;
    loop.restart();
    loop.poll();
  }
  ASSERT_TRUE(RunUntilClosed());
  EXPECT_EQ(closed->code(), ErrorCode::InvalidRequest);
}

TEST_F(ConnectionTest, ASlowReaderIsNotReadFromUntilItCatchesUp) {
  const std::string large(1 << 20, 'x');
  for (int i = 0; i < 20; ++i) connection->Send(1, Bytes(large));
  ASSERT_GT(connection->queued_bytes(), kSendQueueBytesMax);
  ASSERT_TRUE(SendFrame(peer.get(), 7, Bytes("one")).ok());
  // The read that was under way already may deliver one frame, and no more.
  for (int i = 0; i < 100; ++i) {
    loop.restart();
    loop.poll();
  }
  const size_t before = frames.size();
  ASSERT_LE(before, 1u);
  ASSERT_TRUE(SendFrame(peer.get(), 7, Bytes("two")).ok());
  for (int i = 0; i < 100; ++i) {
    loop.restart();
    loop.poll();
  }
  EXPECT_EQ(frames.size(), before);
  // Now it reads, and is read from again.
  size_t drained = 0;
  std::vector<char> buffer(1 << 20);
  ASSERT_TRUE(RunUntil(loop, [&] {
    const ssize_t got = recv(peer.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (got > 0) drained += static_cast<size_t>(got);
    return frames.size() == 2;
  }));
  EXPECT_GT(drained, 0u);
}

TEST_F(ConnectionTest, DescriptorsThatAreNotTakenAreBoundedToo) {
  // A reply with a descriptor to each request, and a peer that never reads.
  std::unique_ptr<Connection> own;
  auto [ours, theirs] = SocketPair();
  size_t handled = 0;
  ConnectionHandlers handlers;
  handlers.on_frame = [&](Frame) {
    ++handled;
    own->Send(1, Bytes("x"), {Share(UniqueFd(dup(0)))});
  };
  own = std::make_unique<Connection>(loop, std::move(ours), std::move(handlers));
  own->Start();
  ASSERT_TRUE(SetNonBlocking(theirs.get(), true).ok());
  const FrameHeader header{0, 0, 0};
  size_t asked = 0;
  for (int idle = 0; idle < 100; ++idle) {
    while (asked < 100000 && send(theirs.get(), &header, sizeof header, MSG_NOSIGNAL) > 0) {
      ++asked;
      idle = 0;
    }
    loop.restart();
    loop.poll();
  }
  // The socket itself holds some.
  EXPECT_LT(handled, asked);
  const size_t before = handled;
  size_t answered = 0;
  ASSERT_TRUE(RunUntil(loop, [&, peer = theirs.get()] {
    while (auto frame = ReceiveFrame(peer, 0)) {
      EXPECT_EQ(frame->fds.size(), 1u);
      ++answered;
    }
    return answered == asked;
  }));
  EXPECT_GT(handled, before);
  EXPECT_EQ(own->queued_bytes(), 0u);
}

TEST_F(ConnectionTest, MayBeDestroyedInsideItsOwnFrameHandler) {
  auto [ours, theirs] = SocketPair();
  std::unique_ptr<Connection> own;
  int handled = 0;
  ConnectionHandlers handlers;
  handlers.on_frame = [&](Frame) {
    ++handled;
    own.reset();
  };
  handlers.on_closed = [&](const Status&) { ADD_FAILURE() << "called after its destruction"; };
  own = std::make_unique<Connection>(loop, std::move(ours), std::move(handlers));
  own->Start();
  ASSERT_TRUE(SendFrame(theirs.get(), 1, Bytes("one")).ok());
  ASSERT_TRUE(SendFrame(theirs.get(), 1, Bytes("two")).ok());
  ASSERT_TRUE(RunUntil(loop, [&] { return handled == 1; }));
  loop.restart();
  loop.poll();
  EXPECT_EQ(handled, 1);
  EXPECT_EQ(ReceiveFrame(theirs.get(), 30000).error().code(), ErrorCode::Disconnected);
}

TEST_F(ConnectionTest, MayBeDestroyedInsideItsOwnCloseHandler) {
  auto [ours, theirs] = SocketPair();
  std::unique_ptr<Connection> own;
  bool told = false;
  ConnectionHandlers handlers;
  handlers.on_closed = [&](const Status&) {
    own.reset();
    told = true;
  };
  own = std::make_unique<Connection>(loop, std::move(ours), std::move(handlers));
  own->Start();
  theirs.Reset();
  EXPECT_TRUE(RunUntil(loop, [&] { return told; }));
}

TEST_F(ConnectionTest, CloseAfterSendSendsFirst) {
  const std::string large(3 << 20, 'x');
  connection->Send(1, Bytes(large));
  connection->CloseAfterSend();
  std::string received;
  std::vector<char> buffer(1 << 20);
  bool ended = false;
  ASSERT_TRUE(RunUntil(loop, [&] {
    const ssize_t got = recv(peer.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (got > 0) received.append(buffer.data(), static_cast<size_t>(got));
    ended = got == 0;
    loop.restart();
    loop.poll();
    return ended;
  }));
  EXPECT_EQ(received.size(), large.size() + sizeof(FrameHeader));
  EXPECT_TRUE(closed.has_value()) << "whoever keeps it can let go of it";
}

TEST_F(ConnectionTest, CloseAfterSendWithNothingToSendReadsNothingMore) {
  ASSERT_TRUE(SendFrame(peer.get(), 1, Bytes("unheard")).ok());
  connection->CloseAfterSend();
  ASSERT_TRUE(RunUntilClosed());
  EXPECT_EQ(closed->code(), ErrorCode::Disconnected);
  EXPECT_TRUE(frames.empty());
}

TEST_F(ConnectionTest, AReleasedSocketStaysOpen) {
  const UniqueFd socket = connection->Release();
  ASSERT_TRUE(socket.valid());
  ASSERT_TRUE(SendFrame(socket.get(), 9, Bytes("still here")).ok());
  EXPECT_EQ(ReceiveFrame(peer.get(), 30000)->text(), "still here");
}

TEST(VerifyTest, WhatIsNoFlatBufferIsNull) {
  struct AnyTable : flatbuffers::Table {
    bool Verify(flatbuffers::Verifier& verifier) const {
      return VerifyTableStart(verifier) && verifier.EndTable();
    }
  };
  Frame frame;
  EXPECT_EQ(Verified<AnyTable>(frame), nullptr);
  frame.body = {0xff, 0xff, 0xff, 0x7f, 1, 2, 3, 4};
  EXPECT_EQ(Verified<AnyTable>(frame), nullptr);
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(flatbuffers::Offset<AnyTable>(builder.EndTable(builder.StartTable())));
  frame.body.assign(builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize());
  EXPECT_NE(Verified<AnyTable>(frame), nullptr);
  frame.kind = 1;
  EXPECT_EQ(Verified<AnyTable>(frame), nullptr) << "another kind of frame";
}

}  // namespace
}  // namespace skyray::ipc
