// SPDX-License-Identifier: Apache-2.0
// _core.StoreBuffer: an object's bytes in a store's memory, by the buffer protocol.
//
// A created one can be written until its object is sealed; from then on it shows the
// read-only mapping. Views that were taken before stay writable, since Python cannot
// take them back: while one is alive its object's memory is given to nobody else.
//
// Threading:  with the GIL held.
// Ownership:  one that is read holds a reference to its object, given back with it. A
//             part of a buffer keeps the whole.
// Errors:     as CPython: null with an exception set.
#pragma once

#include <Python.h>

#include <memory>

#include "bindings/store_handle.h"
#include "plasma/client.h"

namespace skyray::bindings {

// From here on a copy lets other threads run.
constexpr Py_ssize_t kCopyWithoutGilBytesMin = 64 << 10;

bool AddStoreBuffer(PyObject* module);
// A buffer of the class that Python registered.
PyObject* NewCreatedBuffer(std::shared_ptr<StoreHandle> handle, const ObjectId& id,
                           plasma::MutableObject object);
// Takes over one reference to the object, also if it fails.
PyObject* NewReadBuffer(std::shared_ptr<StoreHandle> handle, const ObjectId& id,
                        plasma::ObjectView view, bool metadata);

// Its object has been sealed, and the buffer took over one reference to it.
void MarkSealed(PyStoreBuffer* buffer, const plasma::ObjectView& view);
// False with a BufferError set if somebody has a view of it.
bool MayAbort(PyStoreBuffer* buffer);
void MarkAborted(PyStoreBuffer* buffer);

}  // namespace skyray::bindings
