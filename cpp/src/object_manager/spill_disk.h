// SPDX-License-Identifier: Apache-2.0
// Spill files in local directories, written in the calling thread. (Read back by
// spill_reader.h.)
//
//   DIRECTORY/skyray_spilled_<node>/.<number>.tmp ─complete─► <number>.spill
//
// A file's size is reserved before anything is written, so a full disk is found
// at once. The directories take turns; one that fails is passed over for that
// file. After a failure nothing of the file is left.
//
// Threading:  not thread-safe, and slow: an I/O thread of its own. The function
//             RemoveSpilled may run beside it in another.
// Ownership:  owns no descriptor between calls. Bytes are borrowed for the call.
// Errors:     OutOfDisk, IoError: every directory's reason. Cancelled once `stop` is
//             requested.
#pragma once

#include <cstdint>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "common/status.h"
#include "object_manager/spill_file_calls.h"
#include "object_manager/spill_storage.h"

namespace skyray::object_manager {

struct SpillDiskOptions {
  std::vector<std::string> directories;
  std::string folder;  // Of this node, made in each directory.
  bool sync = false;   // Have each file on the disk itself before it counts.
};

class SpillDisk {
 public:
  // `calls` must outlive *this.
  SpillDisk(FileCalls& calls, SpillDiskOptions options);

  Result<WrittenFile> Write(std::span<const SpillPiece> pieces, const std::stop_token& stop);

 private:
  Result<WrittenFile> WriteIn(const std::string& folder, std::span<const SpillPiece> pieces,
                              const std::stop_token& stop);

  FileCalls& calls_;
  const SpillDiskOptions options_;
  size_t next_directory_ = 0;
  uint64_t next_file_ = 1;
};

Status RemoveSpilled(FileCalls& calls, const std::string& path);

}  // namespace skyray::object_manager
