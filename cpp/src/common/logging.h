// SPDX-License-Identifier: Apache-2.0
// Lines for the people who run skyray, and the end of a process that found a
// bug in itself.
//
// Threading: any thread; one write(2) per line, so lines never mix.
// Ownership: none. Errors: a failed write is ignored (there is nowhere to say it).
#pragma once

#include <sstream>
#include <string>
#include <string_view>

namespace skyray {

enum class LogLevel { Debug, Info, Warning, Error };

// Lines below `level` are dropped; `component` is named in every line.
void ConfigureLogging(std::string component, LogLevel level);
LogLevel ParseLogLevel(std::string_view name);
bool LogEnabled(LogLevel level);
void WriteLogLine(LogLevel level, std::string_view message);

// Says what is broken and ends the process (abort, so that a core can be had).
[[noreturn]] void Die(const char* file, int line, const std::string& message);

// Collects one line; written when the statement ends.
class LogLine {
 public:
  explicit LogLine(LogLevel level) : level_(level) {}
  LogLine(const LogLine&) = delete;
  LogLine& operator=(const LogLine&) = delete;
  ~LogLine() { WriteLogLine(level_, stream_.str()); }
  std::ostringstream& stream() { return stream_; }

 private:
  LogLevel level_;
  std::ostringstream stream_;
};

// Gives both arms of SKYRAY_LOG the type void; binds looser than <<.
struct LogEnd {
  void operator&(const std::ostream&) const {}
};

}  // namespace skyray

#define SKYRAY_LOG(level)                          \
  !::skyray::LogEnabled(::skyray::LogLevel::level) \
      ? static_cast<void>(0)                       \
      : ::skyray::LogEnd() & ::skyray::LogLine(::skyray::LogLevel::level).stream()

// For what only a bug of ours can break; never for what a peer can cause.
#define SKYRAY_CHECK(condition) \
  if (condition) [[likely]] {   \
  } else                        \
    ::skyray::Die(__FILE__, __LINE__, std::string("check failed: ") + #condition)
