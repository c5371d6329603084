// SPDX-License-Identifier: Apache-2.0
#include "plasma/copy_choice.h"

#include <algorithm>
#include <limits>

namespace skyray::plasma {
namespace {

// Of a hundred: what is less than this faster may be so by chance.
constexpr int64_t kClearlyFasterPercent = 4;

}  // namespace

CopyChoice::CopyChoice(size_t candidates)
    : best_ns_(candidates, std::numeric_limits<int64_t>::max()) {}

void CopyChoice::Took(int64_t nanoseconds) {
  int64_t& best = best_ns_[next()];
  best = std::min(best, nanoseconds);
  ++trials_;
}

std::optional<size_t> CopyChoice::chosen() const {
  if (trials_ < kTrialsEach * best_ns_.size()) return std::nullopt;
  const auto fastest = std::min_element(best_ns_.begin(), best_ns_.end());
  // (A clock that stands still says nothing.)
  const int64_t enough = best_ns_[0] - best_ns_[0] / 100 * kClearlyFasterPercent;
  return *fastest < enough ? static_cast<size_t>(fastest - best_ns_.begin()) : 0;
}

}  // namespace skyray::plasma
