// SPDX-License-Identifier: Apache-2.0
// Spilling to local directories: one thread writes and removes, another reads,
// so that neither waits for the other; a third helps the reader with large objects.
//
// Threading:  as SpillStorage. Ownership: owns its threads and the folders, which
//             are gone with it. `calls` must outlive it. Errors: as SpillStorage.
#pragma once

#include <boost/asio/io_context.hpp>
#include <string>
#include <vector>

#include "object_manager/spill_disk.h"
#include "object_manager/spill_folders.h"
#include "object_manager/spill_reader.h"
#include "object_manager/spill_thread.h"

namespace skyray::object_manager {

class SpillLocal : public SpillStorage {
 public:
  SpillLocal(boost::asio::io_context& loop, SpillDiskOptions options,
             FileCalls& calls = RealFileCalls());

  void Write(std::vector<SpillPiece> pieces,
             std::function<void(Result<WrittenFile>)> done) override;
  void Read(const SpillPlace& place, const SpillRoom& room,
            std::function<void(const Status&)> done) override;
  void Remove(const std::string& path) override;

 private:
  FileCalls& calls_;
  SpillFolders folders_;  // Before the threads: removed after their end.
  SpillDisk disk_;        // Used on the writer's thread.
  SpillReader files_;     // Used on the reader's thread.
  SpillThread writer_;
  SpillThread reader_;
};

}  // namespace skyray::object_manager
