// SPDX-License-Identifier: Apache-2.0
#include "raylet/memory_monitor.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <fstream>
#include <map>
#include <sstream>

#include "common/byte_size.h"

namespace skyray::raylet {
namespace {

constexpr size_t kLargestShown = 3;

std::optional<uint64_t> Number(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return std::nullopt;
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data() + begin, text.data() + text.size(), number);
  if (error != std::errc()) return std::nullopt;
  return number;
}

// The number after `key` at the beginning of a line ("anon 4096", "MemTotal:  8 kB").
std::optional<uint64_t> Field(std::string_view text, std::string_view key) {
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = text.substr(begin, end - begin);
    if (line.starts_with(key) && line.size() > key.size()) {
      const char next = line[key.size()];
      if (next == ' ' || next == '\t') return Number(line.substr(key.size()));
    }
    begin = end + 1;
  }
  return std::nullopt;
}

uint64_t Minus(uint64_t from, uint64_t taken) { return from > taken ? from - taken : 0; }

std::string Percent(const MemoryLevel& level) {
  char text[32];
  snprintf(text, sizeof text, "%.3g",
           static_cast<double>(level.used) / static_cast<double>(level.limit));
  return text;
}

}  // namespace

const MemoryLevel* Fullest(const std::vector<MemoryLevel>& levels, double threshold) {
  const MemoryLevel* fullest = nullptr;
  double most = threshold;
  for (const MemoryLevel& level : levels) {
    const double part = static_cast<double>(level.used) / static_cast<double>(level.limit);
    if (level.limit == 0 || part <= most) continue;
    most = part;
    fullest = &level;
  }
  return fullest;
}

std::optional<MemoryLevel> MachineLevel(std::string_view meminfo) {
  constexpr uint64_t kUnit = 1024;
  const auto total = Field(meminfo, "MemTotal:");
  const auto free = Field(meminfo, "MemFree:");
  if (!total || !free || *total == 0) return std::nullopt;
  const auto value = [&](std::string_view key) { return Field(meminfo, key).value_or(0); };
  // "Cached" has the shared memory in it, which nobody can take back.
  const uint64_t cache = Minus(value("Cached:"), value("Shmem:")) + value("Buffers:");
  const uint64_t back = *free + cache + value("SReclaimable:");
  return MemoryLevel{"this machine", Minus(*total, back) * kUnit, *total * kUnit};
}

std::optional<MemoryLevel> GroupLevel2(std::string_view max, std::string_view current,
                                       std::string_view stat) {
  const auto limit = Number(max);  // Or "max": none.
  const auto used = Number(current);
  if (!limit || !used || *limit == 0) return std::nullopt;
  const auto value = [&](std::string_view key) { return Field(stat, key).value_or(0); };
  const uint64_t back = Minus(value("file"), value("shmem")) + value("slab_reclaimable");
  return MemoryLevel{"", Minus(*used, back), *limit};
}

std::optional<MemoryLevel> GroupLevel1(std::string_view limit_text, std::string_view usage,
                                       std::string_view stat) {
  const auto limit = Number(limit_text);
  const auto used = Number(usage);
  if (!limit || !used || *limit == 0) return std::nullopt;
  const auto value = [&](std::string_view key) { return Field(stat, key).value_or(0); };
  return MemoryLevel{"", Minus(*used, Minus(value("total_cache"), value("total_shmem"))), *limit};
}

uint64_t AnonymousBytes(std::string_view status) {
  return Field(status, "RssAnon:").value_or(0) * 1024;
}

std::optional<MemoryVictim> ChooseVictim(const std::vector<MemoryUser>& users) {
  struct Group {
    bool retriable = false;
    std::vector<size_t> members;
    TimePoint newest;
  };
  std::map<std::pair<bool, LeaseOwner>, Group> groups;
  for (size_t i = 0; i < users.size(); ++i) {
    const MemoryUser& user = users[i];
    // Those that cannot be run again are lost whoever waits for them.
    Group& group = groups[{user.retriable, user.retriable ? user.owner : LeaseOwner()}];
    group.retriable = user.retriable;
    group.newest = group.members.empty() ? user.since : std::max(group.newest, user.since);
    group.members.push_back(i);
  }
  if (groups.empty()) return std::nullopt;
  const auto rank = [](const Group& group) {
    return std::tuple(group.retriable, group.members.size(), group.newest);
  };
  const Group& largest =
      std::max_element(groups.begin(), groups.end(), [&](const auto& a, const auto& b) {
        return rank(a.second) < rank(b.second);
      })->second;
  const size_t newest =
      *std::max_element(largest.members.begin(), largest.members.end(),
                        [&](size_t a, size_t b) { return users[a].since < users[b].since; });
  return MemoryVictim{newest, largest.retriable && largest.members.size() > 1};
}

std::string DescribeShortage(const MemoryLevel& level, double threshold,
                             const std::vector<MemoryUser>& users, const MemoryVictim& victim) {
  const MemoryUser& killed = users[victim.index];
  char bound[32];
  snprintf(bound, sizeof bound, "%.4g", threshold);
  std::string text = killed.name + " (pid " + std::to_string(killed.pid) +
                     ") was killed due to the node running low on memory: " + ByteSize(level.used) +
                     " of the " + ByteSize(level.limit) + " of " + level.what + " are used (" +
                     Percent(level) + "), and the threshold is " + bound +
                     ". It was the newest of the tasks that " +
                     (killed.retriable ? "can be run again, of the owner that has most of them"
                                       : "are left, none of which can be run again") +
                     ". Largest:";
  std::vector<const MemoryUser*> largest;
  for (const MemoryUser& user : users) largest.push_back(&user);
  std::sort(largest.begin(), largest.end(),
            [](const MemoryUser* a, const MemoryUser* b) { return a->bytes > b->bytes; });
  for (size_t i = 0; i < std::min(kLargestShown, largest.size()); ++i) {
    text += (i == 0 ? " " : ", ") + largest[i]->name + " (pid " + std::to_string(largest[i]->pid) +
            ") " + ByteSize(largest[i]->bytes);
  }
  return text +
         ". Use less memory in a task, let fewer run at once (num_cpus=, memory=), or set "
         "memory_usage_threshold higher in _system_config (memory_monitor_refresh_ms=0 turns this "
         "off).";
}

std::string MemoryReader::Read(const std::string& path) const {
  std::ifstream file(root_ + path);
  std::ostringstream text;
  text << file.rdbuf();
  return file ? text.str() : std::string();
}

uint64_t MemoryReader::BytesOf(int pid) const {
  return AnonymousBytes(Read("/proc/" + std::to_string(pid) + "/status"));
}

std::vector<MemoryLevel> MemoryReader::Levels() const {
  std::vector<MemoryLevel> levels;
  const auto machine = MachineLevel(Read("/proc/meminfo"));
  std::istringstream groups(Read("/proc/self/cgroup"));
  for (std::string line; std::getline(groups, line);) {
    // "0::/path" of version 2; "4:memory:/path" of version 1.
    const size_t name = line.find(':');
    const size_t path = line.find(':', name + 1);
    if (name == std::string::npos || path == std::string::npos) continue;
    const std::string controllers = "," + line.substr(name + 1, path - name - 1) + ",";
    if (controllers == ",,") AddGroups(levels, "/sys/fs/cgroup", true, line.substr(path + 1));
    if (controllers.find(",memory,") != std::string::npos) {
      AddGroups(levels, "/sys/fs/cgroup/memory", false, line.substr(path + 1));
    }
  }
  if (!machine) return levels;
  // A limit that the machine cannot reach is none.
  std::erase_if(levels, [&](const MemoryLevel& level) { return level.limit >= machine->limit; });
  levels.push_back(*machine);
  return levels;
}

void MemoryReader::AddGroups(std::vector<MemoryLevel>& levels, const std::string& mount,
                             bool version2, std::string path) const {
  while (!path.empty() && path.back() == '/') path.pop_back();
  for (;;) {
    const std::string at = mount + path + "/memory.";
    auto level = version2 ? GroupLevel2(Read(at + "max"), Read(at + "current"), Read(at + "stat"))
                          : GroupLevel1(Read(at + "limit_in_bytes"), Read(at + "usage_in_bytes"),
                                        Read(at + "stat"));
    if (level) {
      level->what = "control group " + (path.empty() ? "/" : path);
      levels.push_back(std::move(*level));
    }
    // In a container the path may be that of the host, and only its end be here.
    const size_t slash = path.rfind('/');
    if (slash == std::string::npos) return;
    path.resize(slash);
  }
}

}  // namespace skyray::raylet
