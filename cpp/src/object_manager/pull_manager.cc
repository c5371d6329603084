// SPDX-License-Identifier: Apache-2.0
#include "object_manager/pull_manager.h"

#include <algorithm>

namespace skyray::object_manager {

PullManager::PullManager(uint64_t bytes_in_flight_max)
    : bytes_in_flight_max_(bytes_in_flight_max) {}

PullSteps PullManager::Want(uint64_t request, const ObjectId& object,
                            const std::vector<NodeId>& nodes, uint64_t size_bytes) {
  PullSteps steps;
  const auto [found, is_new] = pulls_.try_emplace(object);
  Pull& pull = found->second;
  pull.requests.push_back(request);
  for (const NodeId& node : nodes) {
    const bool known =
        std::find(pull.candidates.begin(), pull.candidates.end(), node) != pull.candidates.end();
    if (!known && !(pull.transfer != 0 && pull.node == node)) pull.candidates.push_back(node);
  }
  if (is_new) {
    pull.size_bytes = size_bytes;
    queue_.push_back(object);
    StartQueued(steps);
  }
  return steps;
}

PullSteps PullManager::Failed(TransferId transfer, const Status& why) {
  PullSteps steps;
  const auto object = transfers_.extract(transfer);
  if (object.empty()) return steps;
  const auto pull = pulls_.find(object.mapped());
  pull->second.failures += (pull->second.failures.empty() ? "node " : "; node ") +
                           pull->second.node.Hex().substr(0, 16) + ": " + why.message();
  TryNext(pull, steps);
  StartQueued(steps);
  return steps;
}

PullSteps PullManager::Arrived(const ObjectId& object) {
  PullSteps steps;
  const auto pull = pulls_.find(object);
  if (pull == pulls_.end()) return steps;
  Finish(pull, Status(), steps);
  StartQueued(steps);
  return steps;
}

PullSteps PullManager::Abandon(TransferId transfer, const Status& why) {
  PullSteps steps;
  const auto object = transfers_.find(transfer);
  if (object == transfers_.end()) return steps;
  Finish(pulls_.find(object->second), why, steps);
  StartQueued(steps);
  return steps;
}

void PullManager::StartQueued(PullSteps& steps) {
  while (!queue_.empty()) {
    const auto pull = pulls_.find(queue_.front());
    const uint64_t bytes = pull->second.size_bytes;
    const bool first = transfers_.empty();
    if (!first && (bytes_in_flight_ > bytes_in_flight_max_ ||
                   bytes > bytes_in_flight_max_ - bytes_in_flight_)) {
      return;
    }
    queue_.pop_front();
    bytes_in_flight_ += bytes;
    TryNext(pull, steps);
  }
}

void PullManager::TryNext(Table::iterator found, PullSteps& steps) {
  Pull& pull = found->second;
  if (pull.candidates.empty()) {
    const std::string why = pull.failures.empty() ? "no node is known to hold it" : pull.failures;
    pull.transfer = next_transfer_++;  // Counted as started, to be taken back by Finish.
    Finish(found,
           Status(ErrorCode::ObjectLost, "object " + found->first.Hex() +
                                             " could not be fetched from any node (" + why + ")"),
           steps);
    return;
  }
  pull.node = pull.candidates.front();
  pull.candidates.pop_front();
  pull.transfer = next_transfer_++;
  transfers_.emplace(pull.transfer, found->first);
  steps.start.push_back({pull.transfer, found->first, pull.node});
}

void PullManager::Finish(Table::iterator found, const Status& status, PullSteps& steps) {
  Pull& pull = found->second;
  if (pull.transfer != 0) {
    bytes_in_flight_ -= pull.size_bytes;
    transfers_.erase(pull.transfer);
  } else {
    std::erase(queue_, found->first);
  }
  steps.done.push_back({found->first, std::move(pull.requests), status});
  pulls_.erase(found);
}

}  // namespace skyray::object_manager
