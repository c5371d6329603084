// SPDX-License-Identifier: Apache-2.0
// Reads memory that may not be there: behind the end of a file that somebody has cut
// short, or where its disk fails, a load raises SIGBUS, which would end this process.
//
// Threading:  any thread. Calls do not nest.
// Ownership:  installs one handler of SIGBUS, at the first call. What is raised outside of
//             a call goes to whoever had the signal before.
// Errors:     false: some of it cannot be read.
#pragma once

#include <cstdint>
#include <span>

namespace skyray::object_manager {

// Whether read(context) came to its end. If not it was left in the middle, at a load from
// `memory`: REQUIRES: it owns nothing that a destructor would have to give back.
bool GuardedRead(std::span<const uint8_t> memory, void (*read)(void*), void* context);

}  // namespace skyray::object_manager
