// SPDX-License-Identifier: Apache-2.0
// Putting, waiting for, reading and borrowing objects.
#include <unistd.h>

#include <algorithm>

#include "common/logging.h"
#include "core_worker/core_worker.h"
#include "core_worker/frames_out.h"

namespace skyray::core_worker {
namespace fbr = fb::raylet;
namespace fbw = fb::worker;

namespace {

// A waiting worker lends its CPU out after this long; shorter waits are not
// worth the messages.
constexpr int64_t kBlockedAfterNs = 1'000'000;
// A seal that has been announced is at most this far behind.
constexpr int64_t kSealUnderWayMs = 10'000;
// How long a copy that others have too is waited for before it is looked for again.
constexpr int64_t kLookMs = 100;

// To the raylet: bring it here from one of these. What is spanned must outlive the result.
auto FetchOf(const ObjectId& id, std::span<const NodeId> nodes, uint64_t bytes) {
  return [&id, nodes, bytes](Builder& builder, fbr::Body& type) {
    type = fbr::Body::Fetch;
    std::vector<flatbuffers::Offset<fbr::Bytes>> entries;
    for (const NodeId& node : nodes) {
      entries.push_back(fbr::CreateBytes(builder, PutId(builder, node)));
    }
    const auto list = builder.CreateVector(entries);
    return fbr::CreateFetch(builder, PutId(builder, id), list, bytes).Union();
  };
}

// What it answered; nothing if it is gone.
Status Fetched(std::span<const uint8_t> reply) {
  if (reply.empty()) return Status(ErrorCode::Disconnected, "the raylet is gone");
  const auto* fetched = flatbuffers::GetRoot<fbr::Message>(reply.data())->body_as_FetchReply();
  if (fetched == nullptr) return Status(ErrorCode::Internal, "no FetchReply to Fetch");
  return fetched->error() == ErrorCode::Ok ? Status()
                                           : Status(fetched->error(), ToString(fetched->message()));
}

}  // namespace

Result<Object*> CoreWorker::Put(const PayloadParts& parts, std::vector<Object*> contained) {
  const uint64_t bytes = parts.Bytes();
  Object* object;
  {
    Lock lock(gateway_.mutex());
    object = objects_.New(ObjectIdOf(put_task_, kPutIndexBase + put_counter_++));
    for (Object* inner : contained) objects_.Contain(object, inner);
    if (put_counter_ >= kPutIndexBase) {
      put_counter_ = 0;
      FillRandom(put_task_.mutable_data(), 8);
    }
  }
  if (bytes <= kInProcessBytesMax) {
    ValuePtr value = MakeValue(parts);
    Lock lock(gateway_.mutex());
    ReadyEffects ready;
    objects_.SetValue(object, std::move(value), ready);
    return object;
  }
  const Status stored = StoreFailed(store_->Put(object->id, self_.worker, parts));
  Lock lock(gateway_.mutex());
  if (!stored.ok()) {
    FreedEffects freed;
    objects_.Drop(object, freed);
    Apply(freed);
    return stored;
  }
  ReadyEffects ready;
  objects_.SetInStore(object, self_.node, bytes, ready);
  Apply(ready);
  return object;
}

Object* CoreWorker::Restore(const ObjectId& id, const WorkerAddress& owner,
                            const std::optional<StoredAt>& stored) {
  Lock lock(gateway_.mutex());
  Object* object = objects_.Restore(id, owner, stored);
  if (object->owner != nullptr && !object->registered) {
    if (IncomingCall* call = Unpacked()) {
      // Part of a call's arguments: if a reference is left when the call ends,
      // its reply says so to the caller, who tells the owner.
      objects_.Hold(object);
      call->borrows.push_back(object);
    } else {
      object->registered = true;
      TellBorrow(true, {id, owner}, self_);
      gateway_.FlushDirty(lock);
    }
  }
  return object;
}

WorkerAddress CoreWorker::Publish(Object* object) {
  Lock lock(gateway_.mutex());
  objects_.Publish(object);
  return objects_.OwnerOf(*object);
}

std::pair<WorkerAddress, std::optional<StoredAt>> CoreWorker::PublishHeld(Object* object) {
  Lock lock(gateway_.mutex());
  objects_.Publish(object);
  objects_.Hold(object);
  return {objects_.OwnerOf(*object), ObjectTable::PlaceOf(*object)};
}

void CoreWorker::Hold(Object* object) {
  Lock lock(gateway_.mutex());
  objects_.Hold(object);
}

void CoreWorker::Drop(Object* object) { DropAll({&object, 1}); }

void CoreWorker::DropAll(std::span<Object* const> objects) {
  FreedEffects freed;
  Lock lock(gateway_.mutex());
  for (Object* object : objects) objects_.Drop(object, freed);
  if (freed.empty()) return;
  Apply(freed);
  gateway_.FlushDirty(lock);
}

bool CoreWorker::IsReady(Object* object) {
  Lock lock(gateway_.mutex());
  return object->state != ObjectState::Pending;
}

bool CoreWorker::AreDistinct(std::span<Object* const> objects) {
  Lock lock(gateway_.mutex());
  size_t seen = 0;
  while (seen < objects.size() && !std::exchange(objects[seen]->seen, true)) ++seen;
  for (Object* object : objects.first(seen)) object->seen = false;
  return seen == objects.size();
}

std::vector<size_t> CoreWorker::FirstReady(std::span<Object* const> objects, size_t count,
                                           bool fetch, int64_t deadline_ns) {
  std::vector<size_t> ready;
  std::vector<size_t> elsewhere;
  {
    Lock lock(gateway_.mutex());
    for (size_t i = 0; i < objects.size() && ready.size() < count; ++i) {
      const Object& object = *objects[i];
      if (object.state == ObjectState::Pending) continue;
      const bool is_here = object.state == ObjectState::InProcess || object.IsAt(self_.node);
      (is_here || !fetch ? ready : elsewhere).push_back(i);
    }
  }
  if (ready.size() < count && !elsewhere.empty()) {
    const auto brought = BringHere(objects, elsewhere, count - ready.size(), deadline_ns);
    ready.insert(ready.end(), brought.begin(), brought.end());
  }
  std::sort(ready.begin(), ready.end());
  ready.resize(std::min(ready.size(), count));
  return ready;
}

std::vector<size_t> CoreWorker::BringHere(std::span<Object* const> objects,
                                          std::span<const size_t> places, size_t wanted,
                                          int64_t deadline_ns) {
  struct Pull {
    size_t place;
    uint64_t request = 0;
    std::vector<uint8_t> reply = {};
    bool open = true;
  };
  std::vector<size_t> here;
  std::vector<size_t> failed;
  std::vector<size_t> under_way;
  std::vector<Pull> pulls;
  pulls.reserve(places.size());  // Replies are written to where they are.
  const bool only_looks = deadline_ns <= NowNs();
  {
    Lock lock(gateway_.mutex());
    GatewayWaiter waiter;
    PendingRequest pending;
    pending.waiter = &waiter;
    for (const size_t place : places) {
      const Object& object = *objects[place];
      if (object.state == ObjectState::Pending || !raylet_lost_.empty()) {
        failed.push_back(place);  // It was lost meanwhile.
      } else if (object.state == ObjectState::InProcess || object.IsAt(self_.node)) {
        here.push_back(place);
      } else if (only_looks && fetching_.contains(object.id)) {
        under_way.push_back(place);  // Who looks again and again asks for it once.
      } else {
        Pull& pull = pulls.emplace_back(Pull{place});
        pending.reply = &pull.reply;
        pending.fetched = object.id;
        fetching_.insert(object.id);
        pull.request =
            SendRaylet(nullptr, FetchOf(object.id, object.nodes, object.store_bytes), &pending);
      }
    }
    // Each that cannot be had makes way for one that can: for as many as are missing then.
    WaitResult result = WaitResult::Done;
    for (size_t open = pulls.size();
         result == WaitResult::Done && open > 0 && here.size() < wanted;) {
      waiter.remaining = static_cast<int64_t>(std::min(wanted - here.size(), open));
      result = WaitBlocking(lock, waiter, deadline_ns, raylet_.get());
      for (Pull& pull : pulls) {
        if (!pull.open || requests_.contains(pull.request)) continue;
        pull.open = false;
        --open;
        const bool came = Fetched(pull.reply).ok();
        (came ? here : failed).push_back(pull.place);
        if (came) NoteLocalCopy(*objects[pull.place]);
      }
    }
    for (const Pull& pull : pulls) {
      if (pull.open) requests_.at(pull.request).kind = PendingRequest::Kind::Ignore;
    }
    if (result == WaitResult::Interrupted) return here;
  }
  for (const size_t place : under_way) {
    const auto there = store_->Contains(objects[place]->id);
    if (!there || !*there) continue;
    Lock lock(gateway_.mutex());
    NoteLocalCopy(*objects[place]);
    here.push_back(place);
  }
  LookElsewhere(objects, failed, wanted, deadline_ns, here);
  return here;
}

void CoreWorker::LookElsewhere(std::span<Object* const> objects, std::span<const size_t> places,
                               size_t wanted, int64_t deadline_ns, std::vector<size_t>& here) {
  for (const size_t place : places) {
    if (here.size() >= wanted) return;
    const auto value = Read(objects[place], deadline_ns, /*may_wait=*/true);
    const ErrorCode error = value ? ErrorCode::Ok : value.error().code();
    if (error == ErrorCode::Cancelled) return;
    if (error != ErrorCode::TimedOut) here.push_back(place);
  }
}

bool CoreWorker::OnReady(Object* object, std::function<void()> callback) {
  Lock lock(gateway_.mutex());
  object->unheeded = false;
  if (object->state != ObjectState::Pending) return false;
  AskOwner(object);
  object->Extras().callbacks.push_back(std::move(callback));
  gateway_.FlushDirty(lock);
  return true;
}

void CoreWorker::AskOwner(Object* object, uint32_t lost_attempt) {
  if (object->owner == nullptr || object->asked || object->state != ObjectState::Pending) return;
  object->asked = true;
  Builder builder(128);
  const auto id = PutId(builder, object->id);
  const auto body = fbw::CreateGetObject(builder, id, lost_attempt).Union();
  builder.Finish(fbw::CreateMessage(builder, fbw::Body::GetObject, body));
  SendPeer(*object->owner, builder);
}

WaitResult CoreWorker::WaitReady(std::span<Object* const> objects, size_t wanted,
                                 int64_t deadline_ns, Object** failed) {
  if (wanted == 0) return WaitResult::Done;
  Lock lock(gateway_.mutex());
  size_t ready = 0;
  for (size_t i = 0; i < objects.size(); ++i) {
    objects[i]->unheeded = false;
    ready += objects[i]->state != ObjectState::Pending;
    if (ready == wanted) return WaitResult::Done;
    if (failed == nullptr || !objects[i]->IsFailed()) continue;
    *failed = objects[i];
    // What comes behind was asked for as well.
    for (Object* object : objects.subspan(i + 1)) object->unheeded = false;
    return WaitResult::Done;
  }
  GatewayWaiter waiter;
  waiter.until_error = failed != nullptr;
  waiter.remaining = static_cast<int64_t>(wanted - ready);
  for (Object* object : objects) {
    if (object->state != ObjectState::Pending) continue;
    AskOwner(object);
    object->waiters.push_back(&waiter);
  }
  const int64_t first_deadline =
      options_.on_notice ? std::min(deadline_ns, NowNs() + options_.explain_after_ns) : deadline_ns;
  WaitResult result = WaitBlocking(lock, waiter, first_deadline, last_called_);
  if (result == WaitResult::TimedOut && first_deadline < deadline_ns) {
    result = TellWhyWaiting(lock, objects) ? WaitBlocking(lock, waiter, deadline_ns, last_called_)
                                           : WaitResult::Interrupted;
  }
  if (result == WaitResult::Done && wanted == objects.size() && !waiter.cut_short) return result;
  for (Object* object : objects) {
    auto& waiters = object->waiters;
    waiters.erase(std::remove(waiters.begin(), waiters.end(), &waiter), waiters.end());
    if (waiter.cut_short && *failed == nullptr && object->IsFailed()) *failed = object;
  }
  return result;
}

WaitResult CoreWorker::WaitBlocking(Lock& lock, GatewayWaiter& waiter, int64_t deadline_ns,
                                    Channel* hot) {
  const int64_t first_deadline =
      options_.is_driver ? deadline_ns : std::min(deadline_ns, NowNs() + kBlockedAfterNs);
  WaitResult result = gateway_.Wait(lock, waiter, first_deadline, hot, options_.interrupted);
  if (result != WaitResult::TimedOut || first_deadline == deadline_ns) return result;
  // What waits behind this task may be what it waits for.
  HandBackQueued();
  const bool told = !std::exchange(told_blocked_, true) && raylet_lost_.empty();
  if (told) {
    SendRaylet(
        &lock,
        [](Builder& builder, fbr::Body& type) {
          type = fbr::Body::Blocked;
          return fbr::CreateBlocked(builder).Union();
        },
        nullptr);
  }
  gateway_.FlushDirty(lock);
  // Not `hot`: it may have been closed meanwhile.
  result = gateway_.Wait(lock, waiter, deadline_ns, last_called_, options_.interrupted);
  if (told) {
    told_blocked_ = false;
    if (raylet_lost_.empty()) {
      SendRaylet(
          &lock,
          [](Builder& builder, fbr::Body& type) {
            type = fbr::Body::Unblocked;
            return fbr::CreateUnblocked(builder).Union();
          },
          nullptr);
    }
  }
  return result;
}

Result<ReadableValue> CoreWorker::Read(Object* object, int64_t deadline_ns, bool may_wait) {
  for (;;) {
    std::vector<NodeId> nodes;
    uint64_t bytes = 0;
    uint32_t attempt = 0;
    {
      Lock lock(gateway_.mutex());
      object->unheeded = false;
      if (object->state == ObjectState::InProcess) {
        return ReadableValue{object->value, nullptr, object->value->span()};
      }
      if (!may_wait) return Status(ErrorCode::NotFound, "");
      nodes = object->nodes;
      bytes = object->store_bytes;
      attempt = object->attempt;
    }
    if (nodes.empty()) {
      // Lost since it became ready, and being made again.
      const WaitResult result = WaitReady({&object, 1}, 1, deadline_ns);
      if (result == WaitResult::Done) continue;
      return result == WaitResult::TimedOut
                 ? Status(ErrorCode::TimedOut, "Get timed out: object " + object->id.Hex() +
                                                   " was lost and is being computed again")
                 : Status(ErrorCode::Cancelled, "interrupted");
    }
    auto value = ReadCopy(object->id, nodes, bytes, deadline_ns);
    Lock lock(gateway_.mutex());
    if (value) {
      NoteLocalCopy(*object);
      return value;
    }
    if (value.error().code() != ErrorCode::ObjectLost) return value;
    ReportLost(object, attempt, value.error().message());
    gateway_.FlushDirty(lock);
  }
}

Result<ReadableValue> CoreWorker::ReadCopy(const ObjectId& id, std::span<const NodeId> nodes,
                                           uint64_t bytes, int64_t deadline_ns) {
  const bool is_here = std::find(nodes.begin(), nodes.end(), self_.node) != nodes.end();
  const bool is_elsewhere = nodes.size() > (is_here ? 1 : 0);
  for (bool fetch = !is_here;; fetch = true) {
    if (fetch) {
      if (Status status = Fetch(id, nodes, bytes, deadline_ns); !status.ok()) return status;
    }
    auto value = ReadFromStore(id, deadline_ns, /*await_seal=*/!is_elsewhere);
    if (value || value.error().code() != ErrorCode::ObjectNotFound) return value;
    if (!is_elsewhere) {
      return Status(ErrorCode::ObjectLost,
                    "object " + id.Hex() +
                        " is gone from this node's store, though nobody has deleted it; was the "
                        "process that made it killed while it wrote it?");
    }
    // A copy that was evicted before it could be read is brought again.
  }
}

Status CoreWorker::StoreFailed(const Status& status) {
  // It lives in the raylet: a worker's place is gone with it. What runs here is to run
  // elsewhere, so nobody is told that it failed.
  if (status.code() == ErrorCode::Disconnected && !options_.is_driver) _exit(1);
  return status;
}

Result<ReadableValue> CoreWorker::ReadFromStore(const ObjectId& id, int64_t deadline_ns,
                                                bool await_seal) {
  for (bool seal_awaited = false;;) {
    const int64_t left_ms = (deadline_ns - NowNs()) / 1'000'000;
    // Whoever told us of the object tells the store too, maybe a little later.
    int64_t wait_ms = std::clamp<int64_t>(left_ms, 0, kSealUnderWayMs);
    if (seal_awaited) wait_ms = kSealUnderWayMs;
    if (!await_seal) wait_ms = std::min(wait_ms, kLookMs);
    auto pin = store_->Get(id, wait_ms);
    if (pin) return ReadableValue{ValuePtr(), *pin, (*pin)->bytes()};
    if (pin.error().code() != ErrorCode::ObjectNotFound) return StoreFailed(pin.error());
    const auto there = store_->Contains(id);
    if (!there) return StoreFailed(there.error());
    if (!*there && (seal_awaited || !await_seal)) return pin.error();
    if (*there && NowNs() >= deadline_ns) {
      return Status(ErrorCode::TimedOut, "Get timed out: object " + id.Hex() +
                                             " is still being read from disk into the store");
    }
    seal_awaited = !*there;
  }
}

void CoreWorker::NoteLocalCopy(Object& object) {
  // Owned: the local copy is deleted with the others.
  if (object.state == ObjectState::InStore && !object.IsAt(self_.node)) {
    object.nodes.push_back(self_.node);
  }
}

Status CoreWorker::Fetch(const ObjectId& id, std::span<const NodeId> nodes, uint64_t bytes,
                         int64_t deadline_ns) {
  const auto reply = Request(FetchOf(id, nodes, bytes), deadline_ns);
  return reply ? Fetched(*reply) : reply.error();
}

void CoreWorker::FailObject(Object* object, ErrorCode code, const std::string& message) {
  ReadyEffects ready;
  objects_.SetValue(object, MakeErrorValue(code, message), ready);
  Apply(ready);
}

void CoreWorker::Apply(ReadyEffects& ready) {
  for (Waiter* waiter : ready.waiters) gateway_.Notify(waiter);
  for (auto& callback : ready.callbacks) gateway_.Defer(std::move(callback));
  for (const auto& [channel_id, object] : ready.answers) {
    if (Channel* channel = gateway_.FindChannel(channel_id)) AnswerBorrower(*channel, *object);
  }
  Unblock(ready.unblocked);
}

void CoreWorker::Apply(FreedEffects& freed) {
  while (!freed.unneeded.empty()) {
    Task* task = freed.unneeded.back();
    freed.unneeded.pop_back();
    lineage_.Remove(task);
    EndLineage(task, /*evicted=*/false, freed);
  }
  if (!freed.store_copies.empty()) {
    std::vector<ObjectId> local;
    for (const auto& copy : freed.store_copies) {
      bool elsewhere = false;
      for (const NodeId& node : copy.nodes) {
        if (node == self_.node) {
          local.push_back(copy.id);
        } else {
          elsewhere = true;
        }
      }
      if (!elsewhere || !raylet_lost_.empty()) continue;
      SendRaylet(
          nullptr,
          [&](Builder& builder, fbr::Body& type) {
            type = fbr::Body::FreeObjects;
            std::vector<flatbuffers::Offset<fbr::Bytes>> ids, nodes;
            ids.push_back(fbr::CreateBytes(builder, PutId(builder, copy.id)));
            for (const NodeId& node : copy.nodes) {
              if (node == self_.node) continue;
              nodes.push_back(fbr::CreateBytes(builder, PutId(builder, node)));
            }
            const auto id_list = builder.CreateVector(ids);
            const auto node_list = builder.CreateVector(nodes);
            return fbr::CreateFreeObjects(builder, id_list, node_list).Union();
          },
          nullptr);
    }
    // A one-way message of a few bytes to our own store; it does not wait.
    if (!local.empty()) store_->Delete(local);
  }
  for (const auto& [object, owner, count] : freed.returned) {
    TellBorrow(false, {object, owner}, self_, count);
  }
  for (const ValuePtr& error : freed.unheeded) TellUnheeded(error);
  const std::vector<ActorId> scopes = std::move(freed.scopes);
  freed = {};
  for (const ActorId& id : scopes) {
    if (Actor* actor = actors_.Find(id)) ScopeEnded(actor);
  }
  if (retired_) EndIfDone();
}

void CoreWorker::TakeContained(Object* outer, const OwnedRef& ref, const WorkerAddress& from) {
  Object* inner = objects_.Restore(ref.object, ref.owner);
  if (inner->owner != nullptr) {
    if (inner->registered) ++inner->registered_again;
    inner->registered = true;
  }
  objects_.Contain(outer, inner);
  if (inner->owner == nullptr) TookBack(ref.object, from);
}

void CoreWorker::TookBack(const ObjectId& mine, const WorkerAddress& from) {
  // From ourselves: a lease may lead to the worker that asked for it.
  if (from == self_) return TellBorrow(false, {mine, self_}, self_);
  for (const auto& [object, count] : handed_back_.Took(from.worker)) {
    TellBorrow(false, {object, self_}, from, count);
  }
}

void CoreWorker::TellBorrow(bool add, const OwnedRef& ref, const WorkerAddress& borrower,
                            uint32_t removed) {
  if (ref.owner == self_) {
    FreedEffects freed;
    if (add) {
      objects_.AddBorrower(ref.object, borrower, freed);
      GetPeer(borrower);  // Its end must be noticed: it ends the borrow.
    } else {
      objects_.RemoveBorrower(ref.object, borrower, freed, removed);
    }
    return Apply(freed);
  }
  Builder builder(256);
  const auto id = PutId(builder, ref.object);
  const auto address = PutPeerAddress(builder, borrower);
  if (add) {
    const auto body = fbw::CreateAddBorrower(builder, id, address).Union();
    builder.Finish(fbw::CreateMessage(builder, fbw::Body::AddBorrower, body));
  } else {
    const uint64_t after = handed_back_.HandedTo(ref.owner.worker);
    const auto body = fbw::CreateRemoveBorrower(builder, id, address, after, removed).Union();
    builder.Finish(fbw::CreateMessage(builder, fbw::Body::RemoveBorrower, body));
  }
  SendPeer(ref.owner, builder);
}

void CoreWorker::AnswerBorrower(Channel& channel, const Object& object) {
  Builder builder(1024);
  const auto id = PutId(builder, object.id);
  std::vector<flatbuffers::Offset<fbw::ContainedRef>> contained;
  if (object.extras) {
    for (const Object* inner : object.extras->contained) {
      const OwnedRef ref{inner->id, objects_.OwnerOf(*inner)};
      // In the asker's name, while the value still holds it.
      if (ref.owner != channel.peer) {
        TellBorrow(true, ref, channel.peer);
      } else {
        handed_back_.Hand(channel.peer.worker, 1);
      }
      const auto inner_id = PutId(builder, ref.object);
      contained.push_back(
          fbw::CreateContainedRef(builder, inner_id, PutPeerAddress(builder, ref.owner)));
    }
  }
  const auto contained_list = contained.empty() ? 0 : builder.CreateVector(contained);
  flatbuffers::Offset<flatbuffers::Vector<uint8_t>> payload;
  flatbuffers::Offset<flatbuffers::Vector<flatbuffers::Offset<fbw::NodeRef>>> nodes;
  if (object.state == ObjectState::InProcess) {
    payload = builder.CreateVector(object.value->data(), object.value->bytes());
  } else {
    std::vector<flatbuffers::Offset<fbw::NodeRef>> entries;
    for (const NodeId& node : object.nodes) {
      entries.push_back(fbw::CreateNodeRef(builder, PutId(builder, node)));
    }
    nodes = builder.CreateVector(entries);
  }
  const auto body = fbw::CreateObjectReply(builder, id, ErrorCode::Ok, 0, payload, nodes,
                                           object.store_bytes, contained_list, object.attempt)
                        .Union();
  builder.Finish(fbw::CreateMessage(builder, fbw::Body::ObjectReply, body));
  AppendFrame(channel.out, builder);
  gateway_.MarkDirty(channel);
}

}  // namespace skyray::core_worker
