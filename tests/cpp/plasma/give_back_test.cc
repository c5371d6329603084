// SPDX-License-Identifier: Apache-2.0
// An idle store gives the pages of free memory back to the system.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <string>

#include "common/sizes.h"
#include "plasma/object_store.h"
#include "plasma/store_fixture.h"

namespace skyray::plasma {
namespace {

// The memory of all stores in this process.
uint64_t StoresResidentBytes() {
  uint64_t bytes = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    const auto target = std::filesystem::read_symlink(entry.path(), gone);
    struct stat status = {};
    if (!gone && target.string().starts_with("/memfd:skyray-plasma") &&
        stat(entry.path().c_str(), &status) == 0) {
      bytes = std::max(bytes, static_cast<uint64_t>(status.st_blocks) * 512);
    }
  }
  return bytes;
}

TEST(GiveBackTest, AnIdleStoreKeepsOnlyWhatIsUsed) {
  StoreOptions options;
  options.give_back_after_ms = 1;
  RunningStore store(256 * kMiB, options);
  auto client = store.Connect();
  const WorkerId owner = WorkerId::FromRandom();
  const auto put = [&](uint64_t bytes) { return PutText(*client, owner, std::string(bytes, 'x')); };
  const ObjectId first = put(40 * kMiB);
  const ObjectId kept = put(kMiB);
  const ObjectId last = put(80 * kMiB);
  EXPECT_GE(StoresResidentBytes(), 121 * kMiB);
  ASSERT_TRUE(client->Delete(std::array{first, last}).ok());
  EXPECT_TRUE(store.StatsBecome([](const StoreStats& stats) {
    return stats.touched_bytes == stats.allocated_bytes && stats.allocated_bytes == kMiB;
  }));
  EXPECT_LE(StoresResidentBytes(), 2 * kMiB);
  EXPECT_EQ(GetText(*client, kept), std::string(kMiB, 'x'));
  const ObjectId again = put(200 * kMiB);
  EXPECT_EQ(GetText(*client, again).size(), 200 * kMiB);
}

TEST(GiveBackTest, TheCoreAsksForWakeupsOnlyWhileThereIsSomethingToGive) {
  CoreOptions options;
  options.segment_bytes = {64 * kMiB};
  options.give_back_after_ms = 1000;
  ObjectStore store(options);
  const ClientId client = store.AddClient();
  EXPECT_FALSE(store.NextDeadline());
  NewObject object;
  object.id = ObjectId::FromRandom();
  object.data_bytes = 48 * kMiB;
  (void)store.Create(client, 1, object, /*try_immediately=*/false, 0);
  EXPECT_FALSE(store.NextDeadline());
  (void)store.Abort(client, object.id, 500);
  ASSERT_EQ(store.NextDeadline(), 1500);
  uint64_t given_back = 0;
  int steps = 0;
  while (const auto deadline = store.NextDeadline()) {
    uint64_t piece = 0;
    for (const Range& range : store.Tick(*deadline).give_back) piece += range.bytes;
    EXPECT_LE(piece, 4 * kMiB) << "everybody waits while pages are taken out";
    given_back += piece;
    ASSERT_LT(++steps, 100);
  }
  EXPECT_GE(given_back, 48 * kMiB) << "and what lies behind it and is cold already";
  EXPECT_EQ(store.Stats().touched_bytes, 0u);
}

}  // namespace
}  // namespace skyray::plasma
