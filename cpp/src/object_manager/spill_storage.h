// SPDX-License-Identifier: Apache-2.0
// Where spilled objects go: local directories (spill_local) or a URL
// (spill_remote), and the values that both exchange with who spills.
//
// Threading:  call on the owner's loop; answers come there, never inside the call.
// Ownership:  bytes are borrowed from the call until its answer. No answer comes
//             after destruction, and by its end nothing touches the bytes.
// Errors:     Write: OutOfDisk, IoError. Read: ObjectLost, the copy is gone or
//             damaged for good; anything else may work another time.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "common/status.h"
#include "object_manager/spill_file.h"
#include "plasma/local_object.h"

namespace skyray::object_manager {

// One object on its way out.
struct SpillPiece {
  SpillRecord record;
  std::span<const uint8_t> bytes;  // The data, then the metadata.
  plasma::ObjectPlace shared;      // Where these are, for another process.
};

struct WrittenFile {
  std::string path;
  std::vector<uint64_t> offsets;  // Of each piece's header, in their order.
  uint64_t bytes = 0;
  std::vector<size_t> lost;  // Pieces whose memory cannot be read; nothing of use is at theirs.
};

// Where one object's record is.
struct SpillPlace {
  std::string path;
  uint64_t offset = 0;
  SpillRecord record;
};

// Room for one on its way in.
struct SpillRoom {
  std::span<uint8_t> bytes;
  plasma::ObjectPlace shared;
};

class SpillStorage {
 public:
  virtual ~SpillStorage() = default;
  // One file for all of them, or none.
  virtual void Write(std::vector<SpillPiece> pieces,
                     std::function<void(Result<WrittenFile>)> done) = 0;
  virtual void Read(const SpillPlace& place, const SpillRoom& room,
                    std::function<void(const Status&)> done) = 0;
  // Nobody asks for this file again. A failure is logged.
  virtual void Remove(const std::string& path) = 0;
};

// What a store's bytes lie in is a file, and it is not there any more: IoError.
Status StoreMemoryGone();
// `why`, with the object, its file and its place there. The code is kept.
Status RestoreFailed(const SpillPlace& place, const Status& why);

}  // namespace skyray::object_manager
