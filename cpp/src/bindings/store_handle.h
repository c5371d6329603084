// SPDX-License-Identifier: Apache-2.0
// A connection to a store, shared by a StoreClient and its buffers.
//
// Threading:  any thread, with the GIL or without; while one waits for the store the
//             others go on. Ctrl-C ends a wait of the main thread.
// Ownership:  the connection lives as long as the client or a buffer, or until
//             Disconnect. A forked child neither speaks on it nor closes it: the
//             child's descriptor is put out of use at the fork.
// Errors:     NotConnected after Disconnect and in a forked child; Cancelled with
//             a Python exception set; else as plasma/client.h.
#pragma once

#include <Python.h>

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "common/id.h"
#include "common/status.h"
#include "core_worker/gateway_store.h"

namespace skyray::bindings {

struct PyStoreBuffer;

// How often this process has been forked off since the extension was loaded.
uint64_t ForkCount();

class StoreHandle {
 public:
  static Result<std::shared_ptr<StoreHandle>> Connect(const std::string& path);
  explicit StoreHandle(std::shared_ptr<core_worker::StoreConnection> connection);
  ~StoreHandle();
  StoreHandle(const StoreHandle&) = delete;
  StoreHandle& operator=(const StoreHandle&) = delete;

  // Ok if calls may be made.
  Status Usable() const;
  // What `use(client)` returns. REQUIRES: Usable.
  template <class Use>
  auto With(Use use) {
    return connection_->With(std::move(use));
  }
  // One reference less, if that still means anything.
  void Release(const ObjectId& id);
  void Disconnect();

  // The buffers of objects that are being created and whose buffer is alive;
  // used with the GIL held.
  std::unordered_map<ObjectId, PyStoreBuffer*> creating;

 private:
  friend struct ForkGuard;
  std::shared_ptr<core_worker::StoreConnection> connection_;
  int fd_ = -1;
  bool disconnected_ = false;
  const uint64_t process_ = ForkCount();
};

// Sets the exception that skyray.plasma makes of `status` (one is set already if it
// is Cancelled). Returns null, for `return`.
PyObject* RaiseStoreStatus(const Status& status);
bool AddStoreErrors(PyObject* module);

}  // namespace skyray::bindings
