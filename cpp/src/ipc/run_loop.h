// SPDX-License-Identifier: Apache-2.0
// Runs a loop that answers its clients' next request sooner than a sleeping one can:
// after each piece of work it looks around for a few microseconds more.
//
// Threading: the calling thread runs the loop. Ownership: none. Errors: none.
#pragma once

#include <boost/asio/io_context.hpp>

namespace skyray::ipc {

// Returns when the loop was stopped or has no work left. While it looks it yields
// between looks, so that on a busy machine it costs nobody the core; a loop without
// work sleeps and is not woken.
void RunLoop(boost::asio::io_context& loop);

}  // namespace skyray::ipc
