// SPDX-License-Identifier: Apache-2.0
// Which place of the node's progress board is whose (common/progress_board.h).
//
// Threading:  constant; the raylet's loop.
// Ownership:  owns the board.
// Errors:     none. Without a board, and for workers beyond its places, nothing is known.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "common/id.h"
#include "common/progress_board.h"

namespace skyray::raylet {

class WorkerProgress {
 public:
  explicit WorkerProgress(std::optional<ProgressBoard> board);

  // -1: there is none.
  int fd() const { return board_ ? board_->fd() : -1; }
  // A place for a worker that is about to be forked, unknown yet; -1: none is free.
  int Take(const WorkerId& worker);
  // What it marked before was of another lease.
  void Clear(const WorkerId& worker);
  // Its process has ended: how many calls of its lease had been started. Its place is free.
  std::optional<uint64_t> Finish(const WorkerId& worker);

 private:
  std::optional<ProgressBoard> board_;
  std::vector<int> free_;  // Of those below next_.
  int next_ = 0;           // Taken last: as few pages as there are workers.
  std::unordered_map<WorkerId, int> places_;
};

}  // namespace skyray::raylet
