// SPDX-License-Identifier: Apache-2.0
#include "raylet/worker_progress.h"

#include <utility>

namespace skyray::raylet {

WorkerProgress::WorkerProgress(std::optional<ProgressBoard> board) : board_(std::move(board)) {}

int WorkerProgress::Take(const WorkerId& worker) {
  if (!board_) return -1;
  if (free_.empty()) {
    if (next_ == static_cast<int>(ProgressBoard::kPlaces)) return -1;
    free_.push_back(next_++);
  }
  const int place = free_.back();
  free_.pop_back();
  places_.emplace(worker, place);
  board_->At(place)->Clear();
  return place;
}

void WorkerProgress::Clear(const WorkerId& worker) {
  const auto found = places_.find(worker);
  if (found != places_.end()) board_->At(found->second)->Clear();
}

std::optional<uint64_t> WorkerProgress::Finish(const WorkerId& worker) {
  const auto found = places_.find(worker);
  if (found == places_.end()) return std::nullopt;
  const int place = found->second;
  places_.erase(found);
  free_.push_back(place);
  return board_->At(place)->started();
}

}  // namespace skyray::raylet
