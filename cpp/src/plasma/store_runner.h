// SPDX-License-Identifier: Apache-2.0
// The store on a thread and loop of its own, for the raylet: requests go there
// as messages, events and answers come back as messages to the owner's loop.
//
// Threading:  call everything on the owner's loop; handlers and callbacks run
//             there, and never after the destructor began.
// Ownership:  owns the thread and the store. Spans given to callbacks point into
//             the store's memory: a created one is the caller's until Seal or
//             Abort, a pinned one stays until Unpin; none outlives *this.
// Errors:     Start returns them. Callbacks get a Status or nothing, as told.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/status.h"
#include "plasma/object_store.h"
#include "plasma/store_server.h"

namespace skyray::plasma {

class StoreRunner {
 public:
  // Sealed and deleted objects, in order, batched as they came.
  using EventHandler = std::function<void(std::vector<StoreEvent>)>;

  // The store listens when it returns. `on_events` may be empty.
  static Result<std::unique_ptr<StoreRunner>> Start(const StoreOptions& options,
                                                    boost::asio::io_context& owner_loop,
                                                    EventHandler on_events);
  // Closes every client's connection and joins the thread.
  ~StoreRunner();
  StoreRunner(const StoreRunner&) = delete;
  StoreRunner& operator=(const StoreRunner&) = delete;

  // Room for an object, to be written by the caller, then sealed or aborted.
  // Errors: ObjectExists; OutOfMemory; OwnerDied.
  void Create(const NewObject& object, std::function<void(Result<std::span<uint8_t>>)> done);
  void Seal(const ObjectId& id);
  void Abort(const ObjectId& id);
  // The bytes of a sealed object, kept in place until Unpin; empty if it is not
  // sealed within `timeout_ms` (0: look once, negative: no limit).
  void Pin(const ObjectId& id, int64_t timeout_ms,
           std::function<void(std::optional<PinnedObject>)> done);
  // The same for an object that should be here: one that is not even created is
  // answered at once, one that is not sealed is waited for. (Its creator's Seal
  // is a notice; who hears of the object elsewhere may be faster.)
  void PinCreated(const ObjectId& id, int64_t timeout_ms,
                  std::function<void(std::optional<PinnedObject>)> done);
  void Unpin(const ObjectId& id);

  void Delete(std::vector<ObjectId> ids);
  // Deletes all that this worker owned, and what is still created for it.
  void OwnerDied(const WorkerId& owner);

  // For those who carry objects to disk and back; see StoreServer. An object that
  // is taken stays in place until Spilled or SpillFailed, one that is restored is
  // the caller's to write until Seal or Lose.
  void TakeSpillable(uint64_t bytes_min, size_t objects_max,
                     std::function<void(std::vector<SpillableObject>)> done);
  void Spilled(std::vector<ObjectId> ids);
  void SpillFailed(std::vector<ObjectId> ids, Status why);
  void Restore(const ObjectId& id, std::function<void(Result<RestoreRoom>)> done);
  void Lose(const ObjectId& id, Status why);
  void SegmentFd(uint32_t segment, std::function<void(Result<SharedFd>)> done);

  void Contains(const ObjectId& id, std::function<void(bool)> done);
  void Stats(std::function<void(StoreStats)> done);
  void DebugState(std::function<void(std::string)> done);

 private:
  struct State;
  explicit StoreRunner(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace skyray::plasma
