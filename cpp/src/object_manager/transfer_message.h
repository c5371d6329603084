// SPDX-License-Identifier: Apache-2.0
// A message of the protocol between raylets (fbs/transfer.fbs), from its body.
//
// Threading: any. Ownership: values. Errors: none.
#pragma once

#include <utility>

#include "fbs/transfer_generated.h"

namespace skyray::object_manager {

// `builder` with `body` in it, finished.
template <class Table>
flatbuffers::FlatBufferBuilder TransferMessage(flatbuffers::FlatBufferBuilder builder,
                                               fb::transfer::Body type,
                                               flatbuffers::Offset<Table> body) {
  builder.Finish(fb::transfer::CreateMessage(builder, type, body.Union()));
  return builder;
}

}  // namespace skyray::object_manager
