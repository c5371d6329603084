// SPDX-License-Identifier: Apache-2.0
#include "raylet/memory_monitor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "common/sizes.h"

namespace skyray::raylet {
namespace {

using std::chrono::seconds;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr char kMeminfo[] =
    "MemTotal:       8388608 kB\n"
    "MemFree:        1048576 kB\n"
    "MemAvailable:   6291456 kB\n"
    "Buffers:         524288 kB\n"
    "Cached:         4718592 kB\n"
    "SwapCached:           0 kB\n"
    "Shmem:          1048576 kB\n"
    "SReclaimable:    524288 kB\n";

TEST(MemoryLevelTest, ThePageCacheOfTheMachineIsNotUsedButSharedMemoryIs) {
  const auto level = MachineLevel(kMeminfo);
  ASSERT_TRUE(level.has_value());
  EXPECT_EQ(level->limit, 8 * kGiB);
  // 8 - 1 free - 0.5 buffers - (4.5 - 1) cache - 0.5 slab.
  EXPECT_EQ(level->used, 5 * kGiB / 2);
}

TEST(MemoryLevelTest, ThePageCacheOfAGroupIsNotUsed) {
  const auto level = GroupLevel2("4294967296\n", "4000000000\n",
                                 "anon 1000000000\nfile 2900000000\nkernel 100000000\n"
                                 "shmem 300000000\nslab_reclaimable 50000000\n");
  ASSERT_TRUE(level.has_value());
  EXPECT_EQ(level->limit, 4 * kGiB);
  EXPECT_EQ(level->used, 4000000000u - 2600000000u - 50000000u);
  const auto old = GroupLevel1("4294967296\n", "4000000000\n",
                               "cache 1\ntotal_cache 2900000000\ntotal_shmem 300000000\n");
  ASSERT_TRUE(old.has_value());
  EXPECT_EQ(old->used, 4000000000u - 2600000000u);
}

TEST(MemoryLevelTest, NoLimitAndNonsenseAreNoLevel) {
  EXPECT_FALSE(GroupLevel2("max\n", "4000\n", "").has_value());
  EXPECT_FALSE(GroupLevel2("", "", "").has_value());
  EXPECT_FALSE(GroupLevel2("0\n", "0\n", "").has_value());
  EXPECT_FALSE(GroupLevel1("nonsense", "1", "").has_value());
  EXPECT_FALSE(MachineLevel("MemTotal: x kB\n").has_value());
  EXPECT_EQ(AnonymousBytes("RssAnon:\t    2048 kB\nRssFile:\t 4 kB\n"), 2048u * 1024);
  EXPECT_EQ(AnonymousBytes(""), 0u);
}

TEST(MemoryLevelTest, TheFullestAboveTheThresholdCounts) {
  const std::vector<MemoryLevel> levels{{"a", 90, 100}, {"b", 99, 100}, {"c", 96, 100}};
  ASSERT_NE(Fullest(levels, 0.95), nullptr);
  EXPECT_EQ(Fullest(levels, 0.95)->what, "b");
  EXPECT_EQ(Fullest(levels, 0.99), nullptr) << "at the threshold is not above it";
}

class VictimTest : public ::testing::Test {
 protected:
  LeaseOwner ann{NodeId::FromRandom(), WorkerId::FromRandom()};
  LeaseOwner bob{ann.node, WorkerId::FromRandom()};
  std::vector<MemoryUser> users;

  void Add(const std::string& name, const LeaseOwner& owner, int second, bool retriable = true,
           uint64_t bytes = 0) {
    users.push_back({WorkerId::FromRandom(), static_cast<int>(users.size()) + 1, name, owner,
                     retriable, TimePoint(seconds(second)), bytes});
  }
  std::string Chosen(bool retry) {
    const auto victim = ChooseVictim(users);
    if (!victim) return "";
    EXPECT_EQ(victim->retry, retry);
    return users[victim->index].name;
  }
};

TEST_F(VictimTest, TheNewestOfTheOwnerWithTheMost) {
  Add("ann 1", ann, 1);
  Add("ann 3", ann, 3);
  Add("ann 2", ann, 2);
  Add("bob 4", bob, 4);
  EXPECT_EQ(Chosen(/*retry=*/true), "ann 3");
}

TEST_F(VictimTest, WhatCannotBeRunAgainIsLast) {
  Add("final 1", ann, 1, false);
  Add("final 2", ann, 2, false);
  Add("final 3", bob, 3, false);
  Add("again", bob, 1);
  EXPECT_EQ(Chosen(/*retry=*/false), "again") << "its owner's only one: it fails";
  users.pop_back();
  EXPECT_EQ(Chosen(/*retry=*/false), "final 3");
}

TEST_F(VictimTest, OfOwnersWithAsManyTheNewest) {
  Add("ann 1", ann, 1);
  Add("ann 4", ann, 4);
  Add("bob 2", bob, 2);
  Add("bob 5", bob, 5);
  EXPECT_EQ(Chosen(/*retry=*/true), "bob 5");
}

TEST_F(VictimTest, NobodyIsNobody) { EXPECT_EQ(Chosen(false), ""); }

TEST_F(VictimTest, TheCallerIsToldUsedLimitAndTheThreeLargest) {
  Add("small", ann, 1, true, 1 << 20);
  Add("huge", ann, 2, true, 3 * kGiB);
  Add("tiny", ann, 3, true, 1 << 10);
  Add("large", bob, 4, true, kGiB);
  const std::string text = DescribeShortage({"control group /x", 31 * kGiB / 8, 4 * kGiB}, 0.95,
                                            users, *ChooseVictim(users));
  EXPECT_THAT(text,
              AllOf(HasSubstr("tiny (pid 3) was killed due to the node running low on memory"),
                    HasSubstr("3.8 GiB of the 4 GiB of control group /x are used (0.969)"),
                    HasSubstr("the threshold is 0.95"),
                    HasSubstr("Largest: huge (pid 2) 3 GiB, large (pid 4) 1 GiB, small"),
                    HasSubstr("memory_usage_threshold")));
  EXPECT_THAT(text, Not(HasSubstr("1 KiB")));
}

class MemoryReaderTest : public ::testing::Test {
 protected:
  MemoryReaderTest() {
    char dir[] = "/tmp/skyray-memory-test-XXXXXX";
    EXPECT_NE(mkdtemp(dir), nullptr);
    root = dir;
  }
  ~MemoryReaderTest() override { std::filesystem::remove_all(root); }
  void Write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(root + path).parent_path());
    std::ofstream(root + path) << text;
  }
  std::string root;
};

TEST_F(MemoryReaderTest, AllGroupsAroundTheProcessThatHaveALimit) {
  Write("/proc/meminfo", kMeminfo);
  Write("/proc/self/cgroup", "4:cpu,memory:/old\n0::/outer/inner\n");
  Write("/sys/fs/cgroup/memory/old/memory.limit_in_bytes", "1000\n");
  Write("/sys/fs/cgroup/memory/old/memory.usage_in_bytes", "500\n");
  Write("/sys/fs/cgroup/outer/inner/memory.max", "max\n");
  Write("/sys/fs/cgroup/outer/inner/memory.current", "7\n");
  Write("/sys/fs/cgroup/outer/memory.max", "2000\n");
  Write("/sys/fs/cgroup/outer/memory.current", "1900\n");
  Write("/sys/fs/cgroup/memory.max", "9223372036854771712\n");  // More than the machine has.
  Write("/sys/fs/cgroup/memory.current", "9000\n");
  const auto levels = MemoryReader(root).Levels();
  ASSERT_THAT(levels, SizeIs(3));
  EXPECT_EQ(levels[0].what, "control group /old");
  EXPECT_EQ(levels[1].what, "control group /outer");
  EXPECT_EQ(levels[1].used, 1900u);
  EXPECT_EQ(levels[2].what, "this machine");
}

TEST_F(MemoryReaderTest, NothingThereIsNoLevel) {
  EXPECT_THAT(MemoryReader(root).Levels(), IsEmpty());
  EXPECT_EQ(MemoryReader(root).BytesOf(1), 0u);
}

TEST_F(MemoryReaderTest, ThisMachineHasALevel) {
  EXPECT_NE(MemoryReader("").Levels().size(), 0u);
  EXPECT_GT(MemoryReader("").BytesOf(getpid()), 0u);
}

}  // namespace
}  // namespace skyray::raylet
