// SPDX-License-Identifier: Apache-2.0
#include "core_worker/handed_back.h"

#include <algorithm>

namespace skyray::core_worker {

uint64_t HandedBack::HandedTo(const WorkerId& owner) const {
  const auto found = handed_.find(owner);
  return found == handed_.end() ? 0 : found->second;
}

std::vector<HandedBack::Removal> HandedBack::Took(const WorkerId& worker) {
  Taken& taken = taken_[worker];
  ++taken.count;
  const auto due = std::find_if(taken.deferred.begin(), taken.deferred.end(),
                                [&](const Deferred& one) { return one.after > taken.count; });
  std::vector<Removal> removals;
  for (auto one = taken.deferred.begin(); one != due; ++one) removals.push_back(one->removal);
  taken.deferred.erase(taken.deferred.begin(), due);
  return removals;
}

bool HandedBack::Defer(const WorkerId& worker, const Removal& removal, uint64_t after) {
  if (after == 0) return false;
  Taken& taken = taken_[worker];
  if (after <= taken.count) return false;
  // The worker counts upwards; what does not waits for those before it.
  if (!taken.deferred.empty()) after = std::max(after, taken.deferred.back().after);
  taken.deferred.push_back({after, removal});
  return true;
}

void HandedBack::Forget(const WorkerId& peer) {
  handed_.erase(peer);
  taken_.erase(peer);
}

}  // namespace skyray::core_worker
