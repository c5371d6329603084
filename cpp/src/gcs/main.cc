// SPDX-License-Identifier: Apache-2.0
// gcs_server: the cluster's one place of knowledge, as a process. Ends with its
// owner, on SIGTERM or SIGINT, or when its storage fails.
#include <signal.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/signal_set.hpp>
#include <cstdlib>

#include "common/daemon.h"
#include "common/logging.h"
#include "common/unique_fd.h"
#include "gcs/options.h"
#include "gcs/server.h"

namespace {

namespace asio = boost::asio;
using skyray::Status;
using skyray::UniqueFd;

Status Run(const skyray::gcs::Options& options, UniqueFd& ready_fd) {
  asio::io_context loop(1);
  Status end;
  const auto stop = [&](const Status& why) {
    end = why;
    loop.stop();
  };

  asio::posix::stream_descriptor owner(loop);
  if (options.owner_pid > 0) {
    auto pidfd = skyray::WatchOwner(options.owner_pid);
    if (!pidfd) return pidfd.error();
    owner.assign(pidfd->Release());
    owner.async_wait(owner.wait_read, [&](const boost::system::error_code&) {
      SKYRAY_LOG(Info) << "the owner, process " << options.owner_pid << ", has ended; ending too";
      stop(Status());
    });
  }
  asio::signal_set signals(loop, SIGTERM, SIGINT);
  signals.async_wait([&](const boost::system::error_code&, int number) {
    SKYRAY_LOG(Info) << "ending on signal " << number;
    stop(Status());
  });

  auto storage = skyray::gcs::OpenStorage(options.storage);
  if (!storage) return storage.error();
  skyray::gcs::Server server(loop, **storage, stop, static_cast<uint64_t>(options.task_events_max));
  if (Status status = server.Start(); !status.ok()) return status;
  server.Listen(UniqueFd(options.listen_fd));
  skyray::ReportReady(ready_fd, Status());
  SKYRAY_LOG(Info) << "gcs_server is ready, storage " << options.storage;
  loop.run();
  server.Stop();
  // The owner bound it, and may not be there any more to take it away.
  unlink((options.session_dir + "/gcs.sock").c_str());
  return end;
}

}  // namespace

int main(int argc, char** argv) {
  skyray::ConfigureLogging("gcs_server", skyray::LogLevel::Info);
  const auto options = skyray::gcs::ParseOptions(argc, argv);
  if (!options) {
    SKYRAY_LOG(Error) << options.error().message();
    return 2;
  }
  skyray::ConfigureLogging("gcs_server", skyray::ParseLogLevel(options->log_level));
  signal(SIGPIPE, SIG_IGN);
  // gRPC's errors about single connections are no news for people.
  setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);
  UniqueFd ready_fd(options->ready_fd);
  const Status status = Run(*options, ready_fd);
  if (!status.ok()) {
    SKYRAY_LOG(Error) << status.message();
    skyray::ReportReady(ready_fd, status);
    return 1;
  }
  return 0;
}
