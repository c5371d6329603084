// SPDX-License-Identifier: Apache-2.0
// Memory that processes share, of fixed size, and a process's views of it.
//
//   memfd (the default)   bound by the machine's memory alone, not by /dev/shm.
//                         Pages come when they are first touched and can be given
//                         back. No client can change its size, which is sealed.
//   file in a directory   has no name once it is made, so it goes with its last
//                         user. Its room is reserved before anybody writes: a full
//                         disk is an error here and never a SIGBUS there. What is
//                         reserved is not given back. Its size cannot be sealed.
//   huge pages            a memfd, or a file on hugetlbfs; all reserved at the start.
//
// Threading:  Create and Map may be called anywhere; views are plain memory.
// Ownership:  Segment owns the descriptor, Mapping the address range.
// Errors:     OutOfDisk: no room in the directory. OutOfMemory: not enough huge
//             pages. InvalidArgument: a directory that cannot hold a segment.
//             IoError with errno in words for the rest.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "common/status.h"
#include "common/unique_fd.h"

namespace skyray::plasma {

class Mapping {
 public:
  // Errors: InvalidArgument: there are not so many bytes; IoError.
  static Result<std::shared_ptr<Mapping>> Map(int fd, uint64_t bytes, bool writable);
  ~Mapping();
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  // Whole pages from `offset` on, which is a multiple of kPageBytes, to be written as well:
  // who writes to one gets a copy of it that nobody else sees, all others stay shared.
  // Errors: InvalidArgument for huge pages, of which there may be none left to copy to.
  static Result<std::shared_ptr<Mapping>> MapCopyOnWrite(int fd, uint64_t offset, uint64_t bytes);
  // From now on what is written here is seen here only; `fd` is what was mapped.
  void MakePrivate(int fd) const;

  uint8_t* data() const { return data_; }
  uint64_t bytes() const { return bytes_; }

 private:
  Mapping(uint8_t* data, uint64_t bytes) : data_(data), bytes_(bytes) {}
  uint8_t* const data_;
  const uint64_t bytes_;
};

// The bytes of the pages that hold `bytes`: at least one, as nothing of no size can be mapped.
uint64_t WholePages(uint64_t bytes, uint64_t page_bytes);

struct SegmentOptions {
  uint64_t bytes = 0;       // Rounded up to whole pages.
  std::string directory{};  // Empty: a memfd.
  bool huge_pages = false;
};

struct Segment {
  // REQUIRES: a memfd has at most 2^60 bytes.
  static Result<Segment> Create(const SegmentOptions& options);
  // Disk-backed memory for one object. Errors: OutOfDisk names what is free.
  static Result<Segment> CreateFallback(const std::string& directory, uint64_t bytes);

  // Takes the pages of a range out; they read as zeros and come anew when they are
  // touched. REQUIRES: `can_give_back`; whole pages within the segment.
  Status GiveBack(uint64_t offset, uint64_t bytes) const;

  SharedFd fd;                       // Also that of messages under way.
  std::shared_ptr<Mapping> mapping;  // Writable, in this process.
  bool can_give_back = false;
};

}  // namespace skyray::plasma
