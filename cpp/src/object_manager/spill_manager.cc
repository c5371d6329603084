// SPDX-License-Identifier: Apache-2.0
#include "object_manager/spill_manager.h"

#include <algorithm>
#include <utility>

#include "common/logging.h"

namespace skyray::object_manager {
namespace {
constexpr uint64_t kFileBytesLeast = 1 << 20;
constexpr int kReadsMax = 3;
}  // namespace

// --- Out ---

uint64_t SpillManager::FileBytes() const {
  const uint64_t share = std::max(config_.capacity_bytes / 8, kFileBytesLeast);
  return std::max<uint64_t>(1, std::min(config_.file_bytes_min, share));
}

SpillSteps SpillManager::SpaceWanted(uint64_t bytes, int64_t now_ms) {
  SpillSteps steps;
  wanted_bytes_ = bytes;
  Pump(steps, now_ms);
  return steps;
}

void SpillManager::Pump(SpillSteps& steps, int64_t now_ms) {
  if (wanted_bytes_ == 0 || taking_ || writes_.size() >= config_.writes_max) return;
  if (now_ms < pause_until_ms_) return;
  taking_ = true;
  steps.take = SpillSteps::Take{FileBytes(), config_.file_objects_max};
}

SpillSteps SpillManager::Taken(std::vector<SpillPiece> pieces, int64_t now_ms) {
  SKYRAY_CHECK(taking_);
  taking_ = false;
  SpillSteps steps;
  if (pieces.empty()) {
    // Whoever wants room asks again.
    wanted_bytes_ = 0;
    return steps;
  }
  while (!pieces.empty()) {
    uint64_t bytes = 0;
    size_t count = 0;
    do {
      bytes += pieces[count++].record.bytes();
    } while (count < pieces.size() &&
             (config_.file_bytes_max == 0 ||
              bytes + pieces[count].record.bytes() <= config_.file_bytes_max));
    wanted_bytes_ -= std::min(wanted_bytes_, bytes);
    const auto end = pieces.begin() + static_cast<ptrdiff_t>(count);
    const uint64_t write = next_id_++;
    for (auto piece = pieces.begin(); piece != end; ++piece) {
      writes_[write].push_back(piece->record);
    }
    steps.writes.push_back({write, {pieces.begin(), end}});
    pieces.erase(pieces.begin(), end);
  }
  Pump(steps, now_ms);
  return steps;
}

SpillSteps SpillManager::Written(uint64_t write, Result<WrittenFile> file, int64_t now_ms) {
  auto found = writes_.extract(write);
  SKYRAY_CHECK(!found.empty());
  const std::vector<SpillRecord>& records = found.mapped();
  SpillSteps steps;
  if (!file) {
    std::vector<ObjectId> objects;
    objects.reserve(records.size());
    for (const SpillRecord& record : records) objects.push_back(record.object);
    ++stats_.failed_writes_total;
    stats_.last_error = file.error().message();
    pause_until_ms_ = now_ms + config_.retry_ms;
    steps.failed.push_back({std::move(objects), file.error()});
    return steps;
  }
  SKYRAY_CHECK(file->offsets.size() == records.size());
  const FileId id = next_id_++;
  files_[id] = File{std::move(file->path), file->bytes, records.size() - file->lost.size(), 0};
  for (size_t i = 0; i < records.size(); ++i) {
    const SpillRecord& record = records[i];
    if (std::ranges::find(file->lost, i) != file->lost.end()) {
      LoseInMemory(steps, record.object);
      continue;
    }
    steps.spilled.push_back(record.object);
    if (objects_.contains(record.object)) Forget(steps, record.object);  // An older life of it.
    objects_[record.object] = {id, file->offsets[i], record.owner, record.data_bytes,
                               record.metadata_bytes};
    stats_.spilled_bytes_total += record.bytes();
  }
  stats_.spilled_objects_total += steps.spilled.size();
  ++stats_.spilled_files_total;
  RemoveIfUnused(steps, id);
  Pump(steps, now_ms);
  return steps;
}

void SpillManager::LoseInMemory(SpillSteps& steps, const ObjectId& object) {
  const Status why(ErrorCode::ObjectLost,
                   "object " + object.Hex() + ": " + StoreMemoryGone().message());
  ++stats_.lost_objects_total;
  stats_.last_error = why.message();
  steps.lost.push_back({object, why});
}

// --- In ---

SpillSteps SpillManager::RestoreWanted(const ObjectId& object) {
  SpillSteps steps;
  if (!objects_.contains(object)) {
    steps.lost.push_back(
        {object, Status(ErrorCode::ObjectLost, "object " + object.Hex() + " is in no spill file")});
    return steps;
  }
  if (!restores_.try_emplace(object).second) return steps;
  waiting_restores_.push_back(object);
  PumpRestores(steps);
  return steps;
}

void SpillManager::PumpRestores(SpillSteps& steps) {
  while (!waiting_restores_.empty() && restores_running_ < config_.restores_max) {
    const ObjectId object = waiting_restores_.front();
    waiting_restores_.pop_front();
    restores_.at(object).started = true;
    ++restores_running_;
    steps.rooms.push_back(object);
  }
}

SpillSteps SpillManager::RoomFound(const ObjectId& object, Result<SpillRoom> room, int64_t now_ms) {
  SpillSteps steps;
  Restore& restore = restores_.at(object);
  if (room) {
    restore.room = *room;
    StartRead(steps, object, restore);
    return steps;
  }
  const ErrorCode code = room.error().code();
  if (code == ErrorCode::OutOfMemory || code == ErrorCode::OutOfDisk) {
    // It is safe on disk; those who wait for it have timeouts of their own.
    stats_.last_error = room.error().message();
    later_.emplace(now_ms + config_.retry_ms, object);
  } else {
    // It went meanwhile, or is back already.
    EndRestore(steps, object);
  }
  return steps;
}

void SpillManager::StartRead(SpillSteps& steps, const ObjectId& object, Restore& restore) {
  const auto stored = objects_.find(object);
  if (stored == objects_.end()) {
    const Status why(ErrorCode::ObjectLost, "object " + object.Hex() + " was deleted");
    return Lose(steps, object, why);
  }
  File& file = files_.at(stored->second.file);
  ++file.readers;
  restore.file = stored->second.file;
  const Stored& at = stored->second;
  steps.reads.push_back(
      {{file.path, at.offset, {object, at.owner, at.data_bytes, at.metadata_bytes}},
       *restore.room});
}

SpillSteps SpillManager::ReadDone(const ObjectId& object, const Status& status, int64_t now_ms) {
  SpillSteps steps;
  Restore& restore = restores_.at(object);
  const FileId file = std::exchange(restore.file, 0);
  --files_.at(file).readers;
  if (status.ok()) {
    ++stats_.restored_objects_total;
    stats_.restored_bytes_total += restore.room->bytes.size();
    steps.restored.push_back(object);
    EndRestore(steps, object);
  } else if (status.code() != ErrorCode::ObjectLost && ++restore.failures < kReadsMax) {
    stats_.last_error = status.message();
    later_.emplace(now_ms + config_.retry_ms, object);
  } else {
    Lose(steps, object, Status(ErrorCode::ObjectLost, status.message()));
  }
  RemoveIfUnused(steps, file);
  return steps;
}

void SpillManager::EndRestore(SpillSteps& steps, const ObjectId& object) {
  restores_.erase(object);
  --restores_running_;
  PumpRestores(steps);
}

void SpillManager::Lose(SpillSteps& steps, const ObjectId& object, const Status& why) {
  if (objects_.contains(object)) {
    ++stats_.lost_objects_total;
    stats_.last_error = why.message();
    Forget(steps, object);
  }
  steps.lost.push_back({object, why});
  EndRestore(steps, object);
}

// --- Away ---

SpillSteps SpillManager::Deleted(const ObjectId& object) {
  SpillSteps steps;
  if (!objects_.contains(object)) return steps;
  Forget(steps, object);
  const auto restore = restores_.find(object);
  if (restore != restores_.end() && !restore->second.started) {
    std::erase(waiting_restores_, object);
    restores_.erase(restore);
  }
  return steps;
}

void SpillManager::Forget(SpillSteps& steps, const ObjectId& object) {
  const auto stored = objects_.extract(object);
  const FileId file = stored.mapped().file;
  --files_.at(file).objects;
  RemoveIfUnused(steps, file);
}

void SpillManager::RemoveIfUnused(SpillSteps& steps, FileId id) {
  const auto file = files_.find(id);
  if (file == files_.end() || file->second.objects > 0 || file->second.readers > 0) return;
  steps.removals.push_back(std::move(file->second.path));
  files_.erase(file);
}

// --- Time ---

SpillSteps SpillManager::Tick(int64_t now_ms) {
  SpillSteps steps;
  Pump(steps, now_ms);
  while (!later_.empty() && later_.begin()->first <= now_ms) {
    const ObjectId object = later_.begin()->second;
    later_.erase(later_.begin());
    Restore& restore = restores_.at(object);
    if (restore.room) {
      StartRead(steps, object, restore);
    } else if (objects_.contains(object)) {
      steps.rooms.push_back(object);
    } else {
      EndRestore(steps, object);  // It was deleted.
    }
  }
  return steps;
}

std::optional<int64_t> SpillManager::NextDeadline() const {
  std::optional<int64_t> next;
  if (!later_.empty()) next = later_.begin()->first;
  if (wanted_bytes_ > 0 && !taking_ && writes_.size() < config_.writes_max) {
    next = std::min(next.value_or(INT64_MAX), pause_until_ms_);
  }
  return next;
}

SpillStats SpillManager::Stats() const {
  SpillStats stats = stats_;
  stats.files = files_.size();
  stats.objects = objects_.size();
  for (const auto& [id, file] : files_) stats.file_bytes += file.bytes;
  return stats;
}

}  // namespace skyray::object_manager
