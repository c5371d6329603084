// SPDX-License-Identifier: Apache-2.0
#include "object_manager/spill_manager.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

#include "common/sizes.h"

namespace skyray::object_manager {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

SpillPiece PieceOf(const ObjectId& object, uint64_t bytes) {
  return {{object, WorkerId::FromRandom(), bytes, 0}, {}, {}};
}

class SpillManagerTest : public ::testing::Test {
 protected:
  static SpillConfig Config() {
    SpillConfig config;
    config.capacity_bytes = 8000 * kMiB;
    config.restores_max = 2;
    return config;
  }

  // Spills these as one file.
  void Spill(const std::vector<ObjectId>& objects, const std::string& path) {
    ASSERT_TRUE(spills.SpaceWanted(1, now).take);
    std::vector<SpillPiece> pieces;
    for (const ObjectId& object : objects) pieces.push_back(PieceOf(object, 10));
    const SpillSteps taken = spills.Taken(pieces, now);
    ASSERT_THAT(taken.writes, SizeIs(1));
    const SpillSteps written = spills.Written(taken.writes[0].id, FileOf(path, pieces), now);
    EXPECT_EQ(written.spilled, objects);
  }
  static WrittenFile FileOf(const std::string& path, const std::vector<SpillPiece>& pieces) {
    WrittenFile file{path, {}, 1000 * pieces.size(), {}};
    for (size_t i = 0; i < pieces.size(); ++i) file.offsets.push_back(1000 * i);
    return file;
  }
  static Result<SpillRoom> Room() { return SpillRoom{}; }

  SpillManager spills{Config()};
  int64_t now = 5000;
  const ObjectId a = ObjectId::FromRandom();
  const ObjectId b = ObjectId::FromRandom();
  const ObjectId c = ObjectId::FromRandom();
  const Status full{ErrorCode::OutOfDisk, "the disk is full"};
  const Status damaged{ErrorCode::ObjectLost, "the copy is damaged"};
  const Status io_error{ErrorCode::IoError, "Input/output error"};
};

TEST_F(SpillManagerTest, AsManyAreTakenAsMakeAFile) {
  const SpillSteps steps = spills.SpaceWanted(5, now);
  ASSERT_TRUE(steps.take);
  EXPECT_EQ(steps.take->bytes_min, 100 * kMiB);
  EXPECT_EQ(steps.take->objects_max, 2000u);
  EXPECT_FALSE(spills.SpaceWanted(5, now).take) << "one take at a time";
}

TEST_F(SpillManagerTest, OfASmallStoreAnEighthIsTaken) {
  SpillConfig config;
  config.capacity_bytes = 80 * kMiB;
  SpillManager small(config);
  EXPECT_EQ(small.SpaceWanted(5, now).take->bytes_min, 10 * kMiB);
}

TEST_F(SpillManagerTest, NothingToSpillIsNoReasonToGoOn) {
  spills.SpaceWanted(5, now);
  const SpillSteps steps = spills.Taken({}, now);
  EXPECT_FALSE(steps.take);
  EXPECT_THAT(steps.writes, IsEmpty());
  EXPECT_TRUE(spills.SpaceWanted(5, now).take);
}

TEST_F(SpillManagerTest, TwoFilesAreOnTheirWayAtMost) {
  spills.SpaceWanted(1000 * kMiB, now);
  const SpillSteps first = spills.Taken({PieceOf(a, 100 * kMiB)}, now);
  ASSERT_TRUE(first.take) << "there is more to do";
  const SpillSteps second = spills.Taken({PieceOf(b, 100 * kMiB)}, now);
  EXPECT_FALSE(second.take);
  const SpillSteps done = spills.Written(first.writes[0].id, FileOf("1", {PieceOf(a, 0)}), now);
  EXPECT_THAT(done.spilled, ElementsAre(a));
  EXPECT_TRUE(done.take);
}

TEST_F(SpillManagerTest, AFileHasABoundButForOneObject) {
  SpillConfig config = Config();
  config.file_bytes_max = 25;
  SpillManager bounded(config);
  bounded.SpaceWanted(5, now);
  const auto steps =
      bounded.Taken({PieceOf(a, 10), PieceOf(b, 10), PieceOf(c, 30), PieceOf(a, 10)}, now);
  ASSERT_THAT(steps.writes, SizeIs(3));
  EXPECT_THAT(steps.writes[0].pieces, SizeIs(2));
  EXPECT_EQ(steps.writes[1].pieces[0].record.object, c);
}

TEST_F(SpillManagerTest, EnoughIsEnough) {
  spills.SpaceWanted(100 * kMiB, now);
  EXPECT_FALSE(spills.Taken({PieceOf(a, 120 * kMiB)}, now).take);
}

TEST_F(SpillManagerTest, AfterAFailureThereIsAPauseOfASecond) {
  spills.SpaceWanted(1000 * kMiB, now);
  const SpillSteps taken = spills.Taken({PieceOf(a, 10)}, now);
  spills.Taken({}, now);
  const SpillSteps failed = spills.Written(taken.writes[0].id, full, now);
  ASSERT_THAT(failed.failed, SizeIs(1));
  EXPECT_THAT(failed.failed[0].objects, ElementsAre(a));
  EXPECT_EQ(failed.failed[0].why.message(), "the disk is full");
  EXPECT_FALSE(spills.SpaceWanted(5, now + 10).take);
  EXPECT_EQ(spills.NextDeadline(), now + 1000);
  EXPECT_FALSE(spills.Tick(now + 999).take);
  EXPECT_TRUE(spills.Tick(now + 1000).take);
  EXPECT_EQ(spills.NextDeadline(), std::nullopt);
  EXPECT_EQ(spills.Stats().last_error, "the disk is full");
}

TEST_F(SpillManagerTest, AFileGoesWithItsLastObject) {
  Spill({a, b}, "f");
  EXPECT_THAT(spills.Deleted(a).removals, IsEmpty());
  EXPECT_THAT(spills.Deleted(a).removals, IsEmpty()) << "told twice";
  EXPECT_THAT(spills.Deleted(b).removals, ElementsAre("f"));
  EXPECT_EQ(spills.Stats().files, 0u);
}

TEST_F(SpillManagerTest, ARestoreFindsRoomReadsAndIsDone) {
  Spill({a, b}, "f");
  EXPECT_THAT(spills.RestoreWanted(b).rooms, ElementsAre(b));
  EXPECT_THAT(spills.RestoreWanted(b).rooms, IsEmpty()) << "it is under way";
  const SpillSteps found = spills.RoomFound(b, Room(), now);
  ASSERT_THAT(found.reads, SizeIs(1));
  EXPECT_EQ(found.reads[0].place.path, "f");
  EXPECT_EQ(found.reads[0].place.offset, 1000u);
  EXPECT_EQ(found.reads[0].place.record.object, b);
  EXPECT_THAT(spills.ReadDone(b, Status(), now).restored, ElementsAre(b));
  EXPECT_THAT(spills.RestoreWanted(b).rooms, ElementsAre(b)) << "evicted, and wanted again";
}

TEST_F(SpillManagerTest, RestoresAtATimeAreBounded) {
  Spill({a, b, c}, "f");
  spills.RestoreWanted(a);
  EXPECT_THAT(spills.RestoreWanted(b).rooms, ElementsAre(b));
  EXPECT_THAT(spills.RestoreWanted(c).rooms, IsEmpty());
  spills.RoomFound(a, Room(), now);
  EXPECT_THAT(spills.ReadDone(a, Status(), now).rooms, ElementsAre(c));
}

TEST_F(SpillManagerTest, AFileIsKeptWhileItIsRead) {
  Spill({a}, "f");
  spills.RestoreWanted(a);
  spills.RoomFound(a, Room(), now);
  EXPECT_THAT(spills.Deleted(a).removals, IsEmpty());
  EXPECT_THAT(spills.ReadDone(a, Status(), now).removals, ElementsAre("f"));
}

TEST_F(SpillManagerTest, ADamagedObjectIsLostAndTheOthersAreNot) {
  Spill({a, b}, "f");
  spills.RestoreWanted(a);
  spills.RoomFound(a, Room(), now);
  const SpillSteps steps = spills.ReadDone(a, damaged, now);
  ASSERT_THAT(steps.lost, SizeIs(1));
  EXPECT_EQ(steps.lost[0].object, a);
  EXPECT_EQ(steps.lost[0].why.code(), ErrorCode::ObjectLost);
  EXPECT_THAT(steps.removals, IsEmpty());
  EXPECT_EQ(spills.Stats().lost_objects_total, 1u);
  EXPECT_THAT(spills.Deleted(b).removals, ElementsAre("f"));
}

// What is the store's memory can be on a disk, too.
TEST_F(SpillManagerTest, WhatCannotBeReadInMemoryIsLostAndTheOthersAreSpilled) {
  ASSERT_TRUE(spills.SpaceWanted(1, now).take);
  const std::vector<SpillPiece> pieces{PieceOf(a, 10), PieceOf(b, 10), PieceOf(c, 10)};
  const auto write = [&](std::vector<size_t> lost) {
    const SpillSteps taken = spills.Taken(pieces, now);
    WrittenFile file = FileOf("f", pieces);
    file.lost = std::move(lost);
    return spills.Written(taken.writes.at(0).id, std::move(file), now);
  };
  const SpillSteps some = write({1});
  EXPECT_THAT(some.spilled, ElementsAre(a, c));
  ASSERT_THAT(some.lost, SizeIs(1));
  EXPECT_EQ(some.lost[0].object, b);
  EXPECT_THAT(some.lost[0].why.message(), HasSubstr("cut short"));
  EXPECT_THAT(some.failed, IsEmpty());
  EXPECT_EQ(spills.Stats().spilled_bytes_total, 20u);
  EXPECT_EQ(spills.Stats().lost_objects_total, 1u);
  EXPECT_THAT(spills.RestoreWanted(b).lost, SizeIs(1));
  EXPECT_THAT(spills.Deleted(a).removals, IsEmpty());
  EXPECT_THAT(spills.Deleted(c).removals, ElementsAre("f")) << "b does not keep it";

  ASSERT_TRUE(spills.SpaceWanted(1, now).take);
  const SpillSteps all = write({0, 1, 2});
  EXPECT_THAT(all.spilled, IsEmpty());
  EXPECT_THAT(all.lost, SizeIs(3));
  EXPECT_THAT(all.removals, ElementsAre("f"));
  EXPECT_EQ(spills.Stats().files, 0u);
}

TEST_F(SpillManagerTest, AReadThatFailsIsTriedThreeTimes) {
  Spill({a}, "f");
  spills.RestoreWanted(a);
  spills.RoomFound(a, Room(), now);
  for (int i = 0; i < 2; ++i) {
    EXPECT_THAT(spills.ReadDone(a, io_error, now).lost, IsEmpty());
    EXPECT_EQ(spills.NextDeadline(), now + 1000);
    now += 1000;
    EXPECT_THAT(spills.Tick(now).reads, SizeIs(1));
  }
  const SpillSteps steps = spills.ReadDone(a, io_error, now);
  ASSERT_THAT(steps.lost, SizeIs(1));
  EXPECT_EQ(steps.lost[0].why.code(), ErrorCode::ObjectLost);
  EXPECT_THAT(steps.lost[0].why.message(), HasSubstr("Input/output error"));
  EXPECT_THAT(steps.removals, ElementsAre("f"));
}

TEST_F(SpillManagerTest, WithoutRoomARestoreWaitsAndNothingIsLost) {
  Spill({a}, "f");
  spills.RestoreWanted(a);
  const Status no_room(ErrorCode::OutOfMemory, "the store is full");
  EXPECT_THAT(spills.RoomFound(a, no_room, now).lost, IsEmpty());
  EXPECT_THAT(spills.Tick(now + 1000).rooms, ElementsAre(a));
  spills.RoomFound(a, no_room, now + 1000);
  EXPECT_THAT(spills.Deleted(a).removals, ElementsAre("f"));
  EXPECT_THAT(spills.Tick(now + 2000).rooms, IsEmpty());
  EXPECT_EQ(spills.NextDeadline(), std::nullopt);
}

TEST_F(SpillManagerTest, WhatIsInNoFileIsLost) {
  const SpillSteps steps = spills.RestoreWanted(a);
  ASSERT_THAT(steps.lost, SizeIs(1));
  EXPECT_EQ(steps.lost[0].why.code(), ErrorCode::ObjectLost);
}

TEST_F(SpillManagerTest, WhatWaitsForItsRestoreMayBeDeleted) {
  Spill({a, b, c}, "f");
  spills.RestoreWanted(a);
  spills.RestoreWanted(b);
  spills.RestoreWanted(c);
  spills.Deleted(c);
  spills.RoomFound(a, Room(), now);
  EXPECT_THAT(spills.ReadDone(a, Status(), now).rooms, IsEmpty());
  spills.Deleted(b);
  EXPECT_THAT(spills.RoomFound(b, Room(), now).lost, SizeIs(1)) << "it has room to give back";
}

// A store and a disk that do anything they may do, and a model of what is where.
class RandomWalk {
 public:
  explicit RandomWalk(uint64_t seed) : random_(seed) {}

  void Run(int steps) {
    for (int i = 0; i < steps && !testing::Test::HasFailure(); ++i) {
      now_ += Below(20);
      Step();
      Tick();
    }
    faults_ = false;
    for (int i = 0; i < 100000 && !Idle(); ++i) {
      now_ += 200;
      Answer();
      Tick();
    }
    EXPECT_TRUE(Idle());
    while (!spilled_.empty()) Delete(*spilled_.begin());
    EXPECT_THAT(files_, IsEmpty());
    EXPECT_EQ(spills_.Stats().files, 0u);
    EXPECT_EQ(spills_.Stats().objects, 0u);
    EXPECT_EQ(spills_.Stats().file_bytes, 0u);
    EXPECT_EQ(spills_.NextDeadline(), std::nullopt);
  }

 private:
  uint64_t Below(uint64_t bound) { return random_() % bound; }
  template <class Set>
  typename Set::key_type Any(const Set& set) {
    auto it = set.begin();
    std::advance(it, static_cast<long>(Below(set.size())));
    return *it;
  }
  bool Idle() const {
    return !take_ && writes_.empty() && rooms_.empty() && reads_.empty() && restoring_.empty() &&
           !spills_.NextDeadline();
  }

  void Step() {
    switch (Below(6)) {
      case 0:
        Do(spills_.SpaceWanted(Below(3000), now_));
        break;
      case 1:
        if (!spilled_.empty()) Wanted(Any(spilled_));
        break;
      case 2:
        if (!spilled_.empty()) {
          const ObjectId object = Any(spilled_);
          // The store deletes what is being restored once that is done.
          if (!rooms_.contains(object)) Delete(object);
        }
        break;
      default:
        Answer();
    }
  }

  void Wanted(const ObjectId& object) {
    restoring_.insert(object);
    Do(spills_.RestoreWanted(object));
  }

  void Delete(const ObjectId object) {
    spilled_.erase(object);
    restoring_.erase(object);
    Do(spills_.Deleted(object));
  }

  void Answer() {
    if (take_ && Below(2) == 0) {
      take_ = false;
      std::vector<SpillPiece> pieces;
      for (uint64_t i = Below(5); i > 0; --i) {
        pieces.push_back(PieceOf(ObjectId::FromRandom(), Below(1000)));
      }
      Do(spills_.Taken(pieces, now_));
    } else if (!writes_.empty() && Below(2) == 0) {
      FinishWrite();
    } else if (!rooms_.empty() && Below(2) == 0) {
      const ObjectId object = Any(rooms_);
      rooms_.erase(object);
      if (faults_ && Below(4) == 0) {
        Do(spills_.RoomFound(object, Status(ErrorCode::OutOfMemory, "full"), now_));
      } else {
        Do(spills_.RoomFound(object, SpillRoom{}, now_));
      }
    } else if (!reads_.empty()) {
      FinishRead();
    }
  }

  void FinishWrite() {
    auto write = writes_.extract(writes_.begin());
    if (faults_ && Below(4) == 0) {
      return Do(spills_.Written(write.key(), Status(ErrorCode::IoError, "no"), now_));
    }
    WrittenFile file{std::to_string(++last_file_), {}, 1, {}};
    for (const SpillPiece& piece : write.mapped()) {
      file.offsets.push_back(piece.record.data_bytes);
      place_[piece.record.object] = {file.path, piece.record.data_bytes, piece.record};
    }
    files_.insert(file.path);
    Do(spills_.Written(write.key(), file, now_));
  }

  void FinishRead() {
    const ObjectId object = Any(reads_);
    reads_.erase(object);
    const uint64_t what = faults_ ? Below(6) : 5;
    const ErrorCode code = what == 0   ? ErrorCode::ObjectLost
                           : what == 1 ? ErrorCode::IoError
                                       : ErrorCode::Ok;
    Do(spills_.ReadDone(object, code == ErrorCode::Ok ? Status() : Status(code, "no"), now_));
  }

  void Tick() {
    const auto deadline = spills_.NextDeadline();
    if (deadline && *deadline <= now_) Do(spills_.Tick(now_));
  }

  void Do(const SpillSteps& steps) {
    if (steps.take) {
      EXPECT_FALSE(take_);
      take_ = true;
    }
    for (const auto& write : steps.writes) writes_[write.id] = write.pieces;
    EXPECT_LE(writes_.size(), 2u);
    for (const ObjectId& object : steps.spilled) spilled_.insert(object);
    for (const ObjectId& object : steps.rooms) EXPECT_TRUE(rooms_.insert(object).second);
    for (const auto& read : steps.reads) {
      const SpillPlace& want = place_.at(read.place.record.object);
      EXPECT_EQ(read.place.path, want.path);
      EXPECT_EQ(read.place.offset, want.offset);
      EXPECT_EQ(read.place.record, want.record);
      EXPECT_TRUE(reads_.insert(read.place.record.object).second);
    }
    EXPECT_LE(rooms_.size() + reads_.size(), 8u);
    for (const ObjectId& object : steps.restored) restoring_.erase(object);
    for (const auto& lost : steps.lost) {
      restoring_.erase(lost.object);
      spilled_.erase(lost.object);
    }
    for (const std::string& path : steps.removals) {
      EXPECT_EQ(files_.erase(path), 1u);
      for (const ObjectId& object : reads_) EXPECT_NE(place_.at(object).path, path);
      for (const ObjectId& object : spilled_) EXPECT_NE(place_.at(object).path, path);
    }
  }

  std::mt19937_64 random_;
  SpillManager spills_{SpillConfig{}};
  int64_t now_ = 0;
  bool faults_ = true;
  bool take_ = false;
  std::map<uint64_t, std::vector<SpillPiece>> writes_;
  std::set<ObjectId> spilled_;    // Known to the store, with a copy on disk.
  std::set<ObjectId> restoring_;  // Somebody waits for it.
  std::set<ObjectId> rooms_;
  std::set<ObjectId> reads_;
  std::map<ObjectId, SpillPlace> place_;
  std::set<std::string> files_;
  int last_file_ = 0;
};

TEST(SpillManagerRandomWalk, EndsWithoutAFile) {
  std::random_device device;
  for (int round = 0; round < 20; ++round) {
    const uint64_t seed = device();
    SCOPED_TRACE("seed " + std::to_string(seed));
    RandomWalk(seed).Run(5000);
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace skyray::object_manager
