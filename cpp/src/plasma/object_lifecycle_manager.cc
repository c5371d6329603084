// SPDX-License-Identifier: Apache-2.0
#include "plasma/object_lifecycle_manager.h"

#include <algorithm>

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

Status NoRoom(const NewObject& object) {
  return Status(ErrorCode::OutOfMemory, "no room for object " + object.id.Hex() + " of " +
                                            std::to_string(object.data_bytes) + " bytes");
}

std::string Bytes(uint64_t bytes) { return std::to_string(bytes) + " bytes"; }

}  // namespace

ObjectLifecycleManager::ObjectLifecycleManager(Allocator& allocator) : allocator_(allocator) {}

template <class Change>
void ObjectLifecycleManager::Update(LocalObject& object, Change change) {
  stats_.Remove(object);
  const bool was_evictable = object.evictable();
  change(object);
  stats_.Add(object);
  if (object.evictable() == was_evictable) return;
  if (was_evictable) {
    eviction_policy_.Remove(object.object.id);
  } else {
    eviction_policy_.Add(object.object.id);
  }
}

Result<const LocalObject*> ObjectLifecycleManager::Create(const NewObject& object) {
  if (objects_.contains(object.id)) {
    return Status(ErrorCode::ObjectExists, "object " + object.id.Hex() + " exists in the store");
  }
  const uint64_t in_the_way = allocator_.allocated_bytes() - stats().evictable.bytes;
  // Nothing is evicted for a create that evicting everything would not help.
  if (Allocator::Rounded(object.data_bytes) > allocator_.capacity_bytes() - in_the_way) {
    return NoRoom(object);
  }
  auto allocation = allocator_.Allocate(object.data_bytes);
  while (!allocation) {
    const auto victim = eviction_policy_.Oldest();
    if (!victim) return NoRoom(object);
    Free(objects_.find(*victim));
    allocation = allocator_.Allocate(object.data_bytes);
  }
  LocalObject& created = objects_[object.id];
  created.object = object;
  created.allocation = *allocation;
  stats_.Add(created);
  by_owner_[object.owner].insert(object.id);
  return &created;
}

Result<const LocalObject*> ObjectLifecycleManager::Seal(const ObjectId& id) {
  const auto found = objects_.find(id);
  if (found == objects_.end()) return NotFound(id);
  if (found->second.sealed()) return AlreadySealed(id);
  Update(found->second, [](LocalObject& object) { object.state = ObjectState::Sealed; });
  return &found->second;
}

Status ObjectLifecycleManager::Abort(const ObjectId& id) {
  const auto found = objects_.find(id);
  if (found == objects_.end()) return NotFound(id);
  if (found->second.sealed()) return AlreadySealed(id);
  Free(found);
  return Status();
}

Status ObjectLifecycleManager::Delete(const ObjectId& id) {
  const auto found = objects_.find(id);
  if (found == objects_.end()) return NotFound(id);
  if (found->second.references == 0) {
    Free(found);
  } else {
    found->second.delete_when_released = true;
  }
  return Status();
}

void ObjectLifecycleManager::DeleteOwnedBy(const WorkerId& owner) {
  const auto found = by_owner_.find(owner);
  if (found == by_owner_.end()) return;
  // A copy: freeing an object takes it out of the set.
  const std::vector<ObjectId> owned(found->second.begin(), found->second.end());
  for (const ObjectId& id : owned) {
    const Status status = Delete(id);
    SKYRAY_CHECK(status.ok());
  }
}

void ObjectLifecycleManager::AddReference(const ObjectId& id) {
  const auto found = objects_.find(id);
  SKYRAY_CHECK(found != objects_.end());
  Update(found->second, [](LocalObject& object) { ++object.references; });
}

void ObjectLifecycleManager::RemoveReference(const ObjectId& id) {
  const auto found = objects_.find(id);
  SKYRAY_CHECK(found != objects_.end() && found->second.references > 0);
  Update(found->second, [](LocalObject& object) { --object.references; });
  if (found->second.references == 0 && found->second.delete_when_released) Free(found);
}

const LocalObject* ObjectLifecycleManager::Find(const ObjectId& id) const {
  const auto found = objects_.find(id);
  return found == objects_.end() ? nullptr : &found->second;
}

bool ObjectLifecycleManager::CouldEverFit(uint64_t data_bytes) const {
  // Primary copies nobody reads stay until their owners delete them, which may
  // be in the owners' sockets already; what is larger than the store never fits.
  return Allocator::Rounded(data_bytes) <= allocator_.capacity_bytes();
}

std::string ObjectLifecycleManager::DescribeUse() const {
  std::unordered_map<WorkerId, ObjectCount> by_owner;
  for (const auto& [id, object] : objects_) {
    ObjectCount& count = by_owner[object.object.owner];
    count.objects += 1;
    count.bytes += object.allocation.bytes;
  }
  std::vector<std::pair<WorkerId, ObjectCount>> holders(by_owner.begin(), by_owner.end());
  std::sort(holders.begin(), holders.end(),
            [](const auto& a, const auto& b) { return a.second.bytes > b.second.bytes; });
  std::string text = "the store holds " + Bytes(allocator_.allocated_bytes()) + " of " +
                     Bytes(allocator_.capacity_bytes()) + " (" + Bytes(stats().in_use.bytes) +
                     " in use, " + Bytes(stats().spillable.bytes) + " primary, " +
                     Bytes(stats().evictable.bytes) + " evictable; largest free range " +
                     Bytes(allocator_.largest_free_bytes()) + ")";
  if (!holders.empty()) text += "; largest holders:";
  for (size_t i = 0; i < std::min(holders.size(), kHoldersNamedMax); ++i) {
    text += (i == 0 ? " worker " : ", worker ") + holders[i].first.Hex().substr(0, 16) + " with " +
            Bytes(holders[i].second.bytes) + " in " + std::to_string(holders[i].second.objects) +
            " objects";
  }
  return text;
}

std::vector<NewObject> ObjectLifecycleManager::TakeFreed() { return std::exchange(freed_, {}); }

void ObjectLifecycleManager::Free(Table::iterator found) {
  const LocalObject& object = found->second;
  stats_.Remove(object);
  if (object.evictable()) eviction_policy_.Remove(object.object.id);
  const auto owned = by_owner_.find(object.object.owner);
  owned->second.erase(object.object.id);
  if (owned->second.empty()) by_owner_.erase(owned);
  allocator_.Free(object.allocation);
  if (object.sealed()) freed_.push_back(object.object);
  objects_.erase(found);
}

}  // namespace skyray::plasma
