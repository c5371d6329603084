// SPDX-License-Identifier: Apache-2.0
// Words of the tests of sockets and connections.
//
// Threading: functions. Ownership: the caller's. Errors: fail the test.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "common/unique_fd.h"

namespace skyray::ipc {

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    char name[] = "/tmp/skyray-test-XXXXXX";
    path_ = mkdtemp(name);
  }
  ~TemporaryDirectory() { rmdir(path_.c_str()); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

inline std::pair<UniqueFd, UniqueFd> SocketPair() {
  int fds[2] = {-1, -1};
  EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

inline std::span<const uint8_t> Bytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// Runs `loop` until `done()`; false after far too long.
template <class Condition>
bool RunUntil(boost::asio::io_context& loop, Condition done) {
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!done()) {
    if (std::chrono::steady_clock::now() > give_up) return false;
    loop.restart();
    loop.run_one_for(std::chrono::milliseconds(100));
  }
  return true;
}

}  // namespace skyray::ipc
