// SPDX-License-Identifier: Apache-2.0
#include "plasma/object_stats_collector.h"

#include <gtest/gtest.h>

#include <random>

#include "plasma/object_lifecycle_manager.h"

namespace skyray::plasma {
namespace {

// The definition of each figure, object by object.
ObjectStats Recount(const ObjectTable& table) {
  ObjectStats stats;
  for (ObjectIndex index = 0; index < table.end_index(); ++index) {
    const LocalObject* object = table.Peek(index);
    if (object == nullptr) continue;
    const auto add = [object](ObjectCount& count) {
      count.objects += 1;
      count.bytes += Allocator::Rounded(object->object.data_bytes + object->object.metadata_bytes);
    };
    if (object->allocation.bytes == 0) {
      add(stats.spilled);
      continue;
    }
    add(stats.all);
    const bool sealed = object->state == ObjectState::Sealed;
    const bool used = object->references > 0;
    const bool fallback = object->allocation.segment >= kFallbackSegmentFirst;
    const bool dispensable = !object->object.primary || object->stored;
    if (used) add(stats.in_use);
    if (fallback) add(stats.fallback);
    if (!sealed) add(stats.unsealed);
    if (sealed && used) add(stats.sealed_in_use);
    if (sealed && !used && dispensable) add(stats.evictable);
    if (sealed && !used && dispensable && fallback) add(stats.fallback_evictable);
    if (sealed && !used && !dispensable && !fallback) add(stats.spillable);
    if (sealed && !used && !dispensable && fallback) add(stats.stranded);
  }
  return stats;
}

TEST(ObjectStatsTest, TotalsEqualARecountAfterEveryStepOfARandomWalk) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  Allocator allocator({1 << 14});
  ObjectLifecycleManager objects(allocator);
  std::vector<ObjectId> ids;
  std::vector<WorkerId> owners;
  for (int i = 0; i < 40; ++i) ids.push_back(ObjectId::FromRandom());
  for (int i = 0; i < 4; ++i) owners.push_back(WorkerId::FromRandom());
  for (int step = 0; step < 20000; ++step) {
    const ObjectId& id = ids[random() % ids.size()];
    const LocalObject* object = objects.Find(id);
    switch (random() % 7) {
      case 0:
        (void)objects.Create(
            {id, owners[random() % 4], random() % 2000, random() % 50, random() % 2 == 0}, step);
        break;
      case 1:
        (void)objects.Seal(id, step);
        break;
      case 2:
        (void)objects.Abort(id);
        break;
      case 3:
        if (random() % 4 == 0) (void)objects.Delete(id);
        break;
      case 4:
        if (object != nullptr && object->sealed()) objects.AddReference(object->index);
        break;
      case 5:
        // An unsealed object's only reference goes with Seal or Abort.
        if (object != nullptr && object->sealed() && object->references > 0) {
          objects.RemoveReference(object->index);
        }
        break;
      case 6:
        if (random() % 50 == 0) objects.DeleteOwnedBy(owners[random() % 4]);
        break;
    }
    ASSERT_EQ(objects.stats(), Recount(objects.table())) << "step " << step;
    ASSERT_EQ(objects.stats().all.bytes, allocator.allocated_bytes()) << "step " << step;
  }
}

}  // namespace
}  // namespace skyray::plasma
