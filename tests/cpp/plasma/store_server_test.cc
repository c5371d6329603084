// SPDX-License-Identifier: Apache-2.0
#include "plasma/store_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <random>

#include "ipc/socket.h"
#include "ipc/verify.h"
#include "plasma/raw_peer.h"
#include "plasma/store_fixture.h"
#include "plasma/wire.h"

namespace skyray::plasma {
namespace {

using fb::plasma::Body;

class StoreServerTest : public ::testing::Test {
 protected:
  ~StoreServerTest() override {
    // Whatever a peer did, the store still serves others.
    const auto client = store.Connect();
    const ObjectId id = PutText(*client, WorkerId::FromRandom(), "alive");
    EXPECT_EQ(GetText(*client, id), "alive");
  }
  RunningStore store{8 << 20};
};

TEST_F(StoreServerTest, TheSocketIsItsOwnersOnly) {
  struct stat info {};
  ASSERT_EQ(stat(store.socket_path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST_F(StoreServerTest, GarbageIsDropped) {
  std::mt19937 random(std::random_device{}());
  for (int round = 0; round < 200; ++round) {
    RawPeer peer(store.socket_path);
    if (round % 2 == 0) peer.Connect();
    std::string body(random() % 300, '\0');
    for (char& byte : body) byte = static_cast<char>(random());
    const ipc::FrameHeader header{static_cast<uint32_t>(body.size()), 0, 0};
    peer.SendBytes({reinterpret_cast<const char*>(&header), sizeof header});
    peer.SendBytes(body);
    EXPECT_TRUE(peer.IsHungUp());
  }
}

TEST_F(StoreServerTest, AnOversizedFrameIsDroppedBeforeItIsRead) {
  for (const uint32_t bytes : {ipc::kHelloBytesMax + 1, 0xffffffffu}) {
    RawPeer peer(store.socket_path);
    const ipc::FrameHeader header{bytes, 0, 0};
    peer.SendBytes({reinterpret_cast<const char*>(&header), sizeof header});
    EXPECT_TRUE(peer.IsHungUp());
  }
}

TEST_F(StoreServerTest, AnotherVersionIsToldWhichIsSpoken) {
  RawPeer peer(store.socket_path);
  const ipc::Frame frame = peer.Connect(kProtocolVersion + 1);
  const auto* reply = ipc::Verified<fb::plasma::Message>(frame)->body_as_ConnectReply();
  ASSERT_NE(reply, nullptr);
  EXPECT_EQ(reply->error(), ErrorCode::VersionMismatch);
  EXPECT_EQ(reply->protocol_version(), kProtocolVersion);
  EXPECT_TRUE(peer.IsHungUp());
}

TEST_F(StoreServerTest, NothingIsSaidBeforeConnect) {
  RawPeer peer(store.socket_path);
  flatbuffers::FlatBufferBuilder builder;
  peer.Say(builder, Body::GetDebugState, fb::plasma::CreateGetDebugState(builder));
  EXPECT_TRUE(peer.IsHungUp());
}

TEST_F(StoreServerTest, AMessageWithoutItsIdIsDropped) {
  RawPeer peer(store.socket_path);
  peer.Connect();
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(fb::plasma::CreateMessage(builder, 1, Body::Seal,
                                           fb::plasma::CreateContainsReply(builder, true).Union()));
  EXPECT_TRUE(
      ipc::SendFrame(peer.socket.get(), 0, {builder.GetBufferPointer(), builder.GetSize()}).ok());
  EXPECT_TRUE(peer.IsHungUp());
}

TEST_F(StoreServerTest, SealingWhatAnotherCreatesDoesNothing) {
  const auto creator = store.Connect();
  const ObjectId id = ObjectId::FromRandom();
  ASSERT_TRUE(creator->Create(id, Room(10, WorkerId::FromRandom())).has_value());
  RawPeer peer(store.socket_path);
  peer.Connect();
  flatbuffers::FlatBufferBuilder builder;
  peer.Say(builder, Body::Seal, fb::plasma::CreateSeal(builder, ToWire(id)));
  builder.Clear();
  peer.Say(builder, Body::Release, fb::plasma::CreateRelease(builder, ToWire(id)));
  EXPECT_TRUE(
      store.StatsBecome([](const StoreStats& stats) { return stats.ignored_requests_total == 2; }));
  EXPECT_FALSE(*creator->Contains(id));
}

}  // namespace
}  // namespace skyray::plasma
