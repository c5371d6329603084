// SPDX-License-Identifier: Apache-2.0
#include "plasma/get_queue.h"

#include <utility>

#include "common/logging.h"

namespace skyray::plasma {

void GetQueue::Add(WaitingGet get) {
  SKYRAY_CHECK(get.found.size() == get.ids.size());
  const Token token = next_token_++;
  Entry entry;
  for (size_t index = 0; index < get.ids.size(); ++index) {
    if (get.found[index]) continue;
    waiting_[get.ids[index]].push_back({token, index});
    ++entry.missing;
  }
  SKYRAY_CHECK(entry.missing > 0);
  if (get.deadline_ms) by_deadline_.emplace(*get.deadline_ms, token);
  by_client_[get.client].insert(token);
  entry.get = std::move(get);
  gets_.emplace(token, std::move(entry));
}

GetQueue::Filled GetQueue::OnSealed(const ObjectId& id) {
  Filled filled;
  auto positions = waiting_.extract(id);
  if (positions.empty()) return filled;
  for (const Position& position : positions.mapped()) {
    Entry& entry = gets_.at(position.token);
    entry.get.found[position.index] = true;
    filled.finders.push_back(entry.get.client);
    if (--entry.missing == 0) filled.complete.push_back(Take(position.token));
  }
  return filled;
}

std::vector<WaitingGet> GetQueue::OnLost(const ObjectId& id, const Status& why) {
  std::vector<WaitingGet> complete;
  auto positions = waiting_.extract(id);
  if (positions.empty()) return complete;
  for (const Position& position : positions.mapped()) {
    Entry& entry = gets_.at(position.token);
    entry.get.losses.push_back({static_cast<uint32_t>(position.index), why});
    if (--entry.missing == 0) complete.push_back(Take(position.token));
  }
  return complete;
}

std::vector<WaitingGet> GetQueue::TakeExpired(int64_t now_ms) {
  std::vector<WaitingGet> expired;
  while (!by_deadline_.empty() && by_deadline_.begin()->first <= now_ms) {
    expired.push_back(Take(by_deadline_.begin()->second));
  }
  return expired;
}

std::optional<int64_t> GetQueue::NextDeadline() const {
  if (by_deadline_.empty()) return std::nullopt;
  return by_deadline_.begin()->first;
}

void GetQueue::RemoveClient(ClientId client) {
  const auto found = by_client_.find(client);
  if (found == by_client_.end()) return;
  const std::set<Token> tokens = found->second;
  for (const Token token : tokens) Take(token);
}

size_t GetQueue::CountOf(ClientId client) const {
  const auto found = by_client_.find(client);
  return found == by_client_.end() ? 0 : found->second.size();
}

size_t GetQueue::IdsOf(ClientId client) const {
  const auto found = by_client_.find(client);
  if (found == by_client_.end()) return 0;
  size_t ids = 0;
  for (const Token token : found->second) ids += gets_.at(token).get.ids.size();
  return ids;
}

WaitingGet GetQueue::Take(Token token) {
  auto node = gets_.extract(token);
  WaitingGet get = std::move(node.mapped().get);
  for (size_t index = 0; index < get.ids.size(); ++index) {
    if (get.found[index]) continue;
    const auto waiting = waiting_.find(get.ids[index]);
    // Taken out with its first position, or lost.
    if (waiting == waiting_.end()) continue;
    std::erase_if(waiting->second, [token](const Position& p) { return p.token == token; });
    if (waiting->second.empty()) waiting_.erase(waiting);
  }
  if (get.deadline_ms) by_deadline_.erase({*get.deadline_ms, token});
  const auto tokens = by_client_.find(get.client);
  tokens->second.erase(token);
  if (tokens->second.empty()) by_client_.erase(tokens);
  return get;
}

}  // namespace skyray::plasma
