// SPDX-License-Identifier: Apache-2.0
#include "plasma/eviction_policy.h"

#include "common/logging.h"

namespace skyray::plasma {

void EvictionPolicy::Add(LocalObject& object) {
  SKYRAY_CHECK(object.older == kNoObject && object.newer == kNoObject && oldest_ != object.index);
  object.older = newest_;
  (newest_ == kNoObject ? oldest_ : table_.at(newest_).newer) = object.index;
  newest_ = object.index;
  ++size_;
}

void EvictionPolicy::Remove(LocalObject& object) {
  // Its neighbours, or the list's ends, must know of it.
  ObjectIndex& forward = object.older == kNoObject ? oldest_ : table_.at(object.older).newer;
  ObjectIndex& backward = object.newer == kNoObject ? newest_ : table_.at(object.newer).older;
  SKYRAY_CHECK(forward == object.index && backward == object.index);
  forward = object.newer;
  backward = object.older;
  object.older = object.newer = kNoObject;
  --size_;
}

}  // namespace skyray::plasma
