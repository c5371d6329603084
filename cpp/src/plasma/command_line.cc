// SPDX-License-Identifier: Apache-2.0
#include "plasma/command_line.h"

#include <getopt.h>

#include <string>

#include "common/byte_size.h"

namespace skyray::plasma {

const char kUsage[] =
    "usage: plasma_store -m BYTES -s SOCKET [-d DIR] [--fallback DIR] [--hugepages]\n"
    "\n"
    "Keeps immutable objects in shared memory for the processes of one user.\n"
    "\n"
    "  -m, --memory BYTES   capacity; a suffix K, M or G means KiB, MiB or GiB\n"
    "  -s, --socket PATH    the unix socket to listen on (at most 107 bytes)\n"
    "  -d, --directory DIR  keep the memory in a file there, whose room is reserved at\n"
    "                       the start. Without it: in memory of its own (memfd), whose\n"
    "                       pages are taken when they are first used, given back when\n"
    "                       the store is idle, and not bound by the size of /dev/shm\n"
    "      --fallback DIR   where objects go that find no room: a file on disk each.\n"
    "                       Without it they are refused\n"
    "      --hugepages      use huge pages (vm.nr_hugepages), reserved at the start;\n"
    "                       with -d, DIR must be on hugetlbfs\n"
    "  -h, --help           this text\n"
    "      --version        the version\n"
    "\n"
    "SIGTERM and SIGINT end it; its memory and socket go with it.\n";

namespace {

enum Option { kFallback = 256, kHugePages, kVersion };

Status Wrong(std::string what) { return Status(ErrorCode::InvalidArgument, std::move(what)); }

// `choice` is what getopt made of the argument before `optind`.
Status Misread(int choice, char** argv) {
  const std::string argument = argv[optind - 1];
  if (choice == ':') return Wrong("option '" + argument + "' needs a value");
  if (optopt != 0 && optopt < 256) {
    return Wrong(std::string("unrecognized option '-") + static_cast<char>(optopt) + "'");
  }
  return Wrong((optopt == 0 ? "unrecognized option '" : "option takes no value: '") + argument +
               "'");
}

Status TakeDirectory(const char* name, std::string& directory) {
  directory = optarg;
  return directory.empty() ? Wrong(std::string(name) + " takes a directory") : Status();
}

Status Take(int choice, char** argv, CommandLine& line) {
  switch (choice) {
    case 'm': {
      const auto bytes = ParseByteSize(optarg);
      if (!bytes) {
        return Wrong(std::string("-m takes a number of bytes, like 512M, not '") + optarg + "'");
      }
      line.options.capacity_bytes = *bytes;
      return Status();
    }
    case 's':
      line.options.socket_path = optarg;
      return Status();
    case 'd':
      return TakeDirectory("-d", line.options.directory);
    case kFallback:
      return TakeDirectory("--fallback", line.options.fallback_directory);
    case kHugePages:
      line.options.huge_pages = true;
      return Status();
    case 'h':
      line.wish = CommandLine::Wish::Help;
      return Status();
    case kVersion:
      line.wish = CommandLine::Wish::Version;
      return Status();
    default:
      return Misread(choice, argv);
  }
}

}  // namespace

Result<CommandLine> ParseCommandLine(int argc, char** argv) {
  static const option kOptions[] = {{"memory", required_argument, nullptr, 'm'},
                                    {"socket", required_argument, nullptr, 's'},
                                    {"directory", required_argument, nullptr, 'd'},
                                    {"fallback", required_argument, nullptr, kFallback},
                                    {"hugepages", no_argument, nullptr, kHugePages},
                                    {"help", no_argument, nullptr, 'h'},
                                    {"version", no_argument, nullptr, kVersion},
                                    {nullptr, 0, nullptr, 0}};
  CommandLine line;
  optind = 0;  // From the start, with its state forgotten.
  opterr = 0;
  for (;;) {
    const int choice = getopt_long(argc, argv, ":m:s:d:h", kOptions, nullptr);
    if (choice == -1) break;
    if (Status status = Take(choice, argv, line); !status.ok()) return status;
    if (line.wish != CommandLine::Wish::Serve) return line;
  }
  if (optind < argc) return Wrong(std::string("unexpected argument '") + argv[optind] + "'");
  if (line.options.capacity_bytes == 0) return Wrong("the store's memory is missing: -m BYTES");
  if (line.options.socket_path.empty()) return Wrong("the store needs a socket path: -s SOCKET");
  if (Status status = CheckOptions(line.options); !status.ok()) return status;
  return line;
}

}  // namespace skyray::plasma
