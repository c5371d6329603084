// SPDX-License-Identifier: Apache-2.0
// What one worker prints, cut into lines and told apart.
//
// A line "\x01name:<text>" is not output: it names what follows on its stream
// (a task's function, an actor's class). The last lines of stderr are kept for
// the error message should the worker die.
//
// Threading:  lives on the raylet's loop; not thread-safe.
// Ownership:  values.
// Errors:     none: a line longer than kLineBytesMax is cut, its rest follows
//             as a line of its own; so is one whose end does not come in time
//             (TakeUnended). Invalid UTF-8 becomes '?' in what is told to the
//             driver.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <vector>

namespace skyray::raylet {

constexpr size_t kLineBytesMax = 1 << 20;
constexpr size_t kStderrTailLines = 20;
constexpr size_t kStderrTailLineBytesMax = 16 << 10;

struct OutputLines {
  std::string name;
  bool is_stderr = false;
  std::vector<std::string> lines;
};

class WorkerOutput {
 public:
  // The lines that `bytes` completes, in order; consecutive ones of one name together.
  std::vector<OutputLines> Feed(bool is_stderr, std::string_view bytes);
  // Whether something was printed whose line has not ended.
  bool HasUnended() const;
  // That, as a line: a person may wait for it, and its end may never come.
  std::vector<OutputLines> TakeUnended();
  // What is left without an end of line, now that the worker is gone.
  std::vector<OutputLines> Finish();
  std::vector<std::string> stderr_tail() const { return {tail_.begin(), tail_.end()}; }

 private:
  struct Stream {
    std::string partial;
    std::string name;
    bool cut = false;  // The line's beginning has been handed on.
  };

  // `partial` has ended, or (`cut`) is as long as a line may be.
  void EndLine(bool is_stderr, bool cut, std::vector<OutputLines>& out);
  void HandOn(bool is_stderr, const std::string& line, std::vector<OutputLines>& out);

  Stream streams_[2];
  std::deque<std::string> tail_;
};

}  // namespace skyray::raylet
