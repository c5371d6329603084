// SPDX-License-Identifier: Apache-2.0
#include "bindings/task_events.h"

#include "bindings/session.h"
#include "core_worker/frames_out.h"
#include "fbs/task_event_generated.h"

namespace skyray::bindings {
namespace {

namespace fbr = fb::raylet;
namespace fbt = fb::task_event;
using core_worker::Builder;
using core_worker::ToString;

PyRef DecodedText(const flatbuffers::String* text) {
  if (text == nullptr) return PyRef(PyUnicode_FromString(""));
  return PyRef(
      PyUnicode_DecodeUTF8(text->c_str(), static_cast<Py_ssize_t>(text->size()), "replace"));
}

PyObject* BytesFrom(const uint8_t* data, size_t size) {
  return PyBytes_FromStringAndSize(reinterpret_cast<const char*>(data),
                                   static_cast<Py_ssize_t>(size));
}

const fbt::Failure* FailureIn(const fbt::Batch& batch, const fbt::Execution& execution) {
  const uint32_t index = execution.failure();
  if (index == 0 || batch.failures() == nullptr || index > batch.failures()->size()) return nullptr;
  return batch.failures()->Get(index - 1);
}

// (type, value, traceback), or None.
PyRef Describe(const fbt::Failure* failure) {
  if (failure == nullptr) return PyRef::Borrowed(Py_None);
  const PyRef type = DecodedText(failure->type());
  const PyRef value = DecodedText(failure->value());
  const PyRef traceback = DecodedText(failure->traceback());
  if (!type || !value || !traceback) return PyRef();
  return PyRef(PyTuple_Pack(3, type.get(), value.get(), traceback.get()));
}

// How long its parts took; -1: it did not come to that.
struct Durations {
  Durations(const fbt::Execution& execution, const fbt::Failure* failure) {
    const bool began = execution.arguments_ns() != 0;
    const bool ran = execution.executed_ns() != 0;
    const int64_t end = execution.end_ns();
    arguments = (began ? execution.arguments_ns() : end) - execution.start_ns();
    if (began) execute = (ran ? execution.executed_ns() : end) - execution.arguments_ns();
    const bool stores = failure == nullptr || failure->in_outputs();
    if (ran && stores) outputs = end - execution.executed_ns();
  }
  long long arguments;
  long long execute = -1;
  long long outputs = -1;
};

// Appends a tuple for each of its executions: TaskEvent of _core.pyi.
bool AppendBatch(const fbt::Batch& batch,
                 const flatbuffers::Vector<const fbt::Execution*>& executions, PyObject* out) {
  const PyRef node_ip = DecodedText(batch.node_ip());
  const PyRef worker(BytesFrom(batch.worker_id()->data(), batch.worker_id()->size()));
  std::vector<std::pair<PyRef, PyRef>> functions;
  for (const auto* function : *batch.functions()) {
    functions.emplace_back(DecodedText(function->name()), DecodedText(function->code()));
    if (!functions.back().first || !functions.back().second) return false;
  }
  if (!node_ip || !worker) return false;
  for (const fbt::Execution* execution : executions) {
    if (execution->function() >= functions.size()) continue;  // No worker of ours sends that.
    const std::pair<PyRef, PyRef>& function = functions[execution->function()];
    const fbt::Failure* const raised = FailureIn(batch, *execution);
    const PyRef failure = Describe(raised);
    if (!failure) return false;
    const Durations took(*execution, raised);
    const int64_t start_ns = execution->start_ns() + batch.to_wall_ns();
    const PyRef event(
        Py_BuildValue("(OONOOLLLLO)", node_ip.get(), worker.get(),
                      BytesFrom(execution->task_id()->Data(), execution->task_id()->size()),
                      function.first.get(), function.second.get(), static_cast<long long>(start_ns),
                      took.arguments, took.execute, took.outputs, failure.get()));
    if (!event || PyList_Append(out, event.get()) < 0) return false;
  }
  return true;
}

// Of a batch that is none nothing is appended.
bool AppendData(const fbr::TaskEventBatch& stored, PyObject* out) {
  // Copied: inside another message it may begin anywhere.
  const std::vector<uint8_t> data(stored.data()->begin(), stored.data()->end());
  flatbuffers::Verifier verifier(data.data(), data.size());
  if (stored.executions() == nullptr || !verifier.VerifyBuffer<fbt::Batch>(nullptr)) return true;
  return AppendBatch(*flatbuffers::GetRoot<fbt::Batch>(data.data()), *stored.executions(), out);
}

PyObject* TaskEvents(PyObject*, PyObject* args) {
  unsigned long long after;
  unsigned int flush_wait_ms;
  if (!PyArg_ParseTuple(args, "KI", &after, &flush_wait_ms)) return nullptr;
  const WorkerRef worker = RequireWorker();
  if (worker == nullptr) return nullptr;
  const auto bytes = [&] {
    const ReleaseGil released;
    return worker->Request([&](Builder& builder, fbr::Body& type) {
      type = fbr::Body::GetTaskEvents;
      return fbr::CreateGetTaskEvents(builder, after, flush_wait_ms).Union();
    });
  }();
  if (!bytes) return RaiseStatus(bytes.error());
  const auto* reply = flatbuffers::GetRoot<fbr::Message>(bytes->data())->body_as_TaskEventsReply();
  if (reply == nullptr) {
    return RaiseStatus(Status(ErrorCode::Internal, "no TaskEventsReply to GetTaskEvents"));
  }
  if (reply->error() != ErrorCode::Ok) {
    return RaiseStatus(Status(reply->error(), ToString(reply->message())));
  }
  const PyRef events(PyList_New(0));
  if (!events) return nullptr;
  if (reply->batches() != nullptr) {
    for (const auto* batch : *reply->batches()) {
      if (!AppendData(*batch, events.get())) return nullptr;
    }
  }
  return Py_BuildValue("(OKK)", events.get(), static_cast<unsigned long long>(reply->next()),
                       static_cast<unsigned long long>(reply->dropped()));
}

PyMethodDef functions[] = {
    {"task_events", TaskEvents, METH_VARARGS,
     "task_events(after, flush_wait_ms): (events, where to go on or 0, dropped)."},
    {nullptr, nullptr, 0, nullptr}};

}  // namespace

bool AddTaskEvents(PyObject* module) { return PyModule_AddFunctions(module, functions) == 0; }

}  // namespace skyray::bindings
