// SPDX-License-Identifier: Apache-2.0
// When memory runs short: whether it does, whose worker has to go, and what its
// caller is told. Ending one task by choice is better than leaving it to the
// kernel, which may take the raylet or the driver.
//
// Used is what cannot be taken back: anonymous and shared memory and the kernel's
// own, not the page cache, in the machine and in every control group around the
// raylet that has a limit (versions 1 and 2); the fullest counts.
//
// The victim is the newest task of the owner that has the most, among those that
// can be run again; only then others. If it was its owner's only one, running it
// again would only end the same way, so it is not.
//
// Threading:  pure functions and values; MemoryReader reads files and keeps nothing.
// Ownership:  values.
// Errors:     a file that is missing or makes no sense says nothing: no limit.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/id.h"
#include "raylet/lease_queue.h"

namespace skyray::raylet {

// One bound, and how much of it is in use.
struct MemoryLevel {
  std::string what;  // "this machine", "control group /a/b".
  uint64_t used = 0;
  uint64_t limit = 0;
};

// The fullest of those whose used part is above `threshold`; null: none is.
const MemoryLevel* Fullest(const std::vector<MemoryLevel>& levels, double threshold);

// What the files say; nothing if they lack what is needed.
std::optional<MemoryLevel> MachineLevel(std::string_view meminfo);
// Of control group version 2: memory.max, memory.current, memory.stat.
std::optional<MemoryLevel> GroupLevel2(std::string_view max, std::string_view current,
                                       std::string_view stat);
// Of version 1: memory.limit_in_bytes, memory.usage_in_bytes, memory.stat.
std::optional<MemoryLevel> GroupLevel1(std::string_view limit, std::string_view usage,
                                       std::string_view stat);
// A process's own memory, from /proc/PID/status.
uint64_t AnonymousBytes(std::string_view status);

// A worker at work.
struct MemoryUser {
  WorkerId worker;
  int pid = 0;
  std::string name;  // Of its task or class, for people.
  LeaseOwner owner;  // Who waits for it.
  bool retriable = false;
  TimePoint since;  // When it got its present work.
  uint64_t bytes = 0;
};

struct MemoryVictim {
  size_t index = 0;    // Among the users.
  bool retry = false;  // It may be run again.
};

// Empty if there is nobody.
std::optional<MemoryVictim> ChooseVictim(const std::vector<MemoryUser>& users);

// What the victim's caller is told: used, limit, the three largest, what to do.
std::string DescribeShortage(const MemoryLevel& level, double threshold,
                             const std::vector<MemoryUser>& users, const MemoryVictim& victim);

class MemoryReader {
 public:
  // `root`: in front of /proc and /sys, for tests.
  explicit MemoryReader(std::string root) : root_(std::move(root)) {}

  std::vector<MemoryLevel> Levels() const;
  uint64_t BytesOf(int pid) const;

 private:
  std::string Read(const std::string& path) const;
  // The groups of this process and those around them, as far as their files are here.
  void AddGroups(std::vector<MemoryLevel>& levels, const std::string& mount, bool version2,
                 std::string path) const;

  std::string root_;
};

}  // namespace skyray::raylet
