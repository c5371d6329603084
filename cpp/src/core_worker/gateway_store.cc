// SPDX-License-Identifier: Apache-2.0
#include "core_worker/gateway_store.h"

#include <errno.h>
#include <poll.h>

#include <chrono>
#include <utility>

#include "common/logging.h"

namespace skyray::core_worker {
namespace {

constexpr int kLookMs = 100;

}  // namespace

StoreConnection::StoreConnection(std::function<bool()> interrupted)
    : interrupted_(std::move(interrupted)) {}

Result<std::shared_ptr<StoreConnection>> StoreConnection::Connect(
    const std::string& path, std::function<bool()> interrupted) {
  auto connection = std::make_shared<StoreConnection>(std::move(interrupted));
  // Its handshake waits like any other request, so under the mutex.
  const std::lock_guard lock(connection->mutex_);
  auto client = plasma::Client::Connect(path, connection.get());
  if (!client) return client.error();
  connection->client_ = std::move(*client);
  return connection;
}

plasma::ReplyWaiter::Turn StoreConnection::TakeTurn() {
  if (!reading_) {
    reading_ = true;
    return Turn::Read;
  }
  std::unique_lock lock(mutex_, std::adopt_lock);
  const auto status = reader_changed_.wait_for(lock, std::chrono::milliseconds(kLookMs));
  lock.release();
  return status == std::cv_status::timeout && Interrupted() ? Turn::GiveUp : Turn::Look;
}

plasma::ReplyWaiter::Turn StoreConnection::Sleep(int fd) {
  mutex_.unlock();
  pollfd entry{fd, POLLIN, 0};
  const int ready = poll(&entry, 1, interrupted_ ? kLookMs : -1);
  mutex_.lock();
  // What is read next may be for those who wait.
  reader_changed_.notify_all();
  if (ready > 0 || !interrupted_) return Turn::Read;
  // Not as the reader: what a signal's handler does may ask the store, too.
  EndTurn();
  return Interrupted() ? Turn::GiveUp : Turn::Look;
}

plasma::ReplyWaiter::Turn StoreConnection::SleepToSend(int fd) {
  const bool read = !std::exchange(reading_, true);
  mutex_.unlock();
  pollfd entry{fd, static_cast<short>(read ? POLLIN | POLLOUT : POLLOUT), 0};
  // Not for ever: who reads now may be done before this can be sent.
  poll(&entry, 1, kLookMs);
  mutex_.lock();
  return read ? Turn::Read : Turn::Look;
}

void StoreConnection::EndTurn() {
  reading_ = false;
  reader_changed_.notify_all();
}

bool StoreConnection::Interrupted() {
  if (!interrupted_) return false;
  mutex_.unlock();
  const bool interrupted = interrupted_();
  mutex_.lock();
  return interrupted;
}

StorePin::~StorePin() {
  // The store drops what a gone client held by itself, so a failure needs nothing.
  connection_->With([this](plasma::Client& client) { (void)client.Release(id_).ok(); });
}

Result<std::shared_ptr<uint8_t>> StorePin::CopyOnWrite(std::span<const uint8_t> part) const {
  return connection_->With([&](plasma::Client& client) { return client.CopyOnWrite(id_, part); });
}

Result<std::unique_ptr<StoreAccess>> StoreAccess::Connect(const std::string& path,
                                                          std::function<bool()> interrupted) {
  auto connection = StoreConnection::Connect(path, std::move(interrupted));
  if (!connection) return connection.error();
  return std::unique_ptr<StoreAccess>(new StoreAccess(std::move(*connection)));
}

Status StoreAccess::Put(const ObjectId& id, const WorkerId& owner, const PayloadParts& parts) {
  plasma::CreateOptions options;
  options.data_bytes = parts.Bytes();
  options.owner = owner;
  options.primary = true;
  const auto object =
      connection_->With([&](plasma::Client& client) { return client.Create(id, options); });
  if (!object) return object.error();
  // Copied without the mutex: it may be gigabytes, and nobody sees it unsealed.
  object->pages.Do();
  parts.WriteTo(object->data);
  return connection_->With([&](plasma::Client& client) { return client.Seal(id); });
}

Result<std::shared_ptr<StorePin>> StoreAccess::Get(const ObjectId& id, int64_t timeout_ms) {
  const ObjectId ids[] = {id};
  auto views =
      connection_->With([&](plasma::Client& client) { return client.Get(ids, timeout_ms, true); });
  if (!views) return views.error();
  Result<plasma::ObjectView>& view = views->front();
  if (!view) return view.error();
  return std::make_shared<StorePin>(connection_, id, std::move(*view));
}

Result<bool> StoreAccess::Contains(const ObjectId& id) {
  return connection_->With([&](plasma::Client& client) { return client.Contains(id); });
}

void StoreAccess::Delete(std::span<const ObjectId> ids) {
  const Status status =
      connection_->With([&](plasma::Client& client) { return client.Delete(ids); });
  if (!status.ok()) SKYRAY_LOG(Debug) << "delete: " << status.message();
}

}  // namespace skyray::core_worker
