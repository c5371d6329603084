// SPDX-License-Identifier: Apache-2.0
#include "common/byte_size.h"

#include <gtest/gtest.h>

namespace skyray {
namespace {

TEST(ByteSizeTest, AmountsAreToldInTheLargestUnitThatFits) {
  EXPECT_EQ(ByteSize(0), "0 bytes");
  EXPECT_EQ(ByteSize(1023), "1023 bytes");
  EXPECT_EQ(ByteSize(1024), "1 KiB");
  EXPECT_EQ(ByteSize(1536), "1.5 KiB");
  EXPECT_EQ(ByteSize(64 << 20), "64 MiB");
  EXPECT_EQ(ByteSize((uint64_t{4} << 30) + 1), "4 GiB");
  EXPECT_EQ(ByteSize((uint64_t{4} << 30) - 1), "3.9 GiB") << "never rounded up";
  EXPECT_EQ(ByteSize(UINT64_MAX), "16383.9 PiB");
}

TEST(ByteSizeTest, AmountsAreReadWithAndWithoutAUnit) {
  EXPECT_EQ(ParseByteSize("0"), 0u);
  EXPECT_EQ(ParseByteSize("4096"), 4096u);
  EXPECT_EQ(ParseByteSize("64K"), 64u << 10);
  EXPECT_EQ(ParseByteSize("512M"), 512u << 20);
  EXPECT_EQ(ParseByteSize("17179869183G"), uint64_t{17179869183} << 30);
}

TEST(ByteSizeTest, WhatIsNoAmountIsNotGuessedAt) {
  for (const char* text : {"", "G", "-1", "+1", " 1", "1 ", "1k", "1GB", "1.5G", "0x10", "1KK",
                           "17179869184G", "18446744073709551616"}) {
    EXPECT_FALSE(ParseByteSize(text)) << text;
  }
}

}  // namespace
}  // namespace skyray
