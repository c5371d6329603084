// SPDX-License-Identifier: Apache-2.0
#include "core_worker/gateway_store.h"

#include "common/logging.h"

namespace skyray::core_worker {

StorePin::~StorePin() {
  std::lock_guard lock(connection_->mutex);
  // The store drops what a gone client held by itself, so a failure needs nothing.
  (void)connection_->client->Release(id_).ok();
}

Result<std::unique_ptr<StoreAccess>> StoreAccess::Connect(const std::string& path) {
  auto client = plasma::Client::Connect(path);
  if (!client) return client.error();
  auto access = std::make_unique<StoreAccess>();
  access->connection_->client = std::move(*client);
  return access;
}

Status StoreAccess::Put(const ObjectId& id, const WorkerId& owner, const PayloadParts& parts) {
  plasma::MutableObject object;
  {
    std::lock_guard lock(connection_->mutex);
    auto created = connection_->client->Create(id, parts.Bytes(), owner, /*primary=*/true);
    if (!created) return created.error();
    object = std::move(*created);
  }
  // Copied without the mutex: it may be gigabytes, and nobody sees it unsealed.
  parts.WriteTo(object.data);
  std::lock_guard lock(connection_->mutex);
  return connection_->client->Seal(id);
}

Result<std::shared_ptr<StorePin>> StoreAccess::Get(const ObjectId& id, int64_t timeout_ms) {
  std::lock_guard lock(connection_->mutex);
  const ObjectId ids[] = {id};
  auto views = connection_->client->Get(ids, timeout_ms);
  if (!views) return views.error();
  if (!views->front()) {
    return Status(ErrorCode::ObjectNotFound, "object " + id.Hex() + " is not in this node's store");
  }
  return std::make_shared<StorePin>(connection_, id, std::move(*views->front()));
}

void StoreAccess::Delete(std::span<const ObjectId> ids) {
  std::lock_guard lock(connection_->mutex);
  const Status status = connection_->client->Delete(ids);
  if (!status.ok()) SKYRAY_LOG(Debug) << "delete: " << status.message();
}

}  // namespace skyray::core_worker
