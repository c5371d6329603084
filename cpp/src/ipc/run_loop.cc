// SPDX-License-Identifier: Apache-2.0
#include "ipc/run_loop.h"

#include "ipc/look_around.h"

namespace skyray::ipc {

void RunLoop(boost::asio::io_context& loop) {
  LookAround look;
  while (loop.run_one() > 0) {
    look.Begin();
    while (!loop.stopped()) {
      if (loop.poll() > 0) {
        look.Begin();
      } else if (!look.Again()) {
        break;
      }
    }
  }
}

}  // namespace skyray::ipc
