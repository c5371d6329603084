// SPDX-License-Identifier: Apache-2.0
#include "plasma/create_queue.h"

#include <utility>

#include "common/logging.h"

namespace skyray::plasma {

void CreateQueue::Push(WaitingCreate create) { waiting_.push_back(std::move(create)); }

const WaitingCreate* CreateQueue::Front() const {
  return waiting_.empty() ? nullptr : &waiting_.front();
}

void CreateQueue::PopFront() {
  SKYRAY_CHECK(!waiting_.empty());
  waiting_.pop_front();
}

std::optional<int64_t> CreateQueue::NextDeadline() const {
  if (waiting_.empty()) return std::nullopt;
  return waiting_.front().deadline_ms;
}

void CreateQueue::RemoveClient(ClientId client) {
  std::erase_if(waiting_,
                [client](const WaitingCreate& create) { return create.client == client; });
}

}  // namespace skyray::plasma
