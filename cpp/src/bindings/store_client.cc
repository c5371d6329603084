// SPDX-License-Identifier: Apache-2.0
#include "bindings/store_client.h"

#include <algorithm>
#include <array>
#include <new>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "bindings/keywords.h"
#include "bindings/session.h"
#include "bindings/store_buffer.h"
#include "bindings/store_handle.h"
#include "bindings/store_id.h"
#include "bindings/store_upkeep.h"
#include "plasma/copy.h"

namespace skyray::bindings {
namespace {

struct PyStoreClient {
  PyObject_HEAD std::shared_ptr<StoreHandle> handle;
  WorkerId owner;  // Of what it creates: names it in the store's messages.
  uint64_t capacity_bytes;
};

PyTypeObject client_type{};

PyStoreClient* AsClient(PyObject* self) { return reinterpret_cast<PyStoreClient*>(self); }

PyObject* New(PyTypeObject* type, PyObject* args, PyObject*) {
  const char* path;
  if (!PyArg_ParseTuple(args, "s:StoreClient", &path)) return nullptr;
  Result<std::shared_ptr<StoreHandle>> handle = [path] {
    const ReleaseGil released;
    return StoreHandle::Connect(path);
  }();
  if (!handle) return RaiseStoreStatus(handle.error());
  PyObject* self = type->tp_alloc(type, 0);
  if (self == nullptr) return nullptr;
  PyStoreClient* client = AsClient(self);
  new (&client->handle) std::shared_ptr<StoreHandle>(std::move(*handle));
  client->owner = WorkerId::FromRandom();
  client->capacity_bytes =
      client->handle->With([](plasma::Client& store) { return store.capacity_bytes(); });
  return self;
}

void Dealloc(PyObject* self) {
  AsClient(self)->handle.~shared_ptr();
  Py_TYPE(self)->tp_free(self);
}

// What `use(client)` returns, a Status or Result, while other threads run.
template <class Use>
auto Call(PyObject* self, Use use) -> decltype(use(std::declval<plasma::Client&>())) {
  StoreHandle& handle = *AsClient(self)->handle;
  if (Status usable = handle.Usable(); !usable.ok()) return usable;
  const ReleaseGil released;
  return handle.With(std::move(use));
}

PyObject* NoneOr(const Status& status) {
  if (!status.ok()) return RaiseStoreStatus(status);
  Py_RETURN_NONE;
}

// A Py_buffer for a scope.
class BytesView {
 public:
  BytesView() = default;
  ~BytesView() { PyBuffer_Release(&view_); }
  BytesView(const BytesView&) = delete;
  BytesView& operator=(const BytesView&) = delete;
  // False with an exception set: TypeError; ValueError if not contiguous.
  bool Take(PyObject* object) {
    if (PyObject_GetBuffer(object, &view_, PyBUF_C_CONTIGUOUS) == 0) return true;
    view_.obj = nullptr;
    if (!PyErr_ExceptionMatches(PyExc_BufferError)) return false;
    PyErr_Clear();
    PyErr_Format(PyExc_ValueError, "the bytes of a %s do not lie one behind the other; copy it",
                 Py_TYPE(object)->tp_name);
    return false;
  }
  std::span<const uint8_t> bytes() const {
    return {static_cast<const uint8_t*>(view_.buf), static_cast<size_t>(view_.len)};
  }

 private:
  Py_buffer view_{};
};

Result<plasma::MutableObject> CreateObject(PyObject* self, const ObjectId& id, uint64_t data_bytes,
                                           std::span<const uint8_t> metadata) {
  plasma::CreateOptions options;
  options.data_bytes = data_bytes;
  options.metadata_bytes = metadata.size();
  options.owner = AsClient(self)->owner;
  auto object = Call(self, [&](plasma::Client& client) { return client.Create(id, options); });
  if (object && object->pages.bytes() > 0) {
    const ReleaseGil released;
    object->pages.Do();  // All of it is going to be written.
  }
  if (object && !metadata.empty()) {
    plasma::CopyToShared(object->metadata(), metadata.data(), metadata.size());
  }
  return object;
}

PyObject* Create(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
  static const char* const names[] = {"object_id", "data_size", "metadata"};
  std::array<PyObject*, 3> given{};
  ObjectId id;
  BytesView metadata;
  if (!TakeArguments("create", names, 2, args, count, keywords, given) ||
      !StoreIdOf(given[0], id) || (given[2] != nullptr && !metadata.Take(given[2]))) {
    return nullptr;
  }
  const PyRef size_object(PyNumber_Index(given[1]));
  if (!size_object) return nullptr;
  const long long size = PyLong_AsLongLong(size_object.get());
  if (size == -1 && PyErr_Occurred()) return nullptr;
  if (size < 0) return PyErr_Format(PyExc_ValueError, "data_size=%lld bytes is negative", size);
  auto object = CreateObject(self, id, static_cast<uint64_t>(size), metadata.bytes());
  if (!object) return RaiseStoreStatus(object.error());
  return NewCreatedBuffer(AsClient(self)->handle, id, std::move(*object));
}

PyObject* Seal(PyObject* self, PyObject* object_id) {
  ObjectId id;
  if (!StoreIdOf(object_id, id)) return nullptr;
  StoreHandle& handle = *AsClient(self)->handle;
  const auto creating = handle.creating.find(id);
  if (creating == handle.creating.end()) {
    return NoneOr(Call(self, [&id](plasma::Client& client) { return client.Seal(id); }));
  }
  // Its buffer is alive and reads on: with the reference a get would make.
  const PyRef kept = PyRef::Borrowed(reinterpret_cast<PyObject*>(creating->second));
  PyStoreBuffer* const buffer = creating->second;
  handle.creating.erase(creating);
  const auto view = Call(self, [&id](plasma::Client& client) -> Result<plasma::ObjectView> {
    if (Status status = client.Seal(id, /*keep=*/true); !status.ok()) return status;
    return *client.View(id);
  });
  if (!view) {
    if (handle.Usable().ok()) MarkAborted(buffer);
    return RaiseStoreStatus(view.error());
  }
  MarkSealed(buffer, *view);
  Py_RETURN_NONE;
}

PyObject* Abort(PyObject* self, PyObject* object_id) {
  ObjectId id;
  if (!StoreIdOf(object_id, id)) return nullptr;
  StoreHandle& handle = *AsClient(self)->handle;
  const auto creating = handle.creating.find(id);
  if (creating != handle.creating.end()) {
    if (!MayAbort(creating->second)) return nullptr;
    MarkAborted(creating->second);
    handle.creating.erase(creating);
  }
  return NoneOr(Call(self, [&id](plasma::Client& client) { return client.Abort(id); }));
}

struct Piece {
  uint64_t offset;
  std::span<const uint8_t> bytes;
};

// Creates, fills and seals an object.
Status Store(PyObject* self, const ObjectId& id, uint64_t size, std::span<const Piece> pieces,
             std::span<const uint8_t> metadata, unsigned threads_max) {
  const auto object = CreateObject(self, id, size, metadata);
  if (!object) return object.error();
  const auto fill = [&] {
    for (const Piece& piece : pieces) {
      plasma::CopyToShared(object->data + piece.offset, piece.bytes.data(), piece.bytes.size(),
                           threads_max);
    }
  };
  if (size < uint64_t{kCopyWithoutGilBytesMin}) {
    fill();
  } else {
    const ReleaseGil released;
    fill();
  }
  return Call(self, [&id](plasma::Client& client) { return client.Seal(id); });
}

PyObject* CreateAndSeal(PyObject* self, PyObject* const* args, Py_ssize_t count,
                        PyObject* keywords) {
  static const char* const names[] = {"object_id", "data", "metadata"};
  std::array<PyObject*, 3> given{};
  ObjectId id;
  BytesView data;
  BytesView metadata;
  if (!TakeArguments("create_and_seal", names, 2, args, count, keywords, given) ||
      !StoreIdOf(given[0], id) || !data.Take(given[1]) ||
      (given[2] != nullptr && !metadata.Take(given[2]))) {
    return nullptr;
  }
  const Piece piece{0, data.bytes()};
  return NoneOr(
      Store(self, id, data.bytes().size(), {&piece, 1}, metadata.bytes(), plasma::kCopyThreadsMax));
}

// What memcopy_threads (null: not given) says. Below 1 it is 1, as in Arrow.
bool CopyThreadsOf(PyObject* given, unsigned& threads_max) {
  threads_max = plasma::kCopyThreadsMax;
  if (given == nullptr) return true;
  const PyRef number(PyNumber_Index(given));
  if (!number) return false;
  const Py_ssize_t threads = PyNumber_AsSsize_t(number.get(), nullptr);  // Clamped.
  threads_max = static_cast<unsigned>(std::clamp<Py_ssize_t>(threads, 1, plasma::kCopyThreadsMax));
  return true;
}

PyObject* PutRawBuffer(PyObject* self, PyObject* const* args, Py_ssize_t count,
                       PyObject* keywords) {
  static const char* const names[] = {"value", "object_id", "metadata", "memcopy_threads"};
  std::array<PyObject*, 4> given{};
  ObjectId id;
  BytesView data;
  BytesView metadata;
  unsigned threads_max;
  if (!TakeArguments("put_raw_buffer", names, 1, args, count, keywords, given) ||
      !data.Take(given[0]) || (given[2] != nullptr && !metadata.Take(given[2])) ||
      !CopyThreadsOf(given[3], threads_max)) {
    return nullptr;
  }
  if (given[1] == nullptr || given[1] == Py_None) {
    id = RandomStoreId();
  } else if (!StoreIdOf(given[1], id)) {
    return nullptr;
  }
  const Piece piece{0, data.bytes()};
  const Status status =
      Store(self, id, data.bytes().size(), {&piece, 1}, metadata.bytes(), threads_max);
  if (!status.ok()) return RaiseStoreStatus(status);
  return NewStoreId(id);
}

PyObject* PutPieces(PyObject* self, PyObject* args) {
  PyObject* object_id;
  Py_ssize_t size;
  PyObject* list;
  PyObject* memcopy_threads;
  unsigned threads_max;
  if (!PyArg_ParseTuple(args, "OnO!O:put_pieces", &object_id, &size, &PyList_Type, &list,
                        &memcopy_threads) ||
      !CopyThreadsOf(memcopy_threads, threads_max)) {
    return nullptr;
  }
  ObjectId id;
  if (object_id == Py_None) {
    id = RandomStoreId();
  } else if (!StoreIdOf(object_id, id)) {
    return nullptr;
  }
  std::vector<BytesView> views(static_cast<size_t>(PyList_GET_SIZE(list)));
  std::vector<Piece> pieces;
  for (size_t i = 0; i < views.size(); ++i) {
    Py_ssize_t offset;
    PyObject* bytes;
    PyObject* pair = PyList_GET_ITEM(list, static_cast<Py_ssize_t>(i));
    if (!PyArg_ParseTuple(pair, "nO", &offset, &bytes) || !views[i].Take(bytes)) return nullptr;
    const auto there = static_cast<Py_ssize_t>(views[i].bytes().size());
    if (offset < 0 || offset > size || there > size - offset) {
      PyErr_SetString(PyExc_ValueError, "a piece lies outside the object");
      return nullptr;
    }
    pieces.push_back({static_cast<uint64_t>(offset), views[i].bytes()});
  }
  const Status status = Store(self, id, static_cast<uint64_t>(size), pieces, {}, threads_max);
  if (!status.ok()) return RaiseStoreStatus(status);
  return NewStoreId(id);
}

enum class Want : uint8_t { Data, Metadata, Both };

PyObject* NewFound(PyObject* self, const ObjectId& id, plasma::ObjectView view, Want want) {
  const std::shared_ptr<StoreHandle>& handle = AsClient(self)->handle;
  if (want != Want::Both) {
    return NewReadBuffer(handle, id, std::move(view), want == Want::Metadata);
  }
  PyRef metadata(PyBytes_FromStringAndSize(reinterpret_cast<const char*>(view.metadata()),
                                           static_cast<Py_ssize_t>(view.metadata_bytes)));
  PyRef data(NewReadBuffer(handle, id, std::move(view), /*metadata=*/false));
  if (!metadata || !data) return nullptr;
  return PyTuple_Pack(2, metadata.get(), data.get());
}

PyObject* NewMissing(Want want) {
  if (want == Want::Both) return PyTuple_Pack(2, Py_None, Py_None);
  return Py_NewRef(Py_None);
}

// The list of what was found; every view's reference is given to a buffer, or back.
PyObject* NewFoundList(PyObject* self, std::span<const ObjectId> ids,
                       std::vector<Result<plasma::ObjectView>> views, Want want) {
  PyRef list(PyList_New(static_cast<Py_ssize_t>(ids.size())));
  bool failed = !list;
  for (size_t i = 0; i < ids.size(); ++i) {
    Result<plasma::ObjectView>& view = views[i];
    if (failed) {
      if (view) AsClient(self)->handle->Release(ids[i]);
      continue;
    }
    PyObject* item = nullptr;
    if (view) {
      item = NewFound(self, ids[i], std::move(*view), want);
    } else if (view.error().code() == ErrorCode::ObjectNotFound) {
      item = NewMissing(want);
    } else {
      RaiseStoreStatus(view.error());
    }
    failed = item == nullptr;
    if (!failed) PyList_SET_ITEM(list.get(), static_cast<Py_ssize_t>(i), item);
  }
  return failed ? nullptr : list.Release();
}

bool TakeIds(PyObject* given, std::vector<ObjectId>& ids) {
  const PyRef sequence(PySequence_Fast(given, "a list of ObjectIDs is wanted here"));
  if (!sequence) return false;
  const std::span<PyObject*> items(PySequence_Fast_ITEMS(sequence.get()),
                                   static_cast<size_t>(PySequence_Fast_GET_SIZE(sequence.get())));
  ids.resize(items.size());
  for (size_t i = 0; i < items.size(); ++i) {
    if (!StoreIdOf(items[i], ids[i])) return false;
  }
  return true;
}

PyObject* GetFound(PyObject* self, PyObject* given_ids, PyObject* given_timeout, Want want) {
  std::vector<ObjectId> ids;
  int64_t timeout_ms = -1;
  if (!TakeIds(given_ids, ids)) return nullptr;
  if (given_timeout != nullptr) {
    const PyRef timeout(PyNumber_Index(given_timeout));
    if (!timeout) return nullptr;
    timeout_ms = PyLong_AsLongLong(timeout.get());
    if (timeout_ms == -1 && PyErr_Occurred()) return nullptr;
  }
  if (ids.empty()) return PyList_New(0);
  auto views = Call(self, [&](plasma::Client& client) { return client.Get(ids, timeout_ms); });
  if (!views) return RaiseStoreStatus(views.error());
  return NewFoundList(self, ids, std::move(*views), want);
}

PyObject* GetBuffers(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
  static const char* const names[] = {"object_ids", "timeout_ms", "with_meta"};
  std::array<PyObject*, 3> given{};
  if (!TakeArguments("get_buffers", names, 1, args, count, keywords, given)) return nullptr;
  const int with_meta = given[2] == nullptr ? 0 : PyObject_IsTrue(given[2]);
  if (with_meta < 0) return nullptr;
  return GetFound(self, given[0], given[1], with_meta ? Want::Both : Want::Data);
}

PyObject* GetMetadata(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
  static const char* const names[] = {"object_ids", "timeout_ms"};
  std::array<PyObject*, 2> given{};
  if (!TakeArguments("get_metadata", names, 1, args, count, keywords, given)) return nullptr;
  return GetFound(self, given[0], given[1], Want::Metadata);
}

PyObject* Contains(PyObject* self, PyObject* object_id) {
  ObjectId id;
  if (!StoreIdOf(object_id, id)) return nullptr;
  const auto found = Call(self, [&id](plasma::Client& client) { return client.Contains(id); });
  if (!found) return RaiseStoreStatus(found.error());
  return PyBool_FromLong(*found);
}

PyObject* Delete(PyObject* self, PyObject* object_ids) {
  std::vector<ObjectId> ids;
  if (!TakeIds(object_ids, ids)) return nullptr;
  return NoneOr(Call(self, [&ids](plasma::Client& client) { return client.Delete(ids); }));
}

PyObject* Evict(PyObject* self, PyObject* num_bytes) {
  const long long bytes = PyLong_AsLongLong(num_bytes);
  if (bytes == -1 && PyErr_Occurred()) return nullptr;
  if (bytes < 0) return PyErr_Format(PyExc_ValueError, "num_bytes=%lld is negative", bytes);
  const auto freed = Call(
      self, [bytes](plasma::Client& client) { return client.Evict(static_cast<uint64_t>(bytes)); });
  if (!freed) return RaiseStoreStatus(freed.error());
  return PyLong_FromUnsignedLongLong(*freed);
}

PyObject* ListObjects(PyObject* self, PyObject*) {
  const auto objects = Call(self, [](plasma::Client& client) { return client.List(); });
  if (!objects) return RaiseStoreStatus(objects.error());
  return NewObjectList(*objects);
}

PyObject* Stats(PyObject* self, PyObject*) {
  const auto stats = Call(self, [](plasma::Client& client) { return client.Stats(); });
  if (!stats) return RaiseStoreStatus(stats.error());
  return NewStats(*stats->body);
}

PyObject* DebugString(PyObject* self, PyObject*) {
  const auto text = Call(self, [](plasma::Client& client) { return client.DebugState(); });
  if (!text) return RaiseStoreStatus(text.error());
  return PyUnicode_FromString(text->c_str());
}

PyObject* StoreCapacity(PyObject* self, PyObject*) {
  return PyLong_FromUnsignedLongLong(AsClient(self)->capacity_bytes);
}

PyObject* Disconnect(PyObject* self, PyObject*) {
  AsClient(self)->handle->Disconnect();
  Py_RETURN_NONE;
}

constexpr int kFast = METH_FASTCALL | METH_KEYWORDS;

PyMethodDef methods[] = {
    {"create", AsFunction(Create), kFast, "Room for an object, to be written and sealed."},
    {"seal", Seal, METH_O, "Makes an object immutable and readable by all."},
    {"abort", Abort, METH_O, "Gives up an object that was created and not sealed."},
    {"create_and_seal", AsFunction(CreateAndSeal), kFast, "Stores bytes under an id."},
    {"put_raw_buffer", AsFunction(PutRawBuffer), kFast, "Stores bytes."},
    {"put_pieces", PutPieces, METH_VARARGS, "Stores an object that is made of several buffers."},
    {"get_buffers", AsFunction(GetBuffers), kFast, "The objects' bytes, uncopied."},
    {"get_metadata", AsFunction(GetMetadata), kFast, "The objects' metadata, uncopied."},
    {"contains", Contains, METH_O, "Whether an object is in the store and sealed."},
    {"delete", Delete, METH_O, "Takes objects out of the store."},
    {"evict", Evict, METH_O, "Frees so many bytes if it can; how many."},
    {"list_objects", ListObjects, METH_NOARGS, "What is in the store, one tuple each."},
    {"stats", Stats, METH_NOARGS, "The store's figures."},
    {"debug_string", DebugString, METH_NOARGS, "What is in the store, for people."},
    {"store_capacity", StoreCapacity, METH_NOARGS, "How much the store may hold, in bytes."},
    {"disconnect", Disconnect, METH_NOARGS, "Ends the connection."},
    {nullptr, nullptr, 0, nullptr}};

}  // namespace

bool AddStoreClient(PyObject* module) {
  client_type.tp_name = "skyray._core.StoreClient";
  client_type.tp_basicsize = sizeof(PyStoreClient);
  client_type.tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE;
  client_type.tp_doc = "One connection to a store.";
  client_type.tp_new = New;
  client_type.tp_dealloc = Dealloc;
  client_type.tp_methods = methods;
  Py_SET_REFCNT(reinterpret_cast<PyObject*>(&client_type), 1);  // Static: never freed.
  return AddStoreErrors(module) && AddStoreId(module) && AddStoreBuffer(module) &&
         PyType_Ready(&client_type) == 0 &&
         PyModule_AddObjectRef(module, "StoreClient", reinterpret_cast<PyObject*>(&client_type)) ==
             0;
}

}  // namespace skyray::bindings
