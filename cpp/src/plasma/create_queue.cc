// SPDX-License-Identifier: Apache-2.0
#include "plasma/create_queue.h"

#include <algorithm>
#include <utility>

#include "common/logging.h"

namespace skyray::plasma {

void CreateQueue::Push(WaitingCreate create) {
  ++counts_[create.client];
  waiting_.push_back(std::move(create));
}

size_t CreateQueue::CountOf(ClientId client) const {
  const auto found = counts_.find(client);
  return found == counts_.end() ? 0 : found->second;
}

void CreateQueue::Gone(ClientId client) {
  const auto found = counts_.find(client);
  if (--found->second == 0) counts_.erase(found);
}

const WaitingCreate* CreateQueue::Front() const {
  return waiting_.empty() ? nullptr : &waiting_.front();
}

bool CreateQueue::EndsWith(ClientId client, uint64_t request_id) const {
  return !waiting_.empty() && waiting_.back().client == client &&
         waiting_.back().request_id == request_id;
}

void CreateQueue::PopFront() {
  SKYRAY_CHECK(!waiting_.empty());
  Gone(waiting_.front().client);
  waiting_.pop_front();
}

void CreateQueue::RemoveClient(ClientId client) {
  if (counts_.erase(client) == 0) return;
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
  Gone(client);
  return taken;
}

}  // namespace skyray::plasma
