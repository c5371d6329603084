// SPDX-License-Identifier: Apache-2.0
// This process's use of its node's store, from any of its threads.
//
// While one thread waits for the store (for room, for an object on its way from disk),
// the others go on: the first to wait reads for all, the rest are woken when it has read.
//
// Threading:  any thread; one mutex, never held while a thread sleeps or copies.
// Ownership:  owns the store client. A StorePin keeps an object mapped and in
//             the store until it goes; it may outlive the CoreWorker.
// Errors:     as plasma/client.h; Cancelled when `interrupted` said so.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>

#include "common/id.h"
#include "common/status.h"
#include "core_worker/payload.h"
#include "plasma/client.h"

namespace skyray::core_worker {

// A client of the store that threads share.
class StoreConnection : private plasma::ReplyWaiter {
 public:
  // `interrupted` is asked, without the mutex, after signals and now and then while a
  // thread waits (may be empty): true ends that thread's wait.
  static Result<std::shared_ptr<StoreConnection>> Connect(const std::string& path,
                                                          std::function<bool()> interrupted);
  // What `use(client)` returns; the client is the caller's meanwhile, but for waits.
  template <class Use>
  auto With(Use use) {
    const std::lock_guard lock(mutex_);
    return use(*client_);
  }

  explicit StoreConnection(std::function<bool()> interrupted);

 private:
  Turn TakeTurn() override;
  Turn Sleep(int fd) override;
  Turn SleepToSend(int fd) override;
  void EndTurn() override;
  bool Interrupted();

  const std::function<bool()> interrupted_;
  std::mutex mutex_;
  std::condition_variable reader_changed_;
  bool reading_ = false;
  std::unique_ptr<plasma::Client> client_;
};

class StorePin {
 public:
  StorePin(std::shared_ptr<StoreConnection> connection, const ObjectId& id, plasma::ObjectView view)
      : connection_(std::move(connection)), id_(id), view_(std::move(view)) {}
  ~StorePin();
  StorePin(const StorePin&) = delete;
  StorePin& operator=(const StorePin&) = delete;
  std::span<const uint8_t> bytes() const { return {view_.data, view_.data_bytes}; }
  // As plasma/client.h.
  Result<std::shared_ptr<uint8_t>> CopyOnWrite(std::span<const uint8_t> part) const;

 private:
  std::shared_ptr<StoreConnection> connection_;
  ObjectId id_;
  plasma::ObjectView view_;
};

class StoreAccess {
 public:
  static Result<std::unique_ptr<StoreAccess>> Connect(const std::string& path,
                                                      std::function<bool()> interrupted);

  // Creates, fills and seals a primary copy. Errors: OutOfMemory, ObjectExists.
  Status Put(const ObjectId& id, const WorkerId& owner, const PayloadParts& parts);
  // The sealed object; waits `timeout_ms` for a seal that is on its way.
  // Errors: ObjectNotFound; ObjectLost: its copy on disk cannot be read.
  Result<std::shared_ptr<StorePin>> Get(const ObjectId& id, int64_t timeout_ms);
  Result<bool> Contains(const ObjectId& id);
  void Delete(std::span<const ObjectId> ids);

 private:
  explicit StoreAccess(std::shared_ptr<StoreConnection> connection)
      : connection_(std::move(connection)) {}
  std::shared_ptr<StoreConnection> connection_;
};

}  // namespace skyray::core_worker
