// SPDX-License-Identifier: Apache-2.0
#include "object_manager/object_manager.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <random>

#include "common/sizes.h"
#include "ipc/socket.h"
#include "ipc/verify.h"
#include "object_manager/frame_stream.h"
#include "object_manager/peer_handshake.h"
#include "plasma/store_fixture.h"
#include "token.h"

namespace skyray::object_manager {
namespace {

using ::testing::HasSubstr;

std::vector<uint8_t> BytesOf(std::string_view text) { return {text.begin(), text.end()}; }
std::string TextOf(std::span<const uint8_t> bytes) { return {bytes.begin(), bytes.end()}; }

// One node: a store and an object manager, on the test's loop.
struct Node {
  Node(boost::asio::io_context& loop, const ClusterToken& token, uint64_t store_bytes,
       ObjectManagerOptions options = {})
      : store(store_bytes, WhoseDiskIsPlayed(), &loop) {
    options.node_id = id;
    options.token = token;
    ObjectManagerHandlers handlers;
    handlers.has_worker = [this](const WorkerId& asked) { return asked == worker; };
    handlers.on_handoff = [this](const WorkerId&, UniqueFd fd) { handed = std::move(fd); };
    handlers.on_message = [this](const NodeId& from, std::span<const uint8_t> data) {
      messages.emplace_back(from, TextOf(data));
    };
    handlers.on_call = [this](const NodeId&, std::span<const uint8_t> data, Reply reply) {
      calls.emplace_back(TextOf(data), std::move(reply));
    };
    manager.emplace(loop, *store.runner, options, std::move(handlers));
    port = *manager->Listen("127.0.0.1", 0);
  }

  static plasma::StoreOptions WhoseDiskIsPlayed() {
    plasma::StoreOptions options;
    options.create_grace_ms = 0;
    options.spilling = true;
    return options;
  }

  NodeId id = NodeId::FromRandom();
  WorkerId worker = WorkerId::FromRandom();
  plasma::RunningStore store;
  UniqueFd handed;
  std::vector<std::pair<NodeId, std::string>> messages;
  std::vector<std::pair<std::string, Reply>> calls;
  uint16_t port = 0;
  std::optional<ObjectManager> manager;
};

class ObjectManagerTest : public ::testing::Test {
 protected:
  ObjectManagerTest() {
    Introduce(here, there);
    Introduce(there, here);
  }
  static void Introduce(Node& node, const Node& other) {
    node.manager->SetNodeAddress(other.id, "127.0.0.1", other.port);
  }
  Status Pull(const ObjectId& object, const std::vector<NodeId>& nodes, uint64_t size = 0) {
    std::optional<Status> result;
    here.manager->Pull(object, nodes, size, [&](const Status& status) { result = status; });
    EXPECT_TRUE(here.store.RunUntil([&] { return result.has_value(); }));
    return result.value_or(Status(ErrorCode::TimedOut, "the test gave up"));
  }
  static void ExpectNothingIsPinned(Node& node) {
    EXPECT_TRUE(node.store.StatsBecome([](const plasma::StoreStats& stats) {
      return stats.objects.in_use.objects == 0 && stats.objects.unsealed.objects == 0;
    }));
  }

  boost::asio::io_context loop;
  Node here{loop, TokenOf(1), 256 * kMiB};
  Node there{loop, TokenOf(1), 256 * kMiB};
  WorkerId owner = WorkerId::FromRandom();
};

std::string RandomText(size_t bytes) {
  std::mt19937_64 random(42);
  std::string text(bytes, '\0');
  for (size_t at = 0; at + 8 <= bytes; at += 8) {
    const uint64_t word = random();
    std::memcpy(text.data() + at, &word, 8);
  }
  return text;
}

TEST_F(ObjectManagerTest, AHundredMegabytesArriveUnharmed) {
  const std::string text = RandomText(100 * 1000 * 1000 + 3);
  const auto source = there.store.Connect();
  const ObjectId id = plasma::PutText(*source, owner, text);
  const Status pulled = Pull(id, {there.id}, text.size());
  ASSERT_TRUE(pulled.ok()) << pulled.ToString();
  const auto reader = here.store.Connect();
  EXPECT_TRUE(plasma::GetText(*reader, id) == text) << "(too long to print)";
  EXPECT_TRUE(reader->Release(id).ok());
  ExpectNothingIsPinned(there);
  ExpectNothingIsPinned(here);
  EXPECT_EQ(here.store.Stats().objects.evictable.objects, 1u) << "a pulled copy is not primary";
}

TEST_F(ObjectManagerTest, SmallAndEmptyObjectsArriveToo) {
  const auto source = there.store.Connect();
  for (const size_t bytes : {size_t{0}, size_t{1}, size_t{kChunkBytes}, size_t{kChunkBytes + 1}}) {
    const std::string text = RandomText(bytes);
    const ObjectId id = plasma::PutText(*source, owner, text);
    ASSERT_TRUE(Pull(id, {there.id}).ok());
    EXPECT_TRUE(plasma::GetText(*here.store.Connect(), id) == text);
  }
}

TEST_F(ObjectManagerTest, WhatIsHereAlreadyIsNotFetched) {
  const ObjectId id = plasma::PutText(*here.store.Connect(), owner, "mine");
  EXPECT_TRUE(Pull(id, {here.id}).ok());
}

TEST_F(ObjectManagerTest, ManyPullsAtOnceAllArrive) {
  const auto source = there.store.Connect();
  std::vector<ObjectId> ids;
  for (int i = 0; i < 40; ++i) {
    ids.push_back(plasma::PutText(*source, owner, std::string(3 * kMiB, static_cast<char>(i))));
  }
  size_t arrived = 0;
  for (const ObjectId& id : ids) {
    for (int twice = 0; twice < 2; ++twice) {
      here.manager->Pull(id, {there.id}, 3 * kMiB, [&](const Status& status) {
        EXPECT_TRUE(status.ok()) << status.ToString();
        ++arrived;
      });
    }
  }
  ASSERT_TRUE(here.store.RunUntil([&] { return arrived == 2 * ids.size(); }));
  const auto reader = here.store.Connect();
  for (int i = 0; i < 40; ++i) {
    EXPECT_TRUE(plasma::GetText(*reader, ids[i]) == std::string(3 * kMiB, static_cast<char>(i)));
  }
}

TEST_F(ObjectManagerTest, TheNextNodeIsAskedAndThenItIsLost) {
  Node third{loop, TokenOf(1), 8 * kMiB};
  Introduce(here, third);
  const ObjectId id = plasma::PutText(*third.store.Connect(), owner, "third time lucky");
  const NodeId unknown = NodeId::FromRandom();
  EXPECT_TRUE(Pull(id, {unknown, there.id, third.id}).ok());
  EXPECT_EQ(plasma::GetText(*here.store.Connect(), id), "third time lucky");

  const Status lost = Pull(ObjectId::FromRandom(), {there.id, third.id});
  EXPECT_EQ(lost.code(), ErrorCode::ObjectLost);
  EXPECT_THAT(lost.message(), HasSubstr(there.id.Hex().substr(0, 16)));
  EXPECT_THAT(lost.message(), HasSubstr(third.id.Hex().substr(0, 16)));
}

TEST_F(ObjectManagerTest, ARestoreIsWaitedForAsLongAsItTakes) {
  ObjectManagerOptions options;
  options.seal_timeout = std::chrono::milliseconds(5);
  Node slow{loop, TokenOf(1), 1 * kMiB, options};
  Introduce(here, slow);
  const auto client = slow.store.Connect();
  const std::string text = RandomText(600 * 1024);
  const ObjectId id = plasma::PutText(*client, owner, text);
  ASSERT_TRUE(slow.store.StatsBecome(
      [](const auto& stats) { return stats.objects.spillable.objects == 1; }));
  bool taken = false;
  slow.store.runner->TakeSpillable(
      1, 1, [&](std::vector<plasma::SpillableObject> objects) { taken = objects.size() == 1; });
  ASSERT_TRUE(slow.store.RunUntil([&] { return taken; }));
  slow.store.runner->Spilled({id});
  const std::vector<ObjectId> others{plasma::PutText(*client, owner, text)};
  ASSERT_TRUE(slow.store.StatsBecome([](const auto& stats) {
    return stats.objects.spilled.objects == 1;
  })) << "the other has its memory";

  std::optional<Status> pulled;
  here.manager->Pull(id, {slow.id}, text.size(), [&](const Status& status) { pulled = status; });
  ASSERT_TRUE(slow.store.StatsBecome([](const auto& stats) { return stats.waiting_gets == 1; }));
  // Many times as long as what is being created is waited for.
  const auto later = std::chrono::steady_clock::now() + std::chrono::milliseconds(100);
  ASSERT_TRUE(slow.store.RunUntil([&] { return std::chrono::steady_clock::now() >= later; }));
  EXPECT_FALSE(pulled.has_value()) << pulled->ToString();

  ASSERT_TRUE(client->Delete(others).ok());
  ASSERT_TRUE(slow.store.StatsBecome([](const auto& stats) { return stats.allocated_bytes == 0; }));
  bool restored = false;
  slow.store.runner->Restore(id, [&](Result<plasma::RestoreRoom> room) {
    ASSERT_TRUE(room.has_value()) << room.error().ToString();
    std::memcpy(room->bytes.data(), text.data(), text.size());
    restored = true;
  });
  ASSERT_TRUE(slow.store.RunUntil([&] { return restored; }));
  slow.store.runner->Seal(id);
  ASSERT_TRUE(slow.store.RunUntil([&] { return pulled.has_value(); }));
  EXPECT_TRUE(pulled->ok()) << pulled->ToString();
  EXPECT_TRUE(plasma::GetText(*here.store.Connect(), id) == text) << "(too long to print)";
}

TEST_F(ObjectManagerTest, AnObjectThatDoesNotFitIsAnError) {
  Node small{loop, TokenOf(1), 2 * kMiB};
  Introduce(small, there);
  const ObjectId id = plasma::PutText(*there.store.Connect(), owner, std::string(3 * kMiB, 'x'));
  std::optional<Status> result;
  small.manager->Pull(id, {there.id}, 0, [&](const Status& status) { result = status; });
  ASSERT_TRUE(here.store.RunUntil([&] { return result.has_value(); }));
  EXPECT_EQ(result->code(), ErrorCode::OutOfMemory);
  ExpectNothingIsPinned(there);
}

TEST_F(ObjectManagerTest, AWrongTokenIsRefusedAndTheNodeLivesOn) {
  Node stranger{loop, TokenOf(2), 8 * kMiB};
  Introduce(stranger, there);
  const ObjectId id = plasma::PutText(*there.store.Connect(), owner, "secret");
  std::optional<Status> result;
  stranger.manager->Pull(id, {there.id}, 0, [&](const Status& status) { result = status; });
  ASSERT_TRUE(here.store.RunUntil([&] { return result.has_value(); }));
  EXPECT_EQ(result->code(), ErrorCode::ObjectLost);
  // And a node that holds the wrong token is not believed either.
  Introduce(here, stranger);
  EXPECT_EQ(Pull(ObjectId::FromRandom(), {stranger.id}).code(), ErrorCode::ObjectLost);
  EXPECT_TRUE(Pull(id, {there.id}).ok());
}

TEST_F(ObjectManagerTest, GarbageOnThePortIsHungUpOn) {
  std::mt19937 random(std::random_device{}());
  for (int round = 0; round < 50; ++round) {
    auto socket = ipc::ConnectTcp("127.0.0.1", there.port);
    ASSERT_TRUE(socket.has_value());
    std::string bytes(8 + random() % 2000, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random());
    const uint32_t announced = round % 2 == 0 ? 0x7fffffff : 40;
    std::memcpy(bytes.data(), &announced, sizeof announced);
    ASSERT_GT(send(socket->get(), bytes.data(), bytes.size(), MSG_NOSIGNAL), 0);
    shutdown(socket->get(), SHUT_WR);
    bool hung_up = false;
    ASSERT_TRUE(here.store.RunUntil([&] {
      char byte;
      const ssize_t got = recv(socket->get(), &byte, 1, MSG_DONTWAIT);
      hung_up = got == 0 || (got < 0 && errno == ECONNRESET);
      loop.restart();
      loop.poll_one();
      return hung_up;
    }));
  }
  const ObjectId id = plasma::PutText(*there.store.Connect(), owner, "alive");
  EXPECT_TRUE(Pull(id, {there.id}).ok());
}

// A holder that authenticates and then does as the test says.
class FakeHolder {
 public:
  FakeHolder(boost::asio::io_context& loop, std::function<void(FakeHolder&, const ipc::Frame&)> act)
      : loop_(loop),
        acceptor_(loop, TokenOf(1),
                  {[](const Introduction&) { return Status(); },
                   [this, act](const Introduction&, UniqueFd fd) {
                     stream.emplace(loop_, std::move(fd), 1 << 20);
                     StreamHandlers handlers;
                     handlers.on_frame = [this, act](const ipc::Frame& f) { act(*this, f); };
                     handlers.on_closed = [this](const Status&) { hung_up = true; };
                     stream->Start(std::move(handlers));
                   }}) {
    port = *acceptor_.Listen("127.0.0.1", 0);
  }
  void SayOpened(const ipc::Frame& open, uint64_t data_bytes) {
    const auto* message = ipc::Verified<fb::transfer::Message>(open);
    transfer_id = message->body_as_OpenObject()->transfer_id();
    flatbuffers::FlatBufferBuilder builder;
    const auto owner = builder.CreateVector(std::vector<uint8_t>(WorkerId::kSize, 9));
    const auto opened =
        fb::transfer::CreateObjectOpened(builder, transfer_id, ErrorCode::Ok, 0, data_bytes, owner);
    builder.Finish(
        fb::transfer::CreateMessage(builder, fb::transfer::Body::ObjectOpened, opened.Union()));
    stream->Send(builder);
  }
  static const fb::transfer::ReadChunk* AsRead(const ipc::Frame& frame) {
    return ipc::Verified<fb::transfer::Message>(frame)->body_as_ReadChunk();
  }
  static bool IsOpen(const ipc::Frame& frame) {
    return ipc::Verified<fb::transfer::Message>(frame)->body_as_OpenObject() != nullptr;
  }

 private:
  boost::asio::io_context& loop_;
  PeerAcceptor acceptor_;

 public:
  NodeId id = NodeId::FromRandom();
  uint16_t port = 0;
  uint64_t transfer_id = 0;
  std::vector<uint8_t> memory = std::vector<uint8_t>(2 * kMiB);
  bool hung_up = false;
  std::optional<FrameStream> stream;
};

TEST_F(ObjectManagerTest, APeerThatDiesInMidTransferIsReplacedByTheNext) {
  int chunks = 0;
  FakeHolder dying(loop, [&](FakeHolder& self, const ipc::Frame& frame) {
    if (FakeHolder::IsOpen(frame)) return self.SayOpened(frame, 20 * kMiB);
    const auto* read = FakeHolder::AsRead(frame);
    if (read == nullptr) return;
    if (++chunks == 3) return self.stream->Close();
    self.stream->SendChunk({read->transfer_id(), read->offset()},
                           std::span(self.memory).first(read->bytes()), nullptr);
  });
  here.manager->SetNodeAddress(dying.id, "127.0.0.1", dying.port);
  const std::string text = RandomText(20 * kMiB);
  const ObjectId id = plasma::PutText(*there.store.Connect(), owner, text);
  EXPECT_TRUE(Pull(id, {dying.id, there.id}).ok());
  EXPECT_EQ(chunks, 3);
  EXPECT_TRUE(plasma::GetText(*here.store.Connect(), id) == text);
}

TEST_F(ObjectManagerTest, APeerThatDiesAloneMeansLostAndNothingIsLeft) {
  FakeHolder dying(loop, [&](FakeHolder& self, const ipc::Frame& frame) {
    if (FakeHolder::IsOpen(frame)) return self.SayOpened(frame, 20 * kMiB);
    self.stream->Close();
  });
  here.manager->SetNodeAddress(dying.id, "127.0.0.1", dying.port);
  EXPECT_EQ(Pull(ObjectId::FromRandom(), {dying.id}).code(), ErrorCode::ObjectLost);
  EXPECT_TRUE(here.store.StatsBecome(
      [](const plasma::StoreStats& stats) { return stats.objects.all.objects == 0; }));
}

TEST_F(ObjectManagerTest, APeerThatDiesWhileRoomIsMadeIsReplacedByTheNext) {
  // It dies with its answer, before the store here can have made room.
  FakeHolder dying(loop, [&](FakeHolder& self, const ipc::Frame& frame) {
    if (!FakeHolder::IsOpen(frame)) return;
    self.SayOpened(frame, kMiB);
    self.stream->CloseAfterSend();
  });
  here.manager->SetNodeAddress(dying.id, "127.0.0.1", dying.port);
  const auto source = there.store.Connect();
  for (int i = 0; i < 50; ++i) {
    const ObjectId id = plasma::PutText(*source, owner, "survivor");
    EXPECT_TRUE(Pull(id, {dying.id, there.id}).ok());
    EXPECT_EQ(plasma::GetText(*here.store.Connect(), id), "survivor");
  }
}

TEST_F(ObjectManagerTest, ASilentPeerIsGivenUpWhenItsNodeIsDeclaredDead) {
  bool asked = false;
  FakeHolder silent(loop, [&](FakeHolder&, const ipc::Frame&) { asked = true; });
  here.manager->SetNodeAddress(silent.id, "127.0.0.1", silent.port);
  std::optional<Status> result;
  here.manager->Pull(ObjectId::FromRandom(), {silent.id}, 0,
                     [&](const Status& status) { result = status; });
  ASSERT_TRUE(here.store.RunUntil([&] { return asked; }));
  here.manager->NodeDead(silent.id);
  ASSERT_TRUE(here.store.RunUntil([&] { return result.has_value(); }));
  EXPECT_EQ(result->code(), ErrorCode::ObjectLost);
}

TEST_F(ObjectManagerTest, AChunkThatWasNotAskedForEndsTheConnection) {
  for (const int lie : {0, 1, 2}) {
    FakeHolder liar(loop, [&](FakeHolder& self, const ipc::Frame& frame) {
      if (FakeHolder::IsOpen(frame)) return self.SayOpened(frame, 2 * kMiB);
      const auto* read = FakeHolder::AsRead(frame);
      if (read == nullptr || read->offset() != 0) return;
      const ChunkHeader header{read->transfer_id() + (lie == 0), lie == 1 ? kMiB * 5 : 0};
      const size_t bytes = lie == 2 ? read->bytes() + 1 : read->bytes();
      self.stream->SendChunk(header, std::span(self.memory).first(bytes), nullptr);
    });
    here.manager->SetNodeAddress(liar.id, "127.0.0.1", liar.port);
    EXPECT_EQ(Pull(ObjectId::FromRandom(), {liar.id}).code(), ErrorCode::ObjectLost);
    EXPECT_TRUE(here.store.RunUntil([&] { return liar.hung_up; }));
  }
}

TEST_F(ObjectManagerTest, APullerThatAsksOutsideTheObjectIsHungUpOn) {
  const ObjectId id = plasma::PutText(*there.store.Connect(), owner, "short");
  std::unique_ptr<FrameStream> stream;
  bool hung_up = false;
  PeerConnector connector(
      loop, TokenOf(1), {"127.0.0.1", there.port},
      Introduction{Purpose::Objects, NodeId::FromRandom(), WorkerId()}, [&](Result<UniqueFd> fd) {
        ASSERT_TRUE(fd.has_value()) << fd.error().ToString();
        stream = std::make_unique<FrameStream>(loop, std::move(*fd), 1 << 16);
        StreamHandlers handlers;
        handlers.on_frame = [&](const ipc::Frame&) {
          flatbuffers::FlatBufferBuilder builder;
          const auto read = fb::transfer::CreateReadChunk(builder, 1, 3, 3);
          builder.Finish(
              fb::transfer::CreateMessage(builder, fb::transfer::Body::ReadChunk, read.Union()));
          stream->Send(builder);
        };
        handlers.on_closed = [&](const Status&) { hung_up = true; };
        stream->Start(std::move(handlers));
        flatbuffers::FlatBufferBuilder builder;
        const auto bytes = builder.CreateVector(id.data(), size_t{ObjectId::kSize});
        const auto open = fb::transfer::CreateOpenObject(builder, 1, bytes);
        builder.Finish(
            fb::transfer::CreateMessage(builder, fb::transfer::Body::OpenObject, open.Union()));
        stream->Send(builder);
      });
  EXPECT_TRUE(here.store.RunUntil([&] { return hung_up; }));
  ExpectNothingIsPinned(there);
}

TEST_F(ObjectManagerTest, FreeDeletesTheCopiesOnTheNamedNodes) {
  const ObjectId id = plasma::PutText(*there.store.Connect(), owner, "copied");
  ASSERT_TRUE(Pull(id, {there.id}).ok());
  const std::vector<ObjectId> ids{id};
  const std::vector<NodeId> nodes{here.id, there.id};
  here.manager->Free(ids, nodes);
  const auto is_empty = [](const plasma::StoreStats& s) { return s.objects.all.objects == 0; };
  EXPECT_TRUE(here.store.StatsBecome(is_empty));
  EXPECT_TRUE(there.store.StatsBecome(is_empty));
}

TEST_F(ObjectManagerTest, AWorkerElsewhereIsConnectedDirectly) {
  std::optional<Result<UniqueFd>> mine;
  here.manager->Connect(there.id, there.worker,
                        [&](Result<UniqueFd> socket) { mine = std::move(socket); });
  ASSERT_TRUE(here.store.RunUntil([&] { return mine.has_value() && there.handed.valid(); }));
  ASSERT_TRUE(mine->has_value()) << mine->error().ToString();
  const auto body = BytesOf("hello worker");
  ASSERT_TRUE(ipc::SendFrame((*mine)->get(), 7, body).ok());
  const auto frame = ipc::ReceiveFrame(there.handed.get(), 30000);
  ASSERT_TRUE(frame.has_value());
  EXPECT_EQ(frame->kind, 7);
  EXPECT_EQ(frame->text(), "hello worker");
}

TEST_F(ObjectManagerTest, AWorkerThatIsNotThereIsNotFound) {
  std::optional<Result<UniqueFd>> mine;
  here.manager->Connect(there.id, WorkerId::FromRandom(),
                        [&](Result<UniqueFd> socket) { mine = std::move(socket); });
  ASSERT_TRUE(here.store.RunUntil([&] { return mine.has_value(); }));
  EXPECT_EQ(mine->error().code(), ErrorCode::NotFound);
  mine.reset();
  here.manager->Connect(NodeId::FromRandom(), there.worker,
                        [&](Result<UniqueFd> socket) { mine = std::move(socket); });
  ASSERT_TRUE(here.store.RunUntil([&] { return mine.has_value(); }));
  EXPECT_EQ(mine->error().code(), ErrorCode::NodeDied);
}

TEST_F(ObjectManagerTest, StrangersWhoSayNothingKeepNobodyOut) {
  std::vector<UniqueFd> strangers;
  for (int i = 0; i < 400; ++i) {
    auto stranger = ipc::ConnectTcp("127.0.0.1", there.port);
    ASSERT_TRUE(stranger.has_value()) << stranger.error().ToString();
    strangers.push_back(std::move(*stranger));
    // So that none is left in the listening socket's queue.
    loop.restart();
    loop.poll();
  }
  const ObjectId id = plasma::PutText(*there.store.Connect(), owner, "for who is known");
  const Status pulled = Pull(id, {there.id});
  EXPECT_TRUE(pulled.ok()) << pulled.ToString();
}

TEST_F(ObjectManagerTest, MessagesArriveInOrderAndCallsAreAnswered) {
  for (int i = 0; i < 100; ++i) here.manager->SendToNode(there.id, BytesOf(std::to_string(i)));
  std::optional<std::string> answer;
  here.manager->CallNode(there.id, BytesOf("ping"), [&](Result<std::vector<uint8_t>> reply) {
    answer = reply ? TextOf(*reply) : reply.error().ToString();
  });
  ASSERT_TRUE(here.store.RunUntil([&] { return there.calls.size() == 1; }));
  ASSERT_EQ(there.messages.size(), 100u);
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(there.messages[i], std::make_pair(here.id, std::to_string(i)));
  }
  EXPECT_EQ(there.calls[0].first, "ping");
  there.calls[0].second(BytesOf("pong"));
  ASSERT_TRUE(here.store.RunUntil([&] { return answer.has_value(); }));
  EXPECT_EQ(*answer, "pong");
}

TEST_F(ObjectManagerTest, ACallToANodeThatDiesFails) {
  std::optional<ErrorCode> code;
  const auto remember = [&](Result<std::vector<uint8_t>> reply) { code = reply.error().code(); };
  here.manager->CallNode(there.id, BytesOf("ping"), remember);
  ASSERT_TRUE(here.store.RunUntil([&] { return there.calls.size() == 1; }));
  there.manager.reset();
  ASSERT_TRUE(here.store.RunUntil([&] { return code.has_value(); }));
  EXPECT_EQ(*code, ErrorCode::Disconnected);
  code.reset();
  here.manager->NodeDead(there.id);
  here.manager->CallNode(there.id, BytesOf("ping"), remember);
  ASSERT_TRUE(here.store.RunUntil([&] { return code.has_value(); }));
  EXPECT_EQ(*code, ErrorCode::NodeDied);
  there.calls[0].second(BytesOf("too late"));
}

}  // namespace
}  // namespace skyray::object_manager
