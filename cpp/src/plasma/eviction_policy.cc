// SPDX-License-Identifier: Apache-2.0
#include "plasma/eviction_policy.h"

#include "common/logging.h"

namespace skyray::plasma {

void EvictionPolicy::Add(const ObjectId& id) {
  const bool added = places_.emplace(id, by_age_.insert(by_age_.end(), id)).second;
  SKYRAY_CHECK(added);
}

void EvictionPolicy::Remove(const ObjectId& id) {
  const auto found = places_.find(id);
  SKYRAY_CHECK(found != places_.end());
  by_age_.erase(found->second);
  places_.erase(found);
}

std::optional<ObjectId> EvictionPolicy::Oldest() const {
  if (by_age_.empty()) return std::nullopt;
  return by_age_.front();
}

}  // namespace skyray::plasma
