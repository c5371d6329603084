// SPDX-License-Identifier: Apache-2.0
#include "raylet/worker_output.h"

#include "raylet/utf8.h"

namespace skyray::raylet {
namespace {
constexpr std::string_view kNameMark = "\x01name:";
}  // namespace

std::vector<OutputLines> WorkerOutput::Feed(bool is_stderr, std::string_view bytes) {
  std::vector<OutputLines> out;
  std::string& partial = streams_[is_stderr].partial;
  while (!bytes.empty()) {
    const size_t end = bytes.find('\n');
    const size_t room = kLineBytesMax - partial.size();
    const size_t take = std::min(std::min(end, bytes.size()), room);
    partial.append(bytes.substr(0, take));
    bytes.remove_prefix(take);
    const bool at_newline = !bytes.empty() && bytes.front() == '\n';
    if (at_newline) bytes.remove_prefix(1);
    if (at_newline || partial.size() >= kLineBytesMax) EndLine(is_stderr, out);
  }
  return out;
}

std::vector<OutputLines> WorkerOutput::Finish() {
  std::vector<OutputLines> out;
  for (const bool is_stderr : {false, true}) {
    if (!streams_[is_stderr].partial.empty()) EndLine(is_stderr, out);
  }
  return out;
}

void WorkerOutput::EndLine(bool is_stderr, std::vector<OutputLines>& out) {
  Stream& stream = streams_[is_stderr];
  std::string line;
  line.swap(stream.partial);
  // A print without a newline may stand before the mark.
  std::string mark;
  if (const size_t at = line.find(kNameMark); at != std::string::npos) {
    mark = line.substr(at + kNameMark.size());
    line.resize(at);
    if (line.empty()) {
      stream.name = ToValidUtf8(mark);
      return;
    }
  }
  line = ToValidUtf8(line);
  if (is_stderr) {
    tail_.push_back(line);
    if (tail_.size() > kStderrTailLines) tail_.pop_front();
  }
  const std::string& name = stream.name.empty() ? streams_[!is_stderr].name : stream.name;
  if (out.empty() || out.back().name != name || out.back().is_stderr != is_stderr) {
    out.push_back({name, is_stderr, {}});
  }
  out.back().lines.push_back(std::move(line));
  if (!mark.empty()) stream.name = ToValidUtf8(mark);
}

}  // namespace skyray::raylet
