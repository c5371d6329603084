// SPDX-License-Identifier: Apache-2.0
#include "ipc/run_loop.h"

#include <sched.h>

#include <chrono>

namespace skyray::ipc {
namespace {

using Clock = std::chrono::steady_clock;

// A client that asks, is answered and asks again is back within this; waking a
// sleeping thread takes about as long.
constexpr auto kLook = std::chrono::microseconds(20);

}  // namespace

void RunLoop(boost::asio::io_context& loop) {
  while (loop.run_one() > 0) {
    auto until = Clock::now() + kLook;
    while (!loop.stopped()) {
      const bool worked = loop.poll() > 0;
      const auto now = Clock::now();
      if (worked) until = now + kLook;
      if (now >= until) break;
      if (!worked) sched_yield();
    }
  }
}

}  // namespace skyray::ipc
