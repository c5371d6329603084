// SPDX-License-Identifier: Apache-2.0
// What the store knows of one object, and the small values its parts exchange.
//
// Threading: values. Ownership: values. Errors: none.
#pragma once

#include <cstdint>

#include "common/id.h"
#include "plasma/allocator.h"

namespace skyray::plasma {

// One client of the store, for as long as it is connected.
using ClientId = uint64_t;

// Segments from this index on are fallback memory, on disk, one for one object.
constexpr uint32_t kFallbackSegmentFirst = 65536;

// What a create asks for.
struct NewObject {
  ObjectId id;
  WorkerId owner;
  uint64_t data_bytes = 0;
  bool primary = false;  // Stays until Delete; others may be evicted.
};

enum class ObjectState : uint8_t { Created, Sealed };

struct LocalObject {
  NewObject object;
  Allocation allocation;
  ObjectState state = ObjectState::Created;
  uint32_t references = 1;  // The creator's.
  bool delete_when_released = false;

  bool sealed() const { return state == ObjectState::Sealed; }
  bool evictable() const { return sealed() && references == 0 && !object.primary; }
  // A primary copy nobody is reading could go to disk.
  bool spillable() const { return sealed() && references == 0 && object.primary; }
};

// Where an object's bytes are.
struct ObjectPlace {
  uint32_t segment = 0;
  uint64_t offset = 0;
  uint64_t bytes = 0;
};

// What the store tells the raylet it lives in.
struct StoreEvent {
  enum class Kind : uint8_t { Added, Deleted };  // Added: sealed, readable by all.
  Kind kind = Kind::Added;
  NewObject object;
};

}  // namespace skyray::plasma
