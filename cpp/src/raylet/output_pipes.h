// SPDX-License-Identifier: Apache-2.0
// The pipes on which workers print: read as they come, written to each worker's
// log file, and handed on as lines.
//
// Threading:  lives on the raylet's loop.
// Ownership:  owns the pipes and log files until Finish().
// Errors:     a log file that cannot be written is given up (said once in the
//             log); lines still go to the driver.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/id.h"
#include "raylet/worker_output.h"
#include "raylet/zygote.h"

namespace skyray::raylet {

class OutputPipes {
 public:
  using LinesHandler = std::function<void(const WorkerId&, const std::vector<OutputLines>&)>;

  OutputPipes(boost::asio::io_context& loop, std::string log_dir, LinesHandler on_lines);
  ~OutputPipes();
  OutputPipes(const OutputPipes&) = delete;
  OutputPipes& operator=(const OutputPipes&) = delete;

  void Add(const WorkerId& worker, WorkerPipes pipes, const std::string& log_name);
  // Its process has ended: hands on what is left, closes all, and returns the
  // last lines of its stderr.
  std::vector<std::string> Finish(const WorkerId& worker);

 private:
  struct Entry;
  std::unordered_map<WorkerId, std::shared_ptr<Entry>> entries_;
  boost::asio::io_context& loop_;
  std::string log_dir_;
  LinesHandler on_lines_;
};

}  // namespace skyray::raylet
