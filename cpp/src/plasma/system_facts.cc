// SPDX-License-Identifier: Apache-2.0
#include "plasma/system_facts.h"

#include <errno.h>
#include <linux/magic.h>
#include <sys/statfs.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <optional>
#include <sstream>
#include <string_view>

#include "plasma/segment.h"

namespace skyray::plasma {
namespace {

std::optional<uint64_t> ReadNumber(const std::string& path) {
  std::ifstream file(path);
  std::string text;
  uint64_t number = 0;
  if (!(file >> text)) return std::nullopt;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  // "max" in control groups: no limit.
  return error == std::errc() ? std::optional(number) : std::nullopt;
}

void ReadMemory(const std::string& root, SystemFacts& facts) {
  std::ifstream file(root + "/proc/meminfo");
  uint64_t total = 0;
  uint64_t swap = 0;
  std::string line;
  while (std::getline(file, line)) {
    std::istringstream words(line);
    std::string name;
    uint64_t amount = 0;
    words >> name >> amount;
    if (name == "MemTotal:") total = amount << 10;
    if (name == "SwapTotal:") swap = amount << 10;
    if (name == "MemAvailable:") facts.memory_available_bytes = amount << 10;
    if (name == "Hugepagesize:") facts.huge_page_bytes = amount << 10;
    if (name == "HugePages_Free:") facts.huge_pages_free += amount;
    // Free, but promised to others.
    if (name == "HugePages_Rsvd:") facts.huge_pages_free -= std::min(amount, facts.huge_pages_free);
  }
  if (total > 0) facts.memory_bytes = total + swap;
}

// The least of the limits of a group and all above it. Those that are not to be
// seen from within a container are passed over.
void ApplyLimits(const std::string& hierarchy, std::string group, const char* file,
                 SystemFacts& facts) {
  for (;;) {
    if (const auto limit = ReadNumber(hierarchy + group + "/" + file)) {
      if (*limit < facts.memory_bytes) {
        facts.memory_bytes = *limit;
        facts.limited_by_cgroup = true;
      }
    }
    const size_t slash = group.rfind('/');
    if (group.empty() || slash == std::string::npos) break;
    group.resize(slash);
  }
}

void ReadControlGroups(const std::string& root, SystemFacts& facts) {
  std::ifstream file(root + "/proc/self/cgroup");
  std::string line;
  while (std::getline(file, line)) {
    // "0::/path" (version 2) or "4:memory:/path" (version 1).
    const size_t first = line.find(':');
    const size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    std::string group = line.substr(second + 1);
    if (group == "/") group.clear();
    if (controllers == ",,") ApplyLimits(root + "/sys/fs/cgroup", group, "memory.max", facts);
    if (controllers.find(",memory,") != std::string::npos) {
      ApplyLimits(root + "/sys/fs/cgroup/memory", group, "memory.limit_in_bytes", facts);
    }
  }
  facts.memory_available_bytes = std::min(facts.memory_available_bytes, facts.memory_bytes);
}

DirectoryFacts LookAtDirectory(const std::string& path) {
  DirectoryFacts facts;
  struct statfs system = {};
  if (statfs(path.c_str(), &system) != 0) {
    facts.status = ErrnoStatus("looking at the directory " + path, errno);
    return facts;
  }
  facts.page_bytes = static_cast<uint64_t>(system.f_bsize);
  facts.free_bytes = system.f_bavail * facts.page_bytes;
  if (system.f_type == HUGETLBFS_MAGIC) {
    facts.kind = DirectoryFacts::Kind::HugePages;
    return facts;
  }
  if (system.f_type == TMPFS_MAGIC || system.f_type == RAMFS_MAGIC) {
    facts.kind = DirectoryFacts::Kind::Memory;
  }
  // The one sure way to know is to do it, with one page.
  const auto probe = Segment::CreateFallback(path, 1);
  if (!probe && probe.error().code() != ErrorCode::OutOfDisk) facts.status = probe.error();
  return facts;
}

}  // namespace

SystemFacts LookAtSystem(const std::string& directory, const std::string& fallback_directory,
                         const std::string& root) {
  SystemFacts facts;
  ReadMemory(root, facts);
  ReadControlGroups(root, facts);
  struct statfs shm = {};
  if (statfs((root + "/dev/shm").c_str(), &shm) == 0) {
    facts.dev_shm_bytes = shm.f_blocks * static_cast<uint64_t>(shm.f_bsize);
  }
  if (!directory.empty()) facts.directory = LookAtDirectory(directory);
  if (!fallback_directory.empty()) facts.fallback_directory = LookAtDirectory(fallback_directory);
  return facts;
}

}  // namespace skyray::plasma
