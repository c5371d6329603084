// SPDX-License-Identifier: Apache-2.0
#include "raylet/output_pipes.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>

#include "common/logging.h"

namespace skyray::raylet {
namespace asio = boost::asio;

namespace {
constexpr size_t kReadBytes = 64 << 10;
// What is read of a dead worker's pipe: a grandchild may still write to it.
constexpr size_t kDrainBytesMax = 1 << 20;
// How long the end of a line may be waited for before its beginning is shown.
constexpr std::chrono::milliseconds kLineEndWait{200};
}  // namespace

struct OutputPipes::Entry {
  Entry(asio::io_context& loop, const WorkerId& id, const LinesHandler& h)
      : worker(id),
        on_lines(h),
        streams{asio::posix::stream_descriptor(loop), asio::posix::stream_descriptor(loop)},
        line_end(loop) {}

  enum class Read { Some, Nothing, End };
  // Reads once without waiting.
  Read ReadOnce(bool is_stderr);
  void HandOn(const std::vector<OutputLines>& groups);
  static void Wait(const std::shared_ptr<Entry>& entry, bool is_stderr);
  static void WaitForLineEnd(const std::shared_ptr<Entry>& entry);
  // Nothing more is read.
  void Close();

  WorkerId worker;
  LinesHandler on_lines;
  asio::posix::stream_descriptor streams[2];
  asio::steady_timer line_end;
  bool awaits_line_end = false;
  WorkerOutput output;
  std::string log_path;
  UniqueFd log;  // Opened with the first line.
  bool log_failed = false;
  bool finished = false;
  size_t bytes_total = 0;
};

OutputPipes::Entry::Read OutputPipes::Entry::ReadOnce(bool is_stderr) {
  char buffer[kReadBytes];
  asio::posix::stream_descriptor& stream = streams[is_stderr];
  if (!stream.is_open()) return Read::End;
  const ssize_t got = read(stream.native_handle(), buffer, sizeof buffer);
  if (got > 0) {
    bytes_total += static_cast<size_t>(got);
    HandOn(output.Feed(is_stderr, {buffer, static_cast<size_t>(got)}));
    return Read::Some;
  }
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return Read::Nothing;
  boost::system::error_code ignored;
  stream.close(ignored);
  return Read::End;
}

void OutputPipes::Entry::HandOn(const std::vector<OutputLines>& groups) {
  if (groups.empty()) return;
  if (!log.valid() && !log_failed) {
    log = UniqueFd(open(log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  }
  std::string text;
  for (const OutputLines& group : groups) {
    for (const std::string& line : group.lines) text += line + "\n";
  }
  if (!log_failed && write(log.get(), text.data(), text.size()) < 0) {
    log_failed = true;
    SKYRAY_LOG(Warning) << ErrnoStatus("writing " + log_path, errno).message()
                        << "; this worker's output goes to its driver only";
  }
  on_lines(worker, groups);
}

void OutputPipes::Entry::Wait(const std::shared_ptr<Entry>& entry, bool is_stderr) {
  auto& stream = entry->streams[is_stderr];
  stream.async_wait(asio::posix::stream_descriptor::wait_read,
                    [entry, is_stderr](const boost::system::error_code& error) {
                      if (error || entry->finished) return;
                      if (entry->ReadOnce(is_stderr) != Read::End && !entry->finished) {
                        Wait(entry, is_stderr);
                      }
                      WaitForLineEnd(entry);
                    });
}

void OutputPipes::Entry::WaitForLineEnd(const std::shared_ptr<Entry>& entry) {
  if (entry->awaits_line_end || entry->finished || !entry->output.HasUnended()) return;
  entry->awaits_line_end = true;
  entry->line_end.expires_after(kLineEndWait);
  entry->line_end.async_wait([entry](const boost::system::error_code& error) {
    entry->awaits_line_end = false;
    if (error || entry->finished) return;
    entry->HandOn(entry->output.TakeUnended());
  });
}

void OutputPipes::Entry::Close() {
  finished = true;
  line_end.cancel();
  boost::system::error_code ignored;
  for (auto& stream : streams) stream.close(ignored);
}

OutputPipes::OutputPipes(asio::io_context& loop, std::string log_dir, LinesHandler on_lines)
    : loop_(loop), log_dir_(std::move(log_dir)), on_lines_(std::move(on_lines)) {}

OutputPipes::~OutputPipes() {
  for (auto& [worker, entry] : entries_) entry->Close();
}

void OutputPipes::Add(const WorkerId& worker, WorkerPipes pipes, const std::string& log_name) {
  auto entry = std::make_shared<Entry>(loop_, worker, on_lines_);
  entry->log_path = log_dir_ + "/" + log_name;
  UniqueFd* ends[2] = {&pipes.out, &pipes.err};
  for (const bool is_stderr : {false, true}) {
    UniqueFd& end = *ends[is_stderr];
    fcntl(end.get(), F_SETFL, O_NONBLOCK);
    entry->streams[is_stderr].assign(end.Release());
    Entry::Wait(entry, is_stderr);
  }
  entries_[worker] = std::move(entry);
}

std::vector<std::string> OutputPipes::Finish(const WorkerId& worker) {
  const auto it = entries_.find(worker);
  if (it == entries_.end()) return {};
  const std::shared_ptr<Entry> entry = it->second;
  entries_.erase(it);
  for (const bool is_stderr : {false, true}) {
    const size_t enough = entry->bytes_total + kDrainBytesMax;
    while (entry->bytes_total < enough && entry->ReadOnce(is_stderr) == Entry::Read::Some) {
    }
  }
  entry->HandOn(entry->output.Finish());
  entry->Close();
  return entry->output.stderr_tail();
}

}  // namespace skyray::raylet
