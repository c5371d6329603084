// SPDX-License-Identifier: Apache-2.0
// Decides what is spilled together, knows which file has which object, when a
// file may go, and which object is restored when.
//
//   SpaceWanted ─► take ─Taken─► write ─Written─► spilled | failed, a pause
//   RestoreWanted ─► room ─RoomFound─► read ─ReadDone─► restored | lost
//   Deleted ─► the last of a file, and nobody reads there: remove the file
//
// Each call returns the steps that became due.
//
// Threading:  pure; lives on its caller's loop.
// Ownership:  values. Bytes it is shown are passed on, never touched.
// Errors:     in the steps. An answer to what was not asked is a bug (REQUIRES).
//             Times are milliseconds of one monotonic clock.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/id.h"
#include "common/status.h"
#include "object_manager/spill_storage.h"

namespace skyray::object_manager {

struct SpillConfig {
  uint64_t capacity_bytes = 0;  // Of the store.
  // A file has at least so many bytes, unless there is no more to spill. Of a
  // small store never more than an eighth at a time: who waits for room would
  // wait for all of it.
  uint64_t file_bytes_min = 100u << 20;
  uint64_t file_bytes_max = 0;  // 0: whatever they come to. One object is always let through.
  uint32_t file_objects_max = 2000;
  size_t writes_max = 2;  // One on its way, the next one ready.
  size_t restores_max = 8;
  int64_t retry_ms = 1000;  // After a failure.
};

struct SpillStats {
  uint64_t spilled_bytes_total = 0;
  uint64_t spilled_objects_total = 0;
  uint64_t spilled_files_total = 0;
  uint64_t restored_bytes_total = 0;
  uint64_t restored_objects_total = 0;
  uint64_t lost_objects_total = 0;
  uint64_t failed_writes_total = 0;
  uint64_t files = 0;  // Now.
  uint64_t file_bytes = 0;
  uint64_t objects = 0;
  std::string last_error;
};

struct SpillSteps {
  struct Take {
    uint64_t bytes_min = 0;
    size_t objects_max = 0;
  };
  struct Write {
    uint64_t id = 0;
    std::vector<SpillPiece> pieces;
  };
  struct Failed {
    std::vector<ObjectId> objects;
    Status why;
  };
  struct Read {
    SpillPlace place;
    SpillRoom room;
  };
  struct Lost {
    ObjectId object;
    Status why;
  };
  std::optional<Take> take;
  std::vector<Write> writes;
  std::vector<ObjectId> spilled;
  std::vector<Failed> failed;
  std::vector<ObjectId> rooms;  // To be asked for.
  std::vector<Read> reads;
  std::vector<ObjectId> restored;
  std::vector<Lost> lost;
  std::vector<std::string> removals;
};

class SpillManager {
 public:
  explicit SpillManager(const SpillConfig& config) : config_(config) {}

  // So much should be spilled from now on; the latest word counts.
  SpillSteps SpaceWanted(uint64_t bytes, int64_t now_ms);
  // The answer to a take; empty if there is nothing to spill.
  SpillSteps Taken(std::vector<SpillPiece> pieces, int64_t now_ms);
  SpillSteps Written(uint64_t write, Result<WrittenFile> file, int64_t now_ms);

  SpillSteps RestoreWanted(const ObjectId& object);
  SpillSteps RoomFound(const ObjectId& object, Result<SpillRoom> room, int64_t now_ms);
  SpillSteps ReadDone(const ObjectId& object, const Status& status, int64_t now_ms);

  // Nobody needs it any more.
  SpillSteps Deleted(const ObjectId& object);

  SpillSteps Tick(int64_t now_ms);
  // When Tick has something to do.
  std::optional<int64_t> NextDeadline() const;

  SpillStats Stats() const;

 private:
  using FileId = uint64_t;
  struct Stored {
    FileId file = 0;
    uint64_t offset = 0;
    WorkerId owner;
    uint64_t data_bytes = 0;
    uint64_t metadata_bytes = 0;
  };
  struct File {
    std::string path;
    uint64_t bytes = 0;
    size_t objects = 0;
    size_t readers = 0;
  };
  struct Restore {
    bool started = false;
    int failures = 0;
    FileId file = 0;  // Being read; 0 if not.
    std::optional<SpillRoom> room;
  };

  uint64_t FileBytes() const;
  void Pump(SpillSteps& steps, int64_t now_ms);
  void PumpRestores(SpillSteps& steps);
  void StartRead(SpillSteps& steps, const ObjectId& object, Restore& restore);
  void EndRestore(SpillSteps& steps, const ObjectId& object);
  void LoseInMemory(SpillSteps& steps, const ObjectId& object);
  void Lose(SpillSteps& steps, const ObjectId& object, const Status& why);
  void Forget(SpillSteps& steps, const ObjectId& object);
  void RemoveIfUnused(SpillSteps& steps, FileId file);

  const SpillConfig config_;
  uint64_t wanted_bytes_ = 0;
  bool taking_ = false;
  int64_t pause_until_ms_ = INT64_MIN;
  uint64_t next_id_ = 1;
  std::unordered_map<uint64_t, std::vector<SpillRecord>> writes_;
  std::unordered_map<ObjectId, Stored> objects_;
  std::unordered_map<FileId, File> files_;
  std::unordered_map<ObjectId, Restore> restores_;
  std::deque<ObjectId> waiting_restores_;
  std::multimap<int64_t, ObjectId> later_;  // Restores that pause.
  size_t restores_running_ = 0;
  SpillStats stats_;
};

}  // namespace skyray::object_manager
