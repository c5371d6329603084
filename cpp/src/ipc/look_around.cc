// SPDX-License-Identifier: Apache-2.0
#include "ipc/look_around.h"

#include <sched.h>

#include <algorithm>

namespace skyray::ipc {
namespace {

// A peer that is asked, answers and asks again is back within this; waking a sleeping
// thread takes about as long.
constexpr auto kLook = std::chrono::microseconds(20);
// A yield that takes longer let somebody else run.
constexpr auto kSlowYield = std::chrono::microseconds(100);
constexpr uint32_t kPenaltyMin = 64;
constexpr uint32_t kPenaltyMax = 4096;

}  // namespace

void LookAround::Begin() {
  if (skipped_ > 0) {
    --skipped_;
    until_ = Clock::time_point::min();
    return;
  }
  until_ = Clock::now() + kLook;
}

bool LookAround::Again() {
  if (until_ == Clock::time_point::min()) return false;
  const auto before = Clock::now();
  if (before >= until_) return false;
  sched_yield();
  if (Clock::now() - before < kSlowYield) {
    if (penalty_ > 0) --penalty_;
    return true;
  }
  penalty_ = std::clamp(penalty_ * 2, kPenaltyMin, kPenaltyMax);
  skipped_ = penalty_;
  return true;  // The answer had time to come: one last look.
}

}  // namespace skyray::ipc
