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
constexpr uint32_t kPenaltyMax = 16384;
// So many looks without a slow yield halve the penalty.
constexpr uint32_t kGoodLooks = 1024;

}  // namespace

void LookAround::Begin() {
  if (skipped_ > 0) {
    --skipped_;
    until_ = Clock::time_point::min();
    return;
  }
  if (penalty_ > 0 && ++good_looks_ >= kGoodLooks) {
    good_looks_ = 0;
    penalty_ /= 2;
  }
  until_ = Clock::now() + kLook;
}

bool LookAround::Again() {
  if (until_ == Clock::time_point::min()) return false;
  const auto before = Clock::now();
  if (before >= until_) return false;
  sched_yield();
  if (Clock::now() - before < kSlowYield) return true;
  good_looks_ = 0;
  penalty_ = std::clamp(penalty_ * 2, kPenaltyMin, kPenaltyMax);
  skipped_ = penalty_;
  return true;  // The answer had time to come: one last look.
}

}  // namespace skyray::ipc
