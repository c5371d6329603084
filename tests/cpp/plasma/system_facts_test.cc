// SPDX-License-Identifier: Apache-2.0
#include "plasma/system_facts.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "common/sizes.h"
#include "ipc/fixture.h"
#include "plasma/mount_namespace.h"

namespace skyray::plasma {
namespace {

// A machine told in files: what stands in them, under a root of their own.
class SystemFactsTest : public ::testing::Test {
 protected:
  SystemFactsTest() {
    Write("/proc/meminfo",
          "MemTotal:       16777216 kB\nMemFree:         1048576 kB\n"
          "MemAvailable:    8388608 kB\nSwapTotal:       2097152 kB\n"
          "HugePages_Total:     100\nHugePages_Free:       90\nHugePages_Rsvd:       30\n"
          "Hugepagesize:       2048 kB\n");
  }
  void Write(const std::string& path, const std::string& text) {
    const std::filesystem::path full = root_.path() + path;
    std::filesystem::create_directories(full.parent_path());
    std::ofstream(full) << text;
  }
  SystemFacts Look() { return LookAtSystem("", "", root_.path()); }
  ipc::TemporaryDirectory root_;
};

TEST_F(SystemFactsTest, TheMachineIsReadFromMeminfo) {
  const SystemFacts facts = Look();
  EXPECT_EQ(facts.memory_bytes, 18 * kGiB) << "with its swap";
  EXPECT_EQ(facts.memory_available_bytes, 8 * kGiB);
  EXPECT_FALSE(facts.limited_by_cgroup);
  EXPECT_EQ(facts.huge_page_bytes, 2 * kMiB);
  EXPECT_EQ(facts.huge_pages_free, 60u) << "less what is promised";
}

TEST_F(SystemFactsTest, TheLeastLimitOfAGroupAndThoseAboveItCounts) {
  Write("/proc/self/cgroup", "0::/user/job/step\n");
  Write("/sys/fs/cgroup/user/job/step/memory.max", "max\n");
  Write("/sys/fs/cgroup/user/job/memory.max", std::to_string(2 * kGiB) + "\n");
  Write("/sys/fs/cgroup/user/memory.max", std::to_string(3 * kGiB) + "\n");
  const SystemFacts facts = Look();
  EXPECT_EQ(facts.memory_bytes, 2 * kGiB);
  EXPECT_EQ(facts.memory_available_bytes, 2 * kGiB);
  EXPECT_TRUE(facts.limited_by_cgroup);
}

TEST_F(SystemFactsTest, VersionOneIsUnderstoodAndOtherControllersAreNot) {
  Write("/proc/self/cgroup", "9:name=systemd:/a\n5:cpu,memory:/docker/abc\n3:cpuset:/b\n0::/\n");
  // Within a container its own group is the root of what it sees.
  Write("/sys/fs/cgroup/memory/memory.limit_in_bytes", std::to_string(kGiB) + "\n");
  Write("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "4096\n");
  EXPECT_EQ(Look().memory_bytes, kGiB);
}

TEST_F(SystemFactsTest, AMachineThatTellsNothingHasNoLimits) {
  const ipc::TemporaryDirectory empty;
  const SystemFacts facts = LookAtSystem("", "", empty.path());
  EXPECT_EQ(facts.memory_bytes, UINT64_MAX);
  EXPECT_EQ(facts.memory_available_bytes, UINT64_MAX);
  EXPECT_EQ(facts.huge_page_bytes, 0u);
  EXPECT_EQ(facts.dev_shm_bytes, UINT64_MAX);
}

TEST_F(SystemFactsTest, NonsenseInFilesIsPassedOver) {
  Write("/proc/self/cgroup", "\n0\nnonsense\n::\n0::/x/\n");
  Write("/sys/fs/cgroup/x/memory.max", "much\n");
  EXPECT_EQ(Look().memory_bytes, 18 * kGiB);
}

TEST_F(SystemFactsTest, ADirectoryIsTriedOut) {
  const SystemFacts facts = LookAtSystem(root_.path(), "/no/such/place");
  EXPECT_TRUE(facts.directory.status.ok()) << facts.directory.status.message();
  EXPECT_GT(facts.directory.free_bytes, 0u);
  EXPECT_EQ(facts.fallback_directory.status.code(), ErrorCode::IoError);
  EXPECT_NE(facts.fallback_directory.status.message().find("/no/such/place"), std::string::npos);
  EXPECT_FALSE(LookAtSystem("/proc", "").directory.status.ok()) << "no files can be made there";
}

TEST_F(SystemFactsTest, ATmpfsIsMemoryAndItsSizeItsRoom) {
  EXPECT_HOLDS_WITH_MOUNT("tmpfs", "size=64m", root_.path(), [this] {
    const SystemFacts facts = LookAtSystem(root_.path(), "");
    return facts.directory.status.ok() && facts.directory.free_bytes == 64 * kMiB &&
           facts.directory.kind == DirectoryFacts::Kind::Memory;
  });
}

}  // namespace
}  // namespace skyray::plasma
