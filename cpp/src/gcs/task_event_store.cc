// SPDX-License-Identifier: Apache-2.0
#include "gcs/task_event_store.h"

#include <algorithm>

namespace skyray::gcs {

void TaskEventStore::Add(const pb::TaskEvents& events) {
  dropped_ += events.dropped();
  Batch batch{0, events.batch(), events.executions()};
  if (batch.left() == 0) return;
  batch.number = ++last_number_;
  executions_ += batch.left();
  bytes_ += batch.bytes();
  batches_.push_back(std::move(batch));
  ForgetOldest();
}

void TaskEventStore::ForgetOldest() {
  while (!batches_.empty() && (executions_ > executions_max_ || bytes_ > kTaskEventBytesMax)) {
    Batch& oldest = batches_.front();
    const size_t left = oldest.left();
    const uint64_t too_many = executions_ - std::min(executions_, executions_max_);
    const bool goes = bytes_ > kTaskEventBytesMax || too_many >= left;
    const size_t forgotten = goes ? left : too_many;
    executions_ -= forgotten;
    dropped_ += forgotten;
    oldest.forgotten += forgotten;
    if (!goes) return;
    bytes_ -= oldest.bytes();
    batches_.pop_front();
  }
}

pb::GetTaskEventsReply TaskEventStore::Read(uint64_t after) const {
  pb::GetTaskEventsReply reply;
  reply.set_dropped(dropped_);
  const auto first = std::find_if(batches_.begin(), batches_.end(),
                                  [after](const Batch& batch) { return batch.number > after; });
  size_t bytes = 0;
  for (auto it = first; it != batches_.end(); ++it) {
    if (bytes > 0 && bytes + it->bytes() > kTaskEventPageBytes) {
      reply.set_next(std::prev(it)->number);
      break;
    }
    bytes += it->bytes();
    pb::TaskEventBatch* const batch = reply.add_batches();
    batch->set_data(it->data);
    batch->set_executions(it->executions.substr(it->forgotten * kExecutionBytes));
  }
  return reply;
}

}  // namespace skyray::gcs
