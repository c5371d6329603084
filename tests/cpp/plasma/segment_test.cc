// SPDX-License-Identifier: Apache-2.0
#include "plasma/segment.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <string>

#include "common/sizes.h"
#include "ipc/fixture.h"
#include "plasma/mount_namespace.h"

namespace skyray::plasma {
namespace {

using ipc::TemporaryDirectory;
using ::testing::AllOf;
using ::testing::HasSubstr;

uint64_t ResidentBytes(const Segment& segment) {
  struct stat status = {};
  EXPECT_EQ(fstat(segment.fd->get(), &status), 0);
  return static_cast<uint64_t>(status.st_blocks) * 512;
}

bool Tells(const Result<Segment>& segment, ErrorCode code, const std::string& what) {
  if (!segment && segment.error().code() == code &&
      segment.error().message().find(what) != std::string::npos) {
    return true;
  }
  fprintf(stderr, "expected '%s', but: %s\n", what.c_str(),
          segment ? "it worked" : segment.error().ToString().c_str());
  return false;
}

TEST(SegmentTest, AMemfdHasWholePagesAndASealedSize) {
  const auto segment = Segment::Create({.bytes = 5000});
  ASSERT_TRUE(segment);
  EXPECT_EQ(segment->mapping->bytes(), 8192u);
  EXPECT_TRUE(segment->can_give_back);
  segment->mapping->data()[8191] = 7;
  EXPECT_NE(ftruncate(segment->fd->get(), 4096), 0) << "a client could end others so";
  EXPECT_NE(ftruncate(segment->fd->get(), 16384), 0);
}

TEST(SegmentTest, PagesAreTakenWhenTouchedAndGivenBack) {
  const auto segment = Segment::Create({.bytes = 8 * kMiB});
  ASSERT_TRUE(segment);
  EXPECT_EQ(ResidentBytes(*segment), 0u);
  std::fill_n(segment->mapping->data(), 8 * kMiB, uint8_t{7});
  EXPECT_EQ(ResidentBytes(*segment), 8 * kMiB);

  ASSERT_TRUE(segment->GiveBack(2 * kMiB, 4 * kMiB).ok());
  EXPECT_EQ(ResidentBytes(*segment), 4 * kMiB);
  EXPECT_EQ(segment->mapping->data()[2 * kMiB - 1], 7);
  EXPECT_EQ(segment->mapping->data()[2 * kMiB], 0);
  EXPECT_EQ(segment->mapping->data()[6 * kMiB - 1], 0);
  EXPECT_EQ(segment->mapping->data()[6 * kMiB], 7);
}

TEST(SegmentDeathTest, NothingOutsideIsGivenBack) {
  const auto segment = Segment::Create({.bytes = kMiB});
  ASSERT_TRUE(segment);
  EXPECT_DEATH((void)segment->GiveBack(0, 2 * kMiB), "check failed");
}

TEST(SegmentTest, AFileInADirectoryIsReservedAndHasNoName) {
  const TemporaryDirectory directory;
  const auto segment = Segment::Create({.bytes = kMiB + 1, .directory = directory.path()});
  ASSERT_TRUE(segment) << segment.error().ToString();
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
  EXPECT_EQ(segment->mapping->bytes(), kMiB + 4096);
  EXPECT_GE(ResidentBytes(*segment), kMiB + 4096);
  EXPECT_FALSE(segment->can_give_back) << "it would give the reservation up";
  segment->mapping->data()[kMiB] = 7;
}

TEST(SegmentTest, ADirectoryThatIsNotThereIsNamed) {
  EXPECT_TRUE(Tells(Segment::Create({.bytes = kMiB, .directory = "/no/such/place"}),
                    ErrorCode::IoError, "/no/such/place: No such file or directory"));
}

TEST(SegmentTest, FallbackMemoryIsAnUnnamedFile) {
  const TemporaryDirectory directory;
  const auto segment = Segment::CreateFallback(directory.path(), 100);
  ASSERT_TRUE(segment) << segment.error().ToString();
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
  EXPECT_EQ(segment->mapping->bytes(), 4096u);
  segment->mapping->data()[99] = 7;
  const auto other = Mapping::Map(segment->fd->get(), 4096, /*writable=*/false);
  ASSERT_TRUE(other);
  EXPECT_EQ((*other)->data()[99], 7);
  EXPECT_TRUE(Segment::CreateFallback(directory.path(), 0)) << "an empty object has a place too";
}

TEST(SegmentTest, AFallbackLargerThanTheDiskIsOutOfDisk) {
  const TemporaryDirectory directory;
  for (const uint64_t bytes : {uint64_t{1} << 50, UINT64_MAX}) {
    const auto segment = Segment::CreateFallback(directory.path(), bytes);
    ASSERT_FALSE(segment);
    EXPECT_EQ(segment.error().code(), ErrorCode::OutOfDisk);
    EXPECT_THAT(segment.error().message(),
                AllOf(HasSubstr(directory.path()), HasSubstr("are needed"), HasSubstr("are free")));
  }
}

TEST(SegmentTest, AFullTmpfsIsAnErrorWhenReservingAndNeverASignalWhenWriting) {
  const TemporaryDirectory directory;
  EXPECT_HOLDS_WITH_MOUNT("tmpfs", "size=64m", directory.path(), [&] {
    const auto fits = Segment::CreateFallback(directory.path(), 60 * kMiB);
    if (!fits) return Tells(fits, ErrorCode::Ok, "");
    std::fill_n(fits->mapping->data(), 60 * kMiB, uint8_t{7});
    return Tells(Segment::CreateFallback(directory.path(), 8 * kMiB), ErrorCode::OutOfDisk,
                 "8 MiB are needed, 4 MiB are free") &&
           Tells(Segment::Create({.bytes = 8 * kMiB, .directory = directory.path()}),
                 ErrorCode::OutOfDisk, directory.path());
  });
}

TEST(SegmentTest, AFileSystemThatCannotReserveIsRefused) {
  const TemporaryDirectory directory;
  EXPECT_HOLDS_WITH_MOUNT("ramfs", "", directory.path(), [&] {
    return Tells(Segment::CreateFallback(directory.path(), kMiB), ErrorCode::InvalidArgument,
                 "cannot reserve room");
  });
}

TEST(SegmentTest, TooFewHugePagesAreAnErrorThatSaysHowMany) {
  EXPECT_TRUE(Tells(Segment::Create({.bytes = uint64_t{1} << 45, .huge_pages = true}),
                    ErrorCode::OutOfMemory, "vm.nr_hugepages"));
}

TEST(SegmentTest, HugePagesOutOfADirectoryNeedHugetlbfs) {
  const TemporaryDirectory directory;
  EXPECT_TRUE(
      Tells(Segment::Create({.bytes = kMiB, .directory = directory.path(), .huge_pages = true}),
            ErrorCode::InvalidArgument, "not on hugetlbfs"));
  EXPECT_HOLDS_WITH_MOUNT("hugetlbfs", "", directory.path(), [&] {
    return Tells(Segment::Create({.bytes = uint64_t{1} << 45, .directory = directory.path()}),
                 ErrorCode::OutOfMemory, "free huge pages of");
  });
}

}  // namespace
}  // namespace skyray::plasma
