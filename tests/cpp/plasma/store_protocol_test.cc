// SPDX-License-Identifier: Apache-2.0
// What the store answers, as it is on the wire.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/sizes.h"
#include "plasma/raw_peer.h"
#include "plasma/store_fixture.h"

namespace skyray::plasma {
namespace {

using fb::plasma::Body;
using fb::plasma::ContainsReply;
using fb::plasma::CreateReply;
using fb::plasma::GetReply;

class StoreProtocolTest : public ::testing::Test {
 protected:
  void Create(RawPeer& peer, const ObjectId& id, uint64_t data_bytes, uint64_t request_id = 1,
              uint64_t metadata_bytes = 0, bool try_immediately = false, bool primary = true) {
    peer.Say(builder, Body::CreateObject,
             fb::plasma::CreateCreateObject(builder, ToWire(id), ToWire(owner), data_bytes, primary,
                                            metadata_bytes, try_immediately),
             request_id);
  }
  void Retry(RawPeer& peer, uint64_t create_request_id, uint64_t wait_ms, uint64_t request_id) {
    peer.Say(builder, Body::CreateRetry,
             fb::plasma::CreateCreateRetry(builder, create_request_id, wait_ms), request_id);
  }
  void Seal(RawPeer& peer, const ObjectId& id, bool keep = false) {
    peer.Say(builder, Body::Seal, fb::plasma::CreateSeal(builder, ToWire(id), keep), 0);
  }
  void Abort(RawPeer& peer, const ObjectId& id) {
    peer.Say(builder, Body::Abort, fb::plasma::CreateAbort(builder, ToWire(id)), 0);
  }
  void Get(RawPeer& peer, const ObjectId& id, int64_t timeout_ms = 0) {
    const std::vector<fb::plasma::Id> ids{*ToWire(id)};
    const auto wire = builder.CreateVectorOfStructs(ids);
    peer.Say(builder, Body::Get, fb::plasma::CreateGet(builder, wire, timeout_ms));
  }
  const fb::plasma::StatsReply* Stats(RawPeer& peer) {
    peer.Say(builder, Body::GetStats, fb::plasma::CreateGetStats(builder));
    return peer.Expect<fb::plasma::StatsReply>();
  }

  RunningStore store{8 * kMiB, /*create_grace_ms=*/3600 * 1000};
  flatbuffers::FlatBufferBuilder builder;
  const WorkerId owner = WorkerId::FromRandom();
  const ObjectId a = ObjectId::FromRandom();
  const ObjectId b = ObjectId::FromRandom();
};

TEST_F(StoreProtocolTest, TheHighestVersionThatBothSpeakIsPicked) {
  const auto answer = [this](uint32_t version, uint32_t version_min) {
    RawPeer peer(store.socket_path);
    const ipc::Frame frame = peer.Connect(version, version_min);
    const auto* reply = ipc::Verified<fb::plasma::Message>(frame)->body_as_ConnectReply();
    if (reply->error() != ErrorCode::Ok) {
      EXPECT_EQ(reply->error(), ErrorCode::VersionMismatch);
      EXPECT_TRUE(peer.IsHungUp());
      return 0u;
    }
    EXPECT_EQ(reply->capacity_bytes(), 8 * kMiB);
    return reply->protocol_version();
  };
  EXPECT_EQ(answer(2, 0), 2u);
  EXPECT_EQ(answer(1, 0), 1u);
  EXPECT_EQ(answer(9, 1), kProtocolVersion);
  EXPECT_EQ(answer(9, kProtocolVersion), kProtocolVersion);
  EXPECT_EQ(answer(9, kProtocolVersion + 1), 0u);
  EXPECT_EQ(answer(9, 0), 0u);
  EXPECT_EQ(answer(0, 0), 0u);
}

TEST_F(StoreProtocolTest, AnUnfinishedCreateIsAskedForAndGivenOnce) {
  RawPeer holder(store.socket_path);
  holder.Connect();
  Create(holder, a, 6 * kMiB);
  EXPECT_FALSE(holder.Expect<CreateReply>()->unfinished());
  RawPeer peer(store.socket_path);
  peer.Connect();
  Create(peer, b, 6 * kMiB, 5);
  EXPECT_TRUE(peer.Expect<CreateReply>(5)->unfinished());
  Retry(peer, 5, 0, 6);
  EXPECT_TRUE(peer.Expect<CreateReply>(6)->unfinished());
  Retry(peer, 5, 1, 7);
  EXPECT_TRUE(peer.Expect<CreateReply>(7)->unfinished()) << "after a millisecond";
  Retry(peer, 5, 3600 * 1000, 8);
  Abort(holder, a);
  const auto* reply = peer.Expect<CreateReply>(8);
  EXPECT_EQ(reply->error(), ErrorCode::Ok);
  EXPECT_EQ(reply->place()->bytes(), 6 * kMiB);
  ASSERT_EQ(reply->new_segments()->size(), 1u);
  EXPECT_EQ(peer.heard.fds.size(), 1u);
  Retry(peer, 5, 3600 * 1000, 9);
  EXPECT_EQ(peer.Expect<CreateReply>(9)->error(), ErrorCode::ObjectNotFound);
}

TEST_F(StoreProtocolTest, AClientOfVersionOneHearsWhenItHasEnded) {
  RawPeer holder(store.socket_path);
  holder.Connect();
  Create(holder, a, 6 * kMiB);
  holder.Expect<CreateReply>();
  RawPeer peer(store.socket_path);
  peer.Connect(1);
  Create(peer, b, 6 * kMiB, 5);
  ASSERT_TRUE(
      store.StatsBecome([](const StoreStats& stats) { return stats.waiting_creates == 1; }));
  Abort(holder, a);
  const auto* reply = peer.Expect<CreateReply>(5);
  EXPECT_FALSE(reply->unfinished());
  EXPECT_EQ(reply->place()->bytes(), 6 * kMiB);
}

TEST_F(StoreProtocolTest, TryImmediatelyDoesNotWait) {
  RawPeer peer(store.socket_path);
  peer.Connect();
  Create(peer, a, 6 * kMiB, 1, 0, true);
  EXPECT_EQ(peer.Expect<CreateReply>()->error(), ErrorCode::Ok);
  Create(peer, b, 6 * kMiB, 2, 0, true);
  EXPECT_EQ(peer.Expect<CreateReply>(2)->error(), ErrorCode::OutOfMemory);
}

TEST_F(StoreProtocolTest, MetadataLieBehindTheData) {
  RawPeer peer(store.socket_path);
  peer.Connect();
  Create(peer, a, 100, 1, 28);
  const auto* created = peer.Expect<CreateReply>();
  EXPECT_EQ(created->place()->bytes(), 100u);
  Create(peer, b, 100, 2);
  EXPECT_EQ(peer.Expect<CreateReply>(2)->place()->offset() % kAlignment, 0u);
  Seal(peer, a);
  Seal(peer, b);
  Get(peer, a);
  const auto* reply = peer.Expect<GetReply>();
  ASSERT_NE(reply->metadata_bytes(), nullptr);
  EXPECT_EQ(reply->metadata_bytes()->Get(0), 28u);
  Get(peer, b);
  EXPECT_EQ(peer.Expect<GetReply>()->metadata_bytes(), nullptr) << "absent if all are 0";
  EXPECT_EQ(Stats(peer)->all()->bytes(), 256u) << "one place for both";
}

TEST_F(StoreProtocolTest, ASealMayKeepItsReference) {
  RawPeer peer(store.socket_path);
  peer.Connect();
  Create(peer, a, 100);
  peer.Expect<CreateReply>();
  Seal(peer, a, /*keep=*/true);
  EXPECT_EQ(Stats(peer)->sealed_in_use()->objects(), 1u);
  peer.Say(builder, Body::Release, fb::plasma::CreateRelease(builder, ToWire(a)), 0);
  EXPECT_EQ(Stats(peer)->sealed_in_use()->objects(), 0u);
  EXPECT_EQ(Stats(peer)->ignored_requests_total(), 0u);
}

TEST_F(StoreProtocolTest, EvictFreesWhatNobodyNeeds) {
  RawPeer peer(store.socket_path);
  peer.Connect();
  for (const ObjectId& id : {a, b}) {
    Create(peer, id, kMiB, 1, 0, false, /*primary=*/id == b);
    peer.Expect<CreateReply>();
    Seal(peer, id);
  }
  peer.Say(builder, Body::Evict, fb::plasma::CreateEvict(builder, 5 * kMiB));
  EXPECT_EQ(peer.Expect<fb::plasma::EvictReply>()->bytes(), kMiB);
  peer.Say(builder, Body::Contains, fb::plasma::CreateContains(builder, ToWire(a)));
  EXPECT_FALSE(peer.Expect<ContainsReply>()->found());
  peer.Say(builder, Body::Contains, fb::plasma::CreateContains(builder, ToWire(b)));
  EXPECT_TRUE(peer.Expect<ContainsReply>()->found());
  EXPECT_EQ(Stats(peer)->evicted_bytes_total(), kMiB);
}

TEST_F(StoreProtocolTest, AListIsReadPageByPage) {
  RawPeer peer(store.socket_path);
  peer.Connect();
  std::vector<ObjectId> created;
  for (uint64_t i = 0; i < 25; ++i) {
    created.push_back(ObjectId::FromRandom());
    Create(peer, created.back(), 100 + i, 1, i);
    peer.Expect<CreateReply>();
    if (i % 2 == 0) Seal(peer, created.back());
  }
  uint64_t cursor = 0;
  size_t seen = 0;
  do {
    peer.Say(builder, Body::List, fb::plasma::CreateList(builder, cursor, 10));
    const auto* reply = peer.Expect<fb::plasma::ListReply>();
    ASSERT_LE(reply->objects()->size(), 10u);
    for (const fb::plasma::ObjectInfo* info : *reply->objects()) {
      const uint64_t i = info->data_bytes() - 100;
      EXPECT_EQ(FromWire<ObjectId>(info->id()), created[i]);
      EXPECT_EQ(FromWire<WorkerId>(info->owner()), owner);
      EXPECT_EQ(info->metadata_bytes(), i);
      EXPECT_EQ(info->state(), i % 2 == 0 ? ObjectState::Sealed : ObjectState::Created);
      EXPECT_EQ(info->references(), i % 2);
      EXPECT_TRUE(info->primary());
      EXPECT_FALSE(info->stored());
      ++seen;
    }
    cursor = reply->next();
  } while (cursor != 0);
  EXPECT_EQ(seen, created.size());
  peer.Say(builder, Body::List, fb::plasma::CreateList(builder, UINT64_MAX, 10));
  EXPECT_EQ(peer.Expect<fb::plasma::ListReply>()->next(), 0u) << "a cursor from nowhere";
}

}  // namespace
}  // namespace skyray::plasma
