// SPDX-License-Identifier: Apache-2.0
// One socket of a core worker: to its raylet, to a worker it calls, or from one
// that calls it. Buffers and sequence numbers only; the gateway does the I/O.
//
// Threading:  output and calls under the gateway's mutex; input only by the
//             thread that leads (gateway.h).
// Ownership:  shared by the gateway and whoever sends on it; owns the socket.
// Errors:     NextFrame answers Bad for a header that lies; the gateway then
//             closes the channel.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/unique_fd.h"
#include "core_worker/hot_frames.h"
#include "core_worker/task_event_buffer.h"
#include "ipc/frame.h"

namespace skyray::core_worker {

struct Task;
struct Function;

// What a caller has told us to run under an index (DefineFunction).
struct ReceivedFunction {
  FunctionId id;
  std::string method;
  std::string name;
  std::string retry_exceptions;
  uint32_t max_calls = 0;
  std::string group;  // The concurrency group of an actor's method.
  uint64_t items_untaken_max = 0;
  std::unique_ptr<RecordedFunction> recorded{};  // Null: its executions are not.
};

// As its call was numbered.
struct NumberedTask {
  uint64_t sequence;
  Task* task;
};

// Calls sent and not answered, by consecutive sequence numbers.
class InFlight {
 public:
  uint64_t Add(Task* task);
  // Null if that number was never given out or is answered already.
  Task* Take(uint64_t sequence);
  Task* Find(uint64_t sequence) const;
  std::vector<NumberedTask> TakeAll();  // Oldest first.
  // The number of a task; nothing if it is not under way here. Looks at all of them.
  std::optional<uint64_t> SequenceOf(const Task* task) const;
  std::vector<Task*> All() const;  // Oldest first.
  size_t size() const { return count_; }

 private:
  std::deque<Task*> tasks_;
  uint64_t first_ = 0;
  size_t count_ = 0;
};

enum class ChannelKind : uint8_t { Raylet, Outbound, Inbound };
enum class NextFrameResult : uint8_t { Frame, Incomplete, Bad };

struct FrameView {
  uint16_t kind = 0;
  std::span<const uint8_t> body;
  std::vector<UniqueFd> fds;
};

class InputBuffer {
 public:
  // Where the next bytes go: at least `wanted` of them.
  std::span<uint8_t> Space(size_t wanted);
  void Added(size_t bytes) { end_ += bytes; }
  std::vector<UniqueFd>& fds() { return fds_; }
  // The view is good until the next Space().
  NextFrameResult Next(uint32_t body_bytes_max, FrameView& frame);
  // How much the frame begun but not complete still lacks.
  size_t missing() const { return missing_; }

 private:
  std::vector<uint8_t> bytes_;
  size_t begin_ = 0;
  size_t end_ = 0;
  size_t missing_ = 0;
  std::vector<UniqueFd> fds_;
};

struct Channel {
  uint64_t id = 0;
  ChannelKind kind = ChannelKind::Outbound;
  UniqueFd fd;
  WorkerAddress peer;
  bool closed = false;

  std::string out;  // Whole frames, from out_begin on.
  size_t out_begin = 0;
  bool writing = false;  // A thread is sending, outside the mutex.
  bool blocked = false;  // The socket is full: wait until it can be written.
  bool dirty = false;    // In the gateway's list of channels with output.

  InputBuffer in;
  uint32_t frame_bytes_max = ipc::kHelloBytesMax;
  bool introduced = false;  // Inbound: Hello was received.
  bool paused = false;      // Not read from: its calls pile up here.

  InFlight in_flight;                                              // Outbound.
  std::unordered_map<const Function*, uint32_t> defined;           // Outbound: told to the peer.
  std::vector<std::unique_ptr<const ReceivedFunction>> functions;  // Inbound.

  size_t pending_bytes() const { return out.size() - out_begin; }
};
using ChannelPtr = std::shared_ptr<Channel>;

}  // namespace skyray::core_worker
