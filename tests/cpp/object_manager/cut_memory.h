// SPDX-License-Identifier: Apache-2.0
// Shared memory of a file that was cut short: a load behind its new end raises SIGBUS.
//
// Threading:  plain memory. Ownership: the mapping; the file has no name. Errors: aborts.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>

#include "common/unique_fd.h"

namespace skyray::object_manager {

class CutMemory {
 public:
  CutMemory(size_t bytes, size_t left) : bytes_(bytes) {
    file_ = UniqueFd(memfd_create("cut", MFD_CLOEXEC));
    if (ftruncate(file_.get(), static_cast<off_t>(bytes)) != 0) abort();
    void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file_.get(), 0);
    if (data == MAP_FAILED) abort();
    data_ = static_cast<uint8_t*>(data);
    std::memset(data_, 7, bytes);
    Resize(left);
  }
  ~CutMemory() { munmap(data_, bytes_); }
  CutMemory(const CutMemory&) = delete;
  CutMemory& operator=(const CutMemory&) = delete;

  void Resize(size_t bytes) {
    if (ftruncate(file_.get(), static_cast<off_t>(bytes)) != 0) abort();
  }
  std::span<uint8_t> bytes() const { return {data_, bytes_}; }

 private:
  const size_t bytes_;
  UniqueFd file_;
  uint8_t* data_ = nullptr;
};

}  // namespace skyray::object_manager
