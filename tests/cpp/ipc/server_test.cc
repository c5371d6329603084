// SPDX-License-Identifier: Apache-2.0
#include "ipc/server.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>

#include "ipc/fixture.h"
#include "ipc/socket.h"

namespace skyray::ipc {
namespace {

struct Recorder : ServerHandler {
  void OnConnect(ConnectionId connection, const PeerCredentials& peer) override {
    connected.push_back(connection);
    last_peer = peer;
    if (on_connect) on_connect(connection);
  }
  void OnFrame(ConnectionId connection, Frame frame) override {
    frames.emplace_back(connection, std::string(frame.text()));
    if (on_frame) on_frame(connection);
  }
  void OnDisconnect(ConnectionId connection) override { gone.push_back(connection); }

  std::vector<ConnectionId> connected;
  std::vector<std::pair<ConnectionId, std::string>> frames;
  std::vector<ConnectionId> gone;
  PeerCredentials last_peer;
  std::function<void(ConnectionId)> on_connect;
  std::function<void(ConnectionId)> on_frame;
};

class ServerTest : public ::testing::Test {
 protected:
  ServerTest() { EXPECT_TRUE(server.ListenUnix(path).ok()); }
  ~ServerTest() override { server.Stop(); }
  UniqueFd Connect() {
    auto socket = ConnectUnix(path);
    EXPECT_TRUE(socket.has_value());
    return std::move(*socket);
  }

  TemporaryDirectory directory;
  const std::string path = directory.path() + "/s";
  boost::asio::io_context loop;
  Recorder handler;
  Server server{loop, "test", handler};
};

TEST_F(ServerTest, ConnectionsComeAndGo) {
  UniqueFd a = Connect();
  UniqueFd b = Connect();
  ASSERT_TRUE(SendFrame(b.get(), 1, Bytes("hello")).ok());
  ASSERT_TRUE(RunUntil(loop, [&] { return handler.frames.size() == 1; }));
  ASSERT_EQ(handler.connected.size(), 2u);
  EXPECT_EQ(handler.last_peer.uid, geteuid());
  EXPECT_EQ(handler.frames[0], std::make_pair(handler.connected[1], std::string("hello")));
  a.Reset();
  ASSERT_TRUE(RunUntil(loop, [&] { return handler.gone.size() == 1; }));
  EXPECT_EQ(handler.gone[0], handler.connected[0]);
  EXPECT_EQ(server.Find(handler.connected[0]), nullptr);
  EXPECT_EQ(server.connection_count(), 1u);
}

TEST_F(ServerTest, ClosingInsideAHandlerIsFineAndNotTold) {
  handler.on_frame = [this](ConnectionId connection) { server.Close(connection); };
  const UniqueFd a = Connect();
  ASSERT_TRUE(SendFrame(a.get(), 1, Bytes("one")).ok());
  ASSERT_TRUE(SendFrame(a.get(), 1, Bytes("two")).ok());
  ASSERT_TRUE(
      RunUntil(loop, [&] { return server.connection_count() == 0 && !handler.frames.empty(); }));
  EXPECT_EQ(handler.frames.size(), 1u);
  EXPECT_TRUE(handler.gone.empty());
}

TEST_F(ServerTest, ReleasingInOnConnectTakesTheSocketUnread) {
  UniqueFd taken;
  handler.on_connect = [&](ConnectionId connection) { taken = server.Release(connection); };
  const UniqueFd a = Connect();
  ASSERT_TRUE(SendFrame(a.get(), 1, Bytes("not for the server")).ok());
  ASSERT_TRUE(RunUntil(loop, [&] { return taken.valid(); }));
  EXPECT_EQ(ReceiveFrame(taken.get(), 30000)->text(), "not for the server");
  EXPECT_EQ(server.connection_count(), 0u);
}

TEST_F(ServerTest, StopClosesEverythingAndRemovesTheFile) {
  const UniqueFd a = Connect();
  ASSERT_TRUE(RunUntil(loop, [&] { return server.connection_count() == 1; }));
  server.Stop();
  struct stat info {};
  EXPECT_NE(stat(path.c_str(), &info), 0);
  EXPECT_EQ(ReceiveFrame(a.get(), 30000).error().code(), ErrorCode::Disconnected);
  EXPECT_TRUE(handler.gone.empty());
  EXPECT_FALSE(ConnectUnix(path).has_value());
}

TEST_F(ServerTest, StopInsideAHandlerIsFine) {
  handler.on_frame = [this](ConnectionId) { server.Stop(); };
  const UniqueFd a = Connect();
  ASSERT_TRUE(SendFrame(a.get(), 1, Bytes("stop")).ok());
  ASSERT_TRUE(RunUntil(loop, [&] { return handler.frames.size() == 1; }));
  EXPECT_EQ(server.connection_count(), 0u);
}

TEST_F(ServerTest, OneBadPeerIsDroppedAlone) {
  const UniqueFd good = Connect();
  const UniqueFd bad = Connect();
  const FrameHeader header{0xffffffff, 0, 0};
  ASSERT_EQ(send(bad.get(), &header, sizeof header, 0), ssize_t{sizeof header});
  ASSERT_TRUE(RunUntil(loop, [&] { return handler.gone.size() == 1; }));
  ASSERT_TRUE(SendFrame(good.get(), 1, Bytes("fine")).ok());
  ASSERT_TRUE(RunUntil(loop, [&] { return handler.frames.size() == 1; }));
}

TEST_F(ServerTest, AnAdoptedSocketIsServedLikeAnAcceptedOne) {
  auto [ours, theirs] = SocketPair();
  const ConnectionId id = server.Adopt(std::move(ours));
  ASSERT_TRUE(SendFrame(theirs.get(), 1, Bytes("adopted")).ok());
  ASSERT_TRUE(RunUntil(loop, [&] { return handler.frames.size() == 1; }));
  EXPECT_EQ(handler.frames[0].first, id);
  server.Find(id)->Send(2, Bytes("reply"));
  ASSERT_TRUE(RunUntil(loop, [&] { return server.Find(id)->queued_bytes() == 0; }));
  EXPECT_EQ(ReceiveFrame(theirs.get(), 30000)->text(), "reply");
}

class ServerOutOfFdsTest : public ServerTest {
 protected:
  ServerOutOfFdsTest() { EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0); }
  ~ServerOutOfFdsTest() override { setrlimit(RLIMIT_NOFILE, &limit); }
  // So many descriptors more than are open now.
  void LimitFds(int more) {
    const UniqueFd probe(dup(0));
    rlimit tight = limit;
    tight.rlim_cur = static_cast<rlim_t>(probe.get() + more);
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &tight), 0);
  }
  // How many handlers the loop runs in many turns.
  size_t Turn() {
    size_t handlers = 0;
    for (int i = 0; i < 1000; ++i) {
      loop.restart();
      handlers += loop.poll();
    }
    return handlers;
  }

  rlimit limit{};
};

TEST_F(ServerOutOfFdsTest, ConnectionsWaitAndAreServedWhenDescriptorsReturn) {
  std::vector<UniqueFd> waiting;
  for (int i = 0; i < 4; ++i) waiting.push_back(Connect());
  LimitFds(0);
  Turn();
  EXPECT_TRUE(handler.connected.empty());
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_TRUE(RunUntil(loop, [&] { return handler.connected.size() == 4; }));
}

TEST_F(ServerOutOfFdsTest, WaitingForDescriptorsCostsNothing) {
  const UniqueFd a = Connect();
  LimitFds(0);
  loop.restart();
  loop.run_one();  // It learns that it cannot accept.
  const auto began = std::chrono::steady_clock::now();
  const size_t handlers = Turn();
  const auto took = std::chrono::steady_clock::now() - began;
  // One look every 100 ms, however long that was; a busy loop has one in each turn.
  const auto looks = static_cast<size_t>(took / std::chrono::milliseconds(100)) + 1;
  EXPECT_LE(handlers, looks);
  EXPECT_LE(server.accept_retries_total(), looks);
}

TEST_F(ServerOutOfFdsTest, SomeDescriptorsAreLeftForThoseWhoAreServed) {
  LimitFds(40);
  std::vector<UniqueFd> clients;
  do {
    ASSERT_LT(clients.size(), 40u);
    clients.push_back(Connect());
    Turn();
  } while (clients.size() == handler.connected.size());
  EXPECT_GT(clients.size(), 1u);
  EXPECT_TRUE(UniqueFd(dup(0)).valid());
}

TEST_F(ServerOutOfFdsTest, AConnectionThatClosesMakesRoomAtOnce) {
  const UniqueFd first = Connect();
  ASSERT_TRUE(RunUntil(loop, [&] { return handler.connected.size() == 1; }));
  const UniqueFd second = Connect();
  LimitFds(0);
  Turn();
  ASSERT_EQ(handler.connected.size(), 1u);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  const uint64_t retries = server.accept_retries_total();
  server.Close(handler.connected[0]);
  ASSERT_TRUE(RunUntil(loop, [&] { return handler.connected.size() == 2; }));
  EXPECT_EQ(server.accept_retries_total(), retries);
}

TEST_F(ServerTest, TcpPeersAreServedToo) {
  auto port = server.ListenTcp("127.0.0.1", 0);
  ASSERT_TRUE(port.has_value());
  auto peer = ConnectTcp("127.0.0.1", *port);
  ASSERT_TRUE(peer.has_value());
  ASSERT_TRUE(SendFrame(peer->get(), 1, Bytes("over tcp")).ok());
  EXPECT_TRUE(RunUntil(loop, [&] { return handler.frames.size() == 1; }));
}

}  // namespace
}  // namespace skyray::ipc
