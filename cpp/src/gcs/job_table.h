// SPDX-License-Identifier: Apache-2.0
// The jobs: one per driver, from its first word until its end.
//
// Threading:  pure; lives on the GCS's loop.
// Ownership:  owns the records. Finished jobs are kept for people to see, the
//             last kFinishedJobsMax of them.
// Errors:     InvalidArgument: a driver without a proper id.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/id.h"
#include "common/status.h"
#include "gcs/storage.h"
#include "protos/gcs.pb.h"

namespace skyray::gcs {

constexpr size_t kFinishedJobsMax = 1000;

class JobTable {
 public:
  // `storage` must outlive *this.
  explicit JobTable(Storage& storage) : storage_(storage) {}
  Status Load();

  // The same driver gets the same id, however often it asks. The time is wall
  // clock, and only kept for people.
  Result<JobId> Add(const pb::JobInfo& job, int64_t wall_ms);
  // The finished job, if there is such a job and it had not finished before.
  std::optional<pb::JobInfo> Finish(const JobId& job, int64_t wall_ms);

  const pb::JobInfo* Find(const JobId& job) const;
  bool IsRunning(const JobId& job) const;
  std::vector<JobId> RunningJobsOn(const NodeId& node) const;
  std::optional<JobId> JobOfDriver(const WorkerId& driver) const;
  const std::map<JobId, pb::JobInfo>& jobs() const { return jobs_; }

 private:
  Storage& storage_;
  std::map<JobId, pb::JobInfo> jobs_;
  std::map<std::string, JobId> by_driver_;
  std::set<JobId> finished_;
  uint32_t last_number_ = 0;
};

}  // namespace skyray::gcs
