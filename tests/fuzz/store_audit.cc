// SPDX-License-Identifier: Apache-2.0
#include "store_audit.h"

#include <map>
#include <string>
#include <utility>

#include "store_script.h"

namespace skyray::fuzz {
namespace {

using plasma::LocalObject;
using plasma::ObjectCount;
using plasma::ObjectStats;

void Equal(const char* what, uint64_t stated, uint64_t counted) {
  if (stated == counted) return;
  Fail(std::string(what) + ": the store says " + std::to_string(stated) + ", a recount " +
       std::to_string(counted));
}

void Equal(const char* what, const ObjectCount& stated, const ObjectCount& counted) {
  Equal(what, stated.objects, counted.objects);
  Equal(what, stated.bytes, counted.bytes);
}

template <class Visit>
void ForEach(const plasma::StoreServer& store, Visit visit) {
  const plasma::ObjectTable& table = store.objects().table();
  size_t visited = 0;
  for (plasma::ObjectIndex index = 0; index < table.end_index(); ++index) {
    const LocalObject* object = table.Peek(index);
    if (object == nullptr) continue;
    if (table.Find(object->object.id) != object) Fail("an object is not found by its id");
    visit(*object);
    ++visited;
  }
  if (visited != table.size()) Fail("the table does not know how many objects it has");
}

void CountIf(bool condition, const LocalObject& object, ObjectCount& count) {
  if (!condition) return;
  ++count.objects;
  count.bytes += object.allocation.bytes;
}

}  // namespace

void Audit(const plasma::StoreServer& store) {
  ObjectStats counted;
  std::map<std::pair<uint32_t, uint64_t>, uint64_t> ranges;
  uint64_t allocated = 0;
  ForEach(store, [&](const LocalObject& object) {
    // One that is being restored may be waiting for its memory.
    const bool spilled = object.state == plasma::ObjectState::Spilled;
    const bool may_lack_memory = spilled || object.state == plasma::ObjectState::Restoring;
    if (object.in_memory() ? spilled : !may_lack_memory) {
      Fail("an object has memory and should have none, or the reverse");
    }
    if (!object.in_memory()) {
      ++counted.spilled.objects;
      counted.spilled.bytes += plasma::Allocator::Rounded(object.object.total_bytes());
      return;
    }
    CountIf(true, object, counted.all);
    CountIf(!object.sealed(), object, counted.unsealed);
    CountIf(object.references > 0, object, counted.in_use);
    CountIf(object.sealed() && object.references > 0, object, counted.sealed_in_use);
    CountIf(object.spillable(), object, counted.spillable);
    CountIf(object.evictable(), object, counted.evictable);
    CountIf(object.in_fallback(), object, counted.fallback);
    if (object.allocation.bytes < object.object.total_bytes()) {
      Fail("an object has too little memory");
    }
    if (object.in_fallback()) return;
    allocated += object.allocation.bytes;
    const auto where = std::make_pair(object.allocation.segment, object.allocation.offset);
    if (!ranges.emplace(where, object.allocation.bytes).second) Fail("two objects in one place");
  });
  std::pair<uint32_t, uint64_t> end{0, 0};
  for (const auto& [where, bytes] : ranges) {
    if (where < end) Fail("two objects share memory");
    end = {where.first, where.second + bytes};
  }
  const plasma::StoreStats stats = store.Stats();
  Equal("all", stats.objects.all, counted.all);
  Equal("unsealed", stats.objects.unsealed, counted.unsealed);
  Equal("in use", stats.objects.in_use, counted.in_use);
  Equal("sealed in use", stats.objects.sealed_in_use, counted.sealed_in_use);
  Equal("spillable", stats.objects.spillable, counted.spillable);
  Equal("evictable", stats.objects.evictable, counted.evictable);
  Equal("spilled", stats.objects.spilled, counted.spilled);
  Equal("in fallback memory", stats.objects.fallback, counted.fallback);
  Equal("allocated bytes", stats.allocated_bytes, allocated);
}

void AuditIdle(const plasma::StoreServer& store) {
  Audit(store);
  ForEach(store, [](const LocalObject& object) {
    if (object.references > 0)
      Fail("a reference of a client that is gone: " + object.object.id.Hex());
    if (object.in_memory() && !object.sealed()) {
      Fail("an object that nobody creates: " + object.object.id.Hex());
    }
  });
  const plasma::StoreStats stats = store.Stats();
  Equal("waiting gets", stats.waiting_gets, 0);
  Equal("waiting creates", stats.waiting_creates, 0);
  Equal("clients", stats.clients, 1);  // The process around it.
}

}  // namespace skyray::fuzz
