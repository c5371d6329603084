// SPDX-License-Identifier: Apache-2.0
// Text that user code printed or named, made safe for strict readers (Python's
// utf-8 decoder, protobuf strings, JSON).
//
// Threading: functions. Ownership: values. Errors: none.
#pragma once

#include <string>
#include <string_view>

namespace skyray::raylet {

// `text` with each byte that is not part of well-formed UTF-8 replaced by '?'.
std::string ToValidUtf8(std::string_view text);

// How much of `text` can be cut off without taking a character apart at its end; all of
// it if it ends with no beginning of one.
size_t WholeCharacterBytes(std::string_view text);

}  // namespace skyray::raylet
