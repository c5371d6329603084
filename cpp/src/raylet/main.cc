// SPDX-License-Identifier: Apache-2.0
// The raylet: one per node. Wiring only; NodeServer is the program.
#include <signal.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/signal_set.hpp>
#include <string>

#include "common/daemon.h"
#include "common/logging.h"
#include "raylet/node_server.h"
#include "raylet/options.h"

namespace skyray::raylet {
namespace {

namespace asio = boost::asio;

int Run(Options options) {
  asio::io_context loop(1);
  UniqueFd ready_fd(options.ready_fd);
  asio::posix::stream_descriptor owner(loop);
  const int owner_pid = options.owner_pid;
  NodeServer server(loop, std::move(options));
  server.OnStopped([&loop] { loop.stop(); });
  if (owner_pid != 0) {
    auto watched = WatchOwner(owner_pid);
    if (!watched) {
      ReportReady(ready_fd, watched.error());
      return 1;
    }
    owner.assign(watched->Release());
    owner.async_wait(asio::posix::stream_descriptor::wait_read,
                     [&server](const boost::system::error_code& error) {
                       if (!error) server.Stop("the process that started this node has ended");
                     });
  }
  asio::signal_set signals(loop, SIGTERM, SIGINT);
  signals.async_wait([&server](const boost::system::error_code& error, int number) {
    if (!error) server.Stop("signal " + std::to_string(number));
  });
  int exit_code = 0;
  const auto on_ready = [&](const Status& status) {
    ReportReady(ready_fd, status);
    if (status.ok()) return;
    SKYRAY_LOG(Error) << status.message();
    exit_code = 1;
    server.Stop(status.message());
  };
  if (Status status = server.Start(on_ready); !status.ok()) on_ready(status);
  loop.run();
  return exit_code;
}

}  // namespace
}  // namespace skyray::raylet

int main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);  // A limit on file sizes fails a spill, not the node.
  auto options = skyray::raylet::ParseOptions(argc, argv);
  if (!options) {
    skyray::ConfigureLogging("raylet", skyray::LogLevel::Info);
    SKYRAY_LOG(Error) << options.error().message();
    return 2;
  }
  skyray::ConfigureLogging("raylet", skyray::ParseLogLevel(options->log_level));
  skyray::RaiseOpenFilesLimit();  // Two pipes, a socket and a few more for each worker.
  return skyray::raylet::Run(std::move(*options));
}
