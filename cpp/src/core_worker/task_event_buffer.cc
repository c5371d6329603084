// SPDX-License-Identifier: Apache-2.0
#include "core_worker/task_event_buffer.h"

#include <algorithm>
#include <cstring>
#include <iterator>

#include "core_worker/frames_out.h"
#include "fbs/task_event_generated.h"

namespace skyray::core_worker {
namespace fbt = fb::task_event;

namespace {

// Not in the middle of a character.
void Cut(std::string& text, size_t bytes_max) {
  if (text.size() <= bytes_max) return;
  size_t end = bytes_max;
  while (end > 0 && (static_cast<uint8_t>(text[end]) & 0xC0) == 0x80) --end;
  text.resize(end);
}

}  // namespace

uint32_t TaskEventBuffer::AddFailure(TaskFailure& failure) {
  for (std::string* text : {&failure.type, &failure.value, &failure.traceback}) {
    Cut(*text, kFailureTextBytesMax);
    if (failure_bytes_ + text->size() > kFailureBytesMax) text->clear();
    failure_bytes_ += text->size();
  }
  failures_.push_back(std::move(failure));
  return static_cast<uint32_t>(failures_.size());
}

void TaskEventBuffer::List(RecordedFunction& function) {
  function.batch = batch_;
  function.index = static_cast<uint32_t>(functions_.size());
  auto& [name, code] =
      functions_.emplace_back(function.name, function.code.empty() ? function.name : function.code);
  Cut(name, kTaskNameBytesMax);
  Cut(code, kTaskNameBytesMax);
}

bool TaskEventBuffer::Add(const TaskId& task, RecordedFunction& function, const TaskTimes& times,
                          TaskFailure* failure) {
  if (count_ >= kTaskEventsMax) {
    ++dropped_;
    return false;
  }
  if (free_ == 0) {
    chunks_.emplace_back(new Chunk);
    next_ = chunks_.back()->executions;
    free_ = std::size(chunks_.back()->executions);
  }
  if (function.batch != batch_) List(function);
  Execution& execution = *next_++;
  std::memcpy(execution.task, task.data(), TaskId::kSize);
  execution.function = function.index;
  execution.failure = failure == nullptr ? 0 : AddFailure(*failure);
  static_assert(sizeof times == sizeof execution.times);
  std::memcpy(execution.times, &times, sizeof times);
  --free_;
  return ++count_ == 1;
}

TaskEventBatch TaskEventBuffer::Take(const TaskEventSource& source, int64_t to_wall_ns,
                                     Builder& message) {
  TaskEventBatch taken;
  taken.dropped = dropped_;
  static_assert(sizeof(Execution) == sizeof(fbt::Execution));
  fbt::Execution* to = nullptr;
  taken.executions = message.CreateUninitializedVectorOfStructs(count_, &to);
  size_t left = count_;
  for (const auto& chunk : chunks_) {
    const size_t size = std::min(left, std::size(chunk->executions));
    std::memcpy(static_cast<void*>(to), chunk->executions, size * sizeof(Execution));
    to += size;
    left -= size;
  }
  Builder builder(1024);
  std::vector<flatbuffers::Offset<fbt::Function>> functions;
  for (const auto& [name, code] : functions_) {
    const auto name_text = builder.CreateString(name);
    const auto code_text = builder.CreateString(code);
    functions.push_back(fbt::CreateFunction(builder, name_text, code_text));
  }
  std::vector<flatbuffers::Offset<fbt::Failure>> failures;
  for (const TaskFailure& one : failures_) {
    const auto type = builder.CreateString(one.type);
    const auto value = builder.CreateString(one.value);
    const auto traceback = builder.CreateString(one.traceback);
    failures.push_back(fbt::CreateFailure(builder, type, value, traceback, one.in_outputs));
  }
  const auto ip = builder.CreateString(source.node_ip);
  const auto worker = PutId(builder, source.worker);
  const auto job = PutId(builder, source.job);
  const auto actor = PutId(builder, source.actor);
  const auto function_list = builder.CreateVector(functions);
  const auto failure_list = builder.CreateVector(failures);
  builder.Finish(
      fbt::CreateBatch(builder, ip, worker, job, actor, function_list, failure_list, to_wall_ns));
  taken.batch = message.CreateVector(builder.GetBufferPointer(), builder.GetSize());
  // Their memory goes: the worker may be idle from now on.
  const uint64_t next = batch_ + 1;
  *this = TaskEventBuffer();
  batch_ = next;
  return taken;
}

}  // namespace skyray::core_worker
