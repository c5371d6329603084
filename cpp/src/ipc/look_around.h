// SPDX-License-Identifier: Apache-2.0
// A bounded look for an answer that is nearly here, before one sleeps for it.
//
//   for (look.Begin(); !Found();) {
//     if (!look.Again()) return Sleep();
//   }
//
// Looking saves the time to wake up. Between looks the core is yielded, so that whoever
// is to answer can have it. Where others want it too, a yield costs their time slice,
// milliseconds instead of microseconds; then nobody looks for a while, for a sleeper
// that is woken runs at once.
//
// Threading: one caller at a time. Ownership: none. Errors: none.
#pragma once

#include <chrono>
#include <cstdint>

namespace skyray::ipc {

class LookAround {
 public:
  // From now on one may look.
  void Begin();
  // Gives the core to others for a moment; false: one should sleep now.
  bool Again();

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point until_;
  uint32_t skipped_ = 0;  // Turns left in which nobody looks.
  uint32_t penalty_ = 0;  // How many the last slow yield cost.
  uint32_t good_looks_ = 0;
};

}  // namespace skyray::ipc
