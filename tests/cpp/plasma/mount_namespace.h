// SPDX-License-Identifier: Apache-2.0
// Runs a piece of a test in a child process with a file system of its own
// mounted, which only that child sees and which goes with it.
//
// Threading:  the calling test's thread; call it before any other is started.
// Ownership:  the child is waited for. Errors: told as MountOutcome.
#pragma once

#include <errno.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <functional>
#include <string>

namespace skyray::plasma {

enum class MountOutcome { Held, Broken, NotPermitted };

// Mounts `type` with `options` on `directory`, and tells whether `check` held
// there. What the child has to say comes on its stderr.
inline MountOutcome WithMount(const char* type, const std::string& options,
                              const std::string& directory, const std::function<bool()>& check) {
  const pid_t child = fork();
  if (child == 0) {
    const bool mounted =
        unshare(CLONE_NEWNS) == 0 &&
        mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
        mount(type, directory.c_str(), type, 0, options.empty() ? nullptr : options.c_str()) == 0;
    if (!mounted) {
      fprintf(stderr, "cannot mount %s: %s\n", type, strerror(errno));
      _exit(2);
    }
    _exit(check() ? 0 : 1);
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status)) {
    return MountOutcome::Broken;
  }
  if (WEXITSTATUS(status) == 2) return MountOutcome::NotPermitted;
  return WEXITSTATUS(status) == 0 ? MountOutcome::Held : MountOutcome::Broken;
}

}  // namespace skyray::plasma

// Skips the test where this user may not mount anything.
#define EXPECT_HOLDS_WITH_MOUNT(type, options, directory, check)                                   \
  do {                                                                                             \
    const auto outcome_ = ::skyray::plasma::WithMount(type, options, directory, check);            \
    if (outcome_ == ::skyray::plasma::MountOutcome::NotPermitted) {                                \
      GTEST_SKIP() << "mounting " << (type) << " in a namespace of its own is not permitted here"; \
    }                                                                                              \
    EXPECT_EQ(outcome_, ::skyray::plasma::MountOutcome::Held);                                     \
  } while (false)
