// SPDX-License-Identifier: Apache-2.0
// A thread that does a part of one call's work on much memory.
//
// Threading:  any. No signal is delivered to it: the program's handlers run where the
//             program expects them.
// Ownership:  the caller's, who joins it before its call ends.
// Errors:     none: where there can be no thread, the work is done in the call.
#pragma once

#include <cstdint>
#include <system_error>
#include <thread>

#include "common/signals_blocked.h"

namespace skyray::plasma {

// A thread costs some 50 us: as much as copying 250 KB, or mapping 100 KB.
inline constexpr uint64_t kHelpedBytesMin = 16 << 20;

// Runs `work` on a new thread; or here, and then what is returned is not joinable.
template <class Work>
std::thread StartHelper(Work work) {
  try {
    const SignalsBlocked blocked;
    return std::thread(work);
  } catch (const std::system_error&) {
    work();
    return std::thread();
  }
}

}  // namespace skyray::plasma
