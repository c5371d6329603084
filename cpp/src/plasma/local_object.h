// SPDX-License-Identifier: Apache-2.0
// What the store knows of one object, and the small values its parts exchange.
//
// Threading: values. Ownership: values. Errors: none.
#pragma once

#include <cstdint>

#include "common/id.h"
#include "fbs/plasma_generated.h"
#include "plasma/allocator.h"

namespace skyray::plasma {

using fb::plasma::ObjectSource;
using fb::plasma::ObjectState;

// One client of the store, for as long as it is connected.
using ClientId = uint64_t;

// Where the store's table keeps an object: good for as long as the object is there.
using ObjectIndex = uint32_t;
constexpr ObjectIndex kNoObject = UINT32_MAX;

// Segments from here on are fallback memory: on disk, one for one object.
constexpr uint32_t kFallbackSegmentFirst = 65536;

// What a create asks for.
struct NewObject {
  ObjectId id;
  WorkerId owner;
  uint64_t data_bytes = 0;
  uint64_t metadata_bytes = 0;  // Lie directly behind the data.
  bool primary = false;         // Stays until Delete; others may be evicted.
  ObjectSource source = ObjectSource::Worker;

  // UINT64_MAX if that overflows: more than any store has.
  uint64_t total_bytes() const {
    return metadata_bytes > UINT64_MAX - data_bytes ? UINT64_MAX : data_bytes + metadata_bytes;
  }
};

struct LocalObject {
  NewObject object;
  Allocation allocation;  // Of 0 bytes while it has no memory.
  int64_t created_ms = 0;
  uint32_t construct_ms = 0;  // From its creation to its seal.
  uint32_t references = 1;    // The creator's.
  ObjectIndex index = kNoObject;
  // Its neighbours in the list of what may be evicted, or may be spilled, and
  // in that of its owner's objects.
  ObjectIndex older = kNoObject;
  ObjectIndex newer = kNoObject;
  ObjectIndex owner_previous = kNoObject;
  ObjectIndex owner_next = kNoObject;
  ObjectState state = ObjectState::Created;
  bool stored : 1 = false;    // Has a copy on disk.
  bool spilling : 1 = false;  // One is being written; that is one of the references.
  bool delete_when_released : 1 = false;

  bool sealed() const { return state == ObjectState::Sealed; }
  bool in_memory() const { return allocation.bytes != 0; }
  bool in_fallback() const { return allocation.segment >= kFallbackSegmentFirst; }
  bool idle() const { return sealed() && references == 0; }
  bool evictable() const { return idle() && (stored || !object.primary); }
  // A primary copy that nobody is reading could go to disk.
  bool spillable() const { return idle() && !stored && object.primary && !in_fallback(); }
};

// Where an object's bytes are; its metadata are at offset + bytes.
struct ObjectPlace {
  uint32_t segment = 0;
  uint64_t offset = 0;
  uint64_t bytes = 0;
  uint64_t metadata_bytes = 0;
};

inline ObjectPlace PlaceOf(const LocalObject& object) {
  return {object.allocation.segment, object.allocation.offset, object.object.data_bytes,
          object.object.metadata_bytes};
}

// What the store tells the raylet it lives in.
struct StoreEvent {
  enum class Kind : uint8_t {
    Added,          // Sealed for the first time, readable by all.
    Deleted,        // Forgotten; if `stored`, its copy on disk may go.
    SpaceWanted,    // So many `bytes` should be spilled.
    RestoreWanted,  // Somebody asks for it, and it is only on disk.
  };
  Kind kind = Kind::Added;
  NewObject object;
  bool stored = false;
  uint64_t bytes = 0;
};

}  // namespace skyray::plasma
