// SPDX-License-Identifier: Apache-2.0
// Which object goes first when room is wanted: the least recently used of those
// that may go. The store keeps two such lists, of what may be evicted and of
// what may be spilled; the links are in the objects, so an object is in one at most.
//
// Threading: not thread-safe; lives on the store's loop. Ownership: none: the
// table owns the objects and must outlive *this.
// Errors: adding twice, or removing what is not there, is a bug (REQUIRES).
#pragma once

#include "plasma/object_table.h"

namespace skyray::plasma {

class EvictionPolicy {
 public:
  explicit EvictionPolicy(ObjectTable& table) : table_(table) {}

  // It may go from now on, and is the most recently used. REQUIRES: it is in no list.
  void Add(LocalObject& object);
  // It is in use again, or gone. REQUIRES: it is here.
  void Remove(LocalObject& object);
  // The one to go next; null if there is none.
  LocalObject* Oldest() { return oldest_ == kNoObject ? nullptr : &table_.at(oldest_); }
  size_t size() const { return size_; }

 private:
  ObjectTable& table_;
  ObjectIndex oldest_ = kNoObject;
  ObjectIndex newest_ = kNoObject;
  size_t size_ = 0;
};

}  // namespace skyray::plasma
