// SPDX-License-Identifier: Apache-2.0
// A thread for file I/O and checksums, next to a loop: work goes there in order,
// and its result comes back as a message.
//
// Threading:  construct, Run and destroy on the loop's thread. `work` runs on the
//             thread, `done` on the loop, never after the destructor began.
// Ownership:  owns the thread. The destructor asks the work at hand to stop, waits
//             for it, and drops the rest.
// Errors:     none.
#pragma once

#include <pthread.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <memory>
#include <stop_token>
#include <thread>
#include <utility>

#include "common/signals_blocked.h"

namespace skyray::object_manager {

class SpillThread {
 public:
  SpillThread(boost::asio::io_context& owner_loop, const char* name) : owner_loop_(owner_loop) {
    const SignalsBlocked blocked;  // They belong to the owner's thread.
    thread_ = std::jthread([this, name] {
      pthread_setname_np(pthread_self(), name);
      loop_.run();
    });
  }
  ~SpillThread() {
    alive_.reset();
    stop_.request_stop();
    loop_.stop();
  }
  SpillThread(const SpillThread&) = delete;
  SpillThread& operator=(const SpillThread&) = delete;

  // Result work(const std::stop_token&), then done(Result).
  template <class Work, class Done>
  void Run(Work work, Done done) {
    boost::asio::post(loop_, [this, work = std::move(work), done = std::move(done)]() mutable {
      if (stop_.stop_requested()) return;
      boost::asio::post(owner_loop_, [alive = alive_token_, done = std::move(done),
                                      result = work(stop_.get_token())]() mutable {
        if (!alive.expired()) done(std::move(result));
      });
    });
  }

 private:
  boost::asio::io_context& owner_loop_;
  // Dropped on the owner's loop, which is where the token is looked at.
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
  const std::weak_ptr<int> alive_token_ = alive_;
  std::stop_source stop_;
  boost::asio::io_context loop_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_ =
      boost::asio::make_work_guard(loop_);
  std::jthread thread_;  // Last: joined first.
};

}  // namespace skyray::object_manager
