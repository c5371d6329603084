// SPDX-License-Identifier: Apache-2.0
// References that go home: a worker returns to the owner of an object a reference
// to it, and lets go of its own. The one is said in a Reply or ObjectReply on the
// connection that the owner made, the other (RemoveBorrower) on the worker's own.
// Overtaking, the second would end the object while the first is on its way. So
// both sides count what was handed back; a RemoveBorrower says after how many it
// was meant, and waits for them.
//
// Threading: under the gateway's mutex, as all of the core worker.
// Ownership: ids only.
// Errors:    none; a peer that ends is to be forgotten.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "common/id.h"

namespace skyray::core_worker {

class HandedBack {
 public:
  // --- The worker's side ---
  void Hand(const WorkerId& owner, uint64_t references) { handed_[owner] += references; }
  // After how many a RemoveBorrower of now is meant.
  uint64_t HandedTo(const WorkerId& owner) const;

  // --- The owner's side ---
  // What a RemoveBorrower says.
  struct Removal {
    ObjectId object;
    uint32_t count;
    friend bool operator==(const Removal&, const Removal&) = default;
  };
  // One came; the removals by that worker that are due with it.
  std::vector<Removal> Took(const WorkerId& worker);
  // Whether the removal has to wait; it is kept then, for Took.
  bool Defer(const WorkerId& worker, const Removal& removal, uint64_t after);

  void Forget(const WorkerId& peer);

 private:
  struct Deferred {
    uint64_t after;
    Removal removal;
  };
  struct Taken {
    uint64_t count = 0;
    std::vector<Deferred> deferred;  // In the order of `after`.
  };

  std::unordered_map<WorkerId, uint64_t> handed_;
  std::unordered_map<WorkerId, Taken> taken_;
};

}  // namespace skyray::core_worker
