// SPDX-License-Identifier: Apache-2.0
// What a worker has run goes to the GCS: together, a while after the first of it, so that one
// that is idle is not woken.
#include "common/wall_clock.h"
#include "core_worker/core_worker.h"
#include "core_worker/frames_out.h"

namespace skyray::core_worker {
namespace fbr = fb::raylet;

std::unique_ptr<RecordedFunction> CoreWorker::NewRecorded(bool wanted, const std::string& name,
                                                          const std::string& code) const {
  if (!wanted || options_.task_events_interval_ns == 0) return nullptr;
  return std::make_unique<RecordedFunction>(RecordedFunction{name, code});
}

void CoreWorker::SendTaskEvents(uint64_t flushed) {
  events_due_ns_ = INT64_MAX;
  if (!raylet_lost_.empty() || (events_.empty() && flushed == 0)) return;
  SendRaylet(
      nullptr,
      [&](Builder& builder, fbr::Body& type) {
        type = fbr::Body::TaskEvents;
        TaskEventBatch taken;
        if (!events_.empty()) {
          taken = events_.Take(event_source_, WallClockNs() - NowNs(), builder);
        }
        return fbr::CreateTaskEvents(builder, taken.batch, taken.executions, taken.dropped, flushed)
            .Union();
      },
      nullptr);
}

}  // namespace skyray::core_worker
