// SPDX-License-Identifier: Apache-2.0
// Between the store's own types and those of fbs/plasma.fbs.
//
// Threading: functions. Ownership: values; ids convert in place. Errors: none.
#pragma once

#include <span>

#include "common/id.h"
#include "fbs/plasma_generated.h"
#include "plasma/local_object.h"

namespace skyray::plasma {

// 2: creates may be unfinished; metadata, Evict, List, GetStats. A client of
// version 1 hears of a create only when it has ended.
// 3: Segments. One of an earlier version that gets more new segments at once than
// a frame carries is disconnected.
constexpr uint32_t kProtocolVersion = 3;
constexpr uint32_t kProtocolVersionMin = 1;
constexpr uint32_t kProtocolVersionAsksAgain = 2;
constexpr uint32_t kProtocolVersionManySegments = 3;
// The largest request: a Get or Delete of kIdsPerRequestMax ids.
constexpr uint32_t kRequestBytesMax = 16u << 20;
constexpr size_t kIdsPerRequestMax = 500000;

static_assert(sizeof(fb::plasma::Id) == ObjectId::kSize && alignof(fb::plasma::Id) == 1);
static_assert(sizeof(ObjectId) == ObjectId::kSize && WorkerId::kSize == ObjectId::kSize);

template <class IdType>
const fb::plasma::Id* ToWire(const IdType& id) {
  return reinterpret_cast<const fb::plasma::Id*>(id.data());
}

template <class IdType>
IdType FromWire(const fb::plasma::Id& id) {
  return IdType::FromBytes(&id);
}

inline fb::plasma::Place ToWire(const ObjectPlace& place) {
  return fb::plasma::Place(place.offset, place.bytes, place.segment, /*found=*/true);
}

}  // namespace skyray::plasma
