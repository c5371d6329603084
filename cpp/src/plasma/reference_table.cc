// SPDX-License-Identifier: Apache-2.0
#include "plasma/reference_table.h"

#include <algorithm>
#include <utility>

#include "common/logging.h"

namespace skyray::plasma {
namespace {

constexpr size_t kSlotsMin = 8;

}  // namespace

const Reference* ReferenceTable::Find(ObjectIndex object) const {
  if (slots_.empty()) return nullptr;
  const Reference& slot = slots_[SlotOf(object)];
  return slot.object == object ? &slot : nullptr;
}

Reference* ReferenceTable::Find(ObjectIndex object) {
  return const_cast<Reference*>(std::as_const(*this).Find(object));
}

Reference& ReferenceTable::At(ObjectIndex object) {
  if (Reference* found = Find(object)) return *found;
  if ((size_ + 1) * 4 > slots_.size() * 3) Resize(std::max(kSlotsMin, slots_.size() * 2));
  ++size_;
  Reference& slot = slots_[SlotOf(object)];
  slot.object = object;
  return slot;
}

void ReferenceTable::Erase(ObjectIndex object) {
  SKYRAY_CHECK(Find(object) != nullptr);
  const size_t mask = slots_.size() - 1;
  size_t hole = SlotOf(object);
  // Those behind the hole that would be looked for across it move up.
  for (size_t at = (hole + 1) & mask; slots_[at].object != kNoObject; at = (at + 1) & mask) {
    if (((at - HomeOf(slots_[at].object)) & mask) < ((at - hole) & mask)) continue;
    slots_[hole] = slots_[at];
    hole = at;
  }
  slots_[hole] = Reference();
  --size_;
  // What a burst took is given back when little of it is left.
  if (slots_.size() > kSlotsMin && size_ * 8 < slots_.size()) Resize(slots_.size() / 2);
}

size_t ReferenceTable::HomeOf(ObjectIndex object) const {
  // Neighbours in the store's table come apart, so that runs stay short.
  return static_cast<size_t>((object * 0x9e3779b97f4a7c15ull) >> 32) & (slots_.size() - 1);
}

size_t ReferenceTable::SlotOf(ObjectIndex object) const {
  const size_t mask = slots_.size() - 1;
  size_t place = HomeOf(object);
  while (slots_[place].object != object && slots_[place].object != kNoObject) {
    place = (place + 1) & mask;
  }
  return place;
}

void ReferenceTable::Resize(size_t slots) {
  const std::vector<Reference> before = std::exchange(slots_, std::vector<Reference>(slots));
  for (const Reference& slot : before) {
    if (slot.object != kNoObject) slots_[SlotOf(slot.object)] = slot;
  }
}

}  // namespace skyray::plasma
