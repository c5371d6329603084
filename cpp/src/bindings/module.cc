// SPDX-License-Identifier: Apache-2.0
// skyray._core: the table of contents of the extension.
#include "bindings/calls.h"
#include "bindings/child.h"
#include "bindings/executor.h"
#include "bindings/ids.h"
#include "bindings/object_ref.h"
#include "bindings/object_stream.h"
#include "bindings/objects.h"
#include "bindings/private_buffer.h"
#include "bindings/reducer.h"
#include "bindings/requests.h"
#include "bindings/serialization.h"
#include "bindings/store_client.h"
#include "bindings/task_events.h"

PYBIND11_MODULE(_core, module) {
  using namespace skyray::bindings;
  module.doc() = "skyray's core worker. See _core.pyi.";
  AddIds(module);
  if (!InitSerialization() || !AddObjectRef(module.ptr()) || !AddCalls(module.ptr()) ||
      !AddObjectStream(module.ptr()) || !AddObjects(module.ptr()) || !AddRequests(module.ptr()) ||
      !AddStoreClient(module.ptr()) || !AddExecutor(module.ptr()) || !AddReducer(module.ptr()) ||
      !AddPrivateBuffer(module.ptr()) || !AddChild(module.ptr()) || !AddTaskEvents(module.ptr())) {
    throw pybind11::error_already_set();
  }
}
