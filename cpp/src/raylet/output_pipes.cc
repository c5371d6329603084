// SPDX-License-Identifier: Apache-2.0
#include "raylet/output_pipes.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <boost/asio/posix/stream_descriptor.hpp>

#include "common/logging.h"

namespace skyray::raylet {
namespace asio = boost::asio;

namespace {
constexpr size_t kReadBytes = 64 << 10;
// What is read of a dead worker's pipe: a grandchild may still write to it.
constexpr size_t kDrainBytesMax = 1 << 20;
}  // namespace

struct OutputPipes::Entry {
  Entry(asio::io_context& loop, const WorkerId& id, const LinesHandler& h)
      : worker(id),
        on_lines(h),
        streams{asio::posix::stream_descriptor(loop), asio::posix::stream_descriptor(loop)} {}

  enum class Read { Some, Nothing, End };
  // Reads once without waiting.
  Read ReadOnce(bool is_stderr);
  void HandOn(const std::vector<OutputLines>& groups);
  static void Wait(const std::shared_ptr<Entry>& entry, bool is_stderr);

  WorkerId worker;
  LinesHandler on_lines;
  asio::posix::stream_descriptor streams[2];
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
                    });
}

OutputPipes::OutputPipes(asio::io_context& loop, std::string log_dir, LinesHandler on_lines)
    : loop_(loop), log_dir_(std::move(log_dir)), on_lines_(std::move(on_lines)) {}

OutputPipes::~OutputPipes() {
  for (auto& [worker, entry] : entries_) {
    entry->finished = true;
    boost::system::error_code ignored;
    for (auto& stream : entry->streams) stream.close(ignored);
  }
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
  entry->finished = true;
  boost::system::error_code ignored;
  for (auto& stream : entry->streams) stream.close(ignored);
  return entry->output.stderr_tail();
}

}  // namespace skyray::raylet
