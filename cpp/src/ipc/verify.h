// SPDX-License-Identifier: Apache-2.0
// The one door through which FlatBuffers enter: a message that was not verified
// cannot be read.
//
// Threading: none. Ownership: the pointer is into `frame`. Errors: null.
#pragma once

#include <flatbuffers/flatbuffers.h>

#include "ipc/frame.h"

namespace skyray::ipc {

// The root table of `frame`, or null if the frame is of another kind or malformed.
template <class Root>
const Root* Verified(const Frame& frame) {
  if (frame.kind != kFlatBuffer) return nullptr;
  flatbuffers::Verifier verifier(frame.body.data(), frame.body.size(), /*max_depth=*/64,
                                 /*max_tables=*/1000000);
  if (!verifier.VerifyBuffer<Root>(nullptr)) return nullptr;
  return flatbuffers::GetRoot<Root>(frame.body.data());
}

}  // namespace skyray::ipc
