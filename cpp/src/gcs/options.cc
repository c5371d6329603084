// SPDX-License-Identifier: Apache-2.0
#include "gcs/options.h"

#include <charconv>
#include <map>
#include <string_view>

namespace skyray::gcs {
namespace {

constexpr char kUsage[] =
    "usage: gcs_server --listen-fd N --session-dir DIR [--storage memory|sqlite:PATH] "
    "[--owner-pid PID] [--ready-fd N] [--task-events-max N] "
    "[--log-level debug|info|warning|error]";

Status Wrong(const std::string& what) {
  return Status(ErrorCode::InvalidArgument, what + ". " + kUsage);
}

}  // namespace

Result<Options> ParseOptions(int argc, const char* const* argv) {
  Options options;
  const std::map<std::string_view, int*> numbers = {
      {"--listen-fd", &options.listen_fd},
      {"--owner-pid", &options.owner_pid},
      {"--ready-fd", &options.ready_fd},
      {"--task-events-max", &options.task_events_max}};
  const std::map<std::string_view, std::string*> texts = {{"--session-dir", &options.session_dir},
                                                          {"--storage", &options.storage},
                                                          {"--log-level", &options.log_level}};
  for (int i = 1; i < argc; i += 2) {
    const std::string flag = argv[i];
    if (i + 1 == argc) return Wrong(flag + " needs a value");
    const std::string_view value = argv[i + 1];
    if (const auto text = texts.find(flag); text != texts.end()) {
      *text->second = value;
    } else if (const auto number = numbers.find(flag); number != numbers.end()) {
      const char* end = value.data() + value.size();
      const auto parsed = std::from_chars(value.data(), end, *number->second);
      if (parsed.ec != std::errc() || parsed.ptr != end || *number->second < 0) {
        return Wrong(flag + " takes a number, not '" + std::string(value) + "'");
      }
    } else if (flag == "--listen-tcp") {
      return Wrong(
          "--listen-tcp is not available in this version: a TCP port has to authenticate its "
          "peers before a byte is parsed. Nodes on this machine use the session's gcs.sock");
    } else {
      return Wrong("unknown flag '" + flag + "'");
    }
  }
  if (options.listen_fd < 0) return Wrong("--listen-fd is missing");
  if (options.session_dir.empty()) return Wrong("--session-dir is missing");
  return options;
}

}  // namespace skyray::gcs
