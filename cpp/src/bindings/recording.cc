// SPDX-License-Identifier: Apache-2.0
#include "bindings/recording.h"

#include <algorithm>

#include "bindings/session.h"

namespace skyray::bindings {

uint32_t EndNow(core_worker::IncomingCall& call) {
  call.times.end_ns = core_worker::NowNs();
  const int64_t us = (call.times.end_ns - call.times.start_ns) / 1000;
  return static_cast<uint32_t>(std::min<int64_t>(us, UINT32_MAX));
}

void NameCode(PyObject* function, core_worker::RecordedFunction& recorded) {
  const PyRef module(PyObject_GetAttrString(function, "__module__"));
  const PyRef name(module ? PyObject_GetAttrString(function, "__name__") : nullptr);
  const PyRef both(name ? PyUnicode_FromFormat("%S.%S", module.get(), name.get()) : nullptr);
  const char* text = both ? PyUnicode_AsUTF8(both.get()) : nullptr;
  recorded.code = text != nullptr ? text : recorded.name;
  PyErr_Clear();
}

void HasRun(core_worker::IncomingCall& call) {
  if (call.times.arguments_ns != 0) call.times.executed_ns = core_worker::NowNs();
}

core_worker::TaskFailure* NewFailure(core_worker::IncomingCall& call, bool in_outputs) {
  if (!call.function->recorded) return nullptr;
  call.failure = std::make_unique<core_worker::TaskFailure>();
  call.failure->in_outputs = in_outputs;
  return call.failure.get();
}

}  // namespace skyray::bindings
