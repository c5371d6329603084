// SPDX-License-Identifier: Apache-2.0
#include "object_manager/spill_file_calls.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>

namespace skyray::object_manager {
namespace {

template <class Number>
Number OrErrno(Number result) {
  return result < 0 ? -errno : result;
}

class Real : public FileCalls {
 public:
  int MakeDirectory(const std::string& path) override { return OrErrno(mkdir(path.c_str(), 0700)); }
  int Open(const std::string& path, int flags) override {
    return OrErrno(open(path.c_str(), flags | O_CLOEXEC, 0600));
  }
  int Allocate(int fd, uint64_t bytes) override {
    return OrErrno(fallocate(fd, 0, 0, static_cast<off_t>(bytes)));
  }
  ssize_t Write(int fd, std::span<const iovec> parts, uint64_t offset) override {
    return OrErrno(
        pwritev(fd, parts.data(), static_cast<int>(parts.size()), static_cast<off_t>(offset)));
  }
  ssize_t Read(int fd, std::span<uint8_t> into, uint64_t offset) override {
    return OrErrno(pread(fd, into.data(), into.size(), static_cast<off_t>(offset)));
  }
  int Sync(int fd) override { return OrErrno(fdatasync(fd)); }
  int Close(int fd) override { return OrErrno(close(fd)); }
  int Rename(const std::string& from, const std::string& to) override {
    return OrErrno(rename(from.c_str(), to.c_str()));
  }
  int Remove(const std::string& path) override { return OrErrno(unlink(path.c_str())); }
};

}  // namespace

FileCalls& RealFileCalls() {
  static Real real;
  return real;
}

}  // namespace skyray::object_manager
