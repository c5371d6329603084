// SPDX-License-Identifier: Apache-2.0
#include "bindings/store_handle.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <mutex>
#include <unordered_set>

#include "bindings/session.h"

namespace skyray::bindings {

// All handles of the process, for the moment of a fork.
struct ForkGuard {
  std::mutex mutex;
  std::unordered_set<StoreHandle*> handles;
  std::atomic<uint64_t> count{0};

  // In the child: each descriptor becomes one of /dev/null, so that the store sees the
  // parent's end, and nothing the child does reaches it. Only calls that are safe here.
  void PutOutOfUse() {
    count.fetch_add(1);
    const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (StoreHandle* handle : handles) {
      if (null >= 0 && handle->fd_ >= 0) dup3(null, handle->fd_, O_CLOEXEC);
    }
    if (null >= 0) close(null);
    handles.clear();
  }
};

namespace {

PyObject* make_error = nullptr;

ForkGuard& Guard() {
  static ForkGuard* const guard = [] {
    static ForkGuard* made = new ForkGuard;  // Never destroyed: forks come late.
    pthread_atfork([] { made->mutex.lock(); }, [] { made->mutex.unlock(); },
                   [] {
                     made->PutOutOfUse();
                     made->mutex.unlock();
                   });
    return made;
  }();
  return *guard;
}

bool SignalCame() {
  const AcquireGil gil;
  // Only the main thread runs handlers; elsewhere this says no.
  return PyErr_CheckSignals() != 0;
}

PyObject* SetStoreErrors(PyObject*, PyObject* factory) {
  Py_XSETREF(make_error, Py_NewRef(factory));
  Py_RETURN_NONE;
}

PyMethodDef functions[] = {{"set_store_errors", SetStoreErrors, METH_O,
                            "factory(name of the ErrorCode, message): the exception to raise."},
                           {nullptr, nullptr, 0, nullptr}};

}  // namespace

uint64_t ForkCount() { return Guard().count.load(std::memory_order_relaxed); }

Result<std::shared_ptr<StoreHandle>> StoreHandle::Connect(const std::string& path) {
  auto connection = core_worker::StoreConnection::Connect(path, SignalCame);
  if (!connection) return connection.error();
  return std::make_shared<StoreHandle>(std::move(*connection));
}

StoreHandle::StoreHandle(std::shared_ptr<core_worker::StoreConnection> connection)
    : connection_(std::move(connection)) {
  fd_ = connection_->With([](plasma::Client& client) { return client.fd(); });
  const std::lock_guard lock(Guard().mutex);
  Guard().handles.insert(this);
}

StoreHandle::~StoreHandle() {
  if (process_ != ForkCount()) {
    // Another thread of the parent may have been inside when it forked.
    new std::shared_ptr(std::move(connection_));
    return;
  }
  const std::lock_guard lock(Guard().mutex);
  Guard().handles.erase(this);
}

Status StoreHandle::Usable() const {
  if (process_ != ForkCount()) {
    return Status(ErrorCode::NotConnected,
                  "this Plasma client belongs to the process that this one was forked from; "
                  "connect() anew in the child");
  }
  if (disconnected_) {
    return Status(ErrorCode::NotConnected, "this Plasma client is disconnected; connect() anew");
  }
  return Status();
}

void StoreHandle::Release(const ObjectId& id) {
  if (disconnected_ || process_ != ForkCount()) return;
  // The store drops what a gone client held by itself, so a failure needs nothing.
  With([&id](plasma::Client& client) { (void)client.Release(id).ok(); });
}

void StoreHandle::Disconnect() {
  if (!Usable().ok()) return;
  disconnected_ = true;
  With([](plasma::Client& client) { client.Disconnect(); });
}

PyObject* RaiseStoreStatus(const Status& status) {
  if (status.code() == ErrorCode::Cancelled && PyErr_Occurred() != nullptr) return nullptr;
  if (make_error == nullptr) {
    PyErr_SetString(PyExc_RuntimeError, status.message().c_str());
    return nullptr;
  }
  const PyRef error(PyObject_CallFunction(make_error, "ss", fb::EnumNameErrorCode(status.code()),
                                          status.message().c_str()));
  if (error) PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.get())), error.get());
  return nullptr;
}

bool AddStoreErrors(PyObject* module) { return PyModule_AddFunctions(module, functions) == 0; }

}  // namespace skyray::bindings
