// SPDX-License-Identifier: Apache-2.0
// What ps and top -c show for a worker: "skyray::" and the task or method it runs, between
// two calls the actor's class, or IDLE.
//
// It is written over the command line that the process was started with (setproctitle(3bsd)
// of the BSDs does it so): no system call, but never longer than that line.
//
// Threading:  the main thread. Ownership: none. Errors: none; where the command line cannot
//             be found the title stays.
#pragma once

#include <string_view>

namespace skyray::bindings {

// Between two calls.
void SetRestingTitle(std::string_view name);

// While it runs one.
class TitleScope {
 public:
  explicit TitleScope(std::string_view name);
  ~TitleScope();
  TitleScope(const TitleScope&) = delete;
  TitleScope& operator=(const TitleScope&) = delete;
};

}  // namespace skyray::bindings
