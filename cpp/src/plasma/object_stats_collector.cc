// SPDX-License-Identifier: Apache-2.0
#include "plasma/object_stats_collector.h"

#include "common/logging.h"

namespace skyray::plasma {

template <class Change>
void ObjectStatsCollector::Count(const LocalObject& object, Change change) {
  if (!object.in_memory()) {
    change(stats_.spilled, Allocator::Rounded(object.object.total_bytes()));
    return;
  }
  const uint64_t bytes = object.allocation.bytes;
  change(stats_.all, bytes);
  if (object.references > 0) change(stats_.in_use, bytes);
  if (object.in_fallback()) {
    change(stats_.fallback, bytes);
    if (object.evictable()) change(stats_.fallback_evictable, bytes);
  }
  if (!object.sealed()) {
    change(stats_.unsealed, bytes);
  } else if (object.references > 0) {
    change(stats_.sealed_in_use, bytes);
  } else if (object.evictable()) {
    change(stats_.evictable, bytes);
  } else if (object.spillable()) {
    change(stats_.spillable, bytes);
  } else {
    change(stats_.stranded, bytes);
  }
}

void ObjectStatsCollector::Add(const LocalObject& object) {
  Count(object, [](ObjectCount& count, uint64_t bytes) {
    count.objects += 1;
    count.bytes += bytes;
  });
}

void ObjectStatsCollector::Remove(const LocalObject& object) {
  Count(object, [](ObjectCount& count, uint64_t bytes) {
    SKYRAY_CHECK(count.objects > 0 && count.bytes >= bytes);
    count.objects -= 1;
    count.bytes -= bytes;
  });
}

}  // namespace skyray::plasma
