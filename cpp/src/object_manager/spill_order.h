// SPDX-License-Identifier: Apache-2.0
// What an I/O worker is told to write: the headers, and where the bytes are.
//
// Threading:  pure functions, slow: they read all of the bytes. Ownership: values.
// Errors:     a piece whose memory cannot be read is named, and not in the order.
#pragma once

#include <boost/json/array.hpp>
#include <cstdint>
#include <span>
#include <vector>

#include "object_manager/spill_file.h"
#include "object_manager/spill_storage.h"

namespace skyray::object_manager {

struct SpillOrder {
  SpillLayout layout;
  boost::json::array records;  // [offset, header in hex] of each piece that is not lost.
  boost::json::array memory;   // [segment, offset, bytes], of the same.
  std::vector<size_t> lost;
};

SpillOrder PrepareSpillOrder(std::span<const SpillPiece> pieces);

// [segment, offset, bytes].
boost::json::array SpillMemoryOf(const plasma::ObjectPlace& place, size_t bytes);

}  // namespace skyray::object_manager
