// SPDX-License-Identifier: Apache-2.0
#include "bindings/ids.h"

#include <pybind11/operators.h>

#include "common/id.h"

namespace py = pybind11;

namespace skyray::bindings {
namespace {

// Kinds of ids that only Python programs give a meaning.
using ActorClassId = Id<28, struct ActorClassTag>;
using ClusterId = Id<28, struct ClusterTag>;

template <class AnyId>
AnyId FromBinary(const py::bytes& binary) {
  const std::string_view bytes = binary;
  const auto id = AnyId::FromBinary(bytes);
  if (!id) {
    throw py::value_error("this id has " + std::to_string(AnyId::kSize) + " bytes, got " +
                          std::to_string(bytes.size()));
  }
  return *id;
}

template <class AnyId>
py::class_<AnyId> AddId(py::module_& module, const char* name) {
  py::class_<AnyId> type(module, name);
  const std::string type_name = name;
  type.def(py::init([](const py::bytes& binary) { return FromBinary<AnyId>(binary); }))
      .def_static("from_binary", &FromBinary<AnyId>)
      .def_static("from_hex",
                  [type_name](const std::string& hex) {
                    const auto id = AnyId::FromHex(hex);
                    if (!id) throw py::value_error("not the hex of a " + type_name + ": " + hex);
                    return *id;
                  })
      .def_static("from_random", &AnyId::FromRandom)
      .def_static("nil", &AnyId::Nil)
      .def_static("size", [] { return AnyId::kSize; })
      .def("binary", [](const AnyId& id) { return py::bytes(std::string(id.Binary())); })
      .def("hex", &AnyId::Hex)
      .def("is_nil", &AnyId::IsNil)
      .def(py::self == py::self)
      .def("__hash__", &AnyId::Hash)
      .def("__repr__", [type_name](const AnyId& id) { return type_name + "(" + id.Hex() + ")"; })
      .def("__reduce__", [](const py::object& self) {
        return py::make_tuple(py::type::of(self), py::make_tuple(self.attr("binary")()));
      });
  type.attr("SIZE") = AnyId::kSize;
  return type;
}

}  // namespace

void AddIds(py::module_& module) {
  AddId<UniqueId>(module, "UniqueID");
  AddId<NodeId>(module, "NodeID");
  AddId<WorkerId>(module, "WorkerID");
  AddId<FunctionId>(module, "FunctionID");
  AddId<ActorClassId>(module, "ActorClassID");
  AddId<ClusterId>(module, "ClusterID");
  AddId<PlacementGroupId>(module, "PlacementGroupID");
  AddId<JobId>(module, "JobID").def_static("from_int", &JobIdFromInt).def("int", &JobIdToInt);
  AddId<ActorId>(module, "ActorID")
      .def_static("of", [](const JobId& job, const py::args&) { return RandomActorId(job); })
      .def_property_readonly("job_id", [](const ActorId& id) { return JobOf(id); });
  AddId<TaskId>(module, "TaskID")
      .def("actor_id", [](const TaskId& id) { return ActorOf(id); })
      .def("job_id", [](const TaskId& id) { return JobOf(id); });
  AddId<ObjectId>(module, "ObjectID")
      .def("task_id", [](const ObjectId& id) { return TaskOf(id); })
      .def("job_id", [](const ObjectId& id) { return JobOf(id); });
}

}  // namespace skyray::bindings
