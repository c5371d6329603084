// SPDX-License-Identifier: Apache-2.0
// What a client can do to the store by ending at any moment, by not reading, or
// by saying what it should not: nothing that anybody else notices.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <future>
#include <random>

#include "common/sizes.h"
#include "plasma/raw_peer.h"
#include "plasma/store_fixture.h"

namespace skyray::plasma {
namespace {

using fb::plasma::Body;

uint64_t ProcessResidentBytes() {
  uint64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages >> pages;
  return pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

// A peer that says single messages of the store's channel.
class FaultyPeer : public RawPeer {
 public:
  explicit FaultyPeer(const std::string& path) : RawPeer(path) { Connect(); }

  void Create(const ObjectId& id, uint64_t data_bytes) {
    Say(builder, Body::CreateObject,
        fb::plasma::CreateCreateObject(builder, ToWire(id), ToWire(owner), data_bytes, true));
  }
  void Get(const ObjectId& id, int64_t timeout_ms) {
    const std::vector<fb::plasma::Id> ids{*ToWire(id)};
    const auto wire = builder.CreateVectorOfStructs(ids);
    Say(builder, Body::Get, fb::plasma::CreateGet(builder, wire, timeout_ms));
  }
  // The bytes of a frame that would create `id`.
  std::string FrameOfCreate(const ObjectId& id) {
    builder.Finish(fb::plasma::CreateMessage(
        builder, 1, Body::CreateObject,
        fb::plasma::CreateCreateObject(builder, ToWire(id), ToWire(owner), 100).Union()));
    const ipc::FrameHeader header{builder.GetSize(), ipc::kFlatBuffer, 0};
    std::string bytes(reinterpret_cast<const char*>(&header), sizeof header);
    bytes.append(reinterpret_cast<const char*>(builder.GetBufferPointer()), builder.GetSize());
    builder.Clear();
    return bytes;
  }
  void Leave() { socket.Reset(); }

  flatbuffers::FlatBufferBuilder builder;
  const WorkerId owner = WorkerId::FromRandom();
};

class StoreFaultsTest : public ::testing::Test {
 protected:
  StoreFaultsTest() : bystander(store.Connect()), kept(PutText(*bystander, owner, "kept")) {
    EXPECT_EQ(GetText(*bystander, kept), "kept");  // And so held.
    before = store.Stats();
  }
  ~StoreFaultsTest() override {
    EXPECT_TRUE(StoreIsAsBefore());
    EXPECT_EQ(GetText(*bystander, PutText(*bystander, owner, "alive")), "alive");
  }
  // Nothing is left of whoever was there since.
  bool StoreIsAsBefore() {
    return store.StatsBecome([this](const StoreStats& now) {
      return now.clients == before.clients && now.objects == before.objects &&
             now.allocated_bytes == before.allocated_bytes && now.waiting_gets == 0 &&
             now.waiting_creates == 0;
    });
  }

  // Another client's create: whether it had its room in the end.
  std::future<bool> CreateElsewhere(uint64_t bytes) {
    return std::async(std::launch::async, [this, bytes] {
      return store.Connect()->Create(ObjectId::FromRandom(), Room(bytes, owner)).has_value();
    });
  }

  // A create waits for an hour: nothing here is served because time went by.
  RunningStore store{8 * kMiB, /*create_grace_ms=*/3600 * 1000};
  const WorkerId owner = WorkerId::FromRandom();
  const ObjectId id = ObjectId::FromRandom();
  std::unique_ptr<Client> bystander;
  ObjectId kept;
  StoreStats before;
};

TEST_F(StoreFaultsTest, AClientThatEndsBetweenCreateAndSeal) {
  FaultyPeer peer(store.socket_path);
  peer.Create(id, 6 * kMiB);
  ASSERT_NE(peer.Expect<fb::plasma::CreateReply>(), nullptr);
  // Another's create waits for the room.
  auto waits = CreateElsewhere(6 * kMiB);
  ASSERT_TRUE(store.StatsBecome([](const StoreStats& now) { return now.waiting_creates == 1; }));
  peer.Leave();
  EXPECT_TRUE(waits.get());
}

TEST_F(StoreFaultsTest, AClientThatEndsBeforeItHearsOfItsCreate) {
  FaultyPeer peer(store.socket_path);
  peer.Create(id, 6 * kMiB);
  ASSERT_TRUE(
      store.StatsBecome([](const StoreStats& now) { return now.objects.unsealed.objects == 1; }));
  peer.Leave();
  ASSERT_TRUE(StoreIsAsBefore());
  EXPECT_TRUE(bystander->Create(id, Room(6 * kMiB, owner)).has_value());
  EXPECT_TRUE(bystander->Abort(id).ok());
}

TEST_F(StoreFaultsTest, AClientThatEndsWhileItHoldsAnObject) {
  const auto maker = store.Connect();
  const ObjectId object = PutText(*maker, owner, std::string(6 * kMiB, 'x'));
  FaultyPeer peer(store.socket_path);
  peer.Get(object, 0);
  ASSERT_NE(peer.Expect<fb::plasma::GetReply>(), nullptr);
  ASSERT_TRUE(maker->Delete(std::vector<ObjectId>{object}).ok());
  auto waits = CreateElsewhere(6 * kMiB);
  ASSERT_TRUE(store.StatsBecome([](const StoreStats& now) { return now.waiting_creates == 1; }));
  peer.Leave();
  EXPECT_TRUE(waits.get());
}

TEST_F(StoreFaultsTest, AClientThatEndsWhileItWaitsInAQueue) {
  FaultyPeer getter(store.socket_path);
  getter.Get(id, -1);
  ASSERT_TRUE(store.StatsBecome([](const StoreStats& now) { return now.waiting_gets == 1; }));
  FaultyPeer holder(store.socket_path);
  holder.Create(id, 6 * kMiB);
  FaultyPeer creator(store.socket_path);
  creator.Create(ObjectId::FromRandom(), 7 * kMiB);
  ASSERT_TRUE(store.StatsBecome([](const StoreStats& now) { return now.waiting_creates == 1; }));
  // Behind the one that waits for more than there is room for.
  auto waits = CreateElsewhere(kMiB);
  ASSERT_TRUE(store.StatsBecome([](const StoreStats& now) { return now.waiting_creates == 2; }));
  getter.Leave();
  creator.Leave();
  EXPECT_TRUE(waits.get()) << "the head of the queue has gone";
  holder.Leave();
}

TEST_F(StoreFaultsTest, AClientThatEndsInTheMiddleOfAFrame) {
  FaultyPeer measure(store.socket_path);
  const std::string frame = measure.FrameOfCreate(id);
  measure.Leave();
  for (size_t bytes = 0; bytes < frame.size(); ++bytes) {
    FaultyPeer peer(store.socket_path);
    peer.SendBytes(std::string_view(frame).substr(0, bytes));
    peer.Leave();
  }
  // A header that promises what never comes.
  FaultyPeer peer(store.socket_path);
  const ipc::FrameHeader header{kRequestBytesMax, ipc::kFlatBuffer, 0};
  peer.SendBytes({reinterpret_cast<const char*>(&header), sizeof header});
  peer.SendBytes(std::string(100000, 'x'));
  EXPECT_TRUE(*bystander->Contains(kept));
}

TEST_F(StoreFaultsTest, AClientThatEndsWithDescriptorsOnTheirWay) {
  ASSERT_TRUE(StoreIsAsBefore());
  const size_t fds = CountOpenFds();
  for (int i = 0; i < 50; ++i) {
    FaultyPeer peer(store.socket_path);
    peer.Get(kept, 0);
    peer.Leave();
    FaultyPeer creator(store.socket_path);
    creator.Create(id, 100);
    creator.Leave();
  }
  ASSERT_TRUE(StoreIsAsBefore());
  EXPECT_EQ(CountOpenFds(), fds);
}

TEST_F(StoreFaultsTest, AClientThatSendsDescriptorsNobodyAskedFor) {
  const size_t fds = CountOpenFds();
  {
    FaultyPeer peer(store.socket_path);
    const std::vector<int> many(ipc::kFrameFdsMax, peer.socket.get());
    flatbuffers::FlatBufferBuilder builder;
    builder.Finish(fb::plasma::CreateMessage(builder, 1, Body::GetDebugState,
                                             fb::plasma::CreateGetDebugState(builder).Union()));
    for (int i = 0; i < 20; ++i) {
      ASSERT_TRUE(ipc::SendFrame(peer.socket.get(), ipc::kFlatBuffer,
                                 {builder.GetBufferPointer(), builder.GetSize()}, many)
                      .ok());
      ASSERT_NE(peer.Expect<fb::plasma::DebugStateReply>(), nullptr);
    }
  }
  ASSERT_TRUE(StoreIsAsBefore());
  EXPECT_EQ(CountOpenFds(), fds);
}

TEST_F(StoreFaultsTest, AClientThatAsksAndNeverReads) {
  FaultyPeer peer(store.socket_path);
  peer.builder.Finish(fb::plasma::CreateMessage(
      peer.builder, 1, Body::GetDebugState, fb::plasma::CreateGetDebugState(peer.builder).Union()));
  const ipc::FrameHeader header{peer.builder.GetSize(), ipc::kFlatBuffer, 0};
  std::string frame(reinterpret_cast<const char*>(&header), sizeof header);
  frame.append(reinterpret_cast<const char*>(peer.builder.GetBufferPointer()),
               peer.builder.GetSize());
  peer.builder.Clear();
  ASSERT_TRUE(ipc::SetNonBlocking(peer.socket.get(), true).ok());
  const uint64_t resident = ProcessResidentBytes();
  // Until the store takes no more, also when it has had time for others.
  constexpr size_t kAskedMax = 1000000;
  size_t asked = 0;
  for (int refused = 0; refused < 20 && asked < kAskedMax; ++refused) {
    size_t at = 0;
    while (asked < kAskedMax) {
      const ssize_t sent =
          send(peer.socket.get(), frame.data() + at, frame.size() - at, MSG_NOSIGNAL);
      if (sent < 0) break;
      refused = 0;
      at += static_cast<size_t>(sent);
      if (at < frame.size()) continue;
      at = 0;
      ++asked;
    }
    ASSERT_EQ(at, 0u) << "a small write to a unix socket is not cut";
    EXPECT_TRUE(*bystander->Contains(kept)) << "others go on";
  }
  EXPECT_LT(asked, kAskedMax) << "it is read from without end";
  EXPECT_LT(ProcessResidentBytes(), resident + 8 * ipc::kSendQueueBytesMax);
  // When it reads at last it gets every answer.
  for (size_t i = 0; i < asked; ++i) ASSERT_NE(peer.Expect<fb::plasma::DebugStateReply>(), nullptr);
}

TEST_F(StoreFaultsTest, AFloodOfConnections) {
  for (int round = 0; round < 20; ++round) {
    std::vector<UniqueFd> flood;
    for (int i = 0; i < 100; ++i) {
      auto socket = ipc::ConnectUnix(store.socket_path);
      ASSERT_TRUE(socket.has_value()) << socket.error().message();
      flood.push_back(std::move(*socket));
    }
    EXPECT_TRUE(*bystander->Contains(kept));
  }
}

TEST_F(StoreFaultsTest, WhatOnlyTheStoreMaySayIsNotForClients) {
  flatbuffers::FlatBufferBuilder builder;
  const auto refused = [&](Body type, auto body) {
    FaultyPeer peer(store.socket_path);
    peer.Say(builder, type, body);
    EXPECT_TRUE(peer.IsHungUp()) << fb::plasma::EnumNameBody(type);
  };
  namespace fbp = fb::plasma;
  refused(Body::ConnectReply, fbp::CreateConnectReply(builder));
  refused(Body::CreateReply, fbp::CreateCreateReply(builder));
  refused(Body::ContainsReply, fbp::CreateContainsReply(builder, true));
  refused(Body::EvictReply, fbp::CreateEvictReply(builder, 1));
  refused(Body::StatsReply, fbp::CreateStatsReply(builder));
  refused(Body::DebugStateReply, fbp::CreateDebugStateReply(builder, builder.CreateString("x")));
  const std::vector<fbp::Place> places(1);
  refused(Body::GetReply, fbp::CreateGetReply(builder, builder.CreateVectorOfStructs(places)));
  const std::vector<fbp::ObjectInfo> infos(1);
  refused(Body::ListReply, fbp::CreateListReply(builder, builder.CreateVectorOfStructs(infos)));
  // A second Connect, and a message of a later version.
  refused(Body::Connect, fbp::CreateConnect(builder, kProtocolVersion));
  refused(static_cast<Body>(200), fbp::CreateConnect(builder, kProtocolVersion));
}

TEST_F(StoreFaultsTest, ManyClientsThatEndAnywhere) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  std::vector<ObjectId> ids;
  for (int i = 0; i < 8; ++i) ids.push_back(ObjectId::FromRandom());
  std::vector<std::unique_ptr<FaultyPeer>> peers;
  for (int step = 0; step < 2000; ++step) {
    if (peers.size() < 6) peers.push_back(std::make_unique<FaultyPeer>(store.socket_path));
    const size_t which = random() % peers.size();
    FaultyPeer& peer = *peers[which];
    const ObjectId& object = ids[random() % ids.size()];
    switch (random() % 6) {
      case 0:
        peer.Create(object, random() % (3 * kMiB));
        break;
      case 1:
        peer.Get(object, random() % 2 == 0 ? -1 : 0);
        break;
      case 2:
        peer.Say(peer.builder, Body::Seal,
                 fb::plasma::CreateSeal(peer.builder, ToWire(object), true), 0);
        break;
      case 3:
        peer.Say(peer.builder, Body::Release,
                 fb::plasma::CreateRelease(peer.builder, ToWire(object)), 0);
        break;
      case 4: {
        const std::string frame = peer.FrameOfCreate(object);
        peer.SendBytes(std::string_view(frame).substr(0, random() % frame.size()));
        [[fallthrough]];
      }
      default:
        peers.erase(peers.begin() + static_cast<ptrdiff_t>(which));
    }
  }
  peers.clear();
  // What was sealed stays, without a reference; the fixture looks at the rest.
  ASSERT_TRUE(bystander->Delete(ids).ok());
}

}  // namespace
}  // namespace skyray::plasma
