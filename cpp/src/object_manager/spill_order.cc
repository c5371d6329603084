// SPDX-License-Identifier: Apache-2.0
#include "object_manager/spill_order.h"

#include "object_manager/spill_sums.h"

namespace skyray::object_manager {

boost::json::array SpillMemoryOf(const plasma::ObjectPlace& place, size_t bytes) {
  return {place.segment, place.offset, bytes};
}

SpillOrder PrepareSpillOrder(std::span<const SpillPiece> pieces) {
  SpillOrder order;
  std::vector<uint64_t> sizes;
  sizes.reserve(pieces.size());
  for (const SpillPiece& piece : pieces) sizes.push_back(piece.bytes.size());
  order.layout = LayOutSpillFile(sizes);
  SpillSums sums(pieces);
  for (size_t i = 0; i < pieces.size(); ++i) {
    const auto sum = sums.Of(i);
    if (!sum) {
      order.lost.push_back(i);  // It must not be read over there either.
      continue;
    }
    const SpillHeader header = BuildSpillHeader(pieces[i].record, *sum);
    const std::string_view bytes(reinterpret_cast<const char*>(header.data()), header.size());
    order.records.push_back(boost::json::array{order.layout.offsets[i], BytesToHex(bytes)});
    order.memory.push_back(SpillMemoryOf(pieces[i].shared, pieces[i].bytes.size()));
  }
  return order;
}

}  // namespace skyray::object_manager
