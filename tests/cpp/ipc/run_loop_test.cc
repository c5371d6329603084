// SPDX-License-Identifier: Apache-2.0
#include "ipc/run_loop.h"

#include <gtest/gtest.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <thread>

namespace skyray::ipc {
namespace {

TEST(RunLoop, DoesWhatWorkPostsAndReturnsWhenNoneIsLeft) {
  boost::asio::io_context loop{1};
  int done = 0;
  boost::asio::post(loop, [&] {
    ++done;
    boost::asio::post(loop, [&] { ++done; });
  });
  RunLoop(loop);
  EXPECT_EQ(done, 2);
}

TEST(RunLoop, WorkFromAnotherThreadWakesItAndStopEndsIt) {
  boost::asio::io_context loop{1};
  const auto work = boost::asio::make_work_guard(loop);
  std::thread other([&] { boost::asio::post(loop, [&] { loop.stop(); }); });
  RunLoop(loop);
  other.join();
  EXPECT_TRUE(loop.stopped());
}

TEST(RunLoop, AStoppedLoopDoesNothing) {
  boost::asio::io_context loop{1};
  bool ran = false;
  boost::asio::post(loop, [&] { ran = true; });
  loop.stop();
  RunLoop(loop);
  EXPECT_FALSE(ran);
}

}  // namespace
}  // namespace skyray::ipc
