// SPDX-License-Identifier: Apache-2.0
// What this worker has run and not told yet: skyray.timeline() shows it.
//
//   Add ─► kept, or only counted ─Take─► one batch for the GCS, and nothing is kept
//
// It takes no memory while it is empty. What many executions have in common, the name
// of the function, is in a batch once.
//
// Threading:  a core of the gateway's monitor: only under its mutex.
// Ownership:  owns what was added. A RecordedFunction is its channel's, and may go
//             before the batch does.
// Errors:     none: what is too much is dropped, and counted.
#pragma once

#include <flatbuffers/flatbuffers.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/id.h"
#include "core_worker/pooled.h"
#include "fbs/task_event_generated.h"

namespace skyray::core_worker {

// Between two Takes. Beyond the second, failures go without their texts.
constexpr size_t kTaskEventsMax = 10'000;
constexpr size_t kFailureBytesMax = 1 << 20;
// Of one text; what is longer is cut.
constexpr size_t kFailureTextBytesMax = 4096;
constexpr size_t kTaskNameBytesMax = 1024;

// A function whose executions are recorded.
struct RecordedFunction {
  std::string name;    // As in errors, or as .options(name=...) says.
  std::string code;    // "module.function", or a method's name; "": as its name.
  uint64_t batch = 0;  // The buffer's own: the batch that lists it, and where.
  uint32_t index = 0;
};

// When an execution began, and its parts were over, by the monotonic clock; 0: it did not
// come to that. Without a start it is not recorded.
struct TaskTimes {
  int64_t start_ns = 0;
  int64_t arguments_ns = 0;
  int64_t executed_ns = 0;
  int64_t end_ns = 0;
};

// What an execution raised, in words.
struct TaskFailure {
  bool in_outputs = false;  // When what it had returned was to be stored.
  std::string type;
  std::string value;
  std::string traceback;
};

// Whose executions they are.
struct TaskEventSource {
  std::string node_ip;
  WorkerId worker;
  JobId job;
  ActorId actor;  // Nil: the worker is none.
};

// As put into a message's builder.
struct TaskEventBatch {
  flatbuffers::Offset<flatbuffers::Vector<uint8_t>> batch;
  flatbuffers::Offset<flatbuffers::Vector<const fb::task_event::Execution*>> executions;
  uint64_t dropped = 0;  // Beside them.
};

class TaskEventBuffer {
 public:
  // True: the first since Take, so that it is to be called some time. `failure` may be null;
  // its texts are taken. REQUIRES: `times` has a start and an end.
  bool Add(const TaskId& task, RecordedFunction& function, const TaskTimes& times,
           TaskFailure* failure);
  bool empty() const { return count_ == 0; }
  // All that was added. `to_wall_ns` is what makes wall clock times of monotonic ones.
  // REQUIRES: not empty.
  TaskEventBatch Take(const TaskEventSource& source, int64_t to_wall_ns,
                      flatbuffers::FlatBufferBuilder& builder);

 private:
  // As in a message.
  struct Execution {
    uint8_t task[TaskId::kSize];
    uint32_t function;
    uint32_t failure;
    int64_t times[4];
  };
  struct Chunk final : Pooled<Chunk> {
    Execution executions[15];
  };
  void List(RecordedFunction& function);
  uint32_t AddFailure(TaskFailure& failure);

  uint64_t batch_ = 1;
  std::vector<std::pair<std::string, std::string>> functions_;  // Name and code.
  std::vector<TaskFailure> failures_;
  std::vector<std::unique_ptr<Chunk>> chunks_;  // All full but the last,
  Execution* next_ = nullptr;                   // in which these are free.
  size_t free_ = 0;
  size_t count_ = 0;
  size_t failure_bytes_ = 0;
  uint64_t dropped_ = 0;
};

}  // namespace skyray::core_worker
