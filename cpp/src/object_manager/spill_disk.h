// SPDX-License-Identifier: Apache-2.0
// Spill files in local directories, written and read in the calling thread.
//
//   DIRECTORY/skyray_spilled_<node>/.<number>.tmp ─complete─► <number>.spill
//
// A file's size is reserved before anything is written, so a full disk is found
// at once. The directories take turns; one that fails is passed over for that
// file. After a failure nothing of the file is left.
//
// Threading:  not thread-safe, and slow: an I/O thread of its own. The functions
//             ReadSpilled and RemoveSpilled may run beside it in another.
// Ownership:  owns no descriptor between calls. Bytes are borrowed for the call.
// Errors:     OutOfDisk, IoError: every directory's reason. Reads: ObjectLost, the
//             copy is gone or damaged; IoError, it may work another time.
//             Cancelled once `stop` is requested.
#pragma once

#include <cstdint>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "common/status.h"
#include "object_manager/spill_checksum_thread.h"
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

// The object's bytes, checked, into `into`. REQUIRES: it is as large as they are.
// With `beside`, the checksum of a large one is taken there while the rest is read.
Status ReadSpilled(FileCalls& calls, const SpillPlace& place, std::span<uint8_t> into,
                   const std::stop_token& stop, SpillChecksumThread* beside = nullptr);
Status RemoveSpilled(FileCalls& calls, const std::string& path);

}  // namespace skyray::object_manager
