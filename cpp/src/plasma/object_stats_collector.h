// SPDX-License-Identifier: Apache-2.0
// How many objects and bytes the store holds, by what could be done with them.
// Kept up to date at each change instead of counted when asked; the totals
// always equal a recount.
//
// Threading: not thread-safe; lives on the store's loop. Ownership: values.
// Errors: none. REQUIRES: each object counted out was counted in, unchanged since.
#pragma once

#include <cstdint>

#include "plasma/local_object.h"

namespace skyray::plasma {

struct ObjectCount {
  uint64_t objects = 0;
  uint64_t bytes = 0;  // As allocated.
  friend bool operator==(const ObjectCount&, const ObjectCount&) = default;
};

// Each object is in `spilled` or in `all`, and of those in exactly one of
// unsealed, sealed_in_use, spillable, evictable and stranded. The last three
// are counted across: `in_use` is what has references, sealed or not.
struct ObjectStats {
  ObjectCount all;  // In memory.
  ObjectCount unsealed;
  ObjectCount sealed_in_use;
  ObjectCount spillable;  // Primary, nobody reads it.
  ObjectCount evictable;  // Not primary or stored, nobody reads it.
  ObjectCount stranded;   // Primary, nobody reads it, but it is in fallback memory.
  ObjectCount spilled;    // On disk only.
  ObjectCount in_use;
  ObjectCount fallback;  // In fallback memory.
  ObjectCount fallback_evictable;
  friend bool operator==(const ObjectStats&, const ObjectStats&) = default;
};

class ObjectStatsCollector {
 public:
  // Around every change: Remove(object), the change, Add(object).
  void Add(const LocalObject& object);
  void Remove(const LocalObject& object);
  const ObjectStats& stats() const { return stats_; }

 private:
  template <class Change>
  void Count(const LocalObject& object, Change change);
  ObjectStats stats_;
};

}  // namespace skyray::plasma
