// SPDX-License-Identifier: Apache-2.0
#include "bindings/requests.h"

#include "bindings/child.h"
#include "bindings/object_ref.h"
#include "bindings/serialization.h"
#include "bindings/session.h"
#include "core_worker/frames_out.h"

namespace skyray::bindings {
namespace {

namespace fbr = fb::raylet;
using core_worker::Builder;
using core_worker::CoreWorker;
using core_worker::ToString;

PyObject* BytesOf(std::string_view bytes) {
  return PyBytes_FromStringAndSize(bytes.data(), static_cast<Py_ssize_t>(bytes.size()));
}

PyObject* BytesOf(const flatbuffers::Vector<uint8_t>* bytes) {
  if (bytes == nullptr) return PyBytes_FromStringAndSize(nullptr, 0);
  return BytesOf({reinterpret_cast<const char*>(bytes->data()), bytes->size()});
}

PyObject* TextOf(const flatbuffers::String* text) {
  if (text == nullptr) return PyUnicode_FromString("");
  return PyUnicode_DecodeUTF8(text->c_str(), static_cast<Py_ssize_t>(text->size()), "replace");
}

// --- Connecting ---

bool TakeHooks(PyObject* hooks, Hooks& out) {
  const struct {
    const char* name;
    PyObject** slot;
  } wanted[] = {
      {"serialize", &out.serialize},
      {"task_error", &out.task_error},
      {"load_task_error", &out.load_task_error},
      {"load_failed", &out.load_failed},
      {"is_retryable", &out.is_retryable},
      {"error", &out.error},
      {"load_function", &out.load_function},
      {"set_accelerators", &out.set_accelerators},
      {"set_threads", &out.set_threads},
      {"listed_items", &out.listed_items},
      {"on_log", &out.on_log},
      {"on_notice", &out.on_notice},
      {"on_failure", &out.on_failure},
  };
  for (const auto& [name, slot] : wanted) {
    PyObject* function = PyObject_GetAttrString(hooks, name);
    if (function == nullptr) return false;
    Py_XSETREF(*slot, function);
  }
  return true;
}

void PrintUnraisable(const PyRef& result, PyObject* hook) {
  if (!result) PyErr_WriteUnraisable(hook);
}

void OnLog(const core_worker::OutputLines& output) {
  const AcquireGil gil;
  PyObject* hook = TheSession().hooks.on_log;
  if (hook == nullptr) return;
  const PyRef lines(PyList_New(0));
  for (const std::string& line : output.lines) {
    const PyRef text(
        PyUnicode_DecodeUTF8(line.data(), static_cast<Py_ssize_t>(line.size()), "replace"));
    if (!lines || !text || PyList_Append(lines.get(), text.get()) < 0) {
      return PyErr_WriteUnraisable(hook);
    }
  }
  PrintUnraisable(PyRef(PyObject_CallFunction(hook, "sisOO", output.name.c_str(), output.pid,
                                              output.node_ip.c_str(),
                                              output.is_stderr ? Py_True : Py_False, lines.get())),
                  hook);
}

void OnNotice(const std::string& text, bool is_error) {
  const AcquireGil gil;
  PyObject* hook = TheSession().hooks.on_notice;
  if (hook == nullptr) return;
  PrintUnraisable(
      PyRef(PyObject_CallFunction(hook, "s#O", text.data(), static_cast<Py_ssize_t>(text.size()),
                                  is_error ? Py_True : Py_False)),
      hook);
}

void OnFailure(const std::string& what, const core_worker::ValuePtr& error) {
  const AcquireGil gil;
  TellFailure(what, error);
}

bool Interrupted() {
  const AcquireGil gil;
  return PyErr_CheckSignals() != 0;
}

PyObject* DescribeSession(const core_worker::SessionInfo& session) {
  return Py_BuildValue("{sNsNsNsssssssssO}", "node_id", BytesOf(session.node_id.Binary()), "job_id",
                       BytesOf(session.job_id.Binary()), "worker_id",
                       BytesOf(session.worker_id.Binary()), "node_ip", session.node_ip.c_str(),
                       "session_dir", session.session_dir.c_str(), "socket_dir",
                       session.socket_dir.c_str(), "gcs_address", session.gcs_address.c_str(),
                       "is_head", session.is_head ? Py_True : Py_False);
}

PyObject* Connect(PyObject*, PyObject* args, PyObject* keywords) {
  static const char* kNames[] = {"raylet_socket",
                                 "is_driver",
                                 "worker_id",
                                 "job_config",
                                 "namespace",
                                 "entrypoint",
                                 "hooks",
                                 "max_lineage_bytes",
                                 "task_oom_retries",
                                 "task_events_report_interval_ms",
                                 nullptr};
  core_worker::CoreWorkerOptions options;
  constexpr int64_t kMs = 1'000'000;
  long long events_interval_ms = options.task_events_interval_ns / kMs;
  unsigned long long lineage_bytes = options.lineage_bytes_max;
  const char *socket, *job_config, *ray_namespace, *entrypoint;
  const char* worker_id = nullptr;
  Py_ssize_t worker_id_bytes = 0;
  int is_driver;
  PyObject* hooks;
  if (!PyArg_ParseTupleAndKeywords(args, keywords, "spz#sssO|KiL", const_cast<char**>(kNames),
                                   &socket, &is_driver, &worker_id, &worker_id_bytes, &job_config,
                                   &ray_namespace, &entrypoint, &hooks, &lineage_bytes,
                                   &options.oom_retries_max, &events_interval_ms)) {
    return nullptr;
  }
  Session& session = TheSession();
  if (session.worker) {
    PyErr_SetString(PyExc_RuntimeError, "this process is connected already");
    return nullptr;
  }
  if (!TakeHooks(hooks, session.hooks)) return nullptr;
  options.lineage_bytes_max = lineage_bytes;
  options.task_events_interval_ns = events_interval_ms * kMs;
  options.raylet_socket = socket;
  options.is_driver = is_driver != 0;
  if (worker_id != nullptr) {
    const auto id = WorkerId::FromBinary({worker_id, static_cast<size_t>(worker_id_bytes)});
    if (!id) {
      PyErr_SetString(PyExc_ValueError, "worker_id must be 28 bytes");
      return nullptr;
    }
    options.worker_id = *id;
  }
  options.job_config = job_config;
  options.ray_namespace = ray_namespace;
  options.entrypoint = entrypoint;
  options.on_log = OnLog;
  options.on_notice = OnNotice;
  options.on_failure = OnFailure;
  options.interrupted = Interrupted;
  options.progress = PlaceTaken();
  auto worker = [&] {
    const ReleaseGil released;
    return CoreWorker::Connect(std::move(options));
  }();
  if (!worker) return RaiseStatus(worker.error());
  session.worker = std::move(*worker);
  ++session.epoch;
  return DescribeSession(session.worker->session());
}

PyObject* Disconnect(PyObject*, PyObject*) {
  PyRef not_called(PyList_New(0));
  EndWorker([&not_called] { not_called = TakeNotCalled(); });
  return not_called.Release();
}

PyObject* IsConnected(PyObject*, PyObject*) {
  return PyBool_FromLong(TheSession().worker != nullptr && !TheSession().ending);
}

PyObject* AfterForkInChild(PyObject*, PyObject*) {
  Session& session = TheSession();
  // The threads and the conversation are the parent's: not ended, only forgotten.
  (void)session.worker.release();
  session.users = WorkerRef::OfThisThread();
  session.ending = false;
  ++session.epoch;
  Py_RETURN_NONE;
}

// --- Key-value ---

struct KvRequest {
  fbr::KvOp op;
  std::string ray_namespace, key, value;
  bool overwrite = true;
  uint32_t wait_ms = 0;

  flatbuffers::Offset<void> Build(Builder& builder, fbr::Body& type) const {
    type = fbr::Body::Kv;
    const auto space = builder.CreateString(ray_namespace);
    const auto key_bytes =
        builder.CreateVector(reinterpret_cast<const uint8_t*>(key.data()), key.size());
    const auto value_bytes =
        builder.CreateVector(reinterpret_cast<const uint8_t*>(value.data()), value.size());
    return fbr::CreateKv(builder, op, space, key_bytes, value_bytes, overwrite, wait_ms).Union();
  }
};

// Sends it and calls `use` with the reply, if that says Ok.
template <class Use>
PyObject* AskKv(const KvRequest& request, Use use) {
  const WorkerRef worker = RequireWorker();
  if (worker == nullptr) return nullptr;
  auto bytes = [&] {
    const ReleaseGil released;
    return worker->Request(
        [&](Builder& builder, fbr::Body& type) { return request.Build(builder, type); });
  }();
  if (!bytes) return RaiseStatus(bytes.error());
  const auto* reply = flatbuffers::GetRoot<fbr::Message>(bytes->data())->body_as_KvReply();
  if (reply == nullptr) return RaiseStatus(Status(ErrorCode::Internal, "no KvReply to Kv"));
  if (reply->error() != ErrorCode::Ok) {
    return RaiseStatus(Status(reply->error(), ToString(reply->message())));
  }
  return use(*reply);
}

PyObject* FoundOf(const fbr::KvReply& reply) { return PyBool_FromLong(reply.found()); }

PyObject* KvPut(PyObject*, PyObject* args) {
  const char *space, *key, *value;
  Py_ssize_t key_bytes, value_bytes;
  int overwrite;
  if (!PyArg_ParseTuple(args, "sy#y#p", &space, &key, &key_bytes, &value, &value_bytes,
                        &overwrite)) {
    return nullptr;
  }
  return AskKv({fbr::KvOp::Put, space, std::string(key, static_cast<size_t>(key_bytes)),
                std::string(value, static_cast<size_t>(value_bytes)), overwrite != 0},
               FoundOf);
}

bool ParseKey(PyObject* args, KvRequest& request) {
  const char *space, *key;
  Py_ssize_t key_bytes;
  unsigned int wait_ms = 0;
  if (!PyArg_ParseTuple(args, "sy#|I", &space, &key, &key_bytes, &wait_ms)) return false;
  request.ray_namespace = space;
  request.key.assign(key, static_cast<size_t>(key_bytes));
  request.wait_ms = wait_ms;
  return true;
}

PyObject* KvGet(PyObject*, PyObject* args) {
  KvRequest request{fbr::KvOp::Get, {}, {}, {}};
  if (!ParseKey(args, request)) return nullptr;
  return AskKv(request, [](const fbr::KvReply& reply) {
    return reply.found() ? BytesOf(reply.value()) : Py_NewRef(Py_None);
  });
}

PyObject* KvDelete(PyObject*, PyObject* args) {
  KvRequest request{fbr::KvOp::Delete, {}, {}, {}};
  return ParseKey(args, request) ? AskKv(request, FoundOf) : nullptr;
}

PyObject* KvExists(PyObject*, PyObject* args) {
  KvRequest request{fbr::KvOp::Exists, {}, {}, {}};
  return ParseKey(args, request) ? AskKv(request, FoundOf) : nullptr;
}

PyObject* KvKeys(PyObject*, PyObject* args) {
  KvRequest request{fbr::KvOp::Keys, {}, {}, {}};
  if (!ParseKey(args, request)) return nullptr;
  return AskKv(request, [](const fbr::KvReply& reply) -> PyObject* {
    PyRef keys(PyList_New(0));
    if (!keys || reply.keys() == nullptr) return keys.Release();
    for (const auto* key : *reply.keys()) {
      const PyRef bytes(BytesOf(key->data()));
      if (!bytes || PyList_Append(keys.get(), bytes.get()) < 0) return nullptr;
    }
    return keys.Release();
  });
}

PyObject* ExportFunction(PyObject*, PyObject* args) {
  const char *id, *blob;
  Py_ssize_t id_bytes, blob_bytes;
  if (!PyArg_ParseTuple(args, "y#y#", &id, &id_bytes, &blob, &blob_bytes)) return nullptr;
  const WorkerRef worker = RequireWorker();
  if (worker == nullptr) return nullptr;
  const KvRequest request{fbr::KvOp::Put, "fun", std::string(id, static_cast<size_t>(id_bytes)),
                          std::string(blob, static_cast<size_t>(blob_bytes))};
  worker->Tell([&](Builder& builder, fbr::Body& type) { return request.Build(builder, type); });
  Py_RETURN_NONE;
}

// --- Tables ---

PyObject* AmountsOf(const flatbuffers::Vector<flatbuffers::Offset<fbr::Resource>>* resources) {
  PyRef dict(PyDict_New());
  if (!dict || resources == nullptr) return dict.Release();
  for (const auto* entry : *resources) {
    const PyRef amount(PyFloat_FromDouble(ResourceAmountToDouble(entry->amount())));
    if (!amount || PyDict_SetItemString(dict.get(), entry->name()->c_str(), amount.get()) < 0) {
      return nullptr;
    }
  }
  return dict.Release();
}

PyObject* LabelsOf(const flatbuffers::Vector<flatbuffers::Offset<fbr::Label>>* labels) {
  PyRef dict(PyDict_New());
  if (!dict || labels == nullptr) return dict.Release();
  for (const auto* label : *labels) {
    const PyRef value(TextOf(label->value()));
    if (!value || PyDict_SetItemString(dict.get(), label->key()->c_str(), value.get()) < 0) {
      return nullptr;
    }
  }
  return dict.Release();
}

PyObject* DescribeNode(const fbr::NodeInfo& node) {
  return Py_BuildValue("{sNsOsNsNsNsIsNsNsOsNsNsNsN}", "node_id", BytesOf(node.node_id()), "alive",
                       node.alive() ? Py_True : Py_False, "ip", TextOf(node.ip()), "hostname",
                       TextOf(node.hostname()), "name", TextOf(node.name()), "data_port",
                       static_cast<unsigned int>(node.data_port()), "raylet_socket",
                       TextOf(node.raylet_socket()), "store_socket", TextOf(node.store_socket()),
                       "is_head", node.is_head() ? Py_True : Py_False, "total",
                       AmountsOf(node.total()), "available", AmountsOf(node.available()), "labels",
                       LabelsOf(node.labels()), "death_reason", TextOf(node.death_reason()));
}

PyObject* DescribeActor(const fbr::ActorInfo& actor) {
  return Py_BuildValue("{sNsNsssNsNsNsOsisIsN}", "actor_id", BytesOf(actor.actor_id()), "job_id",
                       BytesOf(actor.job_id()), "state", fbr::EnumNameActorState(actor.state()),
                       "class_name", TextOf(actor.class_name()), "name", TextOf(actor.name()),
                       "namespace", TextOf(actor.namespace_()), "detached",
                       actor.detached() ? Py_True : Py_False, "pid", actor.pid(), "restarts",
                       actor.restarts(), "death_message", TextOf(actor.death_message()));
}

// A list of what `describe` makes of the entries.
template <class Entries, class Describe>
PyObject* ListOf(const Entries* entries, Describe describe) {
  PyRef list(PyList_New(0));
  if (!list || entries == nullptr) return list.Release();
  for (const auto* entry : *entries) {
    const PyRef item(describe(*entry));
    if (!item || PyList_Append(list.get(), item.get()) < 0) return nullptr;
  }
  return list.Release();
}

template <class Build, class Use>
PyObject* Ask(Build build, Use use) {
  const WorkerRef worker = RequireWorker();
  if (worker == nullptr) return nullptr;
  auto bytes = [&] {
    const ReleaseGil released;
    return worker->Request(build);
  }();
  if (!bytes) return RaiseStatus(bytes.error());
  return use(*flatbuffers::GetRoot<fbr::Message>(bytes->data()));
}

PyObject* Nodes(PyObject*, PyObject*) {
  return Ask(
      [](Builder& builder, fbr::Body& type) {
        type = fbr::Body::GetNodes;
        return fbr::CreateGetNodes(builder).Union();
      },
      [](const fbr::Message& message) -> PyObject* {
        const auto* reply = message.body_as_NodesReply();
        if (reply == nullptr || reply->error() != ErrorCode::Ok) {
          return RaiseStatus(reply == nullptr
                                 ? Status(ErrorCode::Internal, "no NodesReply to GetNodes")
                                 : Status(reply->error(), ToString(reply->message())));
        }
        return ListOf(reply->nodes(), DescribeNode);
      });
}

PyObject* ListActors(PyObject*, PyObject* args) {
  int all_namespaces, named_only;
  const char* ray_namespace;
  if (!PyArg_ParseTuple(args, "psp", &all_namespaces, &ray_namespace, &named_only)) return nullptr;
  return Ask(
      [&](Builder& builder, fbr::Body& type) {
        type = fbr::Body::ListActors;
        return fbr::CreateListActors(builder, all_namespaces != 0,
                                     builder.CreateString(ray_namespace), named_only != 0)
            .Union();
      },
      [](const fbr::Message& message) -> PyObject* {
        const auto* reply = message.body_as_ListActorsReply();
        if (reply == nullptr || reply->error() != ErrorCode::Ok) {
          return RaiseStatus(reply == nullptr
                                 ? Status(ErrorCode::Internal, "no ListActorsReply to ListActors")
                                 : Status(reply->error(), ToString(reply->message())));
        }
        return ListOf(reply->actors(), DescribeActor);
      });
}

PyObject* Statistics(PyObject*, PyObject*) {
  const WorkerRef worker = RequireWorker();
  if (worker == nullptr) return nullptr;
  const core_worker::Statistics counts = worker->GetStatistics();
  return Py_BuildValue("{snsnsnsnsn}", "objects", static_cast<Py_ssize_t>(counts.objects),
                       "objects_borrowed", static_cast<Py_ssize_t>(counts.objects_borrowed),
                       "tasks_pending", static_cast<Py_ssize_t>(counts.tasks_pending), "leases",
                       static_cast<Py_ssize_t>(counts.leases), "actors",
                       static_cast<Py_ssize_t>(counts.actors));
}

PyMethodDef functions[] = {
    {"connect", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(Connect)),
     METH_VARARGS | METH_KEYWORDS, "Joins the node whose raylet listens there."},
    {"disconnect", Disconnect, METH_NOARGS, "Leaves it; what waiters are to be told that by."},
    {"is_connected", IsConnected, METH_NOARGS, "Whether this process is connected."},
    {"after_fork_in_child", AfterForkInChild, METH_NOARGS, "Forgets the parent's connection."},
    {"kv_put", KvPut, METH_VARARGS, "kv_put(namespace, key, value, overwrite): key was new."},
    {"kv_get", KvGet, METH_VARARGS, "kv_get(namespace, key, wait_ms=0): bytes or None."},
    {"kv_delete", KvDelete, METH_VARARGS, "kv_delete(namespace, key): it was there."},
    {"kv_exists", KvExists, METH_VARARGS, "kv_exists(namespace, key)."},
    {"kv_keys", KvKeys, METH_VARARGS, "kv_keys(namespace, prefix)."},
    {"export_function", ExportFunction, METH_VARARGS, "export_function(id, blob)."},
    {"nodes", Nodes, METH_NOARGS, "All nodes, as dicts."},
    {"list_actors", ListActors, METH_VARARGS,
     "list_actors(all_namespaces, namespace, named_only)."},
    {"statistics", Statistics, METH_NOARGS, "Counts of this process."},
    {nullptr, nullptr, 0, nullptr}};

}  // namespace

bool AddRequests(PyObject* module) { return PyModule_AddFunctions(module, functions) == 0; }

}  // namespace skyray::bindings
