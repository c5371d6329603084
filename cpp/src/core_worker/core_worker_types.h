// SPDX-License-Identifier: Apache-2.0
// What a core worker is given, and what it gives back (core_worker.h).
//
// Threading: values. Ownership: as their comments say. Errors: none.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/id.h"
#include "common/progress_board.h"
#include "common/resource_set.h"
#include "core_worker/call_queue.h"
#include "core_worker/gateway_store.h"
#include "core_worker/lineage.h"
#include "core_worker/object_table.h"
#include "core_worker/payload.h"
#include "core_worker/task.h"
#include "core_worker/task_submitter.h"

namespace skyray::core_worker {

// What a worker printed.
struct OutputLines {
  std::string name;
  int pid = 0;
  std::string node_ip;
  bool is_stderr = false;
  std::vector<std::string> lines;
};

struct CoreWorkerOptions {
  std::string raylet_socket;
  bool is_driver = true;
  WorkerId worker_id;
  std::string job_config;
  std::string ray_namespace;
  std::string entrypoint;
  // From the leading thread, without the mutex.
  std::function<void(const OutputLines&)> on_log;
  std::function<void(const std::string& text, bool is_error)> on_notice;
  // Errors that nobody may hear of otherwise: of a call that is made again, which `what` says,
  // or of one whose result was let go of unseen (`what` is empty).
  std::function<void(const std::string& what, const ValuePtr& error)> on_failure;
  // A wait that takes longer is explained, by on_notice.
  int64_t explain_after_ns = 10'000'000'000;
  // How long a lease without tasks is kept.
  int64_t lease_linger_ns = kLeaseLingerNs;
  // A task that has run for so long is not waited for: what is queued behind it goes back.
  int64_t long_task_ns = 5'000'000;
  // True if the waiting thread is to give up (a signal's handler raised).
  std::function<bool()> interrupted;
  // How much is kept of tasks, so that lost objects can be made again.
  uint64_t lineage_bytes_max = kLineageBytesMax;
  // How often a task is made again whose worker was ended as memory ran short; -1: for
  // ever. One that has no retries at all is never made again.
  int32_t oom_retries_max = -1;
  // How long after it was run at the latest a task is told of to the GCS; 0: none is.
  int64_t task_events_interval_ns = 1'000'000'000;
  // A worker's place on its node's board; may be null.
  Progress* progress = nullptr;
};

struct SessionInfo {
  NodeId node_id;
  JobId job_id;
  WorkerId worker_id;
  std::string node_ip;
  std::string session_dir;
  std::string socket_dir;
  std::string gcs_address;
  bool is_head = false;
};

// Options of a function that its executors have to know.
struct FunctionOptions {
  std::string retry_exceptions;  // As in DefineFunction.
  uint32_t max_calls = 0;
  uint64_t items_untaken_max = 0;  // A generator's; 0: it never pauses.
  bool records_events = true;
};

// What becomes of the values that a generator function yields.
enum class GeneratorKind : uint8_t {
  None,       // It is none: what it returns is the value.
  Streaming,  // Each is an object, there as soon as it is yielded.
  Listed,     // Each is an object; the value is the list of them.
};

// A remote function with its options, resolved once.
struct TaskTemplate {
  Function* function = nullptr;
  LeaseClass* lease_class = nullptr;
  uint16_t returns = 1;
  int32_t max_retries = 3;
  GeneratorKind generator = GeneratorKind::None;
};

// The arguments of a call. `refs[i].object` and `pinned` carry one hold each,
// which Submit takes over.
struct CallArguments {
  std::string payload;
  uint16_t flags = 0;  // CallHeader's.
  std::vector<RefArgument> refs;
  std::vector<Object*> pinned;
};

struct ActorOptions {
  FunctionId class_id;
  std::string class_name;
  std::string name;
  std::string ray_namespace;
  bool detached = false;
  bool get_if_exists = false;
  int max_restarts = 0;
  Concurrency concurrency;
  ResourceSet placement_resources;
  ResourceSet resources;
  Strategy strategy;
  std::string handle;
  std::string runtime_env;     // JSON, opaque here; empty: the job's.
  bool records_events = true;  // Of its __init__.
};

// A value to read, kept alive.
struct ReadableValue {
  ValuePtr value;
  std::shared_ptr<StorePin> pin;
  std::span<const uint8_t> bytes;
};

// One value that a task returns.
struct TaskReturn {
  PayloadParts parts;
  std::vector<Object*> contained;  // One hold each, taken over.
};

// Why AwaitWork came back; any of them together.
struct Work {
  bool calls = false;        // TakeCall has something.
  bool descriptors = false;  // The watched descriptor can be read.
  bool room = false;         // A generator that was paused may go on (HasRoom).
  bool exit = false;         // The process is to end.
  bool interrupted = false;  // A signal's handler raised.
  bool cancelled = false;    // Calls on the loop have been cancelled (IsCancelled).
};

// How a process goes that was asked to.
enum class Leaving : uint8_t {
  Announced,    // Its raylet is told why: that is the end of its actor.
  AfterQueued,  // The same, once the calls that wait are answered.
  LikeACrash,   // Its exit code is to speak: its actor may be started again.
};

struct Statistics {
  size_t objects, objects_borrowed, tasks_pending, leases, actors;
  size_t calls_queued;  // Others' calls that wait to be run here.
};

}  // namespace skyray::core_worker
