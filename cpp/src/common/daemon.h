// SPDX-License-Identifier: Apache-2.0
// What every daemon owes whoever started it (docs/design/001-processes.md): a
// word when it is ready, and an end when they end.
//
// Threading:  functions; call them from main's thread.
// Ownership:  descriptors as told. Errors: values; a reader of the ready line who
//             has gone is logged.
#pragma once

#include "common/status.h"
#include "common/unique_fd.h"

namespace skyray {

// Writes "ready", or "error: <why>", to --ready-fd and closes it. Only the first
// call says anything, and none if there is no such descriptor.
void ReportReady(UniqueFd& ready_fd, const Status& status);

// A descriptor that becomes readable when the process that started us ends, in
// whatever way. Errors: InvalidArgument, it is not (any more) our parent.
Result<UniqueFd> WatchOwner(int pid);

// As many descriptors as the system's administrator allows.
void RaiseOpenFilesLimit();

}  // namespace skyray
