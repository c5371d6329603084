// SPDX-License-Identifier: Apache-2.0
#include "bindings/ids.h"

#include <pybind11/operators.h>

#include <cstring>
#include <stdexcept>

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
    throw py::value_error("ID string needs to have length " + std::to_string(AnyId::kSize) +
                          ", got " + std::to_string(bytes.size()));
  }
  return *id;
}

// `unique` as the first bytes of an id whose last ones are `of`.
template <class WholeId, class PartId>
WholeId IdOf(const UniqueId& unique, const PartId& of) {
  static_assert(WholeId::kSize > PartId::kSize);
  constexpr size_t kUnique = WholeId::kSize - PartId::kSize;
  WholeId id;
  std::memcpy(id.mutable_data(), unique.data(), kUnique);
  std::memcpy(id.mutable_data() + kUnique, of.data(), PartId::kSize);
  return id;
}

// The same for the same, in every process: a task that is submitted again has the id it had.
UniqueId UniqueOf(const TaskId& parent, uint64_t count) {
  UniqueId unique;
  auto mixed = static_cast<uint64_t>(parent.HashWith(TaskId::kSize));
  for (const uint64_t round : {count, ~count}) {
    mixed = (mixed ^ round) * 0xd6e8feb86659fd93ull;
    mixed ^= mixed >> 32;
  }
  std::memcpy(unique.mutable_data(), &mixed, sizeof mixed);
  return unique;
}

JobId JobFromInt(int64_t number) {
  if (number < 0 || number > UINT32_MAX) {
    throw std::overflow_error("a job's number is from 0 to 4294967295, got " +
                              std::to_string(number));
  }
  return JobIdFromInt(static_cast<uint32_t>(number));
}

void AddMakers(py::class_<TaskId>& task) {
  task.def_static("for_driver_task",
                  [](const JobId& job) { return IdOf<TaskId>(UniqueId::Nil(), job); })
      .def_static("for_fake_task",
                  [](const JobId& job) { return IdOf<TaskId>(UniqueId::FromRandom(), job); })
      .def_static("for_actor_creation_task", &ActorCreationTask)
      .def_static("for_actor_task",
                  [](const JobId&, const TaskId& parent, uint64_t count, const ActorId& actor) {
                    return IdOf<TaskId>(UniqueOf(parent, count), actor);
                  })
      .def_static("for_normal_task", [](const JobId& job, const TaskId& parent, uint64_t count) {
        const auto no_actor = IdOf<ActorId>(UniqueId::Nil(), job);
        return IdOf<TaskId>(UniqueOf(parent, count), no_actor);
      });
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
  AddId<PlacementGroupId>(module, "PlacementGroupID").def_static("of", [](const JobId& job) {
    return IdOf<PlacementGroupId>(UniqueId::FromRandom(), job);
  });
  AddId<JobId>(module, "JobID").def_static("from_int", &JobFromInt).def("int", &JobIdToInt);
  AddId<ActorId>(module, "ActorID")
      .def_static("of",
                  [](const JobId& job, const TaskId&, uint64_t) { return RandomActorId(job); })
      .def_property_readonly("job_id", [](const ActorId& id) { return JobOf(id); });
  auto task = AddId<TaskId>(module, "TaskID");
  task.def("actor_id", [](const TaskId& id) { return ActorOf(id); });
  task.def("job_id", [](const TaskId& id) { return JobOf(id); });
  AddMakers(task);
  AddId<ObjectId>(module, "ObjectID")
      .def("task_id", [](const ObjectId& id) { return TaskOf(id); })
      .def("job_id", [](const ObjectId& id) { return JobOf(id); });
}

}  // namespace skyray::bindings
