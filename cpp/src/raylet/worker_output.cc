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
    if (at_newline || partial.size() >= kLineBytesMax) EndLine(is_stderr, !at_newline, out);
  }
  return out;
}

bool WorkerOutput::HasUnended() const {
  return !streams_[0].partial.empty() || !streams_[1].partial.empty();
}

std::vector<OutputLines> WorkerOutput::TakeUnended() {
  std::vector<OutputLines> out;
  for (const bool is_stderr : {false, true}) {
    Stream& stream = streams_[is_stderr];
    // A mark stays until it is whole, and so does a character.
    const size_t take = WholeCharacterBytes(
        std::string_view(stream.partial).substr(0, stream.partial.find('\x01')));
    if (take == 0) continue;
    HandOn(is_stderr, stream.partial.substr(0, take), out);
    stream.partial.erase(0, take);
    stream.cut = true;
  }
  return out;
}

std::vector<OutputLines> WorkerOutput::Finish() {
  std::vector<OutputLines> out;
  for (const bool is_stderr : {false, true}) {
    if (!streams_[is_stderr].partial.empty()) EndLine(is_stderr, /*cut=*/false, out);
  }
  return out;
}

void WorkerOutput::EndLine(bool is_stderr, bool cut, std::vector<OutputLines>& out) {
  Stream& stream = streams_[is_stderr];
  std::string line;
  line.swap(stream.partial);
  if (cut) {
    const size_t whole = WholeCharacterBytes(line);
    stream.partial = line.substr(whole);
    line.resize(whole);
  } else if (!line.empty() && line.back() == '\r') {
    line.pop_back();
  }
  // A print without a newline may stand before the mark.
  const size_t at = line.find(kNameMark);
  const bool marked = at != std::string::npos;
  const std::string mark = marked ? ToValidUtf8(line.substr(at + kNameMark.size())) : "";
  if (marked) line.resize(at);
  // Nothing follows what is shown already, or stands before the mark.
  const bool nothing = line.empty() && (marked || stream.cut);
  if (!nothing) HandOn(is_stderr, line, out);
  if (marked) stream.name = mark;
  stream.cut = cut;
}

void WorkerOutput::HandOn(bool is_stderr, const std::string& line, std::vector<OutputLines>& out) {
  Stream& stream = streams_[is_stderr];
  const std::string text = ToValidUtf8(line);
  if (is_stderr) {
    if (!stream.cut || tail_.empty()) tail_.emplace_back();
    std::string& last = tail_.back();
    last.append(text, 0, kStderrTailLineBytesMax - last.size());
    last.resize(WholeCharacterBytes(last));
    if (tail_.size() > kStderrTailLines) tail_.pop_front();
  }
  const std::string& name = stream.name.empty() ? streams_[!is_stderr].name : stream.name;
  if (out.empty() || out.back().name != name || out.back().is_stderr != is_stderr) {
    out.push_back({name, is_stderr, {}});
  }
  out.back().lines.push_back(text);
}

}  // namespace skyray::raylet
