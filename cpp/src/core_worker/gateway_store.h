// SPDX-License-Identifier: Apache-2.0
// This process's use of its node's store, from any of its threads.
//
// Threading:  any thread; one mutex, held for a store round trip at most (no
//             call waits for an object that somebody has yet to make).
// Ownership:  owns the store client. A StorePin keeps an object mapped and in
//             the store until it goes; it may outlive the CoreWorker.
// Errors:     as plasma/client.h.
#pragma once

#include <memory>
#include <mutex>
#include <span>
#include <string>

#include "common/id.h"
#include "common/status.h"
#include "core_worker/payload.h"
#include "plasma/client.h"

namespace skyray::core_worker {

// The client and its mutex, shared with the pins.
struct StoreConnection {
  std::mutex mutex;
  std::unique_ptr<plasma::Client> client;
};

class StorePin {
 public:
  StorePin(std::shared_ptr<StoreConnection> connection, const ObjectId& id, plasma::ObjectView view)
      : connection_(std::move(connection)), id_(id), view_(std::move(view)) {}
  ~StorePin();
  StorePin(const StorePin&) = delete;
  StorePin& operator=(const StorePin&) = delete;
  std::span<const uint8_t> bytes() const { return {view_.data, view_.bytes}; }

 private:
  std::shared_ptr<StoreConnection> connection_;
  ObjectId id_;
  plasma::ObjectView view_;
};

class StoreAccess {
 public:
  static Result<std::unique_ptr<StoreAccess>> Connect(const std::string& path);

  // Creates, fills and seals a primary copy. Errors: OutOfMemory, ObjectExists.
  Status Put(const ObjectId& id, const WorkerId& owner, const PayloadParts& parts);
  // The sealed object; waits `timeout_ms` for a seal that is on its way.
  Result<std::shared_ptr<StorePin>> Get(const ObjectId& id, int64_t timeout_ms);
  void Delete(std::span<const ObjectId> ids);

 private:
  std::shared_ptr<StoreConnection> connection_ = std::make_shared<StoreConnection>();
};

}  // namespace skyray::core_worker
