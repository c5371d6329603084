// SPDX-License-Identifier: Apache-2.0
#include "object_manager/spill_folders.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <cstdio>
#include <filesystem>
#include <system_error>

#include "common/logging.h"
#include "common/status.h"

namespace skyray::object_manager {
namespace {

namespace fs = std::filesystem;

constexpr char kLockName[] = "/lock";

// The folder's lock, held. It has its name only once it is held, so that nobody
// takes a node that is just starting for a dead one.
Result<UniqueFd> Lock(const std::string& folder) {
  const std::string starting = folder + "/.lock";
  UniqueFd lock(open(starting.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!lock.valid()) return ErrnoStatus("creating " + starting, errno);
  if (flock(lock.get(), LOCK_EX | LOCK_NB) != 0) return ErrnoStatus("locking " + starting, errno);
  if (rename(starting.c_str(), (folder + kLockName).c_str()) != 0) {
    return ErrnoStatus("renaming " + starting, errno);
  }
  return lock;
}

void RemoveFoldersOfTheDead(const std::string& directory) {
  std::error_code error;
  for (fs::directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error)) {
    const fs::path path = entry->path();
    if (!path.filename().string().starts_with(kSpillFolderPrefix)) continue;
    UniqueFd lock(open((path.string() + kLockName).c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW));
    // Another user's, one without a lock, or a live node's.
    if (!lock.valid() || flock(lock.get(), LOCK_EX | LOCK_NB) != 0) continue;
    SKYRAY_LOG(Info) << "spilling: removing " << path.string()
                     << ", left by a node that was killed";
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
}

}  // namespace

SpillFolders::SpillFolders(const std::vector<std::string>& directories, const std::string& folder) {
  for (const std::string& directory : directories) {
    std::error_code error;
    fs::create_directories(directory, error);
    RemoveFoldersOfTheDead(directory);
    const std::string path = directory + "/" + folder;
    folders_.push_back(path);
    if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
      SKYRAY_LOG(Warning) << "spilling: cannot be done to " << directory
                          << " now: " << ErrnoStatus("making " + path, errno).message();
      continue;
    }
    auto lock = Lock(path);
    if (lock) {
      locks_.push_back(std::move(*lock));
    } else {
      SKYRAY_LOG(Warning) << "spilling: " << lock.error().message();
    }
  }
}

SpillFolders::~SpillFolders() {
  for (const std::string& folder : folders_) {
    std::error_code error;
    fs::remove_all(folder, error);
    if (error) SKYRAY_LOG(Warning) << "removing " << folder << ": " << error.message();
  }
}

}  // namespace skyray::object_manager
