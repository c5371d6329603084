// SPDX-License-Identifier: Apache-2.0
// What can be asked of a store without changing it.
#include <algorithm>

#include "plasma/object_store.h"

namespace skyray::plasma {
namespace {

// A page ends after so many places, also when few of them are taken.
constexpr uint64_t kListPlacesMax = 1 << 16;

}  // namespace

bool ObjectStore::Contains(const ObjectId& id) const {
  const LocalObject* object = objects_.Find(id);
  return object != nullptr && object->state != ObjectState::Created;
}

StoreStats ObjectStore::Stats() const {
  StoreStats stats;
  stats.capacity_bytes = allocator_.capacity_bytes();
  stats.allocated_bytes = allocator_.allocated_bytes();
  stats.touched_bytes = allocator_.touched_bytes();
  stats.largest_free_bytes = allocator_.largest_free_bytes();
  stats.clients = clients_.size();
  stats.waiting_gets = gets_.size();
  stats.waiting_creates = creates_.size();
  stats.ignored_requests_total = ignored_requests_total_;
  stats.objects = objects_.stats();
  stats.totals = objects_.totals();
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
  count("spilled", stats.objects.spilled);
  count("in fallback memory", stats.objects.fallback);
  count("created since the start", stats.totals.created);
  count("evicted since the start", stats.totals.evicted);
  count("spilled since the start", stats.totals.spilled);
  count("restored since the start", stats.totals.restored);
  line("memory touched", stats.touched_bytes, " bytes");
  line("clients", stats.clients);
  line("waiting gets", stats.waiting_gets);
  line("waiting creates", stats.waiting_creates);
  line("bytes on their way to disk", spilling_bytes_);
  if (!last_spill_failure_.ok()) {
    text += "spilling failed: " + last_spill_failure_.ToString() + "\n";
  }
  line("requests that made no sense", stats.ignored_requests_total);
  return text;
}

ObjectStore::Page ObjectStore::List(uint64_t cursor, size_t objects_max) const {
  Page page;
  const ObjectTable& table = objects_.table();
  const size_t wanted = objects_max == 0 ? kListObjectsMax : std::min(objects_max, kListObjectsMax);
  const uint64_t end = table.end_index();
  const uint64_t stop = cursor < end ? std::min(end, cursor + kListPlacesMax) : end;
  uint64_t at = cursor;
  for (; at < stop && page.objects.size() < wanted; ++at) {
    const LocalObject* object = table.Peek(static_cast<ObjectIndex>(at));
    if (object != nullptr) page.objects.push_back(object);
  }
  if (at < end) page.next = at;
  return page;
}

}  // namespace skyray::plasma
