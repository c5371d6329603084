// SPDX-License-Identifier: Apache-2.0
#include "ipc/frame_input.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <random>

#include "ipc/fixture.h"

namespace skyray::ipc {
namespace {

std::vector<uint8_t> Wire(uint32_t body_bytes, uint16_t kind = 0, uint16_t fds = 0) {
  const FrameHeader header{body_bytes, kind, fds};
  std::vector<uint8_t> bytes(sizeof header + body_bytes, static_cast<uint8_t>(kind));
  std::memcpy(bytes.data(), &header, sizeof header);
  return bytes;
}

TEST(FrameInputTest, FramesComeOutAsTheyWentInHoweverTheyAreCut) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  std::vector<uint8_t> wire;
  for (uint16_t i = 0; i < 500; ++i) {
    const auto frame = Wire(random() % 3 == 0 ? 0 : static_cast<uint32_t>(random() % 300), i);
    wire.insert(wire.end(), frame.begin(), frame.end());
  }
  FrameInput input;
  uint16_t next = 0;
  for (size_t at = 0; at < wire.size();) {
    const size_t piece = std::min<size_t>(1 + random() % 700, wire.size() - at);
    input.Append({wire.data() + at, piece});
    at += piece;
    while (random() % 4 != 0 && input.HasNext()) {
      auto frame = input.Next();
      ASSERT_TRUE(frame.has_value() && frame->has_value());
      ASSERT_EQ((*frame)->kind, next++);
      for (const uint8_t byte : (*frame)->body) {
        ASSERT_EQ(byte, static_cast<uint8_t>((*frame)->kind));
      }
    }
    if (random() % 2 == 0) input.Compact();
  }
  while (input.HasNext()) ASSERT_EQ((**input.Next()).kind, next++);
  EXPECT_EQ(next, 500);
  EXPECT_EQ(input.size_bytes(), 0u);
  EXPECT_FALSE(input.Next()->has_value());
}

TEST(FrameInputTest, AHeaderOverACapIsRefusedBeforeItsBodyComes) {
  FrameInput input;
  const FrameHeader header{kHelloBytesMax + 1, 0, 0};
  input.Append({reinterpret_cast<const uint8_t*>(&header), sizeof header});
  EXPECT_TRUE(input.HasNext());
  EXPECT_EQ(input.Next().error().code(), ErrorCode::InvalidRequest);
  input.SetFrameBytesMax(kHelloBytesMax + 1);
  EXPECT_FALSE(input.HasNext());
  EXPECT_FALSE(input.Next()->has_value());

  FrameInput many;
  many.Append(Wire(1, 0, kFrameFdsMax + 1));
  EXPECT_EQ(many.Next().error().code(), ErrorCode::InvalidRequest);
}

TEST(FrameInputTest, DescriptorsGoToTheFramesThatAnnounceThem) {
  FrameInput input;
  for (int i = 0; i < 3; ++i) input.fds().emplace_back(dup(0));
  input.Append(Wire(2, 1, 1));
  input.Append(Wire(0, 2, 0));
  input.Append(Wire(0, 3, 2));
  input.Append(Wire(0, 4, 1));
  EXPECT_EQ((**input.Next()).fds.size(), 1u);
  EXPECT_EQ((**input.Next()).fds.size(), 0u);
  EXPECT_EQ((**input.Next()).fds.size(), 2u);
  EXPECT_EQ(input.Next().error().code(), ErrorCode::InvalidRequest);
}

TEST(FrameInputTest, DescriptorsThatNoFrameClaimsAreBounded) {
  FrameInput input;
  for (int i = 0; i < 4 * kFrameFdsMax; ++i) input.fds().emplace_back(dup(0));
  EXPECT_TRUE(input.CheckFds().ok());
  input.fds().emplace_back(dup(0));
  EXPECT_EQ(input.CheckFds().code(), ErrorCode::InvalidRequest);
}

}  // namespace
}  // namespace skyray::ipc
