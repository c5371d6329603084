// SPDX-License-Identifier: Apache-2.0
#include "bindings/store_client.h"

#include <pybind11/stl.h>

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "common/id.h"
#include "plasma/client.h"

namespace py = pybind11;

namespace skyray::bindings {
namespace {

// Raised as it is; skyray.plasma turns it into its exceptions by the code.
class StoreError : public std::runtime_error {
 public:
  explicit StoreError(const Status& status)
      : std::runtime_error(status.message()), code_(static_cast<int>(status.code())) {}
  int code() const { return code_; }

 private:
  int code_;
};

void Throw(const Status& status) {
  if (!status.ok()) throw StoreError(status);
}

// Shared by the client and its buffers.
struct Connection {
  std::mutex mutex;
  std::unique_ptr<plasma::Client> client;  // Null once disconnected.

  plasma::Client& Get() {
    if (!client) throw StoreError(Status(ErrorCode::NotConnected, "this client is disconnected"));
    return *client;
  }
};

// Bytes of an object, in the store's memory.
class StoreBuffer {
 public:
  StoreBuffer(std::shared_ptr<Connection> connection, const ObjectId& id, uint8_t* data,
              uint64_t bytes, std::shared_ptr<const void> mapping, bool writable)
      : connection_(std::move(connection)),
        id_(id),
        data_(data),
        bytes_(bytes),
        mapping_(std::move(mapping)),
        writable_(writable) {}
  StoreBuffer(const StoreBuffer&) = delete;
  StoreBuffer& operator=(const StoreBuffer&) = delete;
  ~StoreBuffer() {
    // The creator's reference goes with Seal or Abort; a reader's with its buffer.
    if (writable_) return;
    const std::lock_guard lock(connection_->mutex);
    if (connection_->client) (void)connection_->client->Release(id_).ok();
  }

  py::buffer_info Info() const {
    return py::buffer_info(data_, sizeof(uint8_t), py::format_descriptor<uint8_t>::format(), 1,
                           {static_cast<py::ssize_t>(bytes_)}, {1}, !writable_);
  }
  uint64_t bytes() const { return bytes_; }

 private:
  std::shared_ptr<Connection> connection_;
  ObjectId id_;
  uint8_t* data_;
  uint64_t bytes_;
  std::shared_ptr<const void> mapping_;
  bool writable_;
};

class StoreClient {
 public:
  explicit StoreClient(const std::string& path) : owner_(WorkerId::FromRandom()) {
    const py::gil_scoped_release released;
    auto client = plasma::Client::Connect(path);
    if (!client) throw StoreError(client.error());
    connection_->client = std::move(*client);
  }

  std::unique_ptr<StoreBuffer> Create(const ObjectId& id, uint64_t bytes) {
    const py::gil_scoped_release released;
    const std::lock_guard lock(connection_->mutex);
    plasma::CreateOptions options;
    options.data_bytes = bytes;
    options.owner = owner_;
    auto object = connection_->Get().Create(id, options);
    if (!object) throw StoreError(object.error());
    return std::make_unique<StoreBuffer>(connection_, id, object->data, object->data_bytes,
                                         std::move(object->mapping), /*writable=*/true);
  }

  std::vector<std::unique_ptr<StoreBuffer>> Get(const std::vector<ObjectId>& ids,
                                                int64_t timeout_ms) {
    const py::gil_scoped_release released;
    const std::lock_guard lock(connection_->mutex);
    auto views = connection_->Get().Get(ids, timeout_ms);
    if (!views) throw StoreError(views.error());
    std::vector<std::unique_ptr<StoreBuffer>> buffers;
    for (size_t i = 0; i < ids.size(); ++i) {
      auto& view = (*views)[i];
      buffers.push_back(view ? std::make_unique<StoreBuffer>(
                                   connection_, ids[i], const_cast<uint8_t*>(view->data),
                                   view->data_bytes, std::move(view->mapping), /*writable=*/false)
                             : nullptr);
    }
    return buffers;
  }

  void Seal(const ObjectId& id) {
    const std::lock_guard lock(connection_->mutex);
    Throw(connection_->Get().Seal(id));
  }
  void Abort(const ObjectId& id) {
    const std::lock_guard lock(connection_->mutex);
    Throw(connection_->Get().Abort(id));
  }
  void Delete(const std::vector<ObjectId>& ids) {
    const std::lock_guard lock(connection_->mutex);
    Throw(connection_->Get().Delete(ids));
  }
  bool Contains(const ObjectId& id) {
    const py::gil_scoped_release released;
    const std::lock_guard lock(connection_->mutex);
    auto found = connection_->Get().Contains(id);
    if (!found) throw StoreError(found.error());
    return *found;
  }
  std::string DebugState() {
    const py::gil_scoped_release released;
    const std::lock_guard lock(connection_->mutex);
    auto state = connection_->Get().DebugState();
    if (!state) throw StoreError(state.error());
    return *state;
  }
  uint64_t capacity_bytes() {
    const std::lock_guard lock(connection_->mutex);
    return connection_->Get().capacity_bytes();
  }
  void Disconnect() {
    const std::lock_guard lock(connection_->mutex);
    connection_->client.reset();
  }

 private:
  std::shared_ptr<Connection> connection_ = std::make_shared<Connection>();
  WorkerId owner_;
};

}  // namespace

void AddStoreClient(py::module_& module) {
  static PyObject* error_type =
      PyErr_NewException("skyray._core.StoreError", PyExc_RuntimeError, nullptr);
  module.attr("StoreError") = py::reinterpret_borrow<py::object>(error_type);
  py::register_local_exception_translator([](std::exception_ptr pointer) {
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const StoreError& error) {
      // Its args: the ErrorCode and the sentence.
      PyErr_SetObject(error_type, py::make_tuple(error.code(), error.what()).ptr());
    }
  });
  py::class_<StoreBuffer>(module, "StoreBuffer", py::buffer_protocol())
      .def_buffer(&StoreBuffer::Info)
      .def("__len__", &StoreBuffer::bytes);
  py::class_<StoreClient>(module, "StoreClient")
      .def(py::init<const std::string&>(), py::arg("path"))
      .def("create", &StoreClient::Create)
      .def("seal", &StoreClient::Seal)
      .def("abort", &StoreClient::Abort)
      .def("get", &StoreClient::Get)
      .def("delete", &StoreClient::Delete)
      .def("contains", &StoreClient::Contains)
      .def("debug_state", &StoreClient::DebugState)
      .def("disconnect", &StoreClient::Disconnect)
      .def_property_readonly("capacity_bytes", &StoreClient::capacity_bytes);
}

}  // namespace skyray::bindings
