// SPDX-License-Identifier: Apache-2.0
// Which object goes first when room is wanted: the least recently used of those
// that are sealed, unreferenced and not primary.
//
// Threading: not thread-safe; lives on the store's loop. Ownership: values.
// Errors: adding twice, or removing what is not there, is a bug (REQUIRES).
#pragma once

#include <list>
#include <optional>
#include <unordered_map>

#include "common/id.h"

namespace skyray::plasma {

class EvictionPolicy {
 public:
  // `id` may be evicted from now on; it is the most recently used.
  // REQUIRES: it is not there.
  void Add(const ObjectId& id);
  // `id` is in use again, or gone. REQUIRES: it is there.
  void Remove(const ObjectId& id);
  // The one to evict next.
  std::optional<ObjectId> Oldest() const;
  size_t size() const { return places_.size(); }

 private:
  std::list<ObjectId> by_age_;  // Oldest first.
  std::unordered_map<ObjectId, std::list<ObjectId>::iterator> places_;
};

}  // namespace skyray::plasma
