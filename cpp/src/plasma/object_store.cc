// SPDX-License-Identifier: Apache-2.0
#include "plasma/object_store.h"

#include <algorithm>
#include <utility>

#include "common/logging.h"

namespace skyray::plasma {
namespace {

constexpr size_t kDeadOwnersRemembered = 65536;
constexpr int64_t kTimeoutMsMax = int64_t{366} * 24 * 3600 * 1000;

ObjectPlace PlaceOf(const LocalObject& object) {
  return {object.allocation.segment, object.allocation.offset, object.object.data_bytes};
}

Status TooManyCreates() {
  return Status(ErrorCode::OutOfMemory,
                std::to_string(kWaitingCreatesMax) + " creates wait for room in the store already");
}

}  // namespace

ObjectStore::ObjectStore(const std::vector<uint64_t>& segment_bytes, int64_t create_grace_ms)
    : allocator_(segment_bytes), objects_(allocator_), create_grace_ms_(create_grace_ms) {}

ClientId ObjectStore::AddClient() {
  clients_.emplace(next_client_, Client());
  return next_client_++;
}

Outcome ObjectStore::RemoveClient(ClientId client, int64_t now_ms) {
  gets_.RemoveClient(client);
  creates_.RemoveClient(client);
  auto gone = clients_.extract(client);
  SKYRAY_CHECK(!gone.empty());
  Client& state = gone.mapped();
  for (const ObjectId& id : state.creating) {
    state.references.erase(id);
    const Status status = objects_.Abort(id);
    SKYRAY_CHECK(status.ok());
  }
  for (const auto& [id, count] : state.references) {
    for (uint32_t i = 0; i < count; ++i) objects_.RemoveReference(id);
  }
  return Finish(now_ms);
}

Outcome ObjectStore::Create(ClientId client, uint64_t request_id, const NewObject& object,
                            int64_t now_ms) {
  if (creates_.size() >= kWaitingCreatesMax) {
    outcome_.created.push_back({client, request_id, TooManyCreates()});
  } else {
    creates_.Push({client, request_id, object, now_ms + create_grace_ms_});
  }
  return Finish(now_ms);
}

Outcome ObjectStore::Seal(ClientId client, const ObjectId& id, int64_t now_ms) {
  Client& creator = clients_.at(client);
  if (creator.creating.erase(id) == 0) {
    ++ignored_requests_total_;
    return Finish(now_ms);
  }
  const auto sealed = objects_.Seal(id);
  SKYRAY_CHECK(sealed.has_value());
  outcome_.events.push_back({StoreEvent::Kind::Added, (*sealed)->object});
  // Those who waited refer to it before its creator lets go.
  const GetQueue::Filled filled = gets_.OnSealed(id);
  for (const ClientId finder : filled.finders) {
    objects_.AddReference(id);
    ++clients_.at(finder).references[id];
  }
  for (const WaitingGet& get : filled.complete) AnswerGet(get);
  DropReference(creator, id);
  return Finish(now_ms);
}

Outcome ObjectStore::Abort(ClientId client, const ObjectId& id, int64_t now_ms) {
  Client& creator = clients_.at(client);
  if (creator.creating.erase(id) == 0) {
    ++ignored_requests_total_;
  } else {
    creator.references.erase(id);
    const Status status = objects_.Abort(id);
    SKYRAY_CHECK(status.ok());
  }
  return Finish(now_ms);
}

Outcome ObjectStore::Get(ClientId client, uint64_t request_id, std::vector<ObjectId> ids,
                         int64_t timeout_ms, int64_t now_ms) {
  WaitingGet get;
  get.client = client;
  get.request_id = request_id;
  get.found.resize(ids.size());
  size_t missing = 0;
  for (size_t i = 0; i < ids.size(); ++i) {
    const LocalObject* object = objects_.Find(ids[i]);
    if (object == nullptr || !object->sealed()) {
      ++missing;
      continue;
    }
    get.found[i] = true;
    objects_.AddReference(ids[i]);
    ++clients_.at(client).references[ids[i]];
  }
  get.ids = std::move(ids);
  if (missing == 0 || timeout_ms == 0 || gets_.CountOf(client) >= kWaitingGetsPerClientMax) {
    AnswerGet(get);
  } else {
    if (timeout_ms > 0) get.deadline_ms = now_ms + std::min(timeout_ms, kTimeoutMsMax);
    gets_.Add(std::move(get));
  }
  return Finish(now_ms);
}

Outcome ObjectStore::Release(ClientId client, const ObjectId& id, int64_t now_ms) {
  Client& state = clients_.at(client);
  // The creator's own reference goes with Seal or Abort, and not before.
  const auto found = state.references.find(id);
  if (found == state.references.end() || state.creating.contains(id)) {
    ++ignored_requests_total_;
  } else {
    DropReference(state, id);
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

Outcome ObjectStore::OwnerDied(const WorkerId& owner, int64_t now_ms) {
  if (dead_owners_.insert(owner).second) dead_owners_by_age_.push_back(owner);
  if (dead_owners_by_age_.size() > kDeadOwnersRemembered) {
    dead_owners_.erase(dead_owners_by_age_.front());
    dead_owners_by_age_.pop_front();
  }
  objects_.DeleteOwnedBy(owner);
  return Finish(now_ms);
}

Outcome ObjectStore::Tick(int64_t now_ms) {
  for (const WaitingGet& get : gets_.TakeExpired(now_ms)) AnswerGet(get);
  return Finish(now_ms);
}

std::optional<int64_t> ObjectStore::NextDeadline() const {
  const auto get = gets_.NextDeadline();
  const auto create = creates_.NextDeadline();
  if (!get) return create;
  return create ? std::min(*get, *create) : *get;
}

bool ObjectStore::Contains(const ObjectId& id) const {
  const LocalObject* object = objects_.Find(id);
  return object != nullptr && object->sealed();
}

StoreStats ObjectStore::Stats() const {
  StoreStats stats;
  stats.capacity_bytes = allocator_.capacity_bytes();
  stats.allocated_bytes = allocator_.allocated_bytes();
  stats.touched_bytes = allocator_.touched_bytes();
  stats.clients = clients_.size();
  stats.waiting_gets = gets_.size();
  stats.waiting_creates = creates_.size();
  stats.ignored_requests_total = ignored_requests_total_;
  stats.objects = objects_.stats();
  return stats;
}

std::string ObjectStore::DebugState() const {
  const StoreStats stats = Stats();
  std::string text = objects_.DescribeUse() + "\n";
  const auto line = [&text](const char* name, uint64_t value, const char* unit = "") {
    text += std::string(name) + ": " + std::to_string(value) + unit + "\n";
  };
  const auto count = [&text](const char* name, const ObjectCount& value) {
    text += std::string(name) + ": " + std::to_string(value.objects) + " objects, " +
            std::to_string(value.bytes) + " bytes\n";
  };
  count("all", stats.objects.all);
  count("unsealed", stats.objects.unsealed);
  count("in use", stats.objects.in_use);
  count("spillable", stats.objects.spillable);
  count("evictable", stats.objects.evictable);
  line("memory touched", stats.touched_bytes, " bytes");
  line("clients", stats.clients);
  line("waiting gets", stats.waiting_gets);
  line("waiting creates", stats.waiting_creates);
  line("requests that made no sense", stats.ignored_requests_total);
  return text;
}

void ObjectStore::DropReference(Client& client, const ObjectId& id) {
  const auto found = client.references.find(id);
  SKYRAY_CHECK(found != client.references.end());
  if (--found->second == 0) client.references.erase(found);
  objects_.RemoveReference(id);
}

void ObjectStore::AnswerGet(const WaitingGet& get) {
  GetDone done{get.client, get.request_id, {}};
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

std::optional<Result<ObjectPlace>> ObjectStore::TryCreate(const WaitingCreate& create,
                                                          int64_t now_ms) {
  if (dead_owners_.contains(create.object.owner)) {
    return Status(ErrorCode::OwnerDied, "the owner of object " + create.object.id.Hex() +
                                            ", worker " + create.object.owner.Hex() +
                                            ", has ended; nobody can refer to it any more");
  }
  const auto created = objects_.Create(create.object);
  if (created.has_value()) {
    Client& client = clients_.at(create.client);
    ++client.references[create.object.id];
    client.creating.insert(create.object.id);
    return PlaceOf(**created);
  }
  if (created.error().code() != ErrorCode::OutOfMemory) return created.error();
  const bool hopeless = !objects_.CouldEverFit(create.object.data_bytes);
  if (!hopeless && now_ms < create.deadline_ms) return std::nullopt;
  const char* advice = hopeless
                           ? "; an object can be no larger than the store: start it with more "
                             "memory (object_store_memory)"
                           : "; let go of references to large objects, or start the store with "
                             "more memory (object_store_memory)";
  return Status(ErrorCode::OutOfMemory,
                created.error().message() + ": " + objects_.DescribeUse() + advice);
}

void ObjectStore::ServeCreates(int64_t now_ms) {
  while (const WaitingCreate* create = creates_.Front()) {
    auto result = TryCreate(*create, now_ms);
    if (!result) return;
    outcome_.created.push_back({create->client, create->request_id, std::move(*result)});
    creates_.PopFront();
  }
}

Outcome ObjectStore::Finish(int64_t now_ms) {
  ServeCreates(now_ms);
  for (const NewObject& object : objects_.TakeFreed()) {
    outcome_.events.push_back({StoreEvent::Kind::Deleted, object});
  }
  return std::exchange(outcome_, {});
}

}  // namespace skyray::plasma
