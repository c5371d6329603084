// SPDX-License-Identifier: Apache-2.0
// The command line of plasma_store.
//
// Threading:  one caller (getopt keeps state). Ownership: values.
// Errors:     InvalidArgument: one sentence that names the flag and what it takes.
#pragma once

#include "common/status.h"
#include "plasma/store_setup.h"

namespace skyray::plasma {

extern const char kUsage[];

struct CommandLine {
  enum class Wish { Serve, Help, Version };
  Wish wish = Wish::Serve;
  StoreOptions options{};
};

Result<CommandLine> ParseCommandLine(int argc, char** argv);

}  // namespace skyray::plasma
