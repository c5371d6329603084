// SPDX-License-Identifier: Apache-2.0
#include "plasma/object_store.h"

#include <algorithm>
#include <utility>

#include "common/logging.h"

namespace skyray::plasma {
namespace {

constexpr size_t kDeadOwnersRemembered = 65536;
constexpr int64_t kTimeoutMsMax = int64_t{366} * 24 * 3600 * 1000;

Status TooManyReferences(const ObjectId& id) {
  return Status(ErrorCode::InvalidRequest, "object " + id.Hex() + " is referred to " +
                                               std::to_string(kReferencesMax) +
                                               " times already; release some");
}

Status NeverCreated(const ObjectId& id) {
  return Status(ErrorCode::ObjectNotFound,
                "object " + id.Hex() + " is not in the store, nor being written to it");
}

}  // namespace

ObjectStore::ObjectStore(CoreOptions options)
    : options_(std::move(options)),
      allocator_(options_.segment_bytes),
      objects_(allocator_),
      trimmer_(options_.give_back_after_ms) {}

ClientId ObjectStore::AddClient(bool asks_again) {
  clients_[next_client_].asks_again = asks_again;
  return next_client_++;
}

ClientId ObjectStore::AddOwnProcess() {
  const ClientId client = AddClient();
  clients_[client].bounded = false;
  return client;
}

Outcome ObjectStore::RemoveClient(ClientId client, int64_t now_ms) {
  gets_.RemoveClient(client);
  creates_.RemoveClient(client);
  unfinished_.RemoveClient(client);
  auto gone = clients_.extract(client);
  SKYRAY_CHECK(!gone.empty());
  gone.mapped().references.ForEach([this](const Reference& reference) {
    if (reference.creating) {
      const Status status = objects_.Abort(objects_.table().at(reference.object).object.id);
      SKYRAY_CHECK(status.ok());
    } else {
      objects_.RemoveReferences(reference.object, reference.count);
    }
  });
  return Finish(now_ms);
}

Outcome ObjectStore::Seal(ClientId client, const ObjectId& id, bool keep_reference,
                          int64_t now_ms) {
  Client& creator = clients_.at(client);
  const LocalObject* object = FindCreating(creator, id);
  if (object == nullptr) {
    ++ignored_requests_total_;
    return Finish(now_ms);
  }
  const auto sealed = objects_.Seal(id, now_ms);
  SKYRAY_CHECK(sealed.has_value());
  creator.references.At(object->index).creating = false;
  outcome_.events.push_back({StoreEvent::Kind::Added, object->object, false, 0});
  // Those who waited refer to it before its creator lets go.
  FillGets(*object);
  if (!keep_reference) {
    // To its creator the segment is gone, even if a get of its own has found it just now.
    if (object->in_fallback() && creator.references.At(object->index).count > 1) {
      outcome_.forgotten.push_back({client, object->allocation.segment});
    }
    DropReference(client, *object);
  }
  return Finish(now_ms);
}

void ObjectStore::FillGets(const LocalObject& object) {
  const GetQueue::Filled filled = gets_.OnSealed(object.object.id);
  for (const ClientId finder : filled.finders) AddReference(clients_.at(finder), object);
  for (const WaitingGet& get : filled.complete) AnswerGet(get);
}

Outcome ObjectStore::Abort(ClientId client, const ObjectId& id, int64_t now_ms) {
  Client& creator = clients_.at(client);
  const LocalObject* object = FindCreating(creator, id);
  if (object == nullptr) {
    Withdraw(client, id);
  } else {
    unfinished_.DropEnding(client, id);
    if (object->in_fallback()) {
      outcome_.forgotten.push_back({client, object->allocation.segment});
    }
    creator.references.Erase(object->index);
    const Status status = objects_.Abort(id);
    SKYRAY_CHECK(status.ok());
  }
  return Finish(now_ms);
}

Outcome ObjectStore::Get(ClientId client, uint64_t request_id, std::vector<ObjectId> ids,
                         int64_t timeout_ms, int64_t now_ms, bool created_only) {
  WaitingGet get;
  get.client = client;
  get.request_id = request_id;
  get.found.resize(ids.size());
  Client& state = clients_.at(client);
  size_t missing = 0;
  for (size_t i = 0; i < ids.size(); ++i) {
    const LocalObject* object = objects_.Find(ids[i]);
    if (object == nullptr && created_only) {
      get.losses.push_back({static_cast<uint32_t>(i), NeverCreated(ids[i])});
      continue;
    }
    if (object == nullptr || !object->sealed()) {
      ++missing;
      if (object != nullptr && object->state == ObjectState::Spilled) {
        objects_.BeginRestore(object->index);
        outcome_.events.push_back({StoreEvent::Kind::RestoreWanted, object->object, true, 0});
      }
      continue;
    }
    if (object->references >= kReferencesMax) {
      get.losses.push_back({static_cast<uint32_t>(i), TooManyReferences(ids[i])});
      continue;
    }
    get.found[i] = true;
    AddReference(state, *object);
  }
  get.ids = std::move(ids);
  const GetQueue::Load load = state.bounded ? gets_.LoadOf(client) : GetQueue::Load();
  if (missing == 0 || timeout_ms == 0 || !get.losses.empty() ||
      load.gets >= kWaitingGetsPerClientMax ||
      load.ids + get.ids.size() > kWaitingIdsPerClientMax) {
    AnswerGet(get);
  } else {
    if (timeout_ms > 0) get.deadline_ms = now_ms + std::min(timeout_ms, kTimeoutMsMax);
    gets_.Add(std::move(get));
  }
  return Finish(now_ms);
}

Outcome ObjectStore::Release(ClientId client, const ObjectId& id, int64_t now_ms) {
  const LocalObject* object = objects_.Find(id);
  const Client& state = clients_.at(client);
  const Reference* found = object == nullptr ? nullptr : state.references.Find(object->index);
  // The creator's own reference goes with Seal or Abort, and not before.
  if (found == nullptr || found->creating) {
    ++ignored_requests_total_;
  } else {
    DropReference(client, *object);
  }
  return Finish(now_ms);
}

Outcome ObjectStore::Delete(std::span<const ObjectId> ids, int64_t now_ms) {
  for (const ObjectId& id : ids) {
    // One that is gone already was evicted, or deleted for its dead owner.
    if (!objects_.Delete(id).ok()) ++ignored_requests_total_;
  }
  return Finish(now_ms);
}

Outcome ObjectStore::Evict(uint64_t bytes, int64_t now_ms) {
  outcome_.evicted_bytes = objects_.Evict(bytes);
  return Finish(now_ms);
}

Outcome ObjectStore::OwnerDied(const WorkerId& owner, int64_t now_ms) {
  if (dead_owners_.insert(owner).second) dead_owners_by_age_.push_back(owner);
  if (dead_owners_by_age_.size() > kDeadOwnersRemembered) {
    dead_owners_.erase(dead_owners_by_age_.front());
    dead_owners_by_age_.pop_front();
  }
  objects_.DeleteOwnedBy(owner);
  return Finish(now_ms);
}

const LocalObject* ObjectStore::FindCreating(const Client& client, const ObjectId& id) const {
  const LocalObject* object = objects_.Find(id);
  if (object == nullptr) return nullptr;
  const Reference* found = client.references.Find(object->index);
  return found != nullptr && found->creating ? object : nullptr;
}

void ObjectStore::AddReference(Client& client, const LocalObject& object) {
  objects_.AddReference(object.index);
  Reference& reference = client.references.At(object.index);
  reference.count = (reference.count + 1) & kReferenceCountMax;
}

void ObjectStore::DropReference(ClientId client, const LocalObject& object) {
  ReferenceTable& references = clients_.at(client).references;
  Reference* found = references.Find(object.index);
  SKYRAY_CHECK(found != nullptr);
  found->count = (found->count - 1) & kReferenceCountMax;
  if (found->count == 0) {
    references.Erase(object.index);
    if (object.in_fallback()) outcome_.forgotten.push_back({client, object.allocation.segment});
  }
  objects_.RemoveReference(object.index);
}

void ObjectStore::AnswerGet(const WaitingGet& get) {
  GetDone done{get.client, get.request_id, {}, get.losses};
  done.places.reserve(get.ids.size());
  for (size_t i = 0; i < get.ids.size(); ++i) {
    // Referred to since it was found, unless the client has released it itself.
    const LocalObject* object = get.found[i] ? objects_.Find(get.ids[i]) : nullptr;
    if (object != nullptr && object->sealed()) {
      done.places.emplace_back(PlaceOf(*object));
    } else {
      done.places.emplace_back(std::nullopt);
    }
  }
  outcome_.got.push_back(std::move(done));
}

Outcome ObjectStore::Finish(int64_t now_ms) {
  ServeCreates(now_ms);
  AskForSpace(now_ms);
  for (const uint32_t segment : objects_.TakeEmptied()) outcome_.emptied.push_back(segment);
  for (const ObjectLifecycleManager::Freed& freed : objects_.TakeFreed()) {
    outcome_.events.push_back({StoreEvent::Kind::Deleted, freed.object, freed.stored, 0});
  }
  // Once something may be given back, Trim finds out when that has ended.
  if (!trimmer_.NextDeadline()) trimmer_.Observe(allocator_.has_warm_run(), now_ms);
  return std::exchange(outcome_, {});
}

}  // namespace skyray::plasma
