// SPDX-License-Identifier: Apache-2.0
#include "common/logging.h"

#include <unistd.h>

#include <cstdlib>
#include <ctime>

namespace skyray {
namespace {

struct LogConfig {
  std::string component = "skyray";
  LogLevel level = LogLevel::Info;
};

LogConfig& Config() {
  static LogConfig config;
  return config;
}

constexpr char kLevelLetter[] = {'D', 'I', 'W', 'E'};

}  // namespace

void ConfigureLogging(std::string component, LogLevel level) {
  Config().component = std::move(component);
  Config().level = level;
}

LogLevel ParseLogLevel(std::string_view name) {
  if (name == "debug") return LogLevel::Debug;
  if (name == "warning") return LogLevel::Warning;
  if (name == "error") return LogLevel::Error;
  return LogLevel::Info;
}

bool LogEnabled(LogLevel level) { return level >= Config().level; }

void WriteLogLine(LogLevel level, std::string_view message) {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);  // For people only; no protocol reads it.
  tm parts{};
  gmtime_r(&now.tv_sec, &parts);
  char head[64];
  const int head_bytes =
      snprintf(head, sizeof head, "%c%02d%02d %02d:%02d:%02d.%06ld %d ",
               kLevelLetter[static_cast<int>(level)], parts.tm_mon + 1, parts.tm_mday,
               parts.tm_hour, parts.tm_min, parts.tm_sec, now.tv_nsec / 1000, getpid());
  std::string line(head, static_cast<size_t>(head_bytes));
  line += Config().component;
  line += ": ";
  line += message;
  line += '\n';
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
}

void Die(const char* file, int line, const std::string& message) {
  WriteLogLine(LogLevel::Error, std::string(file) + ":" + std::to_string(line) + ": " + message +
                                    ". This is a bug in skyray; please report it with this line.");
  std::abort();
}

}  // namespace skyray
