// SPDX-License-Identifier: Apache-2.0
#include "plasma/idle_trimmer.h"

#include <algorithm>

namespace skyray::plasma {
namespace {

// Between two pieces, so that clients are served in between.
constexpr int64_t kPauseMs = 10;

}  // namespace

void IdleTrimmer::Observe(bool warm_memory_is_free, int64_t now_ms) {
  if (after_ms_ <= 0 || !warm_memory_is_free) {
    deadline_ms_.reset();
  } else if (!deadline_ms_) {
    // It has become free just now.
    quiet_since_ms_ = std::max(quiet_since_ms_, now_ms);
    deadline_ms_ = now_ms + after_ms_;
  }
}

bool IdleTrimmer::MayGiveBack(int64_t now_ms) {
  if (!deadline_ms_ || now_ms < *deadline_ms_) return false;
  if (now_ms - quiet_since_ms_ < after_ms_) {
    deadline_ms_ = quiet_since_ms_ + after_ms_;
    return false;
  }
  deadline_ms_ = now_ms + kPauseMs;
  return true;
}

}  // namespace skyray::plasma
