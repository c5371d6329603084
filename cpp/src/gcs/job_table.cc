// SPDX-License-Identifier: Apache-2.0
#include "gcs/job_table.h"

#include <algorithm>

namespace skyray::gcs {
namespace {

constexpr char kLastNumber[] = "last_job_number";

}  // namespace

Status JobTable::Load() {
  bool well_formed = true;
  Status status = storage_.Load(Table::Jobs, [&](std::string_view key, std::string_view value) {
    const auto id = JobId::FromBinary(key);
    pb::JobInfo job;
    if (!id || !job.ParseFromArray(value.data(), static_cast<int>(value.size()))) {
      well_formed = false;
      return;
    }
    last_number_ = std::max(last_number_, JobIdToInt(*id));
    by_driver_[job.driver_worker_id()] = *id;
    if (job.finished()) finished_.insert(*id);
    jobs_[*id] = std::move(job);
  });
  if (!status.ok()) return status;
  status = storage_.Load(Table::Meta, [&](std::string_view key, std::string_view value) {
    // A number is never given twice, even when its job has been forgotten.
    const auto last = JobId::FromBinary(value);
    if (key == kLastNumber && last) last_number_ = std::max(last_number_, JobIdToInt(*last));
  });
  if (status.ok() && !well_formed) {
    return Status(ErrorCode::IoError, "the GCS's store holds a malformed job; it is damaged");
  }
  return status;
}

Result<JobId> JobTable::Add(const pb::JobInfo& job, int64_t wall_ms) {
  if (!WorkerId::FromBinary(job.driver_worker_id()) || !NodeId::FromBinary(job.driver_node_id())) {
    return Status(ErrorCode::InvalidArgument,
                  "a job needs the 28-byte ids of its driver and of the driver's node");
  }
  if (const auto it = by_driver_.find(job.driver_worker_id()); it != by_driver_.end()) {
    return it->second;
  }
  const JobId id = JobIdFromInt(++last_number_);
  pb::JobInfo& added = jobs_[id];
  added = job;
  added.set_job_id(std::string(id.Binary()));
  added.set_finished(false);
  added.set_start_time_ms(wall_ms);
  added.set_end_time_ms(0);
  by_driver_[added.driver_worker_id()] = id;
  storage_.Put(Table::Meta, kLastNumber, std::string(id.Binary()));
  storage_.Put(Table::Jobs, std::string(id.Binary()), added.SerializeAsString());
  return id;
}

std::optional<pb::JobInfo> JobTable::Finish(const JobId& id, int64_t wall_ms) {
  const auto it = jobs_.find(id);
  if (it == jobs_.end() || it->second.finished()) return std::nullopt;
  it->second.set_finished(true);
  it->second.set_end_time_ms(wall_ms);
  const pb::JobInfo job = it->second;
  storage_.Put(Table::Jobs, std::string(id.Binary()), job.SerializeAsString());
  finished_.insert(id);
  if (finished_.size() > kFinishedJobsMax) {
    const JobId oldest = *finished_.begin();
    storage_.Delete(Table::Jobs, std::string(oldest.Binary()));
    by_driver_.erase(jobs_.at(oldest).driver_worker_id());
    jobs_.erase(oldest);
    finished_.erase(oldest);
  }
  return job;
}

const pb::JobInfo* JobTable::Find(const JobId& job) const {
  const auto it = jobs_.find(job);
  return it == jobs_.end() ? nullptr : &it->second;
}

bool JobTable::IsRunning(const JobId& job) const {
  const pb::JobInfo* found = Find(job);
  return found != nullptr && !found->finished();
}

std::vector<JobId> JobTable::RunningJobsOn(const NodeId& node) const {
  std::vector<JobId> running;
  for (const auto& [id, job] : jobs_) {
    if (!job.finished() && job.driver_node_id() == node.Binary()) running.push_back(id);
  }
  return running;
}

std::optional<JobId> JobTable::JobOfDriver(const WorkerId& driver) const {
  const auto it = by_driver_.find(std::string(driver.Binary()));
  if (it == by_driver_.end()) return std::nullopt;
  return it->second;
}

}  // namespace skyray::gcs
