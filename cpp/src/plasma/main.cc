// SPDX-License-Identifier: Apache-2.0
// plasma_store: the shared-memory object store on its own, for use with the
// C++ and Python clients without a raylet.
#include <stdio.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <csignal>
#include <string>

#include "common/daemon.h"
#include "common/logging.h"
#include "ipc/run_loop.h"
#include "plasma/command_line.h"
#include "plasma/store_server.h"

namespace skyray::plasma {
namespace {

int Run(const StoreOptions& options) {
  ConfigureLogging("plasma_store", LogLevel::Info);
  RaiseOpenFilesLimit();  // One for each client, and for each object in fallback memory.
  boost::asio::io_context loop{1};
  // Before the socket is there: whoever sees it may end us.
  boost::asio::signal_set signals(loop, SIGTERM, SIGINT);
  signals.async_wait([&loop](const boost::system::error_code&, int) { loop.stop(); });
  auto server = StoreServer::Start(loop, options, nullptr);
  if (!server) {
    fprintf(stderr, "plasma_store: cannot start: %s\n", server.error().message().c_str());
    return 1;
  }
  ipc::RunLoop(loop);
  return 0;
}

int Main(int argc, char** argv) {
  const auto line = ParseCommandLine(argc, argv);
  if (!line) {
    fprintf(stderr, "plasma_store: %s; see 'plasma_store --help'\n",
            line.error().message().c_str());
    return 2;
  }
  switch (line->wish) {
    case CommandLine::Wish::Help:
      fputs(kUsage, stdout);
      return 0;
    case CommandLine::Wish::Version:
      printf("plasma_store (skyray) %s\n", SKYRAY_VERSION);
      return 0;
    case CommandLine::Wish::Serve:
      return Run(line->options);
  }
  return 2;
}

}  // namespace
}  // namespace skyray::plasma

int main(int argc, char** argv) { return skyray::plasma::Main(argc, argv); }
