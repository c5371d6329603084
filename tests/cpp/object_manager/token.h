// SPDX-License-Identifier: Apache-2.0
// A token that nodes of a cluster share, from one byte.
//
// Threading: any. Ownership: values. Errors: none.
#pragma once

#include "object_manager/authenticator.h"

namespace skyray::object_manager {

inline ClusterToken TokenOf(uint8_t byte) {
  ClusterToken token;
  token.fill(byte);
  return token;
}

}  // namespace skyray::object_manager
