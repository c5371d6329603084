// SPDX-License-Identifier: Apache-2.0
#include "plasma/object_lifecycle_manager.h"

#include <algorithm>
#include <limits>

#include "common/logging.h"

namespace skyray::plasma {
namespace {

constexpr size_t kHoldersNamedMax = 3;

Status NotFound(const ObjectId& id) {
  return Status(ErrorCode::ObjectNotFound, "no object " + id.Hex() + " in the store");
}

Status AlreadySealed(const ObjectId& id) {
  return Status(ErrorCode::ObjectSealed, "object " + id.Hex() + " is sealed already");
}

Status Exists(const ObjectId& id) {
  return Status(ErrorCode::ObjectExists, "object " + id.Hex() + " exists in the store");
}

Status NotRestoring(const ObjectId& id) {
  return Status(ErrorCode::ObjectNotFound, "object " + id.Hex() + " is not being restored");
}

Status NoRoom(const NewObject& object) {
  return Status(ErrorCode::OutOfMemory, "no room for object " + object.id.Hex() + " of " +
                                            std::to_string(object.total_bytes()) + " bytes");
}

std::string Bytes(uint64_t bytes) { return std::to_string(bytes) + " bytes"; }

void Count(ObjectCount& total, uint64_t bytes) {
  total.objects += 1;
  total.bytes += bytes;
}

Allocation WholeSegment(uint32_t segment, const NewObject& object) {
  return {segment, 0, Allocator::Rounded(object.total_bytes())};
}

}  // namespace

ObjectLifecycleManager::ObjectLifecycleManager(Allocator& allocator) : allocator_(allocator) {}

EvictionPolicy* ObjectLifecycleManager::ListOf(const LocalObject& object) {
  if (object.evictable()) return &evictable_;
  return object.spillable() ? &spillable_ : nullptr;
}

template <class Change>
void ObjectLifecycleManager::Update(LocalObject& object, Change change) {
  stats_.Remove(object);
  EvictionPolicy* before = ListOf(object);
  change(object);
  stats_.Add(object);
  EvictionPolicy* after = ListOf(object);
  if (before == after) return;
  if (before != nullptr) before->Remove(object);
  if (after != nullptr) after->Add(object);
}

Result<const LocalObject*> ObjectLifecycleManager::Create(const NewObject& object, int64_t now_ms) {
  if (table_.Find(object.id) != nullptr) return Exists(object.id);
  const auto allocation = MakeRoom(object.total_bytes());
  if (!allocation) return NoRoom(object);
  return Insert(object, *allocation, now_ms);
}

Result<const LocalObject*> ObjectLifecycleManager::CreateInFallback(const NewObject& object,
                                                                    uint32_t segment,
                                                                    int64_t now_ms) {
  if (table_.Find(object.id) != nullptr) return Exists(object.id);
  return Insert(object, WholeSegment(segment, object), now_ms);
}

const LocalObject* ObjectLifecycleManager::Insert(const NewObject& object,
                                                  const Allocation& allocation, int64_t now_ms) {
  LocalObject& created = table_.Insert(object);
  created.allocation = allocation;
  created.created_ms = now_ms;
  stats_.Add(created);
  Count(totals_.created, allocation.bytes);
  Owned& owned = owners_[object.owner];
  created.owner_next = owned.first;
  if (owned.first != kNoObject) table_.at(owned.first).owner_previous = created.index;
  owned.first = created.index;
  owned.objects += 1;
  CountFor(created, true);
  return &created;
}

std::optional<Allocation> ObjectLifecycleManager::MakeRoom(uint64_t total_bytes) {
  const uint64_t evictable = stats().evictable.bytes - stats().fallback_evictable.bytes;
  const uint64_t in_the_way = allocator_.allocated_bytes() - evictable;
  // Nothing is evicted for a create that evicting everything would not help.
  if (Allocator::Rounded(total_bytes) > allocator_.capacity_bytes() - in_the_way) {
    return std::nullopt;
  }
  auto allocation = allocator_.Allocate(total_bytes);
  while (!allocation) {
    LocalObject* victim = evictable_.Oldest();
    if (victim == nullptr) return std::nullopt;
    EvictOne(*victim);
    allocation = allocator_.Allocate(total_bytes);
  }
  return allocation;
}

Result<const LocalObject*> ObjectLifecycleManager::Seal(const ObjectId& id, int64_t now_ms) {
  LocalObject* object = table_.Find(id);
  if (object == nullptr) return NotFound(id);
  if (object->sealed()) return AlreadySealed(id);
  if (!object->in_memory()) {
    return Status(ErrorCode::ObjectNotSealed, "object " + id.Hex() + " has no memory yet");
  }
  const bool restored = object->state == ObjectState::Restoring;
  if (restored) Count(totals_.restored, object->allocation.bytes);
  Update(*object, [&](LocalObject& sealed) {
    sealed.state = ObjectState::Sealed;
    if (restored) {
      sealed.object.source = ObjectSource::Storage;
    } else {
      constexpr int64_t kMost = std::numeric_limits<uint32_t>::max();
      sealed.construct_ms =
          static_cast<uint32_t>(std::clamp<int64_t>(now_ms - sealed.created_ms, 0, kMost));
    }
  });
  return object;
}

Status ObjectLifecycleManager::Abort(const ObjectId& id) {
  LocalObject* object = table_.Find(id);
  if (object == nullptr) return NotFound(id);
  if (object->state != ObjectState::Created) return AlreadySealed(id);
  Free(*object);
  return Status();
}

Status ObjectLifecycleManager::Delete(const ObjectId& id) {
  LocalObject* object = table_.Find(id);
  if (object == nullptr) return NotFound(id);
  if (object->references == 0) {
    Free(*object);
  } else {
    object->delete_when_released = true;
  }
  return Status();
}

void ObjectLifecycleManager::DeleteOwnedBy(const WorkerId& owner) {
  const auto found = owners_.find(owner);
  ObjectIndex at = found == owners_.end() ? kNoObject : found->second.first;
  while (at != kNoObject) {
    LocalObject& object = table_.at(at);
    at = object.owner_next;
    if (object.references == 0) {
      Free(object);
    } else {
      object.delete_when_released = true;
    }
  }
}

void ObjectLifecycleManager::AddReference(ObjectIndex object) {
  Update(table_.at(object), [](LocalObject& used) { ++used.references; });
}

void ObjectLifecycleManager::RemoveReferences(ObjectIndex object, uint32_t count) {
  LocalObject& released = table_.at(object);
  SKYRAY_CHECK(released.index == object && released.references >= count);
  Update(released, [count](LocalObject& used) { used.references -= count; });
  if (released.references == 0 && released.delete_when_released) Free(released);
}

uint64_t ObjectLifecycleManager::Evict(uint64_t bytes) {
  uint64_t evicted = 0;
  while (evicted < bytes) {
    LocalObject* victim = evictable_.Oldest();
    if (victim == nullptr) break;
    evicted += victim->allocation.bytes;
    EvictOne(*victim);
  }
  return evicted;
}

std::vector<const LocalObject*> ObjectLifecycleManager::TakeSpillable(uint64_t bytes_min,
                                                                      size_t objects_max) {
  std::vector<const LocalObject*> taken;
  uint64_t bytes = 0;
  while (bytes < bytes_min && taken.size() < objects_max) {
    LocalObject* oldest = spillable_.Oldest();
    if (oldest == nullptr) break;
    bytes += oldest->allocation.bytes;
    Update(*oldest, [](LocalObject& object) {
      object.spilling = true;
      ++object.references;
    });
    taken.push_back(oldest);
  }
  return taken;
}

bool ObjectLifecycleManager::SpillDone(const ObjectId& id) {
  LocalObject* object = table_.Find(id);
  if (object == nullptr || !object->spilling) return false;
  Count(totals_.spilled, object->allocation.bytes);
  Update(*object, [](LocalObject& spilled) {
    spilled.spilling = false;
    spilled.stored = true;
  });
  RemoveReference(object->index);
  return true;
}

bool ObjectLifecycleManager::SpillFailed(const ObjectId& id) {
  LocalObject* object = table_.Find(id);
  if (object == nullptr || !object->spilling) return false;
  object->spilling = false;
  RemoveReference(object->index);
  return true;
}

void ObjectLifecycleManager::BeginRestore(ObjectIndex object) {
  LocalObject& wanted = table_.at(object);
  SKYRAY_CHECK(wanted.state == ObjectState::Spilled && wanted.references == 0);
  wanted.state = ObjectState::Restoring;
  wanted.references = 1;
}

LocalObject* ObjectLifecycleManager::FindRestoring(const ObjectId& id) {
  LocalObject* object = table_.Find(id);
  return object == nullptr || object->state != ObjectState::Restoring ? nullptr : object;
}

Result<const LocalObject*> ObjectLifecycleManager::GiveMemory(const ObjectId& id) {
  LocalObject* object = FindRestoring(id);
  if (object == nullptr || object->in_memory()) return NotRestoring(id);
  // What is evicted for it has memory, and so is another object.
  const auto allocation = MakeRoom(object->object.total_bytes());
  if (!allocation) return NoRoom(object->object);
  Update(*object, [&](LocalObject& restored) { restored.allocation = *allocation; });
  CountFor(*object, true);
  return object;
}

Result<const LocalObject*> ObjectLifecycleManager::GiveFallback(const ObjectId& id,
                                                                uint32_t segment) {
  LocalObject* object = FindRestoring(id);
  if (object == nullptr || object->in_memory()) return NotRestoring(id);
  Update(*object, [&](LocalObject& restored) {
    restored.allocation = WholeSegment(segment, restored.object);
  });
  CountFor(*object, true);
  return object;
}

bool ObjectLifecycleManager::GiveUpRestore(const ObjectId& id) {
  LocalObject* object = FindRestoring(id);
  if (object == nullptr) return false;
  if (object->in_memory()) Unload(*object);
  object->state = ObjectState::Spilled;
  object->references = 0;
  if (object->delete_when_released) Free(*object);
  return true;
}

bool ObjectLifecycleManager::Lose(const ObjectId& id) {
  LocalObject* object = table_.Find(id);
  if (object == nullptr) return false;
  if (object->spilling) {
    object->spilling = false;
    object->delete_when_released = true;
    RemoveReference(object->index);
    return true;
  }
  if (object->state != ObjectState::Restoring && object->state != ObjectState::Spilled) {
    return false;
  }
  Free(*object);
  return true;
}

bool ObjectLifecycleManager::CouldEverFit(uint64_t total_bytes) const {
  // Primary copies nobody reads stay until their owners delete them, which may
  // be in the owners' sockets already; what is larger than the store never fits.
  return Allocator::Rounded(total_bytes) <= allocator_.capacity_bytes();
}

std::string ObjectLifecycleManager::DescribeUse() const {
  std::vector<std::pair<WorkerId, ObjectCount>> holders;
  holders.reserve(owners_.size());
  for (const auto& [owner, owned] : owners_) holders.emplace_back(owner, owned.in_memory);
  const size_t named = std::min(holders.size(), kHoldersNamedMax);
  std::partial_sort(holders.begin(), holders.begin() + static_cast<ptrdiff_t>(named), holders.end(),
                    [](const auto& a, const auto& b) { return a.second.bytes > b.second.bytes; });
  std::string text = "the store holds " + Bytes(allocator_.allocated_bytes()) + " of " +
                     Bytes(allocator_.capacity_bytes()) + " (" + Bytes(stats().in_use.bytes) +
                     " in use, " + Bytes(stats().spillable.bytes) + " primary, " +
                     Bytes(stats().evictable.bytes) + " evictable; largest free range " +
                     Bytes(allocator_.largest_free_bytes()) + ")";
  if (stats().fallback.objects > 0) {
    text += " and " + Bytes(stats().fallback.bytes) + " of fallback memory on disk";
  }
  if (named > 0) text += "; largest holders:";
  for (size_t i = 0; i < named; ++i) {
    text += (i == 0 ? " worker " : ", worker ") + holders[i].first.Hex().substr(0, 16) + " with " +
            Bytes(holders[i].second.bytes) + " in " + std::to_string(holders[i].second.objects) +
            " objects";
  }
  return text;
}

void ObjectLifecycleManager::EvictOne(LocalObject& object) {
  Count(totals_.evicted, object.allocation.bytes);
  if (object.stored) {
    Unload(object);
  } else {
    Free(object);
  }
}

// Takes its memory away; it is only on disk from then on.
void ObjectLifecycleManager::Unload(LocalObject& object) {
  FreeMemory(object);
  CountFor(object, false);
  Update(object, [](LocalObject& spilled) {
    spilled.allocation = {};
    if (spilled.sealed()) spilled.state = ObjectState::Spilled;
  });
}

void ObjectLifecycleManager::FreeMemory(const LocalObject& object) {
  if (object.in_fallback()) {
    emptied_.push_back(object.allocation.segment);
  } else {
    allocator_.Free(object.allocation);
  }
}

void ObjectLifecycleManager::Free(LocalObject& object) {
  stats_.Remove(object);
  if (EvictionPolicy* list = ListOf(object)) list->Remove(object);
  if (object.in_memory()) {
    FreeMemory(object);
    CountFor(object, false);
  }
  const auto owned = owners_.find(object.object.owner);
  if (object.owner_previous == kNoObject) {
    owned->second.first = object.owner_next;
  } else {
    table_.at(object.owner_previous).owner_next = object.owner_next;
  }
  if (object.owner_next != kNoObject) {
    table_.at(object.owner_next).owner_previous = object.owner_previous;
  }
  if (--owned->second.objects == 0) owners_.erase(owned);
  // Of one that was never sealed nobody has heard.
  if (object.state != ObjectState::Created) freed_.push_back({object.object, object.stored});
  table_.Erase(object.index);
}

void ObjectLifecycleManager::CountFor(const LocalObject& object, bool in_memory) {
  ObjectCount& count = owners_.at(object.object.owner).in_memory;
  const uint64_t bytes = object.allocation.bytes;
  count.objects += in_memory ? 1 : uint64_t(-1);
  count.bytes += in_memory ? bytes : -bytes;
}

}  // namespace skyray::plasma
