// SPDX-License-Identifier: Apache-2.0
// Calls that have arrived at this worker and wait for its main thread.
//
// Threading:  a core of the gateway's monitor: only under its mutex.
// Ownership:  owns the calls; one that is taken belongs to the taker.
// Errors:     none. Bounded: ReadAllowed() turns false at kQueuedBytesMax, and
//             the gateway then lets the callers' sockets fill.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "common/resource_set.h"
#include "core_worker/channel.h"
#include "core_worker/task.h"

namespace skyray::core_worker {

constexpr size_t kQueuedBytesMax = 32 << 20;

// The lease that a caller's tasks run on.
struct BoundLease {
  std::vector<std::string> gpu_ids;
  ResourceSet resources;
};

struct IncomingCall {
  ChannelPtr channel;  // Null for the creation of an actor.
  std::vector<uint8_t> body;
  ReceivedCall call;       // Views into body.
  FunctionId function_id;  // A task's, or the actor's class.
  std::string method;      // An actor's method.
  std::string name;
  // The creation of an actor:
  ActorId actor_id;
  std::shared_ptr<const BoundLease> lease;
  uint32_t restarts = 0;
  int max_concurrency = 1;
};

class CallQueue {
 public:
  void Push(std::unique_ptr<IncomingCall> call) {
    bytes_ += call->body.size();
    calls_.push_back(std::move(call));
  }
  std::unique_ptr<IncomingCall> Pop() {
    if (calls_.empty()) return nullptr;
    auto call = std::move(calls_.front());
    calls_.pop_front();
    bytes_ -= call->body.size();
    return call;
  }
  // Takes out the calls that came over that channel (all normal tasks' if null).
  std::vector<std::unique_ptr<IncomingCall>> Take(const Channel* channel) {
    std::vector<std::unique_ptr<IncomingCall>> taken;
    std::deque<std::unique_ptr<IncomingCall>> rest;
    for (auto& call : calls_) {
      const bool wanted = channel != nullptr ? call->channel.get() == channel
                                             : call->channel && call->method.empty();
      if (wanted) {
        bytes_ -= call->body.size();
        taken.push_back(std::move(call));
      } else {
        rest.push_back(std::move(call));
      }
    }
    calls_.swap(rest);
    return taken;
  }
  bool empty() const { return calls_.empty(); }
  size_t size() const { return calls_.size(); }
  bool ReadAllowed() const { return bytes_ < kQueuedBytesMax; }

 private:
  std::deque<std::unique_ptr<IncomingCall>> calls_;
  size_t bytes_ = 0;
};

}  // namespace skyray::core_worker
