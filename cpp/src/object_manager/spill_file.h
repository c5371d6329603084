// SPDX-License-Identifier: Apache-2.0
// What is in a spill file: records, one for each object, at any distance.
//
//   record = header (128 bytes) | data | metadata
//   header = "skyspill" | version u32 | its size u32 | data bytes u64 |
//            metadata bytes u64 | object id 28 | owner id 28 | XXH3-128 of data
//            and metadata 16 | zeros 16 | XXH3-64 of the header 8   little-endian
//
// The bytes of an object begin at a multiple of 4096 if they are many, else of 64.
// Who reads a record says what must be in it, and believes nothing else.
//
// Threading:  pure functions. Ownership: values.
// Errors:     ObjectLost, naming what is there and what should be.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "common/id.h"
#include "common/status.h"
#include "object_manager/spill_checksum.h"

namespace skyray::object_manager {

constexpr size_t kSpillHeaderBytes = 128;
// From this size on an object's bytes begin on a page of the file.
constexpr uint64_t kSpillPageAlignedFrom = 64 << 10;

using SpillHeader = std::array<uint8_t, kSpillHeaderBytes>;

struct SpillRecord {
  ObjectId object;
  WorkerId owner;
  uint64_t data_bytes = 0;
  uint64_t metadata_bytes = 0;

  uint64_t bytes() const { return data_bytes + metadata_bytes; }
  friend bool operator==(const SpillRecord&, const SpillRecord&) = default;
};

SpillHeader BuildSpillHeader(const SpillRecord& record, const SpillSum& sum);

// The checksum that the bytes behind this header must have.
// Errors: ObjectLost; it is no header, or another object's.
Result<SpillSum> CheckSpillHeader(std::span<const uint8_t> header, const SpillRecord& want);
// Errors: ObjectLost; they are not the bytes that were written.
Status CheckSpillBytes(const SpillSum& found, const SpillSum& want);

// Where in a file records of these sizes go.
struct SpillLayout {
  std::vector<uint64_t> offsets;  // Of each header.
  uint64_t file_bytes = 0;
};
SpillLayout LayOutSpillFile(std::span<const uint64_t> object_bytes);

}  // namespace skyray::object_manager
