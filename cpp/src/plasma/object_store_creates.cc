// SPDX-License-Identifier: Apache-2.0
// The store's creates: at once, in the queue, or not at all.
#include <algorithm>
#include <utility>

#include "common/logging.h"
#include "plasma/object_store.h"

namespace skyray::plasma {
namespace {

// What one step may give back: a millisecond of the store's time.
constexpr uint64_t kGiveBackBytesMax = 4 << 20;
constexpr size_t kGiveBackRangesMax = 256;

// A client that wants to wait longer asks again.
constexpr uint64_t kRetryWaitMsMax = 60000;

Status TooManyCreates() {
  return Status(ErrorCode::OutOfMemory,
                std::to_string(kWaitingCreatesPerClientMax) +
                    " creates of this client wait for room in the store already");
}

Status TooManyUnfinished() {
  return Status(ErrorCode::InvalidRequest,
                "an unfinished create has that request id already, or this client has " +
                    std::to_string(kUnfinishedPerClientMax) +
                    " of them; ask for the result of one (CreateRetry) first");
}

Status NoSuchCreate(uint64_t create_request_id) {
  return Status(ErrorCode::ObjectNotFound,
                "request " + std::to_string(create_request_id) +
                    " is no unfinished create of this client: its result was given already, or "
                    "the object was sealed or aborted since");
}

bool IsFull(const Result<ObjectPlace>& result) {
  return !result && result.error().code() == ErrorCode::OutOfMemory;
}

Status OwnerIsDead(const NewObject& object) {
  return Status(ErrorCode::OwnerDied, "the owner of object " + object.id.Hex() + ", worker " +
                                          object.owner.Hex() +
                                          ", has ended; nobody can refer to it any more");
}

}  // namespace

Outcome ObjectStore::Create(ClientId client, uint64_t request_id, const NewObject& object,
                            bool try_immediately, int64_t now_ms) {
  const bool asks_again = clients_.at(client).asks_again;
  const WaitingCreate create{client, request_id, object, now_ms};
  if (asks_again && !unfinished_.HasRoom(client, request_id)) {
    outcome_.created.push_back({client, request_id, TooManyUnfinished()});
  } else if (try_immediately || !objects_.CouldEverFit(object.total_bytes())) {
    if (auto refusal = Refusal(create)) {
      EndCreate(create, *refusal);
    } else if (creates_.size() > 0) {
      // What is there is for those who came first.
      EndFull(create);
    } else {
      auto result = Attempt(create, now_ms);
      if (IsFull(result)) {
        EndFull(create);
      } else {
        EndCreate(create, std::move(result));
      }
    }
  } else if (clients_.at(client).bounded &&
             creates_.CountOf(client) >= kWaitingCreatesPerClientMax) {
    EndCreate(create, TooManyCreates());
  } else {
    creates_.Push(create);
    ServeCreates(now_ms);
    if (asks_again && creates_.EndsWith(client, request_id)) {
      unfinished_.Add(client, request_id);
      outcome_.created.push_back({client, request_id, ObjectPlace(), /*unfinished=*/true});
    }
  }
  return Finish(now_ms);
}

Outcome ObjectStore::CreateRetry(ClientId client, uint64_t request_id, uint64_t create_request_id,
                                 uint64_t wait_ms, int64_t now_ms) {
  std::optional<int64_t> deadline;
  if (wait_ms > 0) deadline = now_ms + static_cast<int64_t>(std::min(wait_ms, kRetryWaitMsMax));
  const auto answer = unfinished_.Ask(client, create_request_id, request_id, deadline);
  if (answer.replaced) {
    outcome_.created.push_back({client, *answer.replaced, ObjectPlace(), /*unfinished=*/true});
  }
  if (answer.known && !answer.ending) {
    if (!deadline) {
      outcome_.created.push_back({client, request_id, ObjectPlace(), /*unfinished=*/true});
    }
    return Finish(now_ms);
  }
  Result<ObjectPlace> ended = NoSuchCreate(create_request_id);
  if (answer.known && !answer.ending->status.ok()) {
    ended = answer.ending->status;
  } else if (answer.known) {
    const auto* object = FindCreating(clients_.at(client), answer.ending->id);
    if (object != nullptr) ended = PlaceOf(*object);
  }
  outcome_.created.push_back({client, request_id, std::move(ended)});
  return Finish(now_ms);
}

std::optional<Status> ObjectStore::Refusal(const WaitingCreate& create) const {
  if (dead_owners_.contains(create.object.owner)) return OwnerIsDead(create.object);
  if (objects_.Find(create.object.id) == nullptr) return std::nullopt;
  return Status(ErrorCode::ObjectExists,
                "object " + create.object.id.Hex() + " exists in the store");
}

Result<ObjectPlace> ObjectStore::Attempt(const WaitingCreate& create, int64_t now_ms) {
  if (create.restore) return Begun(create, objects_.GiveMemory(create.object.id));
  if (dead_owners_.contains(create.object.owner)) return OwnerIsDead(create.object);
  trimmer_.Created(now_ms);
  return Begun(create, objects_.Create(create.object, now_ms));
}

Result<ObjectPlace> ObjectStore::Begun(const WaitingCreate& create,
                                       const Result<const LocalObject*>& object) {
  if (!object) return object.error();
  if (!create.restore) {
    Reference& reference = clients_.at(create.client).references.At((*object)->index);
    reference.count = 1;
    reference.creating = true;
  }
  return PlaceOf(**object);
}

void ObjectStore::EndCreate(const WaitingCreate& create, Result<ObjectPlace> result) {
  uint64_t request_id = create.request_id;
  if (create.restore && IsFull(result)) {
    const ObjectId id = create.object.id;
    for (const WaitingGet& get : gets_.OnLost(id, result.error())) AnswerGet(get);
    objects_.GiveUpRestore(id);
  } else if (unfinished_.Contains(create.client, request_id)) {
    const auto asked = unfinished_.Finish(create.client, request_id,
                                          {create.object.id, result ? Status() : result.error()});
    if (!asked) return;
    request_id = *asked;
  }
  outcome_.created.push_back({create.client, request_id, std::move(result)});
}

void ObjectStore::EndFull(const WaitingCreate& create) {
  const uint64_t bytes = create.object.total_bytes();
  if (!options_.fallback || bytes > kFallbackBytesMax || next_fallback_ == UINT32_MAX) {
    return EndCreate(create, OutOfMemory(create));
  }
  const uint32_t segment = next_fallback_++;
  awaiting_fallback_.emplace(segment, create);
  outcome_.fallback_wanted.push_back({segment, Allocator::Rounded(bytes)});
}

Outcome ObjectStore::FallbackMade(uint32_t segment, const Status& status, int64_t now_ms) {
  auto awaiting = awaiting_fallback_.extract(segment);
  SKYRAY_CHECK(!awaiting.empty());
  const WaitingCreate& create = awaiting.mapped();
  if (!clients_.contains(create.client)) {
    // It left meanwhile.
    outcome_.emptied.push_back(segment);
    return Finish(now_ms);
  }
  if (!status.ok()) {
    EndCreate(create, OutOfMemory(create, status));
    return Finish(now_ms);
  }
  const auto made = create.restore ? objects_.GiveFallback(create.object.id, segment)
                                   : objects_.CreateInFallback(create.object, segment, now_ms);
  if (!made) outcome_.emptied.push_back(segment);
  EndCreate(create, Begun(create, made));
  return Finish(now_ms);
}

void ObjectStore::Withdraw(ClientId client, const ObjectId& id) {
  const auto waiting = creates_.Take(client, id);
  if (!waiting) {
    ++ignored_requests_total_;
    return;
  }
  EndCreate(*waiting, Status(ErrorCode::Cancelled,
                             "the create of object " + id.Hex() + " was withdrawn by its client"));
  unfinished_.DropEnding(client, id);
}

Status ObjectStore::OutOfMemory(const WaitingCreate& create, const Status& fallback) const {
  const char* advice = objects_.CouldEverFit(create.object.total_bytes())
                           ? "; let go of references to large objects, or start the store with "
                             "more memory (object_store_memory)"
                           : "; an object can be no larger than the store: start it with more "
                             "memory (object_store_memory)";
  std::string text = "no room for object " + create.object.id.Hex() + " of " +
                     std::to_string(create.object.total_bytes()) +
                     " bytes: " + objects_.DescribeUse();
  if (!last_spill_failure_.ok()) text += "; spilling failed: " + last_spill_failure_.message();
  if (!fallback.ok()) text += "; no fallback memory: " + fallback.message();
  return Status(ErrorCode::OutOfMemory, text + advice);
}

void ObjectStore::ServeCreates(int64_t now_ms) {
  while (const WaitingCreate* head = creates_.Front()) {
    auto result = Attempt(*head, now_ms);
    if (IsFull(result)) {
      if (now_ms < GraceEnds(*head)) return;
      waited_in_vain_ms_ = now_ms;
      EndFull(*head);
    } else {
      if (result) progress_ms_ = now_ms;
      EndCreate(*head, std::move(result));
    }
    creates_.PopFront();
  }
}

int64_t ObjectStore::GraceEnds(const WaitingCreate& head) const {
  const int64_t since = std::max(head.since_ms, progress_ms_);
  // So soon after another, and with nothing that could be spilled, this one would wait in
  // vain too: a full store costs the first create the grace, not each of them.
  if (waited_in_vain_ms_ > progress_ms_ &&
      head.since_ms - waited_in_vain_ms_ <= options_.create_grace_ms && spilling_bytes_ == 0 &&
      SpaceNeeded() == 0) {
    return since;
  }
  const int64_t patience = spilling_bytes_ == 0
                               ? options_.create_grace_ms
                               : std::max(options_.create_grace_ms, kSpillStalledMs);
  return since + patience;
}

Outcome ObjectStore::Tick(int64_t now_ms) {
  for (const WaitingGet& get : gets_.TakeExpired(now_ms)) AnswerGet(get);
  ServeCreates(now_ms);
  // After that: what has ended just now is not `unfinished`.
  for (const auto& question : unfinished_.TakeExpired(now_ms)) {
    outcome_.created.push_back(
        {question.client, question.request_id, ObjectPlace(), /*unfinished=*/true});
  }
  Trim(now_ms);
  return Finish(now_ms);
}

void ObjectStore::Trim(int64_t now_ms) {
  if (!trimmer_.MayGiveBack(now_ms)) return;
  uint64_t bytes = 0;
  while (bytes < kGiveBackBytesMax && outcome_.give_back.size() < kGiveBackRangesMax) {
    const auto range = allocator_.TakeColdest(kGiveBackBytesMax - bytes);
    if (!range) break;
    bytes += range->bytes;
    outcome_.give_back.push_back(*range);
  }
  trimmer_.Observe(allocator_.has_warm_run(), now_ms);
}

std::optional<int64_t> ObjectStore::NextDeadline() const {
  std::optional<int64_t> next = gets_.NextDeadline();
  const auto consider = [&next](std::optional<int64_t> deadline) {
    if (deadline && (!next || *deadline < *next)) next = deadline;
  };
  consider(unfinished_.NextDeadline());
  consider(trimmer_.NextDeadline());
  if (const WaitingCreate* head = creates_.Front()) {
    consider(GraceEnds(*head));
  }
  if (SpaceNeeded() > 0) consider(NextSpaceWanted());
  return next;
}

}  // namespace skyray::plasma
