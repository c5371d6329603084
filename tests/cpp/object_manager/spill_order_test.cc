// SPDX-License-Identifier: Apache-2.0
#include "object_manager/spill_order.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "object_manager/cut_memory.h"

namespace skyray::object_manager {
namespace {

SpillPiece PieceOf(std::span<const uint8_t> bytes, uint64_t offset) {
  SpillPiece piece{{ObjectId::FromRandom(), WorkerId::FromRandom(), bytes.size(), 0}, bytes, {}};
  piece.shared.segment = 3;
  piece.shared.offset = offset;
  return piece;
}

std::vector<uint8_t> HeaderOf(const boost::json::array& record) {
  const std::string hex(record.at(1).as_string());
  std::vector<uint8_t> header(hex.size() / 2);
  EXPECT_TRUE(HexToBytes(hex, header.data(), header.size()));
  return header;
}

TEST(SpillOrderTest, WhatCannotBeReadIsNamedAndNotOrdered) {
  const std::vector<uint8_t> first(1000, 1), last(70'000, 2);
  const CutMemory cut(3 * 4096, 4096);
  const std::vector<SpillPiece> pieces = {PieceOf(first, 0), PieceOf(cut.bytes(), 4096),
                                          PieceOf(last, 65536)};
  const SpillOrder order = PrepareSpillOrder(pieces);
  EXPECT_THAT(order.lost, testing::ElementsAre(1));
  ASSERT_EQ(order.layout.offsets.size(), 3u) << "what is behind it stays where it would be";
  ASSERT_EQ(order.records.size(), 2u);
  EXPECT_EQ(order.memory, (boost::json::array{{3, 0, 1000}, {3, 65536, 70'000}}));
  for (const size_t ordered : {0, 1}) {
    const SpillPiece& piece = pieces[2 * ordered];
    const auto& record = order.records.at(ordered).as_array();
    EXPECT_EQ(record.at(0).to_number<uint64_t>(), order.layout.offsets[2 * ordered]);
    const auto sum = CheckSpillHeader(HeaderOf(record), piece.record);
    ASSERT_TRUE(sum) << sum.error().message();
    EXPECT_EQ(*sum, SpillChecksum::Of(piece.bytes));
  }
}

}  // namespace
}  // namespace skyray::object_manager
