// SPDX-License-Identifier: Apache-2.0
// Amounts of memory as people write and read them.
//
// Threading: functions. Ownership: none. Errors: an empty answer.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace skyray {

// "4 GiB", "1.5 MiB", "100 bytes": at most one digit behind the point.
std::string ByteSize(uint64_t bytes);

// "4096", "64K", "512M", "4G": bytes, or that many KiB, MiB, GiB. Empty if it is
// not that, or does not fit.
std::optional<uint64_t> ParseByteSize(std::string_view text);

}  // namespace skyray
