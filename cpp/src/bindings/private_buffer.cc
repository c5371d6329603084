// SPDX-License-Identifier: Apache-2.0
#include "bindings/private_buffer.h"

#include <cstring>
#include <memory>
#include <new>

#include "bindings/serialization.h"
#include "bindings/session.h"
#include "core_worker/gateway_store.h"

namespace skyray::bindings {
namespace {

using core_worker::ReadableValue;

// Below this a copy takes less time than a mapping and its page faults.
constexpr size_t kMappedBytesMin = 256 << 10;
// As objects in the store, for vector instructions.
constexpr std::align_val_t kAlignment{64};

struct PyPrivateBuffer {
  PyObject_HEAD ReadableValue* value;  // Null if the bytes are a copy.
  std::shared_ptr<uint8_t>* data;
  size_t bytes;
};

PyTypeObject private_buffer_type{};  // Filled in and made ready below.

int GetBuffer(PyObject* self, Py_buffer* view, int flags) {
  const auto* buffer = reinterpret_cast<PyPrivateBuffer*>(self);
  return PyBuffer_FillInfo(view, self, buffer->data->get(), static_cast<Py_ssize_t>(buffer->bytes),
                           /*readonly=*/0, flags);
}

void DeallocBuffer(PyObject* self) {
  auto* buffer = reinterpret_cast<PyPrivateBuffer*>(self);
  // In this order: the memory is given to others once the value is let go of.
  delete buffer->data;
  delete buffer->value;
  Py_TYPE(self)->tp_free(self);
}

PyBufferProcs buffer_procs = {GetBuffer, nullptr};

// Null if there is no memory.
std::shared_ptr<uint8_t> Copied(std::span<const uint8_t> bytes) {
  void* memory = ::operator new(bytes.size(), kAlignment, std::nothrow);
  if (memory == nullptr) return nullptr;
  std::memcpy(memory, bytes.data(), bytes.size());
  return {static_cast<uint8_t*>(memory), [](uint8_t* it) { ::operator delete(it, kAlignment); }};
}

PyObject* PrivateView(PyObject*, PyObject* argument) {
  const BufferPart part = PartOf(argument);
  if (part.value == nullptr) return nullptr;
  bool mapped = false;
  std::shared_ptr<uint8_t> data;
  if (part.value->pin != nullptr && part.bytes.size() >= kMappedBytesMin) {
    const ReleaseGil released;
    if (auto found = part.value->pin->CopyOnWrite(part.bytes)) {
      data = std::move(*found);
      mapped = true;
    }
  }
  if (data == nullptr) {
    const ReleaseGil released;
    data = Copied(part.bytes);
  }
  if (data == nullptr) return PyErr_NoMemory();
  PyObject* self = private_buffer_type.tp_alloc(&private_buffer_type, 0);
  if (self == nullptr) return nullptr;
  auto* buffer = reinterpret_cast<PyPrivateBuffer*>(self);
  buffer->value = mapped ? new ReadableValue(*part.value) : nullptr;
  buffer->data = new std::shared_ptr<uint8_t>(std::move(data));
  buffer->bytes = part.bytes.size();
  return self;
}

PyMethodDef methods[] = {
    {"private_view", PrivateView, METH_O, "A value's buffer, to be written to. See _core.pyi."},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

bool AddPrivateBuffer(PyObject* module) {
  private_buffer_type.tp_name = "skyray._core.PrivateBuffer";
  private_buffer_type.tp_basicsize = sizeof(PyPrivateBuffer);
  private_buffer_type.tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION;
  private_buffer_type.tp_dealloc = DeallocBuffer;
  private_buffer_type.tp_as_buffer = &buffer_procs;
  Py_SET_REFCNT(reinterpret_cast<PyObject*>(&private_buffer_type), 1);  // Static: never freed.
  return PyType_Ready(&private_buffer_type) == 0 && PyModule_AddFunctions(module, methods) == 0;
}

}  // namespace skyray::bindings
