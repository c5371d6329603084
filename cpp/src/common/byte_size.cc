// SPDX-License-Identifier: Apache-2.0
#include "common/byte_size.h"

#include <array>
#include <charconv>

namespace skyray {

std::string ByteSize(uint64_t bytes) {
  constexpr std::array<const char*, 6> kUnits{"bytes", "KiB", "MiB", "GiB", "TiB", "PiB"};
  size_t unit = 0;
  while (unit + 1 < kUnits.size() && (bytes >> (10 * (unit + 1))) != 0) ++unit;
  const uint64_t whole = bytes >> (10 * unit);
  const uint64_t rest = bytes - (whole << (10 * unit));
  const uint64_t tenths = unit == 0 ? 0 : (rest >> (10 * (unit - 1))) * 10 / 1024;
  std::string text = std::to_string(whole);
  if (tenths != 0) text += "." + std::to_string(tenths);
  return text + " " + kUnits[unit];
}

std::optional<uint64_t> ParseByteSize(std::string_view text) {
  uint64_t bytes = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, bytes);
  if (error != std::errc() || rest == text.data()) return std::nullopt;
  if (rest == end) return bytes;
  const size_t unit = std::string_view("KMG").find(*rest);
  if (end - rest != 1 || unit == std::string_view::npos) return std::nullopt;
  const auto shift = static_cast<int>(10 * (unit + 1));
  if (bytes > (UINT64_MAX >> shift)) return std::nullopt;
  return bytes << shift;
}

}  // namespace skyray
