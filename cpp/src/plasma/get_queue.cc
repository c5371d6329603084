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
    waiting_[{get.ids[index], token}].push_back(static_cast<uint32_t>(index));
    ++entry.missing;
  }
  SKYRAY_CHECK(entry.missing > 0);
  if (get.deadline_ms) by_deadline_.emplace(*get.deadline_ms, token);
  Waiting& waiting = by_client_[get.client];
  waiting.tokens.insert(token);
  waiting.ids += get.ids.size();
  entry.get = std::move(get);
  gets_.emplace(token, std::move(entry));
}

GetQueue::Filled GetQueue::OnSealed(const ObjectId& id) {
  Filled filled;
  for (const auto& [token, positions] : TakeWaiting(id)) {
    Entry& entry = gets_.at(token);
    for (const uint32_t position : positions) entry.get.found[position] = true;
    filled.finders.insert(filled.finders.end(), positions.size(), entry.get.client);
    entry.missing -= positions.size();
    if (entry.missing == 0) filled.complete.push_back(Take(token));
  }
  return filled;
}

std::vector<WaitingGet> GetQueue::OnLost(const ObjectId& id, const Status& why) {
  std::vector<WaitingGet> complete;
  for (const auto& [token, positions] : TakeWaiting(id)) {
    Entry& entry = gets_.at(token);
    for (const uint32_t position : positions) entry.get.losses.push_back({position, why});
    entry.missing -= positions.size();
    if (entry.missing == 0) complete.push_back(Take(token));
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
  const std::set<Token> tokens = found->second.tokens;
  for (const Token token : tokens) Take(token);
}

GetQueue::Load GetQueue::LoadOf(ClientId client) const {
  const auto found = by_client_.find(client);
  if (found == by_client_.end()) return {};
  return {found->second.tokens.size(), found->second.ids};
}

std::vector<std::pair<GetQueue::Token, std::vector<uint32_t>>> GetQueue::TakeWaiting(
    const ObjectId& id) {
  std::vector<std::pair<Token, std::vector<uint32_t>>> taken;
  auto at = waiting_.lower_bound({id, 0});
  while (at != waiting_.end() && at->first.first == id) {
    taken.emplace_back(at->first.second, std::move(at->second));
    at = waiting_.erase(at);
  }
  return taken;
}

WaitingGet GetQueue::Take(Token token) {
  auto node = gets_.extract(token);
  WaitingGet get = std::move(node.mapped().get);
  for (size_t index = 0; index < get.ids.size(); ++index) {
    // One that repeats, or is lost, is not there any more.
    if (!get.found[index]) waiting_.erase({get.ids[index], token});
  }
  if (get.deadline_ms) by_deadline_.erase({*get.deadline_ms, token});
  const auto owner = by_client_.find(get.client);
  owner->second.tokens.erase(token);
  owner->second.ids -= get.ids.size();
  if (owner->second.tokens.empty()) by_client_.erase(owner);
  return get;
}

}  // namespace skyray::plasma
