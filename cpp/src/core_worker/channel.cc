// SPDX-License-Identifier: Apache-2.0
#include "core_worker/channel.h"

#include <algorithm>

namespace skyray::core_worker {

uint64_t InFlight::Add(Task* task) {
  tasks_.push_back(task);
  ++count_;
  return first_ + tasks_.size() - 1;
}

Task* InFlight::Find(uint64_t sequence) const {
  if (sequence < first_ || sequence - first_ >= tasks_.size()) return nullptr;
  return tasks_[sequence - first_];
}

Task* InFlight::Take(uint64_t sequence) {
  Task* task = Find(sequence);
  if (task == nullptr) return nullptr;
  tasks_[sequence - first_] = nullptr;
  --count_;
  while (!tasks_.empty() && tasks_.front() == nullptr) {
    tasks_.pop_front();
    ++first_;
  }
  return task;
}

std::optional<uint64_t> InFlight::SequenceOf(const Task* task) const {
  const auto found = std::find(tasks_.begin(), tasks_.end(), task);
  if (found == tasks_.end()) return std::nullopt;
  return first_ + static_cast<uint64_t>(found - tasks_.begin());
}

std::vector<Task*> InFlight::All() const {
  std::vector<Task*> all;
  for (Task* task : tasks_) {
    if (task != nullptr) all.push_back(task);
  }
  return all;
}

std::vector<NumberedTask> InFlight::TakeAll() {
  std::vector<NumberedTask> all;
  for (Task* task : tasks_) {
    if (task != nullptr) all.push_back({first_, task});
    ++first_;
  }
  tasks_.clear();
  count_ = 0;
  return all;
}

std::span<uint8_t> InputBuffer::Space(size_t wanted) {
  if (begin_ > 0) {
    std::copy(bytes_.begin() + static_cast<ptrdiff_t>(begin_),
              bytes_.begin() + static_cast<ptrdiff_t>(end_), bytes_.begin());
    end_ -= begin_;
    begin_ = 0;
  }
  if (bytes_.size() - end_ < wanted) bytes_.resize(std::max(end_ + wanted, bytes_.size() * 2));
  return {bytes_.data() + end_, bytes_.size() - end_};
}

NextFrameResult InputBuffer::Next(uint32_t body_bytes_max, FrameView& frame) {
  const size_t have = end_ - begin_;
  missing_ = 0;
  if (have < sizeof(ipc::FrameHeader)) return NextFrameResult::Incomplete;
  ipc::FrameHeader header;
  std::memcpy(&header, bytes_.data() + begin_, sizeof header);
  if (header.body_bytes > body_bytes_max || header.fds > ipc::kFrameFdsMax) {
    return NextFrameResult::Bad;
  }
  if (have < sizeof header + header.body_bytes) {
    missing_ = sizeof header + header.body_bytes - have;
    return NextFrameResult::Incomplete;
  }
  if (fds_.size() < header.fds) return NextFrameResult::Bad;
  frame.kind = header.kind;
  frame.body = {bytes_.data() + begin_ + sizeof header, header.body_bytes};
  frame.fds.clear();
  for (uint16_t i = 0; i < header.fds; ++i) frame.fds.push_back(std::move(fds_[i]));
  fds_.erase(fds_.begin(), fds_.begin() + header.fds);
  begin_ += sizeof header + header.body_bytes;
  return NextFrameResult::Frame;
}

}  // namespace skyray::core_worker
