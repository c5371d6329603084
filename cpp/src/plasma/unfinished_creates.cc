// SPDX-License-Identifier: Apache-2.0
#include "plasma/unfinished_creates.h"

#include <utility>

#include "common/logging.h"

namespace skyray::plasma {

bool UnfinishedCreates::HasRoom(ClientId client, uint64_t create_request_id) const {
  const auto count = counts_.find(client);
  return (count == counts_.end() || count->second < kUnfinishedPerClientMax) &&
         !Contains(client, create_request_id);
}

void UnfinishedCreates::Add(ClientId client, uint64_t create_request_id) {
  const bool added = entries_.try_emplace({client, create_request_id}).second;
  SKYRAY_CHECK(added);
  ++counts_[client];
}

bool UnfinishedCreates::Contains(ClientId client, uint64_t create_request_id) const {
  return !entries_.empty() && entries_.contains({client, create_request_id});
}

std::optional<uint64_t> UnfinishedCreates::Finish(ClientId client, uint64_t create_request_id,
                                                  Ending ending) {
  const auto entry = entries_.find({client, create_request_id});
  SKYRAY_CHECK(entry != entries_.end() && !entry->second.ending);
  const auto question = entry->second.question;
  if (question) {
    DropQuestion(entry->first, entry->second);
    entries_.erase(entry);
    if (--counts_[client] == 0) counts_.erase(client);
  } else {
    entry->second.ending = std::move(ending);
  }
  return question;
}

UnfinishedCreates::Answer UnfinishedCreates::Ask(ClientId client, uint64_t create_request_id,
                                                 uint64_t request_id,
                                                 std::optional<int64_t> deadline_ms) {
  Answer answer;
  const auto found = entries_.find({client, create_request_id});
  if (found == entries_.end()) return answer;
  answer.known = true;
  Entry& entry = found->second;
  if (entry.ending) {
    answer.ending = std::move(entry.ending);
    entries_.erase(found);
    if (--counts_[client] == 0) counts_.erase(client);
    return answer;
  }
  answer.replaced = entry.question;
  DropQuestion(found->first, entry);
  if (deadline_ms) {
    entry.question = request_id;
    entry.deadline_ms = *deadline_ms;
    by_deadline_.emplace(*deadline_ms, found->first);
  }
  return answer;
}

std::vector<UnfinishedCreates::Question> UnfinishedCreates::TakeExpired(int64_t now_ms) {
  std::vector<Question> expired;
  while (!by_deadline_.empty() && by_deadline_.begin()->first <= now_ms) {
    const Key key = by_deadline_.begin()->second;
    Entry& entry = entries_.at(key);
    expired.push_back({key.first, *entry.question});
    DropQuestion(key, entry);
  }
  return expired;
}

std::optional<int64_t> UnfinishedCreates::NextDeadline() const {
  if (by_deadline_.empty()) return std::nullopt;
  return by_deadline_.begin()->first;
}

void UnfinishedCreates::RemoveClient(ClientId client) {
  if (counts_.erase(client) == 0) return;
  auto at = entries_.lower_bound({client, 0});
  while (at != entries_.end() && at->first.first == client) {
    DropQuestion(at->first, at->second);
    at = entries_.erase(at);
  }
}

void UnfinishedCreates::DropEnding(ClientId client, const ObjectId& id) {
  const auto count = counts_.find(client);
  if (count == counts_.end()) return;
  auto at = entries_.lower_bound({client, 0});
  for (; at != entries_.end() && at->first.first == client; ++at) {
    if (!at->second.ending || at->second.ending->id != id) continue;
    entries_.erase(at);
    if (--count->second == 0) counts_.erase(count);
    return;
  }
}

void UnfinishedCreates::DropQuestion(const Key& key, Entry& entry) {
  if (!entry.question) return;
  by_deadline_.erase({entry.deadline_ms, key});
  entry.question.reset();
}

}  // namespace skyray::plasma
