// SPDX-License-Identifier: Apache-2.0
// What must hold of a store at any moment, whatever its clients did.
//
// Threading:  none. Ownership: none.
// Errors:     Fail() with what does not hold.
#pragma once

#include "plasma/store_server.h"

namespace skyray::fuzz {

// The statistics equal a recount, no two objects share memory, and what is
// allocated is what the objects have.
void Audit(const plasma::StoreServer& store);
// Nobody refers to anything, waits or creates. For when all have gone.
void AuditIdle(const plasma::StoreServer& store);

}  // namespace skyray::fuzz
