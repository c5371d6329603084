// SPDX-License-Identifier: Apache-2.0
#include "common/status.h"

#include <errno.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

#include "common/unique_fd.h"

namespace skyray {
namespace {

TEST(StatusTest, OkIsTheDefault) {
  EXPECT_TRUE(Status().ok());
  EXPECT_EQ(Status().ToString(), "Ok");
}

TEST(StatusTest, AFailureSaysItsCodeAndWhy) {
  const Status status(ErrorCode::ObjectNotFound, "no object 12 in the store");
  EXPECT_FALSE(status.ok());
  EXPECT_EQ(status.ToString(), "ObjectNotFound: no object 12 in the store");
}

TEST(StatusTest, ErrnoIsToldInWords) {
  const Status status = ErrnoStatus("open /x", ENOENT);
  EXPECT_EQ(status.code(), ErrorCode::IoError);
  EXPECT_THAT(status.message(), ::testing::HasSubstr("open /x: No such file or directory"));
}

Result<std::unique_ptr<int>> Half(int number) {
  if (number % 2 != 0) return Status(ErrorCode::InvalidArgument, "odd");
  return std::make_unique<int>(number / 2);
}

TEST(ResultTest, HoldsAValueOrAStatus) {
  const auto good = Half(4);
  ASSERT_TRUE(good.has_value());
  EXPECT_EQ(**good, 2);
  const auto bad = Half(3);
  ASSERT_FALSE(bad.has_value());
  EXPECT_EQ(bad.error().code(), ErrorCode::InvalidArgument);
}

TEST(ResultDeathTest, TheValueOfAFailureIsABug) {
  const auto bad = Half(3);
  EXPECT_DEATH((void)bad.value(), "InvalidArgument: odd");
}

bool IsOpen(int fd) { return fcntl(fd, F_GETFD) != -1; }

TEST(UniqueFdTest, ClosesExactlyOnce) {
  UniqueFd first(open("/dev/null", O_RDONLY | O_CLOEXEC));
  const int number = first.get();
  UniqueFd second(std::move(first));
  EXPECT_FALSE(first.valid());
  EXPECT_TRUE(IsOpen(number));
  UniqueFd& same = second;
  second = std::move(same);
  EXPECT_TRUE(IsOpen(number)) << "assigned to itself";
  second = UniqueFd(open("/dev/null", O_RDONLY | O_CLOEXEC));
  EXPECT_TRUE(second.valid());
  const int last = second.Release();
  EXPECT_FALSE(second.valid());
  EXPECT_TRUE(IsOpen(last));
  UniqueFd(last).Reset();
  EXPECT_FALSE(IsOpen(last));
}

}  // namespace
}  // namespace skyray
