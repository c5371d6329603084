// SPDX-License-Identifier: Apache-2.0
// Gets that wait for objects to be sealed or restored, and the times at which
// they give up. A get waits neither for what is there nor for what is lost.
//
// Threading: not thread-safe; lives on the store's loop. Ownership: values.
// Errors: none. Times are the caller's milliseconds, on one monotonic clock.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <unordered_map>
#include <vector>

#include "common/id.h"
#include "common/status.h"
#include "plasma/local_object.h"

namespace skyray::plasma {

// Why a position of a get will not be filled.
struct LostPosition {
  uint32_t position = 0;
  Status why;
};

struct WaitingGet {
  ClientId client = 0;
  uint64_t request_id = 0;
  std::vector<ObjectId> ids;  // May repeat.
  std::vector<bool> found;    // By position in `ids`.
  std::vector<LostPosition> losses;
  std::optional<int64_t> deadline_ms;
};

class GetQueue {
 public:
  // Waits for the positions not `found` yet. REQUIRES: there are some.
  void Add(WaitingGet get);

  struct Filled {
    std::vector<ClientId> finders;     // Once for each position that was filled.
    std::vector<WaitingGet> complete;  // Nothing is missing there any more.
  };
  Filled OnSealed(const ObjectId& id);
  // The object cannot be had: those who wait for it are told `why`, and wait for
  // it no more. Returns the gets that miss nothing else.
  std::vector<WaitingGet> OnLost(const ObjectId& id, const Status& why);
  // Those whose deadline is at or before `now_ms`, earliest first.
  std::vector<WaitingGet> TakeExpired(int64_t now_ms);
  std::optional<int64_t> NextDeadline() const;
  void RemoveClient(ClientId client);

  size_t size() const { return gets_.size(); }
  struct Load {
    size_t gets = 0;
    size_t ids = 0;  // That these name.
  };
  // What of `client` waits here.
  Load LoadOf(ClientId client) const;

 private:
  using Token = uint64_t;
  struct Entry {
    WaitingGet get;
    size_t missing = 0;
  };
  WaitingGet Take(Token token);
  // Those that wait for `id`, which they do no more.
  std::vector<std::pair<Token, std::vector<uint32_t>>> TakeWaiting(const ObjectId& id);

  Token next_token_ = 0;
  std::unordered_map<Token, Entry> gets_;
  // The positions of each get that waits for an object: found and dropped without
  // a look at those of other gets, however many wait for the same.
  std::map<std::pair<ObjectId, Token>, std::vector<uint32_t>> waiting_;
  std::set<std::pair<int64_t, Token>> by_deadline_;
  struct Waiting {
    std::set<Token> tokens;
    size_t ids = 0;
  };
  std::unordered_map<ClientId, Waiting> by_client_;
};

}  // namespace skyray::plasma
