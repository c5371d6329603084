// SPDX-License-Identifier: Apache-2.0
// Status, and the message that carries it between daemons.
//
// Threading: pure functions. Ownership: values. Errors: a code that this build
// does not know becomes Internal; the sentence is kept.
#pragma once

#include "common/status.h"
#include "protos/gcs.pb.h"

namespace skyray::rpc {

// The largest message either side of a GCS connection takes.
constexpr int kMessageBytesMax = 128 << 20;

inline Status StatusFromMessage(const pb::Status& message) {
  if (message.code() > static_cast<uint32_t>(ErrorCode::MAX)) {
    return Status(ErrorCode::Internal, "code " + std::to_string(message.code()) +
                                           ", unknown to this version: " + message.message());
  }
  return Status(static_cast<ErrorCode>(message.code()), message.message());
}

inline pb::Status StatusToMessage(const Status& status) {
  pb::Status message;
  message.set_code(static_cast<uint32_t>(status.code()));
  message.set_message(status.message());
  return message;
}

}  // namespace skyray::rpc
