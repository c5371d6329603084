// SPDX-License-Identifier: Apache-2.0
// The system calls that spilling makes on files, so that tests can let any one
// of them fail.
//
// Threading:  the real ones may be called on any thread; they block.
// Ownership:  descriptors are the caller's to close.
// Errors:     a negative errno, as the kernel itself would say it.
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <cstdint>
#include <span>
#include <string>

namespace skyray::object_manager {

class FileCalls {
 public:
  virtual ~FileCalls() = default;
  virtual int MakeDirectory(const std::string& path) = 0;    // Mode 0700.
  virtual int Open(const std::string& path, int flags) = 0;  // Mode 0600, close-on-exec.
  // Reserves the blocks of the first `bytes` bytes, which read as zeros.
  virtual int Allocate(int fd, uint64_t bytes) = 0;
  virtual ssize_t Write(int fd, std::span<const iovec> parts, uint64_t offset) = 0;
  virtual ssize_t Read(int fd, std::span<uint8_t> into, uint64_t offset) = 0;
  virtual int Sync(int fd) = 0;
  virtual int Close(int fd) = 0;
  virtual int Rename(const std::string& from, const std::string& to) = 0;
  virtual int Remove(const std::string& path) = 0;
};

FileCalls& RealFileCalls();

}  // namespace skyray::object_manager
