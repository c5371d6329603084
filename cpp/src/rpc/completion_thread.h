// SPDX-License-Identifier: Apache-2.0
// The one place where gRPC's world and a loop's meet: a thread that waits on a
// completion queue and posts what completed to the loop.
//
// Threading:  made, stopped and destroyed on `loop`'s thread; Tags complete there.
// Ownership:  owns its thread; neither the queue nor the Tags.
// Errors:     none.
#pragma once

#include <grpcpp/completion_queue.h>

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <thread>

namespace skyray::rpc {

// What is given to gRPC as the tag of one operation. It must outlive that
// operation, carries one at a time, and may then be used again.
struct Tag {
  std::function<void(bool ok)> done;
};

class CompletionThread {
 public:
  // `queue` must outlive *this.
  CompletionThread(boost::asio::io_context& loop, grpc::CompletionQueue& queue);
  ~CompletionThread();
  CompletionThread(const CompletionThread&) = delete;
  CompletionThread& operator=(const CompletionThread&) = delete;

  // Shuts the queue down and waits until gRPC has let go of every Tag; so cancel
  // what is under way first. No Tag completes any more.
  void Stop();

 private:
  grpc::CompletionQueue& queue_;
  std::shared_ptr<bool> open_;  // Used on the loop only.
  std::thread thread_;
};

}  // namespace skyray::rpc
