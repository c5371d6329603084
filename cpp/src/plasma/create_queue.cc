// SPDX-License-Identifier: Apache-2.0
#include "plasma/create_queue.h"

#include <utility>

#include "common/logging.h"

namespace skyray::plasma {

void CreateQueue::Push(WaitingCreate create) { waiting_.push_back(std::move(create)); }

const WaitingCreate* CreateQueue::Front() const {
  return waiting_.empty() ? nullptr : &waiting_.front();
}

bool CreateQueue::EndsWith(ClientId client, uint64_t request_id) const {
  return !waiting_.empty() && waiting_.back().client == client &&
         waiting_.back().request_id == request_id;
}

void CreateQueue::PopFront() {
  SKYRAY_CHECK(!waiting_.empty());
  waiting_.pop_front();
}

void CreateQueue::RemoveClient(ClientId client) {
  std::erase_if(waiting_,
                [client](const WaitingCreate& create) { return create.client == client; });
}

}  // namespace skyray::plasma
