// SPDX-License-Identifier: Apache-2.0
// Creates that wait for room, in the order they came. One that cannot be met
// yet holds back those behind it, so that large objects are not starved.
//
// Threading: not thread-safe; lives on the store's loop. Ownership: values.
// Errors: none. Times are the caller's milliseconds, on one monotonic clock.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <unordered_map>

#include "plasma/local_object.h"

namespace skyray::plasma {

struct WaitingCreate {
  ClientId client = 0;
  uint64_t request_id = 0;
  NewObject object;
  int64_t since_ms = 0;
  bool restore = false;  // The object is there; room is wanted for its bytes.
};

class CreateQueue {
 public:
  void Push(WaitingCreate create);
  // Null if nobody waits.
  const WaitingCreate* Front() const;
  // Whether the last in the queue is this one.
  bool EndsWith(ClientId client, uint64_t request_id) const;
  // REQUIRES: somebody waits.
  void PopFront();
  void RemoveClient(ClientId client);
  // Takes out what `client` waits for under that id, if it does.
  std::optional<WaitingCreate> Take(ClientId client, const ObjectId& id);
  size_t size() const { return waiting_.size(); }
  size_t CountOf(ClientId client) const;

 private:
  void Gone(ClientId client);

  std::deque<WaitingCreate> waiting_;
  std::unordered_map<ClientId, size_t> counts_;  // Of those that have any.
};

}  // namespace skyray::plasma
