// SPDX-License-Identifier: Apache-2.0
// All objects of a store, found by id or by index: a slab of LocalObjects, and
// an open-addressing index of eight bytes a slot over it. A million small
// objects cost what they must and no node of a map each.
//
// Threading:  not thread-safe; lives on the store's loop.
// Ownership:  owns the objects. References to one stay good until it is erased.
// Errors:     inserting twice, or erasing what is not there, is a bug (REQUIRES).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "plasma/local_object.h"

namespace skyray::plasma {

class ObjectTable {
 public:
  ObjectTable();

  // Null if there is none.
  LocalObject* Find(const ObjectId& id);
  const LocalObject* Find(const ObjectId& id) const;
  // REQUIRES: there is none with that id.
  LocalObject& Insert(const NewObject& object);
  // REQUIRES: it is there.
  void Erase(ObjectIndex index);

  // REQUIRES: it is there.
  LocalObject& at(ObjectIndex index) { return chunks_[index / kChunk]->at(index % kChunk); }
  const LocalObject& at(ObjectIndex index) const {
    return chunks_[index / kChunk]->at(index % kChunk);
  }
  // Null if nothing is there. REQUIRES: index < end_index().
  const LocalObject* Peek(ObjectIndex index) const {
    const LocalObject& object = at(index);
    return object.index == index ? &object : nullptr;
  }
  // Every object's index is below this.
  ObjectIndex end_index() const { return end_; }
  size_t size() const { return size_; }

 private:
  static constexpr size_t kChunk = 512;
  // `tag` is 32 bits of the id's hash: where to begin to look, and what to compare first.
  struct Slot {
    uint32_t tag = 0;
    ObjectIndex index = kNoObject;
  };
  static uint32_t TagOf(const ObjectId& id);
  // The slot of `id`, or the empty one where the search for it ends.
  size_t SlotOf(const ObjectId& id, uint32_t tag) const;
  void Grow();

  std::vector<std::unique_ptr<std::array<LocalObject, kChunk>>> chunks_;
  ObjectIndex end_ = 0;
  ObjectIndex free_ = kNoObject;  // Erased ones, linked by `newer`.
  std::vector<Slot> slots_;       // A power of two, at most three quarters full.
  size_t size_ = 0;
};

}  // namespace skyray::plasma
