// SPDX-License-Identifier: Apache-2.0
#include "object_manager/spill_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace skyray::object_manager {
namespace {

using ::testing::HasSubstr;

std::vector<uint8_t> RandomBytes(size_t size, uint64_t seed = 1) {
  std::mt19937_64 random(seed);
  std::vector<uint8_t> bytes(size);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  return bytes;
}

TEST(SpillChecksum, EveryKernelAndEverySplitGivesTheSame) {
  ASSERT_FALSE(ChecksumKernels().empty());
  for (const size_t size :
       {0u, 1u, 16u, 17u, 128u, 129u, 240u, 241u, 1000u, 1024u, 100000u, 600000u}) {
    const auto bytes = RandomBytes(size);
    const SpillSum want = SpillChecksum::Of(bytes);
    for (const ChecksumKernel* kernel : ChecksumKernels()) {
      for (const size_t piece : {size_t{1}, size_t{63}, size_t{64}, size_t{4096}, size + 1}) {
        if (size / piece > 20000) continue;
        SpillChecksum sum(*kernel);
        for (size_t at = 0; at < size; at += piece) {
          sum.Add(std::span(bytes).subspan(at, std::min(piece, size - at)));
        }
        EXPECT_EQ(sum.Finish(), want) << size << " bytes in pieces of " << piece;
      }
    }
  }
}

TEST(SpillChecksum, IsThatOfItsChunks) {
  for (const size_t size : {kSpillChunkBytes - 1, kSpillChunkBytes, kSpillChunkBytes + 1,
                            2 * kSpillChunkBytes, 5 * kSpillChunkBytes + 77}) {
    const auto bytes = RandomBytes(size);
    std::vector<SpillSum> chunks;
    for (std::span<const uint8_t> rest = bytes; !rest.empty();) {
      const auto chunk = rest.first(std::min(rest.size(), kSpillChunkBytes));
      chunks.push_back(SpillChecksum::Of(chunk));
      rest = rest.subspan(chunk.size());
    }
    const SpillSum want = SpillChecksum::Of(bytes);
    EXPECT_EQ(SpillChecksum::OfChunks(chunks), want) << size;
    if (chunks.size() > 1) {
      std::swap(chunks.front(), chunks.back());
      EXPECT_FALSE(SpillChecksum::OfChunks(chunks) == want) << "two chunks changed places";
    }
  }
  EXPECT_EQ(SpillChecksum::OfChunks({}), SpillChecksum::Of({}));
}

TEST(SpillChecksum, IsXxh3) {
  // What xxhsum -H2 says of nothing: the high half, then the low one.
  const SpillSum sum = SpillChecksum::Of({});
  EXPECT_EQ(sum.high, 0x99aa06d3014798d8ull);
  EXPECT_EQ(sum.low, 0x6001c324468d497full);
}

class SpillHeaderTest : public ::testing::Test {
 protected:
  const SpillRecord record{ObjectId::FromRandom(), WorkerId::FromRandom(), 1000, 7};
  const SpillSum sum = SpillChecksum::Of(RandomBytes(1007));
  SpillHeader header = BuildSpillHeader(record, sum);

  std::string WhyNot(const SpillRecord& want) const {
    const auto found = CheckSpillHeader(header, want);
    if (found) return "";
    EXPECT_EQ(found.error().code(), ErrorCode::ObjectLost);
    return found.error().message();
  }
};

TEST_F(SpillHeaderTest, GivesTheChecksumBack) {
  const auto found = CheckSpillHeader(header, record);
  ASSERT_TRUE(found);
  EXPECT_EQ(*found, sum);
}

TEST_F(SpillHeaderTest, AnyFlippedBitIsFound) {
  for (size_t bit = 0; bit < header.size() * 8; ++bit) {
    header[bit / 8] ^= static_cast<uint8_t>(1u << bit % 8);
    EXPECT_NE(WhyNot(record), "") << "bit " << bit;
    header[bit / 8] ^= static_cast<uint8_t>(1u << bit % 8);
  }
  EXPECT_EQ(WhyNot(record), "");
}

TEST_F(SpillHeaderTest, AnotherRecordIsRefusedAndNamed) {
  SpillRecord other = record;
  other.object = ObjectId::FromRandom();
  EXPECT_THAT(WhyNot(other), HasSubstr(record.object.Hex()));
  other = record;
  other.data_bytes = 999;
  EXPECT_THAT(WhyNot(other), HasSubstr("1000 + 7 bytes"));
  other = record;
  other.owner = WorkerId::FromRandom();
  EXPECT_THAT(WhyNot(other), HasSubstr(record.owner.Hex()));
}

TEST_F(SpillHeaderTest, ShortAndEmptyOnesAreRefused) {
  EXPECT_THAT(CheckSpillHeader(std::span(header).first(127), record).error().message(),
              HasSubstr("ends within its header"));
  header.fill(0);
  EXPECT_THAT(WhyNot(record), HasSubstr("no record"));
}

TEST(SpillLayout, RecordsFollowEachOtherWithoutOverlap) {
  std::mt19937_64 random(5);
  std::vector<uint64_t> sizes = {0, 1, 64, 65535, 65536, 5 << 20, 0};
  for (int i = 0; i < 1000; ++i) sizes.push_back(random() % 200000);
  const SpillLayout layout = LayOutSpillFile(sizes);
  ASSERT_EQ(layout.offsets.size(), sizes.size());
  uint64_t end = 0;
  for (size_t i = 0; i < sizes.size(); ++i) {
    const uint64_t begin = layout.offsets[i] + kSpillHeaderBytes;
    EXPECT_GE(layout.offsets[i], end);
    const uint64_t alignment = sizes[i] >= kSpillPageAlignedFrom ? 4096 : 64;
    EXPECT_EQ(begin % alignment, 0u);
    EXPECT_LT(layout.offsets[i] - end, alignment);
    end = begin + sizes[i];
  }
  EXPECT_EQ(layout.file_bytes, end);
}

}  // namespace
}  // namespace skyray::object_manager
