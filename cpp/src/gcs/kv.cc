// SPDX-License-Identifier: Apache-2.0
#include "gcs/kv.h"

#include "rpc/status_message.h"

namespace skyray::gcs {
namespace {

// How an entry is named in the store: the namespace's length keeps ("a", "bc")
// and ("ab", "c") apart.
std::string StoredKey(const std::string& ns, const std::string& key) {
  return std::to_string(ns.size()) + ":" + ns + key;
}

bool ParseStoredKey(std::string_view stored, std::string& ns, std::string& key) {
  const size_t colon = stored.find(':');
  if (colon == std::string_view::npos || colon == 0 || colon > 9) return false;
  size_t ns_bytes = 0;
  for (const char c : stored.substr(0, colon)) {
    if (c < '0' || c > '9') return false;
    ns_bytes = ns_bytes * 10 + static_cast<size_t>(c - '0');
  }
  stored.remove_prefix(colon + 1);
  if (stored.size() < ns_bytes) return false;
  ns = stored.substr(0, ns_bytes);
  key = stored.substr(ns_bytes);
  return true;
}

Status CheckKey(const std::string& ns, const std::string& key) {
  if (ns.size() <= kKeyBytesMax && key.size() <= kKeyBytesMax) return Status();
  return Status(ErrorCode::InvalidArgument,
                "a key of " + std::to_string(std::max(ns.size(), key.size())) +
                    " bytes is over the cap of " + std::to_string(kKeyBytesMax) +
                    "; use a hash of it as the key");
}

}  // namespace

Status Kv::Load() {
  bool well_formed = true;
  Status status = storage_.Load(Table::Kv, [&](std::string_view stored, std::string_view value) {
    FullKey key;
    if (!ParseStoredKey(stored, key.ns, key.key)) {
      well_formed = false;
    } else {
      values_[std::move(key)] = value;
    }
  });
  if (status.ok() && !well_formed) {
    return Status(ErrorCode::IoError, "the GCS's store holds a malformed key; it is damaged");
  }
  return status;
}

pb::KvPutReply Kv::Put(const pb::KvPutRequest& request, std::vector<KvAnswer>& answers) {
  pb::KvPutReply reply;
  if (Status status = CheckKey(request.namespace_(), request.key()); !status.ok()) {
    *reply.mutable_status() = rpc::StatusToMessage(status);
    return reply;
  }
  FullKey key{request.namespace_(), request.key()};
  const auto [it, added] = values_.try_emplace(key, request.value());
  reply.set_added(added);
  if (!added) {
    if (!request.overwrite() || it->second == request.value()) return reply;
    it->second = request.value();
  }
  storage_.Put(Table::Kv, StoredKey(key.ns, key.key), request.value());
  for (auto range = by_key_.equal_range(key); range.first != range.second;) {
    const WaiterId waiter = (range.first++)->second;  // RemoveWaiter erases it.
    KvAnswer answer{waiter, {}};
    answer.reply.set_found(true);
    answer.reply.set_value(request.value());
    answers.push_back(std::move(answer));
    RemoveWaiter(waiters_.find(waiter));
  }
  return reply;
}

std::optional<pb::KvGetReply> Kv::Get(const pb::KvGetRequest& request, WaiterId waiter,
                                      int64_t now_ms) {
  pb::KvGetReply reply;
  FullKey key{request.namespace_(), request.key()};
  if (const auto it = values_.find(key); it != values_.end()) {
    reply.set_found(true);
    reply.set_value(it->second);
    return reply;
  }
  if (request.wait_ms() == 0) return reply;
  Status status = CheckKey(key.ns, key.key);
  if (status.ok() && waiters_.size() >= kKvWaitersMax) {
    status = Status(ErrorCode::InvalidArgument,
                    "more than " + std::to_string(kKvWaitersMax) +
                        " calls wait for keys that nobody puts; ask again later");
  }
  if (!status.ok()) {
    *reply.mutable_status() = rpc::StatusToMessage(status);
    return reply;
  }
  const int64_t deadline_ms = now_ms + request.wait_ms();
  by_key_.emplace(key, waiter);
  by_deadline_.emplace(deadline_ms, waiter);
  waiters_.emplace(waiter, Waiter{std::move(key), deadline_ms});
  return std::nullopt;
}

pb::KvDeleteReply Kv::Delete(const pb::KvDeleteRequest& request) {
  pb::KvDeleteReply reply;
  reply.set_deleted(values_.erase({request.namespace_(), request.key()}) > 0);
  if (reply.deleted()) {
    storage_.Delete(Table::Kv, StoredKey(request.namespace_(), request.key()));
  }
  return reply;
}

pb::KvExistsReply Kv::Exists(const pb::KvExistsRequest& request) const {
  pb::KvExistsReply reply;
  reply.set_exists(values_.contains({request.namespace_(), request.key()}));
  return reply;
}

pb::KvKeysReply Kv::Keys(const pb::KvKeysRequest& request) const {
  pb::KvKeysReply reply;
  const std::string& prefix = request.prefix();
  for (auto it = values_.lower_bound({request.namespace_(), prefix}); it != values_.end(); ++it) {
    if (it->first.ns != request.namespace_() || !it->first.key.starts_with(prefix)) break;
    reply.add_keys(it->first.key);
  }
  return reply;
}

std::vector<KvAnswer> Kv::Expire(int64_t now_ms) {
  std::vector<KvAnswer> answers;
  while (!by_deadline_.empty() && by_deadline_.begin()->first <= now_ms) {
    const WaiterId waiter = by_deadline_.begin()->second;
    answers.push_back({waiter, {}});
    RemoveWaiter(waiters_.find(waiter));
  }
  return answers;
}

std::optional<int64_t> Kv::NextDeadlineMs() const {
  if (by_deadline_.empty()) return std::nullopt;
  return by_deadline_.begin()->first;
}

void Kv::CancelWaiter(WaiterId waiter) {
  if (const auto it = waiters_.find(waiter); it != waiters_.end()) RemoveWaiter(it);
}

void Kv::RemoveWaiter(std::map<WaiterId, Waiter>::iterator it) {
  const auto erase_from = [waiter = it->first](auto& index, const auto& key) {
    auto [first, last] = index.equal_range(key);
    while (first != last && first->second != waiter) ++first;
    if (first != last) index.erase(first);
  };
  erase_from(by_key_, it->second.key);
  erase_from(by_deadline_, it->second.deadline_ms);
  waiters_.erase(it);
}

}  // namespace skyray::gcs
