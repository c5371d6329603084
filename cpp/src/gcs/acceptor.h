// SPDX-License-Identifier: Apache-2.0
// Takes connections from a listening unix socket, if they come from our own user.
//
// Threading:  lives on one loop; `accepted` is called there.
// Ownership:  owns the listening socket; hands each connection over.
// Errors:     a peer with another uid is dropped and logged. Out of descriptors:
//             it says so, waits 100 ms, and goes on.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>

#include "common/unique_fd.h"

namespace skyray::gcs {

class Acceptor {
 public:
  using Accepted = std::function<void(UniqueFd)>;

  Acceptor(boost::asio::io_context& loop, UniqueFd listener, Accepted accepted);
  ~Acceptor();
  Acceptor(const Acceptor&) = delete;
  Acceptor& operator=(const Acceptor&) = delete;

  // Nothing is accepted any more.
  void Stop();

 private:
  void Wait();
  void AcceptAll();
  void Take(UniqueFd connection);

  boost::asio::posix::stream_descriptor listener_;
  boost::asio::steady_timer pause_;
  Accepted accepted_;
  // What waits holds it, and looks at it first: the acceptor may be gone.
  std::shared_ptr<bool> open_ = std::make_shared<bool>(true);
};

}  // namespace skyray::gcs
