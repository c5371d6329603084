// SPDX-License-Identifier: Apache-2.0
// A node's folder in each directory it spills to: DIRECTORY/skyray_spilled_<id>,
// for its user's eyes only, with a lock file that says that the node runs.
//
// Whoever starts later removes folders whose node has ended without doing so.
//
// Threading:  one thread; it blocks. Ownership: owns the folders and all in them,
//             and removes them at its end, also those made again meanwhile.
// Errors:     a directory that cannot be used is logged; writing there says why.
#pragma once

#include <string>
#include <vector>

#include "common/unique_fd.h"

namespace skyray::object_manager {

constexpr char kSpillFolderPrefix[] = "skyray_spilled_";

class SpillFolders {
 public:
  // Makes `directories` and `folder` in each.
  SpillFolders(const std::vector<std::string>& directories, const std::string& folder);
  ~SpillFolders();
  SpillFolders(const SpillFolders&) = delete;
  SpillFolders& operator=(const SpillFolders&) = delete;

 private:
  std::vector<std::string> folders_;
  std::vector<UniqueFd> locks_;
};

}  // namespace skyray::object_manager
