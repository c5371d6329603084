// SPDX-License-Identifier: Apache-2.0
// plasma_store: the shared-memory object store on its own, for use with the
// C++ and Python clients without a raylet.
#include <getopt.h>
#include <stdio.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <charconv>
#include <csignal>
#include <cstring>
#include <string>

#include "common/logging.h"
#include "ipc/run_loop.h"
#include "plasma/store_server.h"

namespace skyray::plasma {
namespace {

constexpr char kUsage[] =
    "usage: plasma_store -m BYTES -s SOCKET\n"
    "\n"
    "Keeps immutable objects in shared memory for the processes of one user.\n"
    "\n"
    "  -m, --memory BYTES   capacity; pages are taken when they are first used.\n"
    "                       A suffix K, M or G means KiB, MiB or GiB\n"
    "  -s, --socket PATH    the unix socket to listen on (at most 107 bytes)\n"
    "  -h, --help           this text\n"
    "      --version        the version\n"
    "\n"
    "SIGTERM and SIGINT end it; its memory and socket go with it.\n";

bool ParseBytes(const char* text, uint64_t& bytes) {
  const char* end = text + std::strlen(text);
  const auto [rest, error] = std::from_chars(text, end, bytes);
  if (error != std::errc() || rest == text) return false;
  int shift = 0;
  if (rest != end) {
    if (end - rest != 1) return false;
    if (*rest == 'K') shift = 10;
    if (*rest == 'M') shift = 20;
    if (*rest == 'G') shift = 30;
    if (shift == 0) return false;
  }
  if (bytes > (UINT64_MAX >> shift)) return false;
  bytes <<= shift;
  return true;
}

int Complain(const std::string& what) {
  fprintf(stderr, "plasma_store: %s\nTry 'plasma_store --help'.\n", what.c_str());
  return 2;
}

int Run(const StoreOptions& options) {
  ConfigureLogging("plasma_store", LogLevel::Info);
  boost::asio::io_context loop{1};
  auto server = StoreServer::Start(loop, options, nullptr);
  if (!server) {
    fprintf(stderr, "plasma_store: cannot start: %s\n", server.error().message().c_str());
    return 1;
  }
  boost::asio::signal_set signals(loop, SIGTERM, SIGINT);
  signals.async_wait([&loop](const boost::system::error_code&, int) { loop.stop(); });
  SKYRAY_LOG(Info) << "serving " << options.capacity_bytes << " bytes on " << options.socket_path;
  ipc::RunLoop(loop);
  return 0;
}

int Main(int argc, char** argv) {
  constexpr int kVersionOption = 256;
  const option long_options[] = {{"memory", required_argument, nullptr, 'm'},
                                 {"socket", required_argument, nullptr, 's'},
                                 {"help", no_argument, nullptr, 'h'},
                                 {"version", no_argument, nullptr, kVersionOption},
                                 {nullptr, 0, nullptr, 0}};
  StoreOptions options;
  int choice = 0;
  while ((choice = getopt_long(argc, argv, "m:s:h", long_options, nullptr)) != -1) {
    switch (choice) {
      case 'm':
        if (!ParseBytes(optarg, options.capacity_bytes)) {
          return Complain(std::string("-m takes a number of bytes, like 512M, not '") + optarg +
                          "'.");
        }
        break;
      case 's':
        options.socket_path = optarg;
        break;
      case 'h':
        fputs(kUsage, stdout);
        return 0;
      case kVersionOption:
        printf("plasma_store (skyray) %s\n", SKYRAY_VERSION);
        return 0;
      default:
        fputs("Try 'plasma_store --help'.\n", stderr);
        return 2;
    }
  }
  if (optind < argc) return Complain(std::string("unexpected argument '") + argv[optind] + "'.");
  if (Status status = Validate(options); !status.ok()) return Complain(status.message() + ".");
  return Run(options);
}

}  // namespace
}  // namespace skyray::plasma

int main(int argc, char** argv) { return skyray::plasma::Main(argc, argv); }
