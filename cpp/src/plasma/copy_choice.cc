// SPDX-License-Identifier: Apache-2.0
#include "plasma/copy_choice.h"

#include <algorithm>
#include <cstddef>

namespace skyray::plasma {
namespace {

// Of a hundred: what is less than this faster may be so by chance.
constexpr int64_t kClearlyFasterPercent = 4;

int64_t Median(std::vector<int64_t> times) {
  const auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
  std::nth_element(times.begin(), middle, times.end());
  return *middle;
}

}  // namespace

CopyChoice::CopyChoice(size_t candidates) : times_ns_(candidates) {}

void CopyChoice::Took(int64_t nanoseconds) {
  times_ns_[next()].push_back(nanoseconds);
  ++trials_;
}

std::optional<size_t> CopyChoice::chosen() const {
  if (trials_ < kTrialsEach * times_ns_.size()) return std::nullopt;
  std::vector<int64_t> medians;
  for (const auto& times : times_ns_) medians.push_back(Median(times));
  const auto fastest = std::min_element(medians.begin(), medians.end());
  // (A clock that stands still says nothing.)
  const int64_t enough = medians[0] - medians[0] / 100 * kClearlyFasterPercent;
  return *fastest < enough ? static_cast<size_t>(fastest - medians.begin()) : 0;
}

}  // namespace skyray::plasma
