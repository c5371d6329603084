// SPDX-License-Identifier: Apache-2.0
// What workers have run, of all jobs: the newest of it, for people to look at.
//
//   Add ─► batches, each after the one before it ─► Read, in pages
//              └─ too many: the oldest executions are forgotten, and counted
//
// Threading:  pure; lives on the GCS's loop.
// Ownership:  owns the batches, whose executions it only counts. In memory only: a GCS that is
//             started anew knows of none.
// Errors:     none.
#pragma once

#include <cstdint>
#include <deque>
#include <string>

#include "fbs/task_event_generated.h"
#include "protos/gcs.pb.h"

namespace skyray::gcs {

constexpr uint64_t kTaskEventsMax = 100'000;
// With texts of failures and names; the oldest go, whole batches.
constexpr size_t kTaskEventBytesMax = 64 << 20;
constexpr size_t kTaskEventPageBytes = 4 << 20;
constexpr size_t kExecutionBytes = sizeof(fb::task_event::Execution);

class TaskEventStore {
 public:
  explicit TaskEventStore(uint64_t executions_max = kTaskEventsMax)
      : executions_max_(executions_max) {}

  void Add(const pb::TaskEvents& events);
  // A page, of at least one batch if there is one after `after`.
  pb::GetTaskEventsReply Read(uint64_t after) const;

  uint64_t executions() const { return executions_; }
  size_t bytes() const { return bytes_; }

 private:
  struct Batch {
    uint64_t number;
    std::string data;
    std::string executions;
    size_t forgotten = 0;  // The first so many.
    size_t left() const { return executions.size() / kExecutionBytes - forgotten; }
    size_t bytes() const { return data.size() + executions.size(); }
  };
  void ForgetOldest();

  const uint64_t executions_max_;
  std::deque<Batch> batches_;  // The oldest first.
  uint64_t last_number_ = 0;
  uint64_t executions_ = 0;  // That are not forgotten.
  size_t bytes_ = 0;
  uint64_t dropped_ = 0;
};

}  // namespace skyray::gcs
