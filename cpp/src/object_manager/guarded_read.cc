// SPDX-License-Identifier: Apache-2.0
#include "object_manager/guarded_read.h"

#include <setjmp.h>
#include <signal.h>

#include <mutex>

#include "common/logging.h"

namespace skyray::object_manager {
namespace {

struct Guard {
  std::span<const uint8_t> memory;
  sigjmp_buf back;
};

// The call that this thread is in.
thread_local Guard* guard = nullptr;

struct sigaction before;

void OnBusError(int, siginfo_t* info, void*) {
  const auto* at = static_cast<const uint8_t*>(info->si_addr);
  Guard* mine = guard;
  if (mine != nullptr && at >= mine->memory.data() &&
      at < mine->memory.data() + mine->memory.size()) {
    guard = nullptr;
    siglongjmp(mine->back, 1);
  }
  // Not ours: the same instruction raises it again, for whoever had it before.
  sigaction(SIGBUS, &before, nullptr);
}

void Install() {
  struct sigaction action = {};
  action.sa_sigaction = &OnBusError;
  action.sa_flags = SA_SIGINFO;
  sigemptyset(&action.sa_mask);
  SKYRAY_CHECK(sigaction(SIGBUS, &action, &before) == 0);
}

}  // namespace

bool GuardedRead(std::span<const uint8_t> memory, void (*read)(void*), void* context) {
  static std::once_flag installed;
  std::call_once(installed, &Install);
  Guard here;
  here.memory = memory;
  // The handler is left by a jump, which has to bring the signal mask back.
  if (sigsetjmp(here.back, /*savemask=*/1) != 0) return false;
  guard = &here;
  read(context);
  guard = nullptr;
  return true;
}

}  // namespace skyray::object_manager
