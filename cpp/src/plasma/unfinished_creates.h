// SPDX-License-Identifier: Apache-2.0
// Creates whose clients have been told `unfinished`: what came of each is kept
// here until its client asks, and is given once.
//
//   Add ─► waiting ─Finish─► kept ─Ask─► gone
//             │ Ask
//             ▼
//           asked ─Finish─► gone
//             └─ the asker's deadline ─► waiting
//
// Threading: not thread-safe; lives on the store's loop. Ownership: values.
// Errors: none. Times are the caller's milliseconds, on one monotonic clock.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <vector>

#include "common/status.h"
#include "plasma/local_object.h"

namespace skyray::plasma {

constexpr size_t kUnfinishedPerClientMax = 256;

class UnfinishedCreates {
 public:
  // A client's question, by the client's number for it.
  struct Question {
    ClientId client = 0;
    uint64_t request_id = 0;
  };
  // What came of a create: its object is there, or why it is not.
  struct Ending {
    ObjectId id;
    Status status;
  };

  // Room for one more of that client, under a number not in use.
  bool HasRoom(ClientId client, uint64_t create_request_id) const;
  // REQUIRES: HasRoom.
  void Add(ClientId client, uint64_t create_request_id);
  bool Contains(ClientId client, uint64_t create_request_id) const;

  // It has ended so: returns the number of the question to answer with that, or
  // nothing if the ending is kept until asked for. REQUIRES: Contains.
  std::optional<uint64_t> Finish(ClientId client, uint64_t create_request_id, Ending ending);

  struct Answer {
    bool known = false;
    std::optional<Ending> ending;      // Given once.
    std::optional<uint64_t> replaced;  // An earlier question, not answered any more: `unfinished`.
  };
  // Without an ending the question is held until Finish or `deadline_ms`; none: not held.
  Answer Ask(ClientId client, uint64_t create_request_id, uint64_t request_id,
             std::optional<int64_t> deadline_ms);
  // The questions that have waited long enough, to be answered with `unfinished`.
  std::vector<Question> TakeExpired(int64_t now_ms);
  std::optional<int64_t> NextDeadline() const;
  void RemoveClient(ClientId client);
  // Nobody will ask for the ending of the create of `id`, if one is kept.
  void DropEnding(ClientId client, const ObjectId& id);

 private:
  struct Entry {
    std::optional<Ending> ending;
    std::optional<uint64_t> question;
    int64_t deadline_ms = 0;  // Of the question.
  };
  using Key = std::pair<ClientId, uint64_t>;
  void DropQuestion(const Key& key, Entry& entry);

  std::map<Key, Entry> entries_;
  std::map<ClientId, size_t> counts_;
  std::set<std::pair<int64_t, Key>> by_deadline_;  // Of those with a question.
};

}  // namespace skyray::plasma
