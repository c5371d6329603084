// SPDX-License-Identifier: Apache-2.0
#include "plasma/copy.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace skyray::plasma {
namespace {

TEST(CopyToSharedTest, EveryByteArrivesAndNoneBesides) {
  constexpr size_t kMargin = 256;
  for (const size_t bytes :
       {size_t{0}, size_t{1}, size_t{1000}, kStreamingBytesMin - 1, kStreamingBytesMin,
        kStreamingBytesMin + 1, kStreamingBytesMin + 255, size_t{3} << 20}) {
    for (const size_t to_offset : {size_t{0}, size_t{1}, size_t{63}, size_t{64}}) {
      for (const size_t from_offset : {size_t{0}, size_t{7}}) {
        std::vector<uint8_t> from(bytes + kMargin);
        for (size_t i = 0; i < from.size(); ++i) from[i] = static_cast<uint8_t>(i * 31 + i / 251);
        std::vector<uint8_t> to(bytes + kMargin, 0xee);
        CopyToShared(to.data() + to_offset, from.data() + from_offset, bytes);
        for (size_t i = 0; i < to.size(); ++i) {
          const bool inside = i >= to_offset && i < to_offset + bytes;
          ASSERT_EQ(to[i], inside ? from[i - to_offset + from_offset] : 0xee)
              << bytes << " bytes to +" << to_offset << ", at " << i;
        }
      }
    }
  }
}

}  // namespace
}  // namespace skyray::plasma
