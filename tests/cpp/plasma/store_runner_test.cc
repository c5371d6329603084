// SPDX-License-Identifier: Apache-2.0
#include "plasma/store_runner.h"

#include <gtest/gtest.h>

#include "plasma/raw_peer.h"
#include "plasma/store_fixture.h"
#include "plasma/wire.h"

namespace skyray::plasma {
namespace {

class StoreRunnerTest : public ::testing::Test {
 protected:
  std::optional<PinnedObject> Pin(const ObjectId& id, int64_t timeout_ms) {
    std::optional<PinnedObject> pinned;
    bool answered = false;
    store.runner->Pin(id, timeout_ms, [&](std::optional<PinnedObject> found) {
      pinned = found;
      answered = true;
    });
    EXPECT_TRUE(store.RunUntil([&] { return answered; }));
    return pinned;
  }
  RunningStore store{8 << 20};
  WorkerId owner = WorkerId::FromRandom();
};

TEST_F(StoreRunnerTest, SealedAndDeletedObjectsAreTold) {
  const auto client = store.Connect();
  const ObjectId id = PutText(*client, owner, "news");
  ASSERT_TRUE(store.RunUntil([&] { return store.events.size() == 1; }));
  EXPECT_EQ(store.events[0].kind, StoreEvent::Kind::Added);
  EXPECT_EQ(store.events[0].object.id, id);
  EXPECT_EQ(store.events[0].object.owner, owner);
  EXPECT_EQ(store.events[0].object.data_bytes, 4u);
  store.runner->Delete({id});
  ASSERT_TRUE(store.RunUntil([&] { return store.events.size() == 2; }));
  EXPECT_EQ(store.events[1].kind, StoreEvent::Kind::Deleted);
  EXPECT_EQ(store.events[1].object.id, id);
}

TEST_F(StoreRunnerTest, WhatTheOwnerWritesClientsRead) {
  const ObjectId id = ObjectId::FromRandom();
  bool written = false;
  store.runner->Create({id, owner, 5, 0, false}, [&](Result<std::span<uint8_t>> memory) {
    ASSERT_TRUE(memory.has_value());
    std::memcpy(memory->data(), "local", 5);
    store.runner->Seal(id);
    written = true;
  });
  ASSERT_TRUE(store.RunUntil([&] { return written; }));
  const auto client = store.Connect();
  EXPECT_EQ(GetText(*client, id, -1), "local");
}

TEST_F(StoreRunnerTest, APinnedObjectStaysUntilUnpin) {
  const auto client = store.Connect();
  const ObjectId id = PutText(*client, owner, "pinned");
  const auto pinned = Pin(id, -1);
  ASSERT_TRUE(pinned.has_value());
  const std::vector<ObjectId> ids{id};
  EXPECT_TRUE(client->Delete(ids).ok());
  EXPECT_TRUE(*client->Contains(id));
  EXPECT_EQ(std::string(pinned->bytes.begin(), pinned->bytes.end()), "pinned");
  EXPECT_EQ(pinned->object.owner, owner);
  store.runner->Unpin(id);
  EXPECT_TRUE(store.StatsBecome([](const StoreStats& s) { return s.objects.all.objects == 0; }));
}

TEST_F(StoreRunnerTest, APinOfWhatIsNotThereAnswersAtItsTimeout) {
  EXPECT_FALSE(Pin(ObjectId::FromRandom(), 0).has_value());
  EXPECT_FALSE(Pin(ObjectId::FromRandom(), 5).has_value());
}

TEST_F(StoreRunnerTest, PinCreatedWaitsOnlyForWhatIsBeingCreated) {
  std::vector<std::string> answers;
  const auto remember = [&](const std::optional<PinnedObject>& pinned) {
    answers.push_back(pinned ? std::string(pinned->bytes.begin(), pinned->bytes.end()) : "none");
  };
  const auto client = store.Connect();
  const ObjectId open = ObjectId::FromRandom();
  auto object = client->Create(open, Room(4, owner));
  ASSERT_TRUE(object.has_value());
  std::memcpy(object->data, "open", 4);
  store.runner->PinCreated(open, -1, remember);
  store.runner->PinCreated(ObjectId::FromRandom(), -1, remember);
  ASSERT_TRUE(store.RunUntil([&] { return answers.size() == 1; }));
  EXPECT_EQ(answers[0], "none");
  EXPECT_TRUE(client->Seal(open).ok());
  ASSERT_TRUE(store.RunUntil([&] { return answers.size() == 2; }));
  EXPECT_EQ(answers[1], "open");
}

TEST_F(StoreRunnerTest, ADeadOwnersObjectsGoNowAndLater) {
  const auto client = store.Connect();
  const ObjectId early = PutText(*client, owner, "early");
  const ObjectId open = ObjectId::FromRandom();
  ASSERT_TRUE(client->Create(open, Room(10, owner)).has_value());
  const ObjectId others = PutText(*client, WorkerId::FromRandom(), "others");
  store.runner->OwnerDied(owner);
  EXPECT_TRUE(store.StatsBecome([](const StoreStats& s) { return s.objects.all.objects == 2; }));
  EXPECT_FALSE(*client->Contains(early));
  EXPECT_TRUE(client->Seal(open).ok());
  EXPECT_FALSE(*client->Contains(open));
  EXPECT_TRUE(*client->Contains(others));
  EXPECT_EQ(client->Create(ObjectId::FromRandom(), Room(1, owner)).error().code(),
            ErrorCode::OwnerDied);
}

class SpillingRunnerTest : public ::testing::Test {
 protected:
  static StoreOptions Options() {
    StoreOptions options;
    options.spilling = true;
    options.spill_threshold = 0.5;
    options.create_grace_ms = 3600 * 1000;
    return options;
  }
  const StoreEvent* Find(StoreEvent::Kind kind) const {
    for (const StoreEvent& event : store.events) {
      if (event.kind == kind) return &event;
    }
    return nullptr;
  }
  RunningStore store{8 << 20, Options()};
  WorkerId owner = WorkerId::FromRandom();
};

TEST_F(SpillingRunnerTest, WhatIsCarriedAwayComesBackForAGet) {
  const auto client = store.Connect();
  const std::string text(6 << 20, 'x');
  const ObjectId id = PutText(*client, owner, text);
  ASSERT_TRUE(store.RunUntil([&] { return Find(StoreEvent::Kind::SpaceWanted) != nullptr; }));
  std::string on_disk;
  store.runner->TakeSpillable(1, 10, [&](const std::vector<SpillableObject>& taken) {
    ASSERT_EQ(taken.size(), 1u);
    EXPECT_EQ(taken[0].object.id, id);
    on_disk.assign(taken[0].bytes.begin(), taken[0].bytes.end());
    store.runner->Spilled({id});
  });
  ASSERT_TRUE(store.StatsBecome([](const StoreStats& s) { return s.totals.spilled.objects == 1; }));
  PutText(*client, owner, std::string(6 << 20, 'y'), /*primary=*/false);  // Evicts it.
  EXPECT_EQ(store.Stats().objects.spilled.objects, 1u);
  EXPECT_TRUE(*client->Contains(id));

  EXPECT_EQ(GetText(*client, id), GetText(*client, ObjectId::FromRandom())) << "not at once";
  ASSERT_TRUE(store.RunUntil([&] { return Find(StoreEvent::Kind::RestoreWanted) != nullptr; }));
  store.runner->Restore(id, [&](Result<RestoreRoom> room) {
    ASSERT_TRUE(room.has_value());
    ASSERT_EQ(room->bytes.size(), on_disk.size());
    std::memcpy(room->bytes.data(), on_disk.data(), on_disk.size());
    store.runner->Seal(id);
  });
  ASSERT_TRUE(
      store.StatsBecome([](const StoreStats& s) { return s.totals.restored.objects == 1; }));
  EXPECT_EQ(GetText(*client, id), text);
}

TEST_F(SpillingRunnerTest, ALostObjectIsSaidToWhoWaits) {
  const auto client = store.Connect();
  const ObjectId id = PutText(*client, owner, "soon gone");
  ASSERT_TRUE(store.RunUntil([&] { return Find(StoreEvent::Kind::Added) != nullptr; }));
  store.runner->TakeSpillable(
      1, 10, [&](const std::vector<SpillableObject>&) { store.runner->Spilled({id}); });
  ASSERT_TRUE(store.StatsBecome([](const StoreStats& s) { return s.totals.spilled.objects == 1; }));
  EXPECT_GT(*client->Evict(1), 0u);
  bool answered = false;
  store.runner->Pin(id, -1, [&](const std::optional<PinnedObject>& pinned) {
    EXPECT_FALSE(pinned.has_value());
    answered = true;
  });
  store.runner->Lose(id, Status(ErrorCode::ObjectLost, "gone"));
  ASSERT_TRUE(store.RunUntil([&] { return answered; }));
  ASSERT_TRUE(store.RunUntil([&] { return Find(StoreEvent::Kind::Deleted) != nullptr; }));
  EXPECT_TRUE(Find(StoreEvent::Kind::Deleted)->stored);
}

TEST_F(SpillingRunnerTest, ASegmentsDescriptorIsCopied) {
  std::vector<bool> found;
  for (const uint32_t segment : {0u, 7u, kFallbackSegmentFirst}) {
    store.runner->SegmentFd(segment, [&found, segment](const Result<SharedFd>& fd) {
      found.push_back(fd.has_value());
      EXPECT_EQ(fd ? ErrorCode::Ok : fd.error().code(),
                segment == 0 ? ErrorCode::Ok : ErrorCode::NotFound);
    });
  }
  ASSERT_TRUE(store.RunUntil([&] { return found.size() == 3; }));
  EXPECT_EQ(found, (std::vector<bool>{true, false, false}));
}

TEST(StoreFallbackTest, AnObjectLargerThanTheStoreIsOnDisk) {
  TemporaryDirectory directory;
  StoreOptions options;
  options.fallback_directory = directory.path();
  RunningStore store(1 << 20, options);
  const size_t fds = CountOpenFds();
  {
    const auto client = store.Connect();
    const auto other = store.Connect();
    const std::string text(3 << 20, 'z');
    const ObjectId id = PutText(*client, WorkerId::FromRandom(), text);
    EXPECT_EQ(store.Stats().objects.fallback.objects, 1u);
    for (int round = 0; round < 3; ++round) {
      EXPECT_EQ(GetText(*client, id), text);
      EXPECT_EQ(GetText(*other, id), text);
      EXPECT_TRUE(client->Release(id).ok());
    }
    for (int round = 0; round < 3; ++round) EXPECT_TRUE(other->Release(id).ok());
    EXPECT_EQ(GetText(*other, id), text) << "its descriptor is sent anew";
    EXPECT_TRUE(other->Release(id).ok());
    const std::vector<ObjectId> ids{id};
    EXPECT_TRUE(client->Delete(ids).ok());
    EXPECT_TRUE(store.StatsBecome([](const StoreStats& s) { return s.objects.all.objects == 0; }));
  }
  EXPECT_TRUE(store.StatsBecome([](const StoreStats& s) { return s.clients == 1; }));
  EXPECT_EQ(CountOpenFds(), fds) << "nothing of it is left open";
}

// Objects with a segment each: more than one frame has descriptors, twice over.
class ManySegmentsTest : public ::testing::Test {
 protected:
  ManySegmentsTest() {
    const auto owner = WorkerId::FromRandom();
    PutText(*client, owner, std::string(kCapacity, 'f'));
    for (size_t i = 0; i < kObjects; ++i) {
      ids.push_back(PutText(*client, owner, "object " + std::to_string(i)));
    }
    EXPECT_EQ(store.Stats().objects.fallback.objects, kObjects);
  }
  static StoreOptions Options(const std::string& fallback_directory) {
    StoreOptions options;
    options.create_grace_ms = 0;
    options.fallback_directory = fallback_directory;
    return options;
  }

  static constexpr uint64_t kCapacity = 1 << 20;
  static constexpr size_t kObjects = 3 * ipc::kFrameFdsMax - 1;
  TemporaryDirectory directory;
  RunningStore store{kCapacity, Options(directory.path())};
  std::unique_ptr<Client> client = store.Connect();
  std::vector<ObjectId> ids;
};

TEST_F(ManySegmentsTest, OneGetIsGivenThemAll) {
  const auto other = store.Connect();
  for (int round = 0; round < 2; ++round) {
    auto views = other->Get(ids, 0);
    ASSERT_TRUE(views.has_value()) << views.error().ToString();
    for (size_t i = 0; i < kObjects; ++i) {
      EXPECT_EQ(TextOf((*views)[i]), "object " + std::to_string(i));
      EXPECT_TRUE(other->Release(ids[i]).ok());
    }
  }
}

TEST_F(ManySegmentsTest, AClientOfAnEarlierVersionIsGivenAFrameFullAndNoMore) {
  RawPeer peer(store.socket_path);
  peer.Connect(kProtocolVersionManySegments - 1);
  flatbuffers::FlatBufferBuilder builder;
  const auto get = [&](size_t begin, size_t count) {
    const auto wire = builder.CreateVectorOfStructs(
        reinterpret_cast<const fb::plasma::Id*>(ids.data() + begin), count);
    peer.Say(builder, fb::plasma::Body::Get, fb::plasma::CreateGet(builder, wire, 0));
  };
  get(0, ipc::kFrameFdsMax);
  const auto* reply = peer.Expect<fb::plasma::GetReply>();
  ASSERT_NE(reply, nullptr);
  EXPECT_EQ(reply->new_segments()->size(), ipc::kFrameFdsMax);
  EXPECT_EQ(peer.heard.fds.size(), ipc::kFrameFdsMax);
  get(ipc::kFrameFdsMax, ipc::kFrameFdsMax + 1);
  EXPECT_TRUE(peer.IsHungUp());
  EXPECT_EQ(GetText(*client, ids.front()), "object 0");
}

TEST_F(StoreRunnerTest, ACallbackNeverRunsAfterTheRunner) {
  bool called = false;
  store.runner->Contains(ObjectId::FromRandom(), [&](bool) { called = true; });
  store.runner->Pin(ObjectId::FromRandom(), -1,
                    [&](std::optional<PinnedObject>) { called = true; });
  store.runner.reset();
  store.loop.restart();
  store.loop.poll();
  EXPECT_FALSE(called);
}

TEST_F(StoreRunnerTest, AStoreThatCannotStartSaysWhy) {
  StoreOptions options;
  options.capacity_bytes = 5;
  options.socket_path = "/nowhere/at/all";
  EXPECT_EQ(StoreRunner::Start(options, store.loop, nullptr).error().code(),
            ErrorCode::InvalidArgument);
  options.capacity_bytes = 1 << 20;
  EXPECT_EQ(StoreRunner::Start(options, store.loop, nullptr).error().code(), ErrorCode::IoError);
}

}  // namespace
}  // namespace skyray::plasma
