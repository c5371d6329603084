// SPDX-License-Identifier: Apache-2.0
#include "object_manager/spill_checksum_thread.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace skyray::object_manager {
namespace {

std::vector<uint8_t> SomeBytes(size_t size) {
  std::mt19937 random(static_cast<uint32_t>(size));
  std::vector<uint8_t> bytes(size);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  return bytes;
}

TEST(SpillChecksumThreadTest, PiecesAreSummedInTheirOrder) {
  const std::vector<uint8_t> bytes = SomeBytes(300'000);
  const SpillSum want = SpillChecksum::Of(bytes);
  SpillChecksumThread checksums;
  for (size_t piece = 1000; piece < 2 * bytes.size(); piece *= 3) {
    checksums.Begin();
    for (std::span<const uint8_t> rest = bytes; !rest.empty();) {
      const auto next = rest.first(std::min(piece, rest.size()));
      checksums.Add(next);
      rest = rest.subspan(next.size());
    }
    EXPECT_EQ(checksums.Finish(), want) << piece;
  }
}

TEST(SpillChecksumThreadTest, OfNothingAtAll) {
  SpillChecksumThread checksums;
  checksums.Begin();
  EXPECT_EQ(checksums.Finish(), SpillChecksum::Of({}));
}

// Under ASan it would be seen if a byte were looked at after Drop.
TEST(SpillChecksumThreadTest, WhatIsDroppedLeavesNothingBehind) {
  const std::vector<uint8_t> bytes = SomeBytes(1000);
  SpillChecksumThread checksums;
  for (int round = 0; round < 200; ++round) {
    checksums.Begin();
    {
      const std::vector<uint8_t> gone(10'000, 7);
      checksums.Add(gone);
      checksums.Add(gone);
      checksums.Drop();
    }
    checksums.Begin();
    checksums.Add(bytes);
    ASSERT_EQ(checksums.Finish(), SpillChecksum::Of(bytes));
  }
}

TEST(SpillChecksumThreadTest, MayEndInTheMidst) {
  const std::vector<uint8_t> bytes = SomeBytes(100'000);
  for (int round = 0; round < 50; ++round) {
    SpillChecksumThread checksums;
    checksums.Begin();
    for (int i = 0; i < 10; ++i) checksums.Add(bytes);
  }
}

}  // namespace
}  // namespace skyray::object_manager
