// SPDX-License-Identifier: Apache-2.0
#include "plasma/create_queue.h"

#include <algorithm>
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

std::optional<WaitingCreate> CreateQueue::Take(ClientId client, const ObjectId& id) {
  const auto found =
      std::find_if(waiting_.begin(), waiting_.end(), [&](const WaitingCreate& create) {
        return create.client == client && create.object.id == id;
      });
  if (found == waiting_.end()) return std::nullopt;
  WaitingCreate taken = std::move(*found);
  waiting_.erase(found);
  return taken;
}

}  // namespace skyray::plasma
