// SPDX-License-Identifier: Apache-2.0
// The Python process that carries spilled objects to a URL: started when first
// needed, spoken to in frames of JSON, and started again if it ends.
//
//   down ─Send─► up ─its socket or process ends─► down
//
// Threading:  lives on the raylet's loop.
// Ownership:  owns the process. The destructor closes its socket, upon which it
//             takes away what it wrote and ends; that is waited for, a second.
// Errors:     Send returns why it cannot be started. `on_down` says how it ended.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/json/object.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/status.h"
#include "common/unique_fd.h"

namespace skyray::object_manager {

struct SpillWorkerHandlers {
  std::function<void(const boost::json::object& event)> on_event;
  std::function<void(const std::string& how)> on_down;
};

class SpillWorker {
 public:
  // `log_path`: where its own output goes.
  SpillWorker(boost::asio::io_context& loop, std::string python, std::string log_path,
              SpillWorkerHandlers handlers);
  ~SpillWorker();
  SpillWorker(const SpillWorker&) = delete;
  SpillWorker& operator=(const SpillWorker&) = delete;

  // Starts it if it is down.
  Status Send(const boost::json::object& order, std::vector<SharedFd> fds = {});
  int pid() const;  // 0: down.

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace skyray::object_manager
