// SPDX-License-Identifier: Apache-2.0
#include "plasma/store_setup.h"

#include <algorithm>
#include <optional>

#include "common/byte_size.h"
#include "plasma/allocator.h"

namespace skyray::plasma {
namespace {

using Kind = DirectoryFacts::Kind;

constexpr uint64_t kCapacityBytesMin = 1u << 20;
constexpr uint64_t kCapacityBytesMax = uint64_t{1} << 46;
constexpr uint64_t kSegmentBytesMin = 1u << 20;
// As many as a client takes.
constexpr uint64_t kSegmentsMax = 1024;
constexpr char kOrMemfd[] = "or name no directory: a memfd needs none";

Status CheckHugePages(uint64_t bytes, uint64_t page_bytes, uint64_t pages_free) {
  const uint64_t pages = WholePages(bytes, page_bytes) / page_bytes;
  if (pages <= pages_free) return Status();
  return Status(ErrorCode::OutOfMemory,
                ByteSize(bytes) + " need " + std::to_string(pages) + " huge pages of " +
                    ByteSize(page_bytes) + ", and " + std::to_string(pages_free) +
                    " are free: as root, sysctl vm.nr_hugepages=" + std::to_string(pages) +
                    " (more, if others use some), or do without huge pages");
}

Status CheckDirectory(const StoreOptions& options, const SystemFacts& facts) {
  const DirectoryFacts& directory = facts.directory;
  if (!directory.status.ok()) {
    return Status(directory.status.code(),
                  "the store's memory cannot be there: " + directory.status.message() +
                      "; name another directory, " + kOrMemfd);
  }
  if (directory.kind == Kind::HugePages) {
    // What is free of pages of another size than the usual is not told there.
    if (directory.page_bytes != facts.huge_page_bytes) return Status();
    return CheckHugePages(options.capacity_bytes, directory.page_bytes, facts.huge_pages_free);
  }
  if (options.huge_pages) {
    return Status(ErrorCode::InvalidArgument, "huge pages are wanted, but the directory " +
                                                  options.directory +
                                                  " is not on hugetlbfs: mount -t hugetlbfs none " +
                                                  options.directory + ", " + kOrMemfd);
  }
  if (directory.free_bytes >= options.capacity_bytes) return Status();
  const std::string larger =
      options.directory.starts_with("/dev/shm")
          ? "make it larger (docker run --shm-size=" + std::to_string(options.capacity_bytes) +
                "), "
          : "name another directory, ";
  return Status(ErrorCode::OutOfDisk, "the store needs " + ByteSize(options.capacity_bytes) +
                                          ", and the directory " + options.directory + " has " +
                                          ByteSize(directory.free_bytes) + " free: " + larger +
                                          "a smaller store, " + kOrMemfd);
}

Status CheckMemory(const StoreOptions& options, const SystemFacts& facts) {
  const bool on_disk = !options.directory.empty() && facts.directory.kind == Kind::Disk;
  if (on_disk || options.capacity_bytes <= facts.memory_bytes) return Status();
  return Status(ErrorCode::OutOfMemory,
                "the store's " + ByteSize(options.capacity_bytes) + " are more than " +
                    (facts.limited_by_cgroup ? "the limit of this control group"
                                             : "the memory of this machine with its swap") +
                    ", " + ByteSize(facts.memory_bytes) +
                    ": name less memory, and a fallback directory for what does not fit");
}

// What kind of memory, in words; empty if it is nothing special.
std::string Place(const StoreOptions& options, const SystemFacts& facts) {
  if (!options.directory.empty()) {
    const DirectoryFacts& directory = facts.directory;
    if (directory.kind == Kind::HugePages) {
      return "reserved in huge pages of " + ByteSize(directory.page_bytes) + " in " +
             options.directory;
    }
    return "reserved in " + options.directory + " (" +
           (directory.kind == Kind::Memory ? "memory" : "on disk") + ", " +
           ByteSize(directory.free_bytes) + " free before)";
  }
  if (options.huge_pages) return "reserved in huge pages of " + ByteSize(facts.huge_page_bytes);
  std::string text = "in a memfd";
  if (facts.dev_shm_bytes < options.capacity_bytes) {
    text += " (not bound by /dev/shm, which has " + ByteSize(facts.dev_shm_bytes) + ")";
  }
  return text;
}

std::string Fallback(const StoreOptions& options, const SystemFacts& facts) {
  if (options.fallback_directory.empty()) return "no fallback directory";
  return "fallback in " + options.fallback_directory + ", " +
         ByteSize(facts.fallback_directory.free_bytes) + " free";
}

std::vector<std::string> Warnings(const StoreOptions& options, const SystemFacts& facts) {
  std::vector<std::string> warnings;
  const bool in_memory = options.directory.empty() || facts.directory.kind == Kind::Memory;
  if (in_memory && options.capacity_bytes / 4 > facts.memory_bytes / 5) {
    warnings.push_back("the store may take " + ByteSize(options.capacity_bytes) + " of the " +
                       ByteSize(facts.memory_bytes) +
                       (facts.limited_by_cgroup ? " of this control group" : " of this machine") +
                       ", more than 80 %: what runs beside it may be ended for want of memory");
  } else if (in_memory && options.capacity_bytes > facts.memory_available_bytes) {
    warnings.push_back("the store may take " + ByteSize(options.capacity_bytes) + ", and only " +
                       ByteSize(facts.memory_available_bytes) + " are available now");
  }
  if (!options.fallback_directory.empty()) {
    if (facts.fallback_directory.kind != Kind::Disk) {
      warnings.push_back("the fallback directory " + options.fallback_directory +
                         " is in memory, not on disk: objects there take what the store has not");
    } else if (facts.fallback_directory.free_bytes < kCapacityBytesMin) {
      warnings.push_back("the fallback directory " + options.fallback_directory + " is full");
    }
  }
  return warnings;
}

std::vector<SegmentOptions> Segments(const StoreOptions& options, uint64_t page_bytes) {
  const uint64_t bytes = WholePages(options.capacity_bytes, page_bytes);
  const uint64_t each = options.segment_bytes_max == 0
                            ? bytes
                            : std::min(bytes, WholePages(options.segment_bytes_max, page_bytes));
  std::vector<SegmentOptions> segments;
  for (uint64_t at = 0; at < bytes; at += each) {
    segments.push_back({std::min(each, bytes - at), options.directory, options.huge_pages});
  }
  return segments;
}

}  // namespace

Status CheckOptions(const StoreOptions& options) {
  if (options.capacity_bytes < kCapacityBytesMin || options.capacity_bytes > kCapacityBytesMax) {
    return Status(ErrorCode::InvalidArgument,
                  "the store's memory of " + std::to_string(options.capacity_bytes) +
                      " bytes is not in " + std::to_string(kCapacityBytesMin) + ".." +
                      std::to_string(kCapacityBytesMax));
  }
  if (options.socket_path.empty()) {
    return Status(ErrorCode::InvalidArgument, "the store needs a socket path");
  }
  if (options.segment_bytes_max != 0 &&
      (options.segment_bytes_max < kSegmentBytesMin ||
       options.capacity_bytes / options.segment_bytes_max >= kSegmentsMax)) {
    return Status(ErrorCode::InvalidArgument,
                  "segments of at most " + std::to_string(options.segment_bytes_max) +
                      " bytes are too small: name at least 1 MiB, and so much that " +
                      std::to_string(kSegmentsMax) + " of them hold the store");
  }
  return Status();
}

Result<StorePlan> PlanStore(const StoreOptions& options, const SystemFacts& facts) {
  if (Status status = CheckOptions(options); !status.ok()) return status;
  uint64_t page_bytes = kPageBytes;
  if (!options.directory.empty()) {
    if (Status status = CheckDirectory(options, facts); !status.ok()) return status;
    if (facts.directory.kind == Kind::HugePages) page_bytes = facts.directory.page_bytes;
  } else if (options.huge_pages) {
    if (facts.huge_page_bytes == 0) {
      return Status(ErrorCode::InvalidArgument,
                    "huge pages are wanted, and this kernel has none: do without them");
    }
    page_bytes = facts.huge_page_bytes;
    Status status = CheckHugePages(options.capacity_bytes, page_bytes, facts.huge_pages_free);
    if (!status.ok()) return status;
  }
  if (Status status = CheckMemory(options, facts); !status.ok()) return status;
  if (!options.fallback_directory.empty() && !facts.fallback_directory.status.ok()) {
    const Status& why = facts.fallback_directory.status;
    return Status(why.code(), "objects that find no room cannot go there: " + why.message() +
                                  "; name another fallback directory, or none");
  }
  StorePlan plan;
  plan.segments = Segments(options, page_bytes);
  plan.sentence = ByteSize(options.capacity_bytes) + " " + Place(options, facts) + "; " +
                  Fallback(options, facts);
  plan.warnings = Warnings(options, facts);
  return plan;
}

}  // namespace skyray::plasma
