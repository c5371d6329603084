// SPDX-License-Identifier: Apache-2.0
// Spilling to URLs: this process lays files out and takes checksums, the I/O
// worker's Python moves the bytes.
//
// Threading:  as SpillStorage. Ownership: owns the worker, which takes away what
//             was written when *this ends.
// Errors:     as SpillStorage. A worker that dies fails its jobs with how it ended,
//             and is started again by the next.
#pragma once

#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "object_manager/spill_storage.h"
#include "object_manager/spill_thread.h"
#include "object_manager/spill_worker.h"

namespace skyray::object_manager {

struct SpillRemoteOptions {
  std::vector<std::string> urls;  // They take turns.
  std::string folder;             // Of this node, made below each.
  std::string python;
  std::string log_path;
};

class SpillRemote : public SpillStorage {
 public:
  // A descriptor of a segment of the store's, for the worker.
  using SegmentSource =
      std::function<void(uint32_t segment, std::function<void(Result<SharedFd>)> done)>;

  SpillRemote(boost::asio::io_context& loop, SpillRemoteOptions options, SegmentSource segments);

  ~SpillRemote() override;

  void Write(std::vector<SpillPiece> pieces,
             std::function<void(Result<WrittenFile>)> done) override;
  void Read(const SpillPlace& place, const SpillRoom& room,
            std::function<void(const Status&)> done) override;
  void Remove(const std::string& path) override;

  int worker_pid() const { return worker_.pid(); }

 private:
  // The worker's answer, or why there is none.
  using Answer = std::function<void(Result<boost::json::object>)>;
  struct Job {
    boost::json::object order;
    std::set<uint32_t> segments;  // That the worker must have.
    std::set<uint32_t> shown;     // Fallback segments, for this job alone.
    Answer answer;
    bool sent = false;
  };

  // Starts the worker if need be; a new one hears first what is its to remove.
  Status Send(const boost::json::object& order, std::vector<SharedFd> fds = {});
  void Start(boost::json::object order, std::set<uint32_t> segments, Answer answer);
  // Shows it the next segment it does not know, or sends it the order.
  void Advance(uint64_t job);
  void OnSegment(uint64_t job, uint32_t segment, Result<SharedFd> fd);
  void Finish(uint64_t job, Result<boost::json::object> answer);
  void OnEvent(const boost::json::object& event);
  void OnDown(const std::string& how);
  void CheckRead(const SpillPlace& place, const SpillRoom& room, const boost::json::object& answer,
                 std::function<void(const Status&)> done);

  boost::asio::io_context& loop_;
  const SpillRemoteOptions options_;
  const SegmentSource segments_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
  size_t next_url_ = 0;
  uint64_t next_file_ = 1;
  uint64_t next_job_ = 1;
  std::map<uint64_t, Job> jobs_;
  std::set<uint32_t> shown_;  // Segments that the worker has.
  SpillWorker worker_;
  SpillThread summer_;  // Takes checksums.
};

}  // namespace skyray::object_manager
