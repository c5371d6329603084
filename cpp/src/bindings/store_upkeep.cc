// SPDX-License-Identifier: Apache-2.0
#include "bindings/store_upkeep.h"

#include "bindings/session.h"
#include "bindings/store_id.h"
#include "plasma/wire.h"

namespace skyray::bindings {
namespace {

using fb::plasma::StatsReply;

struct Figure {
  const char* name;
  uint64_t (StatsReply::*value)() const;
};
constexpr Figure kFigures[] = {
    {"capacity_bytes", &StatsReply::capacity_bytes},
    {"allocated_bytes", &StatsReply::allocated_bytes},
    {"touched_bytes", &StatsReply::touched_bytes},
    {"fallback_bytes", &StatsReply::fallback_bytes},
    {"largest_free_bytes", &StatsReply::largest_free_bytes},
    {"clients", &StatsReply::clients},
    {"waiting_gets", &StatsReply::waiting_gets},
    {"waiting_creates", &StatsReply::waiting_creates},
    {"created_total", &StatsReply::created_total},
    {"created_bytes_total", &StatsReply::created_bytes_total},
    {"evicted_total", &StatsReply::evicted_total},
    {"evicted_bytes_total", &StatsReply::evicted_bytes_total},
    {"spilled_total", &StatsReply::spilled_total},
    {"spilled_bytes_total", &StatsReply::spilled_bytes_total},
    {"restored_total", &StatsReply::restored_total},
    {"restored_bytes_total", &StatsReply::restored_bytes_total},
    {"ignored_requests_total", &StatsReply::ignored_requests_total},
};

struct Count {
  const char* name;
  const fb::plasma::ObjectCount* (StatsReply::*value)() const;
};
constexpr Count kCounts[] = {
    {"all", &StatsReply::all},
    {"in_use", &StatsReply::in_use},
    {"unsealed", &StatsReply::unsealed},
    {"sealed_in_use", &StatsReply::sealed_in_use},
    {"spillable", &StatsReply::spillable},
    {"evictable", &StatsReply::evictable},
    {"spilled", &StatsReply::spilled},
};

bool Put(PyObject* dict, const char* name, PyRef value) {
  return value && PyDict_SetItemString(dict, name, value.get()) == 0;
}

PyObject* NewEntry(const fb::plasma::ObjectInfo& object) {
  const auto state = static_cast<fb::plasma::ObjectState>(object.state());
  return Py_BuildValue(
      "(NKKKKIssNNy#IK)", NewStoreId(plasma::FromWire<ObjectId>(object.id())),
      static_cast<unsigned long long>(object.data_bytes()),
      static_cast<unsigned long long>(object.metadata_bytes()),
      static_cast<unsigned long long>(object.age_ms()),
      static_cast<unsigned long long>(object.construct_ms()),
      static_cast<unsigned>(object.references()), fb::plasma::EnumNameObjectState(state),
      fb::plasma::EnumNameObjectSource(object.source()), PyBool_FromLong(object.primary()),
      PyBool_FromLong(object.stored()), reinterpret_cast<const char*>(&object.owner()),
      Py_ssize_t{ObjectId::kSize}, static_cast<unsigned>(object.segment()),
      static_cast<unsigned long long>(object.offset()));
}

}  // namespace

PyObject* NewObjectList(std::span<const fb::plasma::ObjectInfo> objects) {
  PyRef list(PyList_New(static_cast<Py_ssize_t>(objects.size())));
  if (!list) return nullptr;
  for (size_t i = 0; i < objects.size(); ++i) {
    PyObject* entry = NewEntry(objects[i]);
    if (entry == nullptr) return nullptr;
    PyList_SET_ITEM(list.get(), static_cast<Py_ssize_t>(i), entry);
  }
  return list.Release();
}

PyObject* NewStats(const StatsReply& stats) {
  PyRef dict(PyDict_New());
  if (!dict) return nullptr;
  for (const Figure& figure : kFigures) {
    if (!Put(dict.get(), figure.name,
             PyRef(PyLong_FromUnsignedLongLong((stats.*figure.value)())))) {
      return nullptr;
    }
  }
  for (const Count& count : kCounts) {
    const fb::plasma::ObjectCount* value = (stats.*count.value)();
    const unsigned long long objects = value == nullptr ? 0 : value->objects();
    const unsigned long long bytes = value == nullptr ? 0 : value->bytes();
    if (!Put(dict.get(), count.name, PyRef(Py_BuildValue("(KK)", objects, bytes)))) return nullptr;
  }
  return dict.Release();
}

}  // namespace skyray::bindings
