// SPDX-License-Identifier: Apache-2.0
#include "common/id.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <unordered_set>

namespace skyray {
namespace {

TEST(IdTest, SizesAreRays) {
  EXPECT_EQ(JobId::kSize, 4u);
  EXPECT_EQ(ActorId::kSize, 16u);
  EXPECT_EQ(TaskId::kSize, 24u);
  EXPECT_EQ(ObjectId::kSize, 28u);
  EXPECT_EQ(NodeId::kSize, 28u);
  EXPECT_EQ(WorkerId::kSize, 28u);
}

TEST(IdTest, ADefaultIdIsNilAndARandomOneIsNot) {
  EXPECT_TRUE(ObjectId().IsNil());
  EXPECT_EQ(ObjectId().Hex(), std::string(56, 'f'));
  EXPECT_FALSE(ObjectId::FromRandom().IsNil());
  EXPECT_NE(ObjectId::FromRandom(), ObjectId::FromRandom());
}

TEST(IdTest, BinaryAndHexGoThereAndBack) {
  const ObjectId id = ObjectId::FromRandom();
  EXPECT_EQ(ObjectId::FromBinary(id.Binary()), id);
  EXPECT_EQ(ObjectId::FromHex(id.Hex()), id);
  EXPECT_EQ(JobId::FromHex("0A0b0C0d")->Hex(), "0a0b0c0d");
}

TEST(IdTest, WrongSizesAndDigitsAreNoIds) {
  EXPECT_FALSE(JobId::FromBinary("abc").has_value());
  EXPECT_FALSE(JobId::FromBinary("abcde").has_value());
  EXPECT_FALSE(JobId::FromHex("0a0b0c0").has_value());
  EXPECT_FALSE(JobId::FromHex("0a0b0c0dd").has_value());
  EXPECT_FALSE(JobId::FromHex("0a0b0c0g").has_value());
  EXPECT_FALSE(JobId::FromHex("").has_value());
}

TEST(IdTest, IdsKnowWhatTheyBelongTo) {
  const JobId job = JobIdFromInt(0x01020304);
  EXPECT_EQ(job.Hex(), "01020304");
  EXPECT_EQ(JobIdToInt(job), 0x01020304u);
  const ActorId actor = RandomActorId(job);
  EXPECT_EQ(JobOf(actor), job);
  const TaskId creation = ActorCreationTask(actor);
  EXPECT_EQ(ActorOf(creation), actor);
  EXPECT_EQ(JobOf(creation), job);
  const ObjectId object = ObjectIdOf(creation, 7);
  EXPECT_EQ(TaskOf(object), creation);
  EXPECT_EQ(IndexOf(object), 7u);
  EXPECT_EQ(JobOf(object), job);
  EXPECT_EQ(IndexOf(ObjectIdOf(creation, kPutIndexBase + 1)), kPutIndexBase + 1);
}

TEST(IdTest, IdsThatDifferInOneByteHashApart) {
  const TaskId task = TaskId::FromRandom();
  std::unordered_set<size_t> hashes;
  for (uint32_t index = 0; index < 10000; ++index) hashes.insert(ObjectIdOf(task, index).Hash());
  EXPECT_EQ(hashes.size(), 10000u);
  for (size_t byte = 0; byte < ObjectId::kSize; ++byte) {
    ObjectId id = ObjectIdOf(task, 0);
    id.mutable_data()[byte] ^= 1;
    EXPECT_NE(id.Hash(), ObjectIdOf(task, 0).Hash()) << "byte " << byte;
  }
}

// Ids that are made so that after two words of one seed nothing is left of them.
TEST(IdTest, IdsMadeToHashAlikeWithOneSeedHashApartWithAnother) {
  constexpr uint64_t kKnown = 28;
  std::unordered_set<size_t> known;
  std::unordered_set<size_t> ours;
  for (uint64_t first = 0; first < 1000; ++first) {
    const unsigned __int128 product =
        static_cast<unsigned __int128>(kKnown ^ first) * 0xd6e8feb86659fd93ull;
    const uint64_t second = static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
    ObjectId id;
    std::memcpy(id.mutable_data(), &first, sizeof first);
    std::memcpy(id.mutable_data() + sizeof first, &second, sizeof second);
    known.insert(id.HashWith(kKnown));
    ours.insert(id.Hash());
  }
  EXPECT_EQ(known.size(), 1u);
  EXPECT_EQ(ours.size(), 1000u) << "SKYRAY_HASH_SEED=" << kIdHashSeed;
}

TEST(IdTest, RandomIdsDoNotRepeat) {
  std::set<WorkerId> ids;
  for (int i = 0; i < 1000; ++i) ids.insert(WorkerId::FromRandom());
  EXPECT_EQ(ids.size(), 1000u);
}

}  // namespace
}  // namespace skyray
