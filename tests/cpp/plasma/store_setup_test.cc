// SPDX-License-Identifier: Apache-2.0
#include "plasma/store_setup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "common/sizes.h"
#include "plasma/allocator.h"

namespace skyray::plasma {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using DirectoryKind = DirectoryFacts::Kind;

class StoreSetupTest : public ::testing::Test {
 protected:
  StoreSetupTest() {
    options.capacity_bytes = 4 * kGiB;
    options.socket_path = "/tmp/store.sock";
    facts.memory_bytes = 16 * kGiB;
    facts.memory_available_bytes = 12 * kGiB;
    facts.dev_shm_bytes = 8 * kGiB;
    facts.huge_page_bytes = 2 * kMiB;
  }
  DirectoryFacts Directory(DirectoryKind kind, uint64_t free_bytes) {
    return {Status(), kind, free_bytes, kind == DirectoryKind::HugePages ? 2 * kMiB : 4096};
  }
  StorePlan Plan() {
    auto plan = PlanStore(options, facts);
    EXPECT_TRUE(plan.has_value()) << (plan ? "" : plan.error().ToString());
    return plan ? *plan : StorePlan();
  }
  Status Refused() {
    auto plan = PlanStore(options, facts);
    EXPECT_FALSE(plan.has_value()) << (plan ? plan->sentence : "");
    return plan ? Status() : plan.error();
  }
  StoreOptions options;
  SystemFacts facts;
};

TEST_F(StoreSetupTest, AMemfdIsTheDefault) {
  const StorePlan plan = Plan();
  EXPECT_EQ(plan.sentence, "4 GiB in a memfd; no fallback directory");
  EXPECT_THAT(plan.warnings, IsEmpty());
  ASSERT_EQ(plan.segments.size(), 1u);
  EXPECT_EQ(plan.segments[0].bytes, 4 * kGiB);
  EXPECT_EQ(plan.segments[0].directory, "");
}

TEST_F(StoreSetupTest, ASmallDevShmIsNoHindrance) {
  facts.dev_shm_bytes = 64 * kMiB;
  options.fallback_directory = "/spare";
  facts.fallback_directory = Directory(DirectoryKind::Disk, 70 * kGiB);
  EXPECT_EQ(Plan().sentence,
            "4 GiB in a memfd (not bound by /dev/shm, which has 64 MiB); fallback in /spare, "
            "70 GiB free");
}

TEST_F(StoreSetupTest, CapacityIsInWholePagesAndSplitOnlyIfAsked) {
  options.capacity_bytes = 10 * kMiB + 1;
  EXPECT_EQ(Plan().segments[0].bytes, 10 * kMiB + kPageBytes);
  options.segment_bytes_max = 4 * kMiB;
  const StorePlan plan = Plan();
  ASSERT_EQ(plan.segments.size(), 3u);
  EXPECT_EQ(plan.segments[0].bytes, 4 * kMiB);
  EXPECT_EQ(plan.segments[2].bytes, 2 * kMiB + kPageBytes);
  options.segment_bytes_max = kMiB;
  options.capacity_bytes = 2 * kGiB;
  EXPECT_THAT(Refused().message(), HasSubstr("segments of at most 1048576 bytes are too small"));
}

TEST_F(StoreSetupTest, OptionsThatMakeNoSenseAreRefused) {
  options.capacity_bytes = 1;
  EXPECT_EQ(Refused().message(), "the store's memory of 1 bytes is not in 1048576..70368744177664");
  options.capacity_bytes = kGiB;
  options.socket_path = "";
  EXPECT_EQ(Refused().message(), "the store needs a socket path");
}

TEST_F(StoreSetupTest, MemoryThatIsNotThereIsRefused) {
  options.capacity_bytes = 17 * kGiB;
  EXPECT_EQ(Refused().code(), ErrorCode::OutOfMemory);
  EXPECT_THAT(Refused().message(), HasSubstr("the memory of this machine with its swap, 16 GiB"));
  facts.limited_by_cgroup = true;
  EXPECT_THAT(Refused().message(), HasSubstr("the limit of this control group, 16 GiB"));
  options.directory = "/disk";
  facts.directory = Directory(DirectoryKind::Disk, 100 * kGiB);
  EXPECT_THAT(Plan().sentence,
              HasSubstr("17 GiB reserved in /disk (on disk, 100 GiB free before)"));
}

TEST_F(StoreSetupTest, MuchOfTheMemoryIsAWarning) {
  options.capacity_bytes = 14 * kGiB;
  EXPECT_THAT(Plan().warnings, ElementsAre(HasSubstr("more than 80 %")));
  options.capacity_bytes = 12 * kGiB + kMiB;
  EXPECT_THAT(Plan().warnings, ElementsAre(HasSubstr("only 12 GiB are available now")));
  options.capacity_bytes = 12 * kGiB;
  EXPECT_THAT(Plan().warnings, IsEmpty());
}

TEST_F(StoreSetupTest, ADirectoryNeedsTheRoom) {
  options.directory = "/dev/shm";
  facts.directory = Directory(DirectoryKind::Memory, 64 * kMiB);
  EXPECT_EQ(Refused().code(), ErrorCode::OutOfDisk);
  EXPECT_THAT(
      Refused().message(),
      AllOf(HasSubstr("the store needs 4 GiB, and the directory /dev/shm has 64 MiB free"),
            HasSubstr("docker run --shm-size=4294967296"), HasSubstr("a memfd needs none")));
  facts.directory = Directory(DirectoryKind::Memory, 8 * kGiB);
  EXPECT_EQ(Plan().sentence,
            "4 GiB reserved in /dev/shm (memory, 8 GiB free before); no fallback directory");
  EXPECT_EQ(Plan().segments[0].directory, "/dev/shm");
}

TEST_F(StoreSetupTest, ADirectoryThatCannotBeUsedIsToldWithTheReason) {
  options.directory = "/nowhere";
  facts.directory.status = Status(ErrorCode::IoError, "looking at the directory /nowhere: No such");
  EXPECT_EQ(Refused().message(),
            "the store's memory cannot be there: looking at the directory /nowhere: No such; name "
            "another directory, or name no directory: a memfd needs none");
  options.directory = "";
  options.fallback_directory = "/ro";
  facts.fallback_directory.status = Status(ErrorCode::IoError, "Read-only file system");
  EXPECT_THAT(Refused().message(), HasSubstr("Read-only file system; name another fallback"));
}

TEST_F(StoreSetupTest, HugePagesMustBeThere) {
  options.huge_pages = true;
  EXPECT_EQ(Refused().code(), ErrorCode::OutOfMemory);
  EXPECT_THAT(Refused().message(), HasSubstr("4 GiB need 2048 huge pages of 2 MiB, and 0 are free: "
                                             "as root, sysctl vm.nr_hugepages=2048"));
  facts.huge_pages_free = 2048;
  EXPECT_EQ(Plan().sentence, "4 GiB reserved in huge pages of 2 MiB; no fallback directory");
  EXPECT_TRUE(Plan().segments[0].huge_pages);
  options.capacity_bytes = 3 * kMiB;
  EXPECT_EQ(Plan().segments[0].bytes, 4 * kMiB);
  facts.huge_page_bytes = 0;
  EXPECT_THAT(Refused().message(), HasSubstr("this kernel has none"));
}

TEST_F(StoreSetupTest, HugePagesInADirectoryNeedHugetlbfs) {
  options.huge_pages = true;
  options.directory = "/plain";
  facts.directory = Directory(DirectoryKind::Disk, 100 * kGiB);
  EXPECT_THAT(Refused().message(), HasSubstr("mount -t hugetlbfs none /plain"));
  facts.directory = Directory(DirectoryKind::HugePages, 0);
  EXPECT_THAT(Refused().message(), HasSubstr("vm.nr_hugepages=2048"));
  facts.huge_pages_free = 4096;
  EXPECT_EQ(Plan().sentence,
            "4 GiB reserved in huge pages of 2 MiB in /plain; no fallback directory");
}

TEST_F(StoreSetupTest, AFallbackThatIsNoDiskIsAWarning) {
  options.fallback_directory = "/dev/shm";
  facts.fallback_directory = Directory(DirectoryKind::Memory, 8 * kGiB);
  EXPECT_THAT(Plan().warnings, ElementsAre(HasSubstr("is in memory, not on disk")));
  facts.fallback_directory = Directory(DirectoryKind::Disk, 100);
  EXPECT_THAT(Plan().warnings, ElementsAre(HasSubstr("/dev/shm is full")));
}

}  // namespace
}  // namespace skyray::plasma
