// SPDX-License-Identifier: Apache-2.0
// The body of one ChecksumKernel, for a source that is compiled for one
// instruction set and defines SKYRAY_CHECKSUM_KERNEL as its name. It includes
// nothing with inline functions that others could share: the linker might keep
// the copy that only newer CPUs can run.
//
// Threading:  functions. Ownership: none. Errors: none.
#pragma once

#include <xxhash.h>

#include "object_manager/spill_checksum.h"

namespace skyray::object_manager {

extern const ChecksumKernel SKYRAY_CHECKSUM_KERNEL;

const ChecksumKernel SKYRAY_CHECKSUM_KERNEL = {
    [](void* state) { XXH3_128bits_reset(static_cast<XXH3_state_t*>(state)); },
    [](void* state, const void* bytes, size_t size) {
      XXH3_128bits_update(static_cast<XXH3_state_t*>(state), bytes, size);
    },
    [](const void* state) {
      const XXH128_hash_t sum = XXH3_128bits_digest(static_cast<const XXH3_state_t*>(state));
      return SpillSum{sum.low64, sum.high64};
    },
};

}  // namespace skyray::object_manager
