// SPDX-License-Identifier: Apache-2.0
// skyray._core: the table of contents of the extension.
#include "bindings/calls.h"
#include "bindings/executor.h"
#include "bindings/ids.h"
#include "bindings/object_ref.h"
#include "bindings/objects.h"
#include "bindings/requests.h"
#include "bindings/serialization.h"
#include "bindings/store_client.h"

namespace skyray::bindings {
namespace {

PyMethodDef executor_functions[] = {
    {"run_worker", RunWorker, METH_NOARGS, "A worker's main loop; returns when it is to end."},
    {"exit_actor", ExitActor, METH_NOARGS, "Ends the actor after the present call."},
    {"context", Context, METH_NOARGS, "What runs here: ids, name, resources."},
    {"current_task_name", CurrentTaskName, METH_NOARGS, "The label for what is printed now."},
    {nullptr, nullptr, 0, nullptr}};

}  // namespace
}  // namespace skyray::bindings

PYBIND11_MODULE(_core, module) {
  using namespace skyray::bindings;
  module.doc() = "skyray's core worker. See _core.pyi.";
  AddIds(module);
  if (!InitSerialization() || !AddObjectRef(module.ptr()) || !AddCalls(module.ptr()) ||
      !AddObjects(module.ptr()) || !AddRequests(module.ptr()) || !AddStoreClient(module.ptr()) ||
      PyModule_AddFunctions(module.ptr(), executor_functions) < 0) {
    throw pybind11::error_already_set();
  }
}
