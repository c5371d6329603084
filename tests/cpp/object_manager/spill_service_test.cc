// SPDX-License-Identifier: Apache-2.0
#include "object_manager/spill_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/asio/executor_work_guard.hpp>
#include <cstring>
#include <filesystem>
#include <random>

#include "common/sizes.h"
#include "object_manager/failing_calls.h"
#include "object_manager/spill_local.h"

namespace skyray::object_manager {
namespace {

namespace fs = std::filesystem;
using ::testing::IsEmpty;

constexpr uint64_t kObjectBytes = 300'000;
// In all some two and a half times what the store holds.
constexpr int kObjects = 40;

// A store, what spills for it, and objects that know what is in them.
class SpillServiceTest : public ::testing::Test {
 protected:
  SpillServiceTest() {
    char name[] = "/tmp/spill-service-test-XXXXXX";
    root = mkdtemp(name);
    Start();
  }
  ~SpillServiceTest() override {
    service.reset();
    store.reset();
    EXPECT_EQ(calls.open_files(), 0);
    EXPECT_FALSE(fs::exists(root + "/a/folder"));
    fs::remove_all(root);
  }

  // `directory`: where the store's memory is; empty: in no file system.
  void Start(const std::string& directory = "") {
    plasma::StoreOptions options;
    options.directory = directory;
    options.capacity_bytes = 5 * kMiB;
    options.socket_path = root + "/store.sock";
    options.spilling = true;
    options.create_grace_ms = 10'000;
    auto started =
        plasma::StoreRunner::Start(options, loop, [this](std::vector<plasma::StoreEvent> events) {
          if (service != nullptr) service->OnStoreEvents(events);
        });
    ASSERT_TRUE(started) << started.error().message();
    store = std::move(*started);
    SpillConfig config;
    config.capacity_bytes = options.capacity_bytes;
    config.retry_ms = 1;
    SpillDiskOptions disk{{root + "/a", root + "/b"}, "folder", false};
    service = std::make_unique<SpillService>(
        loop, *store, std::make_unique<SpillLocal>(loop, disk, calls), config);
  }

  // Runs the loop until `done`.
  void Wait(const bool& done) {
    while (!done) loop.run_one();
  }

  static std::vector<uint8_t> BytesOf(const ObjectId& id) {
    std::mt19937_64 random(id.Hash());
    std::vector<uint8_t> bytes(kObjectBytes);
    for (size_t i = 0; i + 8 <= bytes.size(); i += 8) {
      const uint64_t word = random();
      std::memcpy(&bytes[i], &word, 8);
    }
    return bytes;
  }

  ObjectId Put() {
    plasma::NewObject object;
    object.id = ObjectId::FromRandom();
    object.owner = owner;
    object.data_bytes = kObjectBytes - 5;
    object.metadata_bytes = 5;
    object.primary = true;
    bool done = false;
    store->Create(object, [&](Result<std::span<uint8_t>> room) {
      done = true;
      ASSERT_TRUE(room) << room.error().message();
      std::ranges::copy(BytesOf(object.id), room->begin());
      store->Seal(object.id);
    });
    Wait(done);
    return object.id;
  }

  // Whether it came back, as what it was.
  bool Get(const ObjectId& id) {
    bool done = false;
    bool found = false;
    store->Pin(id, 60'000, [&](const std::optional<plasma::PinnedObject>& pinned) {
      done = true;
      if (!pinned) return;
      found = true;
      const auto want = BytesOf(id);
      EXPECT_TRUE(std::equal(pinned->bytes.begin(), pinned->bytes.end(), want.begin()));
      EXPECT_TRUE(std::equal(pinned->metadata.begin(), pinned->metadata.end(), want.end() - 5));
      store->Unpin(id);
    });
    Wait(done);
    return found;
  }

  // That is sealed, or never was created.
  bool IsThere(const ObjectId& id) {
    bool done = false;
    bool there = false;
    store->PinCreated(id, 60'000, [&](const std::optional<plasma::PinnedObject>& pinned) {
      done = true;
      there = pinned.has_value();
      if (there) store->Unpin(id);
    });
    Wait(done);
    return there;
  }

  void ResizeSegment(uint64_t bytes) {
    bool done = false;
    store->SegmentFd(0, [&](const Result<SharedFd>& segment) {
      done = true;
      ASSERT_TRUE(segment) << segment.error().message();
      ASSERT_EQ(ftruncate((*segment)->get(), static_cast<off_t>(bytes)), 0);
    });
    Wait(done);
  }

  size_t FileCount() const {
    size_t count = 0;
    for (const auto& entry : fs::recursive_directory_iterator(root)) {
      const std::string name = entry.path().filename();
      if (name.ends_with(".spill") || name.ends_with(".tmp")) ++count;
    }
    return count;
  }
  void WaitUntilNoFiles() {
    while (service->Stats().files > 0) loop.run_one();
    // Removing is a message away.
    while (FileCount() > 0) loop.run_one_for(std::chrono::milliseconds(1));
  }

  std::string root;
  FailingCalls calls;
  const WorkerId owner = WorkerId::FromRandom();
  boost::asio::io_context loop;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work{
      loop.get_executor()};
  std::unique_ptr<plasma::StoreRunner> store;
  std::unique_ptr<SpillService> service;
};

TEST_F(SpillServiceTest, MoreThanTheStoreHoldsComesBack) {
  std::vector<ObjectId> ids;
  for (int i = 0; i < kObjects; ++i) ids.push_back(Put());
  EXPECT_GT(FileCount(), 0u);
  std::mt19937_64 random(3);
  std::ranges::shuffle(ids, random);
  for (const ObjectId& id : ids) EXPECT_TRUE(Get(id));
  EXPECT_GT(service->Stats().restored_objects_total, 0u);
  store->Delete(ids);
  WaitUntilNoFiles();
  EXPECT_EQ(service->Stats().lost_objects_total, 0u);
}

TEST_F(SpillServiceTest, WhatIsUnderWayWhenAllEndsHarmsNobody) {
  for (int round = 0; round < 10; ++round) {
    std::vector<ObjectId> ids;
    for (int i = 0; i < 20; ++i) ids.push_back(Put());
    for (const ObjectId& id : ids) store->Pin(id, 1000, [](const auto&) {});
    service.reset();
    EXPECT_EQ(FileCount(), 0u);
    store.reset();
    Start();
  }
}

// Whichever call fails, of a spill or a restore: no object is lost, no file is
// left, and it goes on.
TEST_F(SpillServiceTest, EveryCallMayFailAndNothingIsLost) {
  for (const int error : {ENOSPC, EIO, FailingCalls::kShort}) {
    for (int number = 1;; number += number < 20 ? 1 : 7) {
      calls.FailAt(number, error);
      std::vector<ObjectId> ids;
      for (int i = 0; i < kObjects; ++i) ids.push_back(Put());
      for (const ObjectId& id : ids) EXPECT_TRUE(Get(id)) << calls.failed_call() << number;
      const bool failed = calls.failed();
      calls.Heal();
      store->Delete(ids);
      // A file that could not be removed stays until the node ends.
      if (calls.failed_call() == "unlink" && failed) {
        service.reset();
        store.reset();
        EXPECT_EQ(FileCount(), 0u);
        Start();
      } else {
        WaitUntilNoFiles();
      }
      if (!failed || HasFailure()) break;
      ASSERT_LT(number, 5000);
    }
  }
}

TEST_F(SpillServiceTest, AFullDiskIsWaitedForAndGotOver) {
  calls.FailAll("fallocate", ENOSPC);
  std::vector<ObjectId> ids;
  for (int i = 0; i < 17; ++i) ids.push_back(Put());  // What fits.
  plasma::NewObject object;
  object.id = ObjectId::FromRandom();
  object.owner = owner;
  object.data_bytes = kObjectBytes;
  bool done = false;
  store->Create(object, [&](const Result<std::span<uint8_t>>& room) {
    done = true;
    EXPECT_TRUE(room) << room.error().message();
  });
  while (service->Stats().failed_writes_total < 3) loop.run_one();
  EXPECT_FALSE(done);
  EXPECT_EQ(FileCount(), 0u);
  calls.Heal();
  Wait(done);
  for (const ObjectId& id : ids) EXPECT_TRUE(Get(id));
}

// A store in a directory is a file, which any of its clients could cut short.
TEST_F(SpillServiceTest, WhatWasInMemoryThatIsGoneIsLostAndNothingElse) {
  service.reset();
  store.reset();
  Start(root);
  std::vector<ObjectId> ids;
  for (int i = 0; i < 12; ++i) ids.push_back(Put());
  ResizeSegment(2 * kMiB);
  // For this one all others have to go. Nothing is written to its memory.
  plasma::NewObject large;
  large.id = ObjectId::FromRandom();
  large.data_bytes = 4 * kMiB;
  bool done = false;
  store->Create(large, [&](const Result<std::span<uint8_t>>& room) {
    done = true;
    EXPECT_TRUE(room) << room.error().message();
  });
  Wait(done);
  ResizeSegment(5 * kMiB);
  store->Abort(large.id);
  size_t lost = 0;
  for (const ObjectId& id : ids) {
    if (IsThere(id)) {
      EXPECT_TRUE(Get(id));
    } else {
      ++lost;
    }
  }
  EXPECT_GT(lost, 0u);
  EXPECT_LT(lost, ids.size());
  EXPECT_EQ(service->Stats().lost_objects_total, lost);
  EXPECT_THAT(service->Stats().last_error, testing::HasSubstr("cut short"));
}

TEST_F(SpillServiceTest, DamagedFilesAreLossesThatSayWhy) {
  std::vector<ObjectId> ids;
  for (int i = 0; i < kObjects; ++i) ids.push_back(Put());
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    if (entry.path().extension() == ".spill") fs::resize_file(entry.path(), 10);
  }
  size_t lost = 0;
  for (const ObjectId& id : ids) lost += Get(id) ? 0 : 1;
  EXPECT_GT(lost, 0u);
  EXPECT_EQ(service->Stats().lost_objects_total, lost);
  EXPECT_THAT(service->Stats().last_error, testing::HasSubstr(".spill"));
  store->Delete(ids);
  WaitUntilNoFiles();
}

}  // namespace
}  // namespace skyray::object_manager
