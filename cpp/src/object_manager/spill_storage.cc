// SPDX-License-Identifier: Apache-2.0
#include "object_manager/spill_storage.h"

namespace skyray::object_manager {

Status StoreMemoryGone() {
  return Status(ErrorCode::IoError,
                "the store's memory is not there (its file was cut short, or its disk fails)");
}

Status RestoreFailed(const SpillPlace& place, const Status& why) {
  return Status(why.code(), "restoring object " + place.record.object.Hex() + " from " +
                                place.path + " at byte " + std::to_string(place.offset) + ": " +
                                why.message());
}

}  // namespace skyray::object_manager
