// SPDX-License-Identifier: Apache-2.0
// Decides which objects are fetched now, and from whom.
//
//   Want ─► queued ─room─► fetching from node 1 ─failed─► from node 2 ... ─► lost
//                                └────────── sealed here ──────────► done
//
// An object wanted twice is fetched once. What is fetched at a time is bounded
// in bytes, in the order wanted; one object is always let through.
//
// Threading:  none. Ownership: values. Each call returns what is to be done.
// Errors:     in PullDone: ObjectLost when no node has it, with each node's
//             reason; what Abandon was given. Unknown objects are ignored, since
//             a peer's answer may come late.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/id.h"
#include "common/status.h"

namespace skyray::object_manager {

// Names one attempt: an answer to an earlier one is told apart by it.
using TransferId = uint64_t;

struct PullStart {
  TransferId transfer;
  ObjectId object;
  NodeId node;
};

struct PullDone {
  ObjectId object;
  std::vector<uint64_t> requests;  // As given to Want.
  Status status;
};

struct PullSteps {
  std::vector<PullStart> start;
  std::vector<PullDone> done;
};

class PullManager {
 public:
  explicit PullManager(uint64_t bytes_in_flight_max);

  // `request` wants `object`, which one of `nodes` should have, best first.
  // `size_bytes` may be 0 when it is not known.
  PullSteps Want(uint64_t request, const ObjectId& object, const std::vector<NodeId>& nodes,
                 uint64_t size_bytes);
  // That attempt did not work out; the next node is asked.
  PullSteps Failed(TransferId transfer, const Status& why);
  // It is here; no matter through which attempt.
  PullSteps Arrived(const ObjectId& object);
  // No other node would help (the store here is full).
  PullSteps Abandon(TransferId transfer, const Status& why);

  // Whether it is being fetched, or queued.
  bool Wants(const ObjectId& object) const { return pulls_.contains(object); }
  size_t waiting() const { return queue_.size(); }
  size_t active() const { return transfers_.size(); }

 private:
  struct Pull {
    std::vector<uint64_t> requests;
    std::deque<NodeId> candidates;  // Not asked yet.
    std::string failures;           // Of those asked.
    uint64_t size_bytes = 0;
    TransferId transfer = 0;  // 0 while queued.
    NodeId node;
  };
  using Table = std::unordered_map<ObjectId, Pull>;

  void StartQueued(PullSteps& steps);
  // Asks the next candidate, or ends the pull.
  void TryNext(Table::iterator pull, PullSteps& steps);
  void Finish(Table::iterator pull, const Status& status, PullSteps& steps);

  const uint64_t bytes_in_flight_max_;
  uint64_t bytes_in_flight_ = 0;
  TransferId next_transfer_ = 1;
  Table pulls_;
  std::deque<ObjectId> queue_;
  std::unordered_map<TransferId, ObjectId> transfers_;
};

}  // namespace skyray::object_manager
