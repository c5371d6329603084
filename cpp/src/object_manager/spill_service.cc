// SPDX-License-Identifier: Apache-2.0
#include "object_manager/spill_service.h"

#include <chrono>
#include <utility>

#include "common/logging.h"

namespace skyray::object_manager {
namespace {

// The log hears of the first spill, and again whenever it has come to twice as much.
constexpr uint64_t kTellFirst = 1;

int64_t NowMs() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

std::vector<SpillPiece> PiecesOf(const std::vector<plasma::SpillableObject>& objects) {
  std::vector<SpillPiece> pieces;
  pieces.reserve(objects.size());
  for (const plasma::SpillableObject& object : objects) {
    pieces.push_back({{object.object.id, object.object.owner, object.object.data_bytes,
                       object.object.metadata_bytes},
                      object.bytes,
                      object.place});
  }
  return pieces;
}

}  // namespace

SpillService::SpillService(boost::asio::io_context& loop, plasma::StoreRunner& store,
                           std::unique_ptr<SpillStorage> storage, const SpillConfig& config)
    : store_(store), manager_(config), timer_(loop), storage_(std::move(storage)) {}

SpillService::~SpillService() { alive_.reset(); }

void SpillService::OnStoreEvents(const std::vector<plasma::StoreEvent>& events) {
  for (const plasma::StoreEvent& event : events) {
    switch (event.kind) {
      case plasma::StoreEvent::Kind::Added:
        break;
      case plasma::StoreEvent::Kind::Deleted:
        if (event.stored) Do(manager_.Deleted(event.object.id));
        break;
      case plasma::StoreEvent::Kind::SpaceWanted:
        Do(manager_.SpaceWanted(event.bytes, NowMs()));
        break;
      case plasma::StoreEvent::Kind::RestoreWanted:
        Do(manager_.RestoreWanted(event.object.id));
        break;
    }
  }
}

void SpillService::Do(SpillSteps steps) {
  if (!steps.spilled.empty()) {
    store_.Spilled(std::move(steps.spilled));
    Tell();
  }
  for (SpillSteps::Failed& failed : steps.failed) {
    SKYRAY_LOG(Warning) << "spilling " << failed.objects.size()
                        << " objects failed; they stay in memory: " << failed.why.message();
    store_.SpillFailed(std::move(failed.objects), failed.why);
  }
  for (const ObjectId& object : steps.restored) store_.Seal(object);
  for (const SpillSteps::Lost& lost : steps.lost) {
    SKYRAY_LOG(Warning) << "lost: " << lost.why.message();
    store_.Lose(lost.object, lost.why);
  }
  for (const std::string& path : steps.removals) storage_->Remove(path);
  for (const SpillSteps::Read& read : steps.reads) Read(read);
  for (const ObjectId& object : steps.rooms) FindRoom(object);
  for (SpillSteps::Write& write : steps.writes) Write(std::move(write));
  if (steps.take) Take(*steps.take);
  ArmTimer();
}

void SpillService::Take(const SpillSteps::Take& take) {
  store_.TakeSpillable(take.bytes_min, take.objects_max,
                       IfAlive([this](std::vector<plasma::SpillableObject> objects) {
                         Do(manager_.Taken(PiecesOf(objects), NowMs()));
                       }));
}

void SpillService::Write(SpillSteps::Write write) {
  storage_->Write(std::move(write.pieces), IfAlive([this, id = write.id](Result<WrittenFile> file) {
                    Do(manager_.Written(id, std::move(file), NowMs()));
                  }));
}

void SpillService::FindRoom(const ObjectId& object) {
  store_.Restore(object, IfAlive([this, object](Result<plasma::RestoreRoom> room) {
                   Result<SpillRoom> found =
                       room ? Result<SpillRoom>(SpillRoom{room->bytes, room->place})
                            : Result<SpillRoom>(room.error());
                   Do(manager_.RoomFound(object, std::move(found), NowMs()));
                 }));
}

void SpillService::Read(const SpillSteps::Read& read) {
  const ObjectId object = read.place.record.object;
  storage_->Read(read.place, read.room, IfAlive([this, object](const Status& status) {
                   Do(manager_.ReadDone(object, status, NowMs()));
                 }));
}

void SpillService::Tell() {
  const SpillStats stats = manager_.Stats();
  if (stats.spilled_bytes_total < std::max(kTellFirst, 2 * told_bytes_)) return;
  told_bytes_ = stats.spilled_bytes_total;
  SKYRAY_LOG(Info) << "spilled " << (stats.spilled_bytes_total >> 20) << " MiB in "
                   << stats.spilled_objects_total << " objects and " << stats.spilled_files_total
                   << " files so far, restored " << (stats.restored_bytes_total >> 20) << " MiB";
}

void SpillService::ArmTimer() {
  const auto deadline = manager_.NextDeadline();
  if (!deadline) {
    timer_.cancel();
    return;
  }
  timer_.expires_at(std::chrono::steady_clock::time_point(std::chrono::milliseconds(*deadline)));
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) Do(manager_.Tick(NowMs()));
  });
}

}  // namespace skyray::object_manager
