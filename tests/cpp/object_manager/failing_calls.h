// SPDX-License-Identifier: Apache-2.0
// FileCalls that really happen, but for the n-th, which fails as told.
#pragma once

#include <errno.h>

#include <atomic>
#include <map>
#include <mutex>
#include <string>

#include "object_manager/spill_file_calls.h"

namespace skyray::object_manager {

class FailingCalls : public FileCalls {
 public:
  static constexpr int kShort = 0;  // Instead of an errno: half of what was asked for.

  // The call with this number (from 1 on, since now) fails with `error`.
  void FailAt(int number, int error) {
    const std::lock_guard lock(mutex_);
    fail_at_ = number;
    error_ = error;
    calls_ = 0;
    failed_ = false;
  }
  // Every call with this name fails until further notice.
  void FailAll(const std::string& name, int error) {
    const std::lock_guard lock(mutex_);
    failing_[name] = error;
  }
  void Heal() {
    const std::lock_guard lock(mutex_);
    failing_.clear();
    fail_at_ = 0;
  }
  bool failed() const {
    const std::lock_guard lock(mutex_);
    return failed_;
  }
  std::string failed_call() const {
    const std::lock_guard lock(mutex_);
    return failed_call_;
  }
  int open_files() const { return open_files_; }

  int MakeDirectory(const std::string& path) override {
    const int error = Next("mkdir");
    return error != 0 ? error : real_.MakeDirectory(path);
  }
  int Open(const std::string& path, int flags) override {
    const int error = Next("open");
    const int fd = error != 0 ? error : real_.Open(path, flags);
    if (fd >= 0) ++open_files_;
    return fd;
  }
  int Allocate(int fd, uint64_t bytes) override {
    const int error = Next("fallocate");
    return error != 0 ? error : real_.Allocate(fd, bytes);
  }
  ssize_t Write(int fd, std::span<const iovec> parts, uint64_t offset) override {
    bool cut = false;
    const int error = Next("write", &cut);
    if (error != 0) return error;
    if (!cut) return real_.Write(fd, parts, offset);
    iovec part = parts.front();
    part.iov_len = (part.iov_len + 1) / 2;
    return real_.Write(fd, {&part, 1}, offset);
  }
  ssize_t Read(int fd, std::span<uint8_t> into, uint64_t offset) override {
    bool cut = false;
    const int error = Next("read", &cut);
    if (error != 0) return error;
    return real_.Read(fd, cut ? into.first((into.size() + 1) / 2) : into, offset);
  }
  int Sync(int fd) override {
    const int error = Next("fsync");
    return error != 0 ? error : real_.Sync(fd);
  }
  int Close(int fd) override {
    const int error = Next("close");
    --open_files_;
    const int closed = real_.Close(fd);
    return error != 0 ? error : closed;
  }
  int Rename(const std::string& from, const std::string& to) override {
    const int error = Next("rename");
    return error != 0 ? error : real_.Rename(from, to);
  }
  int Remove(const std::string& path) override {
    const int error = Next("unlink");
    return error != 0 ? error : real_.Remove(path);
  }

 private:
  // 0, or the negative errno that this call is to fail with; or it is to be `cut`.
  int Next(const std::string& name, bool* cut = nullptr) {
    const std::lock_guard lock(mutex_);
    if (const auto found = failing_.find(name); found != failing_.end()) return -found->second;
    if (++calls_ != fail_at_) return 0;
    failed_ = true;
    failed_call_ = name;
    if (cut != nullptr) *cut = error_ == kShort;
    return -error_;
  }

  FileCalls& real_ = RealFileCalls();
  mutable std::mutex mutex_;  // I/O threads call, the test's thread tells.
  std::map<std::string, int> failing_;
  int fail_at_ = 0;
  int error_ = 0;
  int calls_ = 0;
  std::atomic<int> open_files_ = 0;
  bool failed_ = false;
  std::string failed_call_;
};

}  // namespace skyray::object_manager
