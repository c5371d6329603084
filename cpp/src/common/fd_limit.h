// SPDX-License-Identifier: Apache-2.0
// How near this process is to its limit of open descriptors (RLIMIT_NOFILE).
//
// Threading: any. Ownership: none. Errors: none.
#pragma once

namespace skyray {

// The limit, less a `part`-th of it but at most `reserved_max`. As the kernel hands out
// the lowest free number, a descriptor from there on says that no more are left.
int FdLimitLess(int part, int reserved_max);

}  // namespace skyray
