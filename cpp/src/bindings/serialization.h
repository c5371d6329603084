// SPDX-License-Identifier: Apache-2.0
// Python values to payloads and back.
//
// Exact None, bool, int (64 bits), float, str, bytes and tuples of them take the
// compact form, which needs no pickle; everything else goes through
// Hooks.serialize (pickle 5, out-of-band buffers).
//
// Threading:  with the GIL held.
// Ownership:  Serialized keeps the Python objects its parts point into.
// Errors:     false / null with an exception set.
#pragma once

#include <Python.h>

#include <span>
#include <string>
#include <vector>

#include "core_worker/core_worker.h"

namespace skyray::bindings {

class Serialized {
 public:
  Serialized() = default;
  ~Serialized();
  Serialized(Serialized&& other) noexcept;
  Serialized(const Serialized&) = delete;
  Serialized& operator=(const Serialized&) = delete;

  // What load_task_error() is to be given in place of a value.
  static Serialized TaskError(std::string bytes);

  bool From(PyObject* value);
  core_worker::PayloadParts Parts() const;
  // The references inside, one hold each; the caller's from now on.
  std::vector<core_worker::Object*> TakeContained() { return std::move(contained_); }

 private:
  bool FromPickle(PyObject* value);

  core_worker::PayloadFormat format_ = core_worker::PayloadFormat::Compact;
  std::string compact_;
  PyObject* inband_ = nullptr;
  std::vector<Py_buffer> buffers_;
  std::vector<core_worker::Object*> contained_;
};

// Appends the compact form; false (without an exception) if it has none.
bool EncodeCompact(PyObject* value, std::string& out);
void EncodeCompactTupleHead(Py_ssize_t items, std::string& out);

// The value; for an error payload, null with that error raised.
PyObject* Deserialize(const core_worker::ReadableValue& value);
// Has the user told of an error, by the hook. It raises nothing.
void TellFailure(const std::string& what, const core_worker::ValuePtr& error);

// The bytes in a value that a ValueBuffer of it stands for; null, with an exception set,
// if `buffer` is something else.
struct BufferPart {
  const core_worker::ReadableValue* value = nullptr;
  std::span<const uint8_t> bytes;
};
BufferPart PartOf(PyObject* buffer);

bool InitSerialization();

}  // namespace skyray::bindings
