// SPDX-License-Identifier: Apache-2.0
#include "object_manager/spill_disk.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <deque>
#include <filesystem>
#include <fstream>
#include <random>
#include <set>

#include "object_manager/cut_memory.h"
#include "object_manager/failing_calls.h"
#include "object_manager/spill_checksum.h"
#include "object_manager/spill_file.h"
#include "object_manager/spill_folders.h"
#include "object_manager/spill_reader.h"

namespace skyray::object_manager {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class SpillDiskTest : public ::testing::Test {
 protected:
  SpillDiskTest() {
    char name[] = "/tmp/spill-disk-test-XXXXXX";
    root = mkdtemp(name);
    Use({root + "/a"});
  }
  ~SpillDiskTest() override { fs::remove_all(root); }

  void Use(std::vector<std::string> directories, bool sync = false) {
    for (const std::string& directory : directories) fs::create_directories(directory);
    disk = std::make_unique<SpillDisk>(calls, SpillDiskOptions{directories, "folder", sync});
  }

  const SpillPiece& AddPiece(size_t data, size_t metadata = 0) {
    auto& bytes = contents.emplace_back(data + metadata);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
    return pieces.emplace_back(
        SpillPiece{{ObjectId::FromRandom(), WorkerId::FromRandom(), data, metadata}, bytes, {}});
  }
  void AddMixture() {
    for (const size_t size : {0u, 1u, 100u, 64u, 70000u, 300000u, 3u, 262144u, 262145u, 900000u}) {
      AddPiece(size, size % 7);
    }
  }

  SpillPlace PlaceOf(const WrittenFile& file, size_t i) const {
    return {file.path, file.offsets[i], pieces[i].record};
  }
  Status ReadBack(const WrittenFile& file, size_t i, const std::stop_token& stop = {}) {
    read.assign(pieces[i].bytes.size(), 0xee);
    return reader.Read(PlaceOf(file, i), read, stop);
  }
  void ExpectAllThere(const WrittenFile& file) {
    for (size_t i = 0; i < pieces.size(); ++i) {
      const Status status = ReadBack(file, i);
      ASSERT_TRUE(status.ok()) << status.message();
      EXPECT_TRUE(std::ranges::equal(read, pieces[i].bytes)) << "piece " << i;
    }
  }
  std::vector<std::string> Files() const {
    std::vector<std::string> found;
    for (const auto& entry : fs::recursive_directory_iterator(root)) {
      if (entry.is_regular_file()) found.push_back(entry.path());
    }
    return found;
  }
  void Damage(const WrittenFile& file, uint64_t at, uint8_t mask) {
    std::fstream stream(file.path, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekg(static_cast<std::streamoff>(at));
    const int byte = stream.get();
    stream.seekp(static_cast<std::streamoff>(at));
    stream.put(static_cast<char>(byte ^ mask));
  }

  std::mt19937_64 random{7};
  std::string root;
  FailingCalls calls;
  std::unique_ptr<SpillDisk> disk;
  std::deque<std::vector<uint8_t>> contents;
  std::vector<SpillPiece> pieces;
  std::vector<uint8_t> read;
  SpillReader reader{calls};
};

TEST_F(SpillDiskTest, WhatIsWrittenIsReadBack) {
  AddMixture();
  const auto file = disk->Write(pieces, {});
  ASSERT_TRUE(file) << file.error().message();
  EXPECT_EQ(fs::file_size(file->path), file->bytes);
  EXPECT_THAT(Files(), testing::ElementsAre(file->path));
  ExpectAllThere(*file);
}

TEST_F(SpillDiskTest, ThousandsOfSmallObjectsShareAFile) {
  for (int i = 0; i < 2000; ++i) AddPiece(static_cast<size_t>(i) % 200);
  const auto file = disk->Write(pieces, {});
  ASSERT_TRUE(file) << file.error().message();
  ExpectAllThere(*file);
}

// They are written up to the file's next megabyte, wherever an object begins, and read
// by two threads.
TEST_F(SpillDiskTest, LargeObjectsComeBackChunkByChunk) {
  for (const size_t size : {size_t{100}, kSpillChunkBytes - 3, kSpillChunkBytes, size_t{1} << 20,
                            (size_t{1} << 20) + 1, size_t{4} << 20, (size_t{5} << 20) + 4097}) {
    AddPiece(size, 3);
  }
  const auto file = disk->Write(pieces, {});
  ASSERT_TRUE(file) << file.error().message();
  for (int round = 0; round < 20; ++round) ExpectAllThere(*file);
}

// The memory of a store can be a file, which somebody may cut short.
TEST_F(SpillDiskTest, WhatCannotBeReadInMemoryIsNamedAndTheOthersAreWritten) {
  constexpr size_t kPage = 4096;
  const CutMemory small(3 * kPage, kPage);
  const CutMemory large(3 << 20, 2 << 20);
  AddPiece(100);
  for (const CutMemory* memory : {&small, &large}) {
    pieces.push_back({{ObjectId::FromRandom(), WorkerId::FromRandom(), memory->bytes().size(), 0},
                      memory->bytes(),
                      {}});
    AddPiece(70000);
    AddPiece(2 << 20);
  }
  const auto file = disk->Write(pieces, {});
  ASSERT_TRUE(file) << file.error().message();
  EXPECT_THAT(file->lost, testing::ElementsAre(1, 4));
  for (size_t i = 0; i < pieces.size(); ++i) {
    const bool lost = i == 1 || i == 4;
    EXPECT_EQ(ReadBack(*file, i).code(), lost ? ErrorCode::ObjectLost : ErrorCode::Ok) << i;
  }
}

// More than a helper is started for, in objects of every kind.
TEST_F(SpillDiskTest, MuchIsSummedByTwoThreads) {
  const CutMemory cut(5 << 20, 4 << 20);
  for (int round = 0; round < 3; ++round) {
    AddMixture();
    AddPiece((7 << 20) + 1);
    pieces.push_back(
        {{ObjectId::FromRandom(), WorkerId::FromRandom(), cut.bytes().size(), 0}, cut.bytes(), {}});
  }
  const auto file = disk->Write(pieces, {});
  ASSERT_TRUE(file) << file.error().message();
  EXPECT_THAT(file->lost, testing::ElementsAre(11, 23, 35));
  for (size_t i = 0; i < pieces.size(); ++i) {
    const bool lost = i % 12 == 11;
    ASSERT_EQ(ReadBack(*file, i).code(), lost ? ErrorCode::ObjectLost : ErrorCode::Ok) << i;
    EXPECT_EQ(std::ranges::equal(read, pieces[i].bytes), !lost) << i;
  }
}

// The helper ends with the write, whatever it was at.
TEST_F(SpillDiskTest, EveryCallOfALargeWriteMayFail) {
  for (int i = 0; i < 3; ++i) AddPiece(8 << 20);
  for (int number = 1;; ++number) {
    calls.FailAt(number, EIO);
    const auto file = disk->Write(pieces, {});
    const bool failed = calls.failed();
    calls.Heal();
    if (!failed) {
      ASSERT_TRUE(file) << file.error().message();
      return ExpectAllThere(*file);
    }
    ASSERT_FALSE(file);
    EXPECT_THAT(Files(), IsEmpty());
    ASSERT_LT(number, 100);
  }
}

TEST_F(SpillDiskTest, ARestoreIntoMemoryThatIsNotThereFails) {
  AddPiece(3 << 20);
  const auto file = disk->Write(pieces, {});
  ASSERT_TRUE(file) << file.error().message();
  const CutMemory memory(3 << 20, 1 << 20);
  const Status status = reader.Read(PlaceOf(*file, 0), memory.bytes(), {});
  EXPECT_EQ(status.code(), ErrorCode::IoError);
  EXPECT_THAT(status.message(), HasSubstr("the store's memory is not there"));
  ExpectAllThere(*file);
}

// A damage, an early end, a failed read and a stop, each in the midst of what two
// threads read; and the next object is none the worse for it.
TEST_F(SpillDiskTest, WhatFailsInALargeObjectHarmsNoOther) {
  AddPiece(6 << 20);
  AddPiece(5 << 20);
  const auto file = disk->Write(pieces, {});
  ASSERT_TRUE(file) << file.error().message();
  for (const uint64_t at : {0u, (3u << 20) + 5, (6u << 20) - 1}) {
    const uint64_t place = file->offsets[0] + kSpillHeaderBytes + at;
    Damage(*file, place, 1);
    EXPECT_EQ(ReadBack(*file, 0).code(), ErrorCode::ObjectLost) << at;
    EXPECT_TRUE(ReadBack(*file, 1).ok());
    Damage(*file, place, 1);
  }
  for (int number = 1;; ++number) {
    calls.FailAt(number, EIO);
    const Status status = ReadBack(*file, 0);
    const bool failed = calls.failed();
    // What closing says has no consequence.
    const bool matters = failed && calls.failed_call() != "close";
    calls.Heal();
    EXPECT_EQ(status.code(), matters ? ErrorCode::IoError : ErrorCode::Ok) << number;
    ExpectAllThere(*file);
    if (!failed) break;
    ASSERT_LT(number, 100);
  }
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(ReadBack(*file, 0, stop.get_token()).code(), ErrorCode::Cancelled);
  ExpectAllThere(*file);
  fs::resize_file(file->path, file->bytes - 1);
  EXPECT_EQ(ReadBack(*file, 1).code(), ErrorCode::ObjectLost);
  EXPECT_TRUE(ReadBack(*file, 0).ok());
}

TEST_F(SpillDiskTest, OnlyItsUserMayLookInside) {
  AddPiece(10);
  const auto file = disk->Write(pieces, {});
  ASSERT_TRUE(file);
  struct stat found;
  ASSERT_EQ(stat(file->path.c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 0777, 0600u);
  ASSERT_EQ(stat((root + "/a/folder").c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 0777, 0700u);
}

TEST_F(SpillDiskTest, DirectoriesTakeTurns) {
  Use({root + "/a", root + "/b", root + "/c"});
  AddPiece(10);
  std::string order;
  for (int i = 0; i < 6; ++i) order += disk->Write(pieces, {})->path[root.size() + 1];
  EXPECT_EQ(order, "abcabc");
}

TEST_F(SpillDiskTest, ADirectoryThatFailsIsPassedOver) {
  Use({root + "/a", root + "/b"});
  fs::remove_all(root + "/a");
  std::ofstream(root + "/a") << "a file where a directory was";
  AddPiece(10);
  for (int i = 0; i < 3; ++i) {
    const auto file = disk->Write(pieces, {});
    ASSERT_TRUE(file) << file.error().message();
    EXPECT_THAT(file->path, HasSubstr("/b/"));
  }
}

TEST_F(SpillDiskTest, WhenAllFailEachReasonIsTold) {
  Use({root + "/a", root + "/b"});
  AddPiece(10);
  calls.FailAll("fallocate", ENOSPC);
  const auto file = disk->Write(pieces, {});
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().code(), ErrorCode::OutOfDisk);
  EXPECT_THAT(file.error().message(), HasSubstr(root + "/a/"));
  EXPECT_THAT(file.error().message(), HasSubstr(root + "/b/"));
  EXPECT_THAT(file.error().message(), HasSubstr("No space left"));
  EXPECT_THAT(Files(), IsEmpty());
  calls.Heal();
  const auto again = disk->Write(pieces, {});
  ASSERT_TRUE(again);
  ExpectAllThere(*again);
}

TEST_F(SpillDiskTest, AFileSystemThatCannotReserveIsGoodEnough) {
  AddMixture();
  calls.FailAll("fallocate", EOPNOTSUPP);
  const auto file = disk->Write(pieces, {});
  ASSERT_TRUE(file) << file.error().message();
  ExpectAllThere(*file);
}

TEST_F(SpillDiskTest, AFolderThatWasTakenAwayIsMadeAgain) {
  AddPiece(10);
  ASSERT_TRUE(disk->Write(pieces, {}));
  fs::remove_all(root + "/a/folder");
  const auto file = disk->Write(pieces, {});
  ASSERT_TRUE(file) << file.error().message();
  ExpectAllThere(*file);
}

// Whatever fails, and whenever: the file is there and right, or nothing is there.
TEST_F(SpillDiskTest, EveryCallOfAWriteMayFail) {
  AddMixture();
  Use({root + "/a"}, /*sync=*/true);
  std::set<std::string> seen;
  for (const int error : {ENOSPC, EIO, EINTR, FailingCalls::kShort}) {
    for (int number = 1;; ++number) {
      fs::remove_all(root + "/a/folder");
      calls.FailAt(number, error);
      const auto file = disk->Write(pieces, {});
      const bool failed = calls.failed();
      seen.insert(calls.failed_call());
      calls.Heal();
      EXPECT_EQ(calls.open_files(), 0);
      const std::string what =
          calls.failed_call() + " no. " + std::to_string(number) + ": " + std::to_string(error);
      if (file) {
        ExpectAllThere(*file);
        EXPECT_EQ(Files().size(), 1u) << what;
      } else {
        EXPECT_THAT(Files(), IsEmpty()) << what;
        EXPECT_EQ(file.error().code(), error == ENOSPC ? ErrorCode::OutOfDisk : ErrorCode::IoError);
        const auto again = disk->Write(pieces, {});
        ASSERT_TRUE(again) << what << ": " << again.error().message();
        ExpectAllThere(*again);
      }
      if (error == FailingCalls::kShort) {
        EXPECT_TRUE(file) << what << ": half is no failure";
      }
      if (!failed) break;
      ASSERT_LT(number, 1000);
    }
  }
  EXPECT_EQ(seen, (std::set<std::string>{"open", "mkdir", "fallocate", "write", "fsync", "close",
                                         "rename"}));
}

// Whatever fails: the right bytes, or a reason.
TEST_F(SpillDiskTest, EveryCallOfAReadMayFail) {
  AddMixture();
  const auto file = disk->Write(pieces, {});
  ASSERT_TRUE(file);
  for (const int error : {EIO, ENOENT, EMFILE, EINTR, FailingCalls::kShort}) {
    for (int number = 1;; ++number) {
      calls.FailAt(number, error);
      bool all = true;
      for (size_t i = 0; i < pieces.size(); ++i) {
        const Status status = ReadBack(*file, i);
        if (status.ok()) {
          EXPECT_TRUE(std::ranges::equal(read, pieces[i].bytes));
        } else {
          all = false;
          const bool gone = error == ENOENT && calls.failed_call() == "open";
          EXPECT_EQ(status.code(), gone ? ErrorCode::ObjectLost : ErrorCode::IoError);
          EXPECT_THAT(status.message(), HasSubstr(file->path));
          EXPECT_THAT(status.message(), HasSubstr(pieces[i].record.object.Hex()));
        }
      }
      const bool failed = calls.failed();
      calls.Heal();
      EXPECT_EQ(calls.open_files(), 0);
      ExpectAllThere(*file);
      if (error == FailingCalls::kShort) {
        EXPECT_TRUE(all);
      }
      if (!failed) break;
      ASSERT_LT(number, 1000);
    }
  }
}

TEST_F(SpillDiskTest, AFlippedBitIsALoss) {
  AddMixture();
  const auto file = disk->Write(pieces, {});
  ASSERT_TRUE(file);
  for (int round = 0; round < 300; ++round) {
    const uint64_t at = random() % file->bytes;
    const auto mask = static_cast<uint8_t>(1u << random() % 8);
    Damage(*file, at, mask);
    size_t lost = 0;
    for (size_t i = 0; i < pieces.size(); ++i) {
      const Status status = ReadBack(*file, i);
      if (status.ok()) {
        EXPECT_TRUE(std::ranges::equal(read, pieces[i].bytes)) << "byte " << at;
      } else {
        EXPECT_EQ(status.code(), ErrorCode::ObjectLost);
        EXPECT_THAT(status.message(), HasSubstr("damaged"));
        ++lost;
      }
    }
    EXPECT_LE(lost, 1u);
    Damage(*file, at, mask);
  }
  ExpectAllThere(*file);
}

TEST_F(SpillDiskTest, ATruncatedFileIsALoss) {
  AddMixture();
  const auto file = disk->Write(pieces, {});
  ASSERT_TRUE(file);
  uint64_t size = file->bytes;
  for (size_t i = pieces.size(); i-- > 0;) {
    const uint64_t end = file->offsets[i] + kSpillHeaderBytes + pieces[i].bytes.size();
    size = end - 1;
    fs::resize_file(file->path, size);
    EXPECT_EQ(ReadBack(*file, i).code(), ErrorCode::ObjectLost) << "piece " << i;
    if (i > 0) {
      EXPECT_TRUE(ReadBack(*file, i - 1).ok());
    }
  }
  fs::remove(file->path);
  EXPECT_EQ(ReadBack(*file, 0).code(), ErrorCode::ObjectLost);
}

TEST_F(SpillDiskTest, AStopEndsAWriteWithoutARest) {
  AddPiece(4 << 20);
  std::stop_source stop;
  stop.request_stop();
  const auto file = disk->Write(pieces, stop.get_token());
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().code(), ErrorCode::Cancelled);
  EXPECT_THAT(Files(), IsEmpty());
}

TEST_F(SpillDiskTest, FoldersGoWithTheirNode) {
  const std::string name = std::string(kSpillFolderPrefix) + "0123";
  {
    SpillFolders folders({root + "/new/deep", root + "/b"}, name);
    std::ofstream(root + "/b/" + name + "/1.spill") << "bytes";
    EXPECT_TRUE(fs::exists(root + "/new/deep/" + name + "/lock"));
  }
  EXPECT_FALSE(fs::exists(root + "/b/" + name));
  EXPECT_FALSE(fs::exists(root + "/new/deep/" + name));
}

TEST_F(SpillDiskTest, FoldersOfTheDeadAreRemovedThoseOfTheLivingNot) {
  const std::string living = std::string(kSpillFolderPrefix) + "living";
  const std::string dead = std::string(kSpillFolderPrefix) + "dead";
  const std::string starting = std::string(kSpillFolderPrefix) + "starting";
  SpillFolders folders({root}, living);
  fs::create_directories(root + "/" + dead);
  fs::create_directories(root + "/" + starting);
  std::ofstream(root + "/" + dead + "/lock") << "";
  std::ofstream(root + "/" + dead + "/1.spill") << "bytes";
  SpillFolders others({root}, std::string(kSpillFolderPrefix) + "other");
  EXPECT_FALSE(fs::exists(root + "/" + dead));
  EXPECT_TRUE(fs::exists(root + "/" + living + "/lock"));
  EXPECT_TRUE(fs::exists(root + "/" + starting));
}

}  // namespace
}  // namespace skyray::object_manager
