// SPDX-License-Identifier: Apache-2.0
#include "object_manager/spill_local.h"

#include <utility>

#include "common/logging.h"

namespace skyray::object_manager {

SpillLocal::SpillLocal(boost::asio::io_context& loop, SpillDiskOptions options, FileCalls& calls)
    : calls_(calls),
      folders_(options.directories, options.folder),
      disk_(calls, std::move(options)),
      files_(calls),
      writer_(loop, "spill write"),
      reader_(loop, "spill read") {}

void SpillLocal::Write(std::vector<SpillPiece> pieces,
                       std::function<void(Result<WrittenFile>)> done) {
  writer_.Run([this, pieces = std::move(pieces)](
                  const std::stop_token& stop) { return disk_.Write(pieces, stop); },
              std::move(done));
}

void SpillLocal::Read(const SpillPlace& place, const SpillRoom& room,
                      std::function<void(const Status&)> done) {
  reader_.Run([this, place, into = room.bytes](
                  const std::stop_token& stop) { return files_.Read(place, into, stop); },
              std::move(done));
}

void SpillLocal::Remove(const std::string& path) {
  writer_.Run([this, path](const std::stop_token&) { return RemoveSpilled(calls_, path); },
              [](const Status& status) {
                if (!status.ok()) SKYRAY_LOG(Warning) << "spilling: " << status.message();
              });
}

}  // namespace skyray::object_manager
