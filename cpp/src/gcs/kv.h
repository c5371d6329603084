// SPDX-License-Identifier: Apache-2.0
// Keys and values by namespace: exported functions ("fun"), and what programs
// and libraries put there. A Get may wait for its key to appear.
//
// Threading:  pure; lives on the GCS's loop. Time is what the caller says it is.
// Ownership:  owns the values and the list of waiters (not their connections).
// Errors:     InvalidArgument: a key over its cap, too many waiters.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/status.h"
#include "gcs/storage.h"
#include "protos/gcs.pb.h"

namespace skyray::gcs {

constexpr size_t kKeyBytesMax = 64 << 10;
constexpr size_t kKvWaitersMax = 100'000;

// Names a Get that was not answered at once.
using WaiterId = uint64_t;

struct KvAnswer {
  WaiterId waiter;
  pb::KvGetReply reply;
};

class Kv {
 public:
  // `storage` must outlive *this.
  explicit Kv(Storage& storage) : storage_(storage) {}
  Status Load();

  // `answers`: the waiting Gets that this one answers.
  pb::KvPutReply Put(const pb::KvPutRequest& request, std::vector<KvAnswer>& answers);
  // Nothing if `waiter` now waits for the key, until it is put or time is up.
  std::optional<pb::KvGetReply> Get(const pb::KvGetRequest& request, WaiterId waiter,
                                    int64_t now_ms);
  pb::KvDeleteReply Delete(const pb::KvDeleteRequest& request);
  pb::KvExistsReply Exists(const pb::KvExistsRequest& request) const;
  pb::KvKeysReply Keys(const pb::KvKeysRequest& request) const;

  // Answers (with found = false) those whose time is up.
  std::vector<KvAnswer> Expire(int64_t now_ms);
  std::optional<int64_t> NextDeadlineMs() const;
  void CancelWaiter(WaiterId waiter);
  size_t waiter_count() const { return waiters_.size(); }

 private:
  struct FullKey {
    std::string ns;
    std::string key;
    auto operator<=>(const FullKey&) const = default;
  };
  struct Waiter {
    FullKey key;
    int64_t deadline_ms;
  };

  void RemoveWaiter(std::map<WaiterId, Waiter>::iterator it);

  Storage& storage_;
  std::map<FullKey, std::string> values_;
  std::map<WaiterId, Waiter> waiters_;
  std::multimap<FullKey, WaiterId> by_key_;
  std::multimap<int64_t, WaiterId> by_deadline_;
};

}  // namespace skyray::gcs
