// SPDX-License-Identifier: Apache-2.0
// What one client refers to, and how often: eight bytes a slot, open addressing.
// A client may hold a million objects.
//
// Threading: not thread-safe; lives on the store's loop. Ownership: values.
// Errors: erasing what is not there is a bug (REQUIRES). A pointer is good until
// the next change.
#pragma once

#include <cstdint>
#include <vector>

#include "plasma/local_object.h"

namespace skyray::plasma {

constexpr uint32_t kReferenceCountMax = (1u << 31) - 1;

struct Reference {
  ObjectIndex object = kNoObject;
  uint32_t count : 31 = 0;
  uint32_t creating : 1 = 0;  // Its one reference is the creator's.
};
static_assert(sizeof(Reference) == 8);

class ReferenceTable {
 public:
  // Null if there is none.
  Reference* Find(ObjectIndex object);
  const Reference* Find(ObjectIndex object) const;
  // That of `object`, made with a count of 0 if there is none.
  Reference& At(ObjectIndex object);
  // REQUIRES: it is there.
  void Erase(ObjectIndex object);
  size_t size() const { return size_; }

  template <class Visit>
  void ForEach(Visit visit) const {
    for (const Reference& slot : slots_) {
      if (slot.object != kNoObject) visit(slot);
    }
  }

 private:
  size_t HomeOf(ObjectIndex object) const;
  // Where `object` is, or would be. REQUIRES: there are slots.
  size_t SlotOf(ObjectIndex object) const;
  void Resize(size_t slots);

  std::vector<Reference> slots_;  // A power of two, or none at all.
  size_t size_ = 0;
};

}  // namespace skyray::plasma
