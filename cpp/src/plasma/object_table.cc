// SPDX-License-Identifier: Apache-2.0
#include "plasma/object_table.h"

#include <utility>

#include "common/logging.h"

namespace skyray::plasma {
namespace {

constexpr size_t kSlotsFirst = 64;

}  // namespace

ObjectTable::ObjectTable() : slots_(kSlotsFirst) {}

const LocalObject* ObjectTable::Find(const ObjectId& id) const {
  const Slot& slot = slots_[SlotOf(id, TagOf(id))];
  return slot.index == kNoObject ? nullptr : &at(slot.index);
}

LocalObject* ObjectTable::Find(const ObjectId& id) {
  return const_cast<LocalObject*>(std::as_const(*this).Find(id));
}

LocalObject& ObjectTable::Insert(const NewObject& object) {
  if ((size_ + 1) * 4 > slots_.size() * 3) Grow();
  const uint32_t tag = TagOf(object.id);
  Slot& slot = slots_[SlotOf(object.id, tag)];
  SKYRAY_CHECK(slot.index == kNoObject);
  ObjectIndex index = free_;
  if (index == kNoObject) {
    SKYRAY_CHECK(end_ < kNoObject);
    if (end_ % kChunk == 0) chunks_.push_back(std::make_unique<std::array<LocalObject, kChunk>>());
    index = end_++;
  } else {
    free_ = at(index).newer;
  }
  LocalObject& inserted = at(index);
  inserted = LocalObject();
  inserted.object = object;
  inserted.index = index;
  slot = {tag, index};
  ++size_;
  return inserted;
}

void ObjectTable::Erase(ObjectIndex index) {
  LocalObject& object = at(index);
  SKYRAY_CHECK(object.index == index);
  const size_t mask = slots_.size() - 1;
  size_t hole = SlotOf(object.object.id, TagOf(object.object.id));
  SKYRAY_CHECK(slots_[hole].index == index);
  // Those behind the hole that would be looked for across it move up.
  for (size_t at = (hole + 1) & mask; slots_[at].index != kNoObject; at = (at + 1) & mask) {
    const size_t home = slots_[at].tag & mask;
    if (((at - home) & mask) < ((at - hole) & mask)) continue;
    slots_[hole] = slots_[at];
    hole = at;
  }
  slots_[hole] = Slot();
  object = LocalObject();
  object.newer = free_;
  free_ = index;
  --size_;
}

uint32_t ObjectTable::TagOf(const ObjectId& id) { return static_cast<uint32_t>(id.Hash()); }

size_t ObjectTable::SlotOf(const ObjectId& id, uint32_t tag) const {
  const size_t mask = slots_.size() - 1;
  for (size_t place = tag & mask;; place = (place + 1) & mask) {
    const Slot& slot = slots_[place];
    if (slot.index == kNoObject) return place;
    if (slot.tag == tag && at(slot.index).object.id == id) return place;
  }
}

void ObjectTable::Grow() {
  const std::vector<Slot> before = std::exchange(slots_, std::vector<Slot>(slots_.size() * 2));
  const size_t mask = slots_.size() - 1;
  for (const Slot& slot : before) {
    if (slot.index == kNoObject) continue;
    size_t place = slot.tag & mask;
    while (slots_[place].index != kNoObject) place = (place + 1) & mask;
    slots_[place] = slot;
  }
}

}  // namespace skyray::plasma
