// SPDX-License-Identifier: Apache-2.0
// The listening socket of a worker. While this process has no descriptor left for who
// connects, it is looked at ten times a second instead of whenever epoll says that
// somebody waits, which it would say without end.
//
// Threading:  Start: before any other call. The others: whoever leads the gateway.
// Ownership:  owns the socket; borrows the epoll descriptor.
// Errors:     out of descriptors: said once in the log, and again when it is over.
#pragma once

#include <cstdint>
#include <functional>

#include "common/unique_fd.h"

namespace skyray::core_worker {

class Acceptor {
 public:
  // REQUIRES: `listener` does not block. `tag` is what `epoll` reports it by.
  void Start(UniqueFd listener, int epoll, uint64_t tag);

  // Accepts all who wait, and gives those of this user to `take`.
  void AcceptAll(int64_t now_ns, const std::function<void(UniqueFd)>& take);
  // When AcceptAll is to be called without a report; INT64_MAX: never.
  int64_t again_ns() const { return again_ns_; }

 private:
  void Watch(int operation, uint32_t events);
  void Pause(int64_t now_ns, int error);

  UniqueFd listener_;
  int epoll_ = -1;
  uint64_t tag_ = 0;
  int64_t again_ns_ = INT64_MAX;
};

}  // namespace skyray::core_worker
