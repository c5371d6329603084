// SPDX-License-Identifier: Apache-2.0
// Memory that processes share: a memfd of fixed size, and a process's views of it.
//
// The pages come when they are first touched. The size is sealed, so that no
// client can cut it short under another's feet.
//
// Threading:  Create and Map may be called anywhere; views are plain memory.
// Ownership:  Segment owns the descriptor, Mapping the address range.
// Errors:     IoError with errno in words.
#pragma once

#include <cstdint>
#include <memory>

#include "common/status.h"
#include "common/unique_fd.h"

namespace skyray::plasma {

class Mapping {
 public:
  static Result<std::shared_ptr<Mapping>> Map(int fd, uint64_t bytes, bool writable);
  ~Mapping();
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  uint8_t* data() const { return data_; }
  uint64_t bytes() const { return bytes_; }

 private:
  Mapping(uint8_t* data, uint64_t bytes) : data_(data), bytes_(bytes) {}
  uint8_t* const data_;
  const uint64_t bytes_;
};

struct Segment {
  static Result<Segment> Create(uint64_t bytes);
  UniqueFd fd;
  std::shared_ptr<Mapping> mapping;  // Writable, in this process.
};

}  // namespace skyray::plasma
