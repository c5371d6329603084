// SPDX-License-Identifier: Apache-2.0
// A file descriptor that is closed exactly once.
//
// Threading: values; not shared, but for a SharedFd. Ownership: owns the descriptor; of
// SharedFds the last one does.
// Errors: a failing close is ignored, as there is nothing left to do about it.
#pragma once

#include <unistd.h>

#include <memory>
#include <utility>

namespace skyray {

class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) {
      Reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~UniqueFd() { Reset(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int Release() { return std::exchange(fd_, -1); }
  void Reset() {
    if (fd_ >= 0) close(std::exchange(fd_, -1));
  }

 private:
  int fd_ = -1;
};

using SharedFd = std::shared_ptr<const UniqueFd>;
inline SharedFd Share(UniqueFd fd) { return std::make_shared<const UniqueFd>(std::move(fd)); }

}  // namespace skyray
