// SPDX-License-Identifier: Apache-2.0
#include "rpc/completion_thread.h"

#include <pthread.h>

#include <boost/asio/post.hpp>

namespace skyray::rpc {

CompletionThread::CompletionThread(boost::asio::io_context& loop, grpc::CompletionQueue& queue)
    : queue_(queue), open_(std::make_shared<bool>(true)) {
  thread_ = std::thread([&loop, &queue, open = open_] {
    void* tag = nullptr;
    bool ok = false;
    while (queue.Next(&tag, &ok)) {
      boost::asio::post(loop, [open, tag, ok] {
        if (*open) static_cast<Tag*>(tag)->done(ok);
      });
    }
  });
  pthread_setname_np(thread_.native_handle(), "grpc_queue");
}

CompletionThread::~CompletionThread() { Stop(); }

void CompletionThread::Stop() {
  if (!*open_) return;
  *open_ = false;
  queue_.Shutdown();
  thread_.join();
}

}  // namespace skyray::rpc
