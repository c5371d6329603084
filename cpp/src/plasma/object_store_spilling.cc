// SPDX-License-Identifier: Apache-2.0
// What the store and those who carry its objects to disk and back say to each other.
#include <algorithm>

#include "common/logging.h"
#include "plasma/object_store.h"

namespace skyray::plasma {
namespace {

// Room that nobody waits for yet is asked for less often.
constexpr int64_t kUnhurried = 10;

}  // namespace

std::vector<const LocalObject*> ObjectStore::TakeSpillable(uint64_t bytes_min, size_t objects_max) {
  auto taken = objects_.TakeSpillable(bytes_min, objects_max);
  for (const LocalObject* object : taken) spilling_bytes_ += object->allocation.bytes;
  return taken;
}

Outcome ObjectStore::Spilled(std::span<const ObjectId> ids, int64_t now_ms) {
  for (const ObjectId& id : ids) {
    const LocalObject* object = objects_.Find(id);
    const uint64_t bytes = object == nullptr ? 0 : object->allocation.bytes;
    if (!objects_.SpillDone(id)) {
      ++ignored_requests_total_;
      continue;
    }
    spilling_bytes_ -= bytes;
    progress_ms_ = now_ms;
    last_spill_failure_ = Status();
  }
  return Finish(now_ms);
}

Outcome ObjectStore::SpillFailed(std::span<const ObjectId> ids, const Status& why, int64_t now_ms) {
  for (const ObjectId& id : ids) {
    const LocalObject* object = objects_.Find(id);
    const uint64_t bytes = object == nullptr ? 0 : object->allocation.bytes;
    if (!objects_.SpillFailed(id)) {
      ++ignored_requests_total_;
      continue;
    }
    spilling_bytes_ -= bytes;
    last_spill_failure_ = why;
  }
  return Finish(now_ms);
}

Outcome ObjectStore::Restore(ClientId client, uint64_t request_id, const ObjectId& id,
                             int64_t now_ms) {
  const LocalObject* object = objects_.Find(id);
  if (object != nullptr && object->state == ObjectState::Spilled) {
    objects_.BeginRestore(object->index);  // Before anybody asked for it.
  }
  WaitingCreate create{client, request_id, {}, now_ms, /*restore=*/true};
  create.object.id = id;
  if (object != nullptr) create.object = object->object;
  if (object == nullptr || object->state != ObjectState::Restoring || object->in_memory()) {
    EndCreate(create, Status(ErrorCode::ObjectNotFound,
                             "object " + id.Hex() + " is not spilled (any more)"));
  } else {
    // As many as there are spilled objects, so the bound is not for them.
    creates_.Push(create);
  }
  return Finish(now_ms);
}

bool ObjectStore::IsRestoring(const ObjectId& id) const {
  const LocalObject* object = objects_.Find(id);
  return object != nullptr && object->state == ObjectState::Restoring;
}

Outcome ObjectStore::SealRestored(const ObjectId& id, int64_t now_ms) {
  const LocalObject* object = objects_.Find(id);
  if (!IsRestoring(id) || !object->in_memory()) {
    ++ignored_requests_total_;
    return Finish(now_ms);
  }
  const auto sealed = objects_.Seal(id, now_ms);
  SKYRAY_CHECK(sealed.has_value());
  FillGets(*object);
  objects_.RemoveReference(object->index);  // Who restored it lets go.
  return Finish(now_ms);
}

Outcome ObjectStore::Lose(const ObjectId& id, const Status& why, int64_t now_ms) {
  const LocalObject* object = objects_.Find(id);
  const uint64_t spilling = object != nullptr && object->spilling ? object->allocation.bytes : 0;
  if (objects_.Lose(id)) {
    spilling_bytes_ -= spilling;
    for (const WaitingGet& get : gets_.OnLost(id, why)) AnswerGet(get);
  } else {
    ++ignored_requests_total_;
  }
  return Finish(now_ms);
}

uint64_t ObjectStore::SpaceNeeded() const {
  const ObjectStats& stats = objects_.stats();
  if (!options_.spilling || stats.spillable.bytes == 0) return 0;
  const uint64_t evictable = stats.evictable.bytes - stats.fallback_evictable.bytes;
  // What is neither free nor evictable nor about to become so.
  const uint64_t committed = allocator_.allocated_bytes() - evictable - spilling_bytes_;
  const uint64_t capacity = allocator_.capacity_bytes();
  const auto limit =
      static_cast<uint64_t>(options_.spill_threshold * static_cast<double>(capacity));
  uint64_t needed = committed > limit ? committed - limit : 0;
  if (const WaitingCreate* head = creates_.Front()) {
    const uint64_t room = Allocator::Rounded(head->object.total_bytes());
    // Room enough, and the head still waits: it is in pieces.
    const uint64_t pieces = spilling_bytes_ >= room ? 0 : room;
    needed = std::max(needed, committed + room > capacity ? committed + room - capacity : pieces);
  }
  return needed;
}

int64_t ObjectStore::NextSpaceWanted() const {
  const int64_t pause = creates_.size() > 0 ? 1 : kUnhurried;
  return space_asked_ms_ + pause * std::max<int64_t>(1, options_.full_delay_ms);
}

void ObjectStore::AskForSpace(int64_t now_ms) {
  const uint64_t needed = SpaceNeeded();
  if (needed == 0 || now_ms < NextSpaceWanted()) return;
  space_asked_ms_ = now_ms;
  outcome_.events.push_back({StoreEvent::Kind::SpaceWanted, NewObject(), false, needed});
}

}  // namespace skyray::plasma
