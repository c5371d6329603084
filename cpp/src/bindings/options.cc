// SPDX-License-Identifier: Apache-2.0
#include "bindings/options.h"

#include "bindings/session.h"

namespace skyray::bindings {
namespace {

using core_worker::Strategy;

// Null (no exception) if the key is absent or None.
PyObject* Find(PyObject* options, const char* key) {
  PyObject* value = PyDict_GetItemString(options, key);
  return value == Py_None ? nullptr : value;
}

bool ReadText(PyObject* options, const char* key, std::string& out) {
  PyObject* value = Find(options, key);
  if (value == nullptr) return true;
  Py_ssize_t size;
  const char* text = PyUnicode_AsUTF8AndSize(value, &size);
  if (text == nullptr) return false;
  out.assign(text, static_cast<size_t>(size));
  return true;
}

bool ReadBytes(PyObject* options, const char* key, std::string& out) {
  PyObject* value = Find(options, key);
  if (value == nullptr) return true;
  char* bytes;
  Py_ssize_t size;
  if (PyBytes_AsStringAndSize(value, &bytes, &size) < 0) return false;
  out.assign(bytes, static_cast<size_t>(size));
  return true;
}

bool ReadInt(PyObject* options, const char* key, int& out) {
  PyObject* value = Find(options, key);
  if (value == nullptr) return true;
  const long number = PyLong_AsLong(value);
  if (number == -1 && PyErr_Occurred() != nullptr) return false;
  out = static_cast<int>(number);
  return true;
}

bool ReadBool(PyObject* options, const char* key, bool& out) {
  PyObject* value = Find(options, key);
  if (value == nullptr) return true;
  const int truth = PyObject_IsTrue(value);
  if (truth < 0) return false;
  out = truth == 1;
  return true;
}

bool ReadResources(PyObject* options, const char* key, ResourceSet& out) {
  PyObject* value = Find(options, key);
  if (value == nullptr) return true;
  if (!PyDict_Check(value)) {
    PyErr_Format(PyExc_TypeError, "%s must be a dict of floats, got %R", key, value);
    return false;
  }
  PyObject *name, *number;
  Py_ssize_t at = 0;
  while (PyDict_Next(value, &at, &name, &number)) {
    const char* text = PyUnicode_AsUTF8(name);
    const double amount = PyFloat_AsDouble(number);
    if (text == nullptr || PyErr_Occurred() != nullptr) return false;
    const auto fixed = ResourceAmountFromDouble(amount);
    if (!fixed) {
      PyErr_Format(PyExc_ValueError, "resource %R: %R is not a quantity >= 0", name, number);
      return false;
    }
    out.Set(text, *fixed);
  }
  return true;
}

bool ReadStrategy(PyObject* options, Strategy& out) {
  PyObject* value = Find(options, "strategy");
  if (value == nullptr) return true;
  const char* kind;
  const char* node;
  Py_ssize_t node_bytes;
  int soft;
  if (!PyArg_ParseTuple(value, "sy#p", &kind, &node, &node_bytes, &soft)) return false;
  const std::string_view name(kind);
  if (name == "SPREAD") out.kind = Strategy::Kind::Spread;
  if (name == "NODE_AFFINITY") out.kind = Strategy::Kind::NodeAffinity;
  if (auto id = NodeId::FromBinary({node, static_cast<size_t>(node_bytes)})) out.node = *id;
  out.soft = soft != 0;
  return true;
}

// One (key, operator, values) of a selector.
bool ReadLabelTerm(PyObject* item, LabelTerm& out) {
  const char* key;
  const char* op;
  PyObject* values;
  if (!PyArg_ParseTuple(item, "ssO!", &key, &op, &PyList_Type, &values)) return false;
  out.key = key;
  const std::string_view name(op);
  if (name == "not_in") out.op = LabelTerm::Op::NotIn;
  if (name == "exists") out.op = LabelTerm::Op::Exists;
  if (name == "missing") out.op = LabelTerm::Op::Missing;
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(values); ++i) {
    const char* value = PyUnicode_AsUTF8(PyList_GET_ITEM(values, i));
    if (value == nullptr) return false;
    out.values.emplace_back(value);
  }
  return true;
}

bool ReadSelectors(PyObject* options, Strategy& out) {
  PyObject* value = Find(options, "selectors");
  if (value == nullptr) return true;
  const PyRef selectors(PySequence_Fast(value, "selectors must be a list of lists"));
  if (!selectors) return false;
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(selectors.get()); ++i) {
    const PyRef terms(PySequence_Fast(PySequence_Fast_GET_ITEM(selectors.get(), i),
                                      "selectors must be a list of lists"));
    if (!terms) return false;
    LabelSelector& selector = out.selectors.emplace_back();
    for (Py_ssize_t j = 0; j < PySequence_Fast_GET_SIZE(terms.get()); ++j) {
      PyObject* term = PySequence_Fast_GET_ITEM(terms.get(), j);
      if (!ReadLabelTerm(term, selector.emplace_back())) return false;
    }
  }
  return true;
}

bool ReadConcurrency(PyObject* options, core_worker::Concurrency& out) {
  if (!ReadBool(options, "is_async", out.is_async)) return false;
  PyObject* groups = Find(options, "concurrency_groups");
  if (groups == nullptr) return true;
  const PyRef items(PySequence_Fast(groups, "concurrency_groups must be a list"));
  if (!items) return false;
  out.groups.clear();
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(items.get()); ++i) {
    const char* name;
    int limit;
    PyObject* item = PySequence_Fast_GET_ITEM(items.get(), i);
    if (!PyArg_ParseTuple(item, "si", &name, &limit)) return false;
    out.groups.push_back({name, limit});
  }
  return true;
}

bool ReadFunctionId(PyObject* options, const char* key, FunctionId& out) {
  std::string binary;
  if (!ReadBytes(options, key, binary)) return false;
  const auto id = FunctionId::FromBinary(binary);
  if (!id) {
    PyErr_Format(PyExc_ValueError, "%s must be %zu bytes", key, FunctionId::kSize);
    return false;
  }
  out = *id;
  return true;
}

bool ReadGenerator(PyObject* options, core_worker::GeneratorKind& kind,
                   uint64_t& items_untaken_max) {
  std::string name;
  int untaken_max = 0;
  if (!ReadText(options, "generator", name) ||
      !ReadInt(options, "items_untaken_max", untaken_max)) {
    return false;
  }
  if (name == "streaming") kind = core_worker::GeneratorKind::Streaming;
  if (name == "dynamic") kind = core_worker::GeneratorKind::Listed;
  items_untaken_max = static_cast<uint64_t>(std::max(untaken_max, 0));
  return true;
}

bool TakeReturns(int asked, uint16_t& out) {
  if (asked < 0 || asked > UINT16_MAX) {
    PyErr_Format(PyExc_ValueError, "num_returns=%d is not in 0..%d", asked, UINT16_MAX);
    return false;
  }
  out = static_cast<uint16_t>(asked);
  return true;
}

}  // namespace

bool ReadTaskOptions(PyObject* options, core_worker::CoreWorker& worker,
                     core_worker::TaskTemplate& out) {
  FunctionId function;
  std::string name;
  ResourceSet resources;
  Strategy strategy;
  std::string runtime_env;
  int returns = 1;
  int max_retries = 3;
  int max_calls = 0;
  core_worker::FunctionOptions executed;
  if (!PyDict_Check(options)) {
    PyErr_SetString(PyExc_TypeError, "RemoteCall's prepare() must return a dict");
    return false;
  }
  if (!ReadFunctionId(options, "function_id", function) || !ReadText(options, "name", name) ||
      !ReadResources(options, "resources", resources) || !ReadStrategy(options, strategy) ||
      !ReadSelectors(options, strategy) || !ReadText(options, "runtime_env", runtime_env) ||
      !ReadInt(options, "num_returns", returns) || !ReadInt(options, "max_retries", max_retries) ||
      !ReadInt(options, "max_calls", max_calls) ||
      !ReadBool(options, "enable_task_events", executed.records_events) ||
      !ReadBytes(options, "retry_exceptions", executed.retry_exceptions)) {
    return false;
  }
  if (returns < 0 || returns > UINT16_MAX) {
    PyErr_Format(PyExc_ValueError, "num_returns=%d is not in 0..%d", returns, UINT16_MAX);
    return false;
  }
  executed.max_calls = static_cast<uint32_t>(std::max(0, max_calls));
  if (!ReadGenerator(options, out.generator, executed.items_untaken_max)) return false;
  out.function = worker.InternFunction(function, name, executed);
  out.lease_class =
      worker.InternLeaseClass(resources, strategy, runtime_env, /*retriable=*/max_retries != 0);
  out.returns = static_cast<uint16_t>(returns);
  out.max_retries = max_retries;
  return true;
}

bool ReadActorOptions(PyObject* options, core_worker::ActorOptions& out) {
  if (!PyDict_Check(options)) {
    PyErr_SetString(PyExc_TypeError, "create_actor() takes a dict of options");
    return false;
  }
  return ReadFunctionId(options, "class_id", out.class_id) &&
         ReadText(options, "class_name", out.class_name) && ReadText(options, "name", out.name) &&
         ReadText(options, "namespace", out.ray_namespace) &&
         ReadBool(options, "detached", out.detached) &&
         ReadBool(options, "get_if_exists", out.get_if_exists) &&
         ReadBool(options, "enable_task_events", out.records_events) &&
         ReadInt(options, "max_restarts", out.max_restarts) &&
         ReadConcurrency(options, out.concurrency) &&
         ReadResources(options, "placement_resources", out.placement_resources) &&
         ReadResources(options, "resources", out.resources) &&
         ReadStrategy(options, out.strategy) && ReadSelectors(options, out.strategy) &&
         ReadText(options, "runtime_env", out.runtime_env) &&
         ReadBytes(options, "handle", out.handle);
}

bool ReadMethodOptions(PyObject* options, uint16_t& returns, core_worker::GeneratorKind& generator,
                       core_worker::MethodOptions& out) {
  int asked = 1;
  if (!ReadGenerator(options, generator, out.items_untaken_max)) return false;
  if (!ReadInt(options, "num_returns", asked) ||
      !ReadText(options, "concurrency_group", out.group) || !ReadText(options, "name", out.name) ||
      !ReadInt(options, "max_task_retries", out.max_retries) ||
      !ReadBool(options, "enable_task_events", out.records_events) ||
      !ReadBytes(options, "retry_exceptions", out.retry_exceptions)) {
    return false;
  }
  return TakeReturns(asked, returns);
}

PyObject* ConcurrencyToList(const core_worker::Concurrency& concurrency) {
  PyRef list(PyList_New(0));
  for (const core_worker::ConcurrencyGroup& group : concurrency.groups) {
    const PyRef item(Py_BuildValue("(s#i)", group.name.data(),
                                   static_cast<Py_ssize_t>(group.name.size()), group.limit));
    if (!list || !item || PyList_Append(list.get(), item.get()) < 0) return nullptr;
  }
  return list.Release();
}

PyObject* ResourcesToDict(const ResourceSet& resources) {
  PyRef dict(PyDict_New());
  if (!dict) return nullptr;
  for (const auto& [name, amount] : resources.amounts()) {
    const PyRef value(PyFloat_FromDouble(ResourceAmountToDouble(amount)));
    if (!value || PyDict_SetItemString(dict.get(), name.c_str(), value.get()) < 0) return nullptr;
  }
  return dict.Release();
}

}  // namespace skyray::bindings
