// SPDX-License-Identifier: Apache-2.0
// Why a wait takes so long: what the owner knows of the object's task, and what
// the raylet knows of the worker it waits for. Only a wait that has lasted
// explain_after_ns comes here, so everything is looked for, nothing kept.
#include <algorithm>

#include "core_worker/core_worker.h"
#include "core_worker/frames_out.h"

namespace skyray::core_worker {
namespace fbr = fb::raylet;

namespace {

constexpr int64_t kAnswerWithinNs = 2'000'000'000;
// Between two explanations of one worker.
constexpr int64_t kWorkerPauseNs = 60'000'000'000;
// A task that waits for a task that waits for a task.
constexpr int kDepthMax = 5;

std::string NameOf(const Task& task) {
  if (task.actor == nullptr) return task.function->name;
  return task.actor->class_name + "." + task.function->method;
}

std::string Shorten(const std::string& hex) { return hex.substr(0, 16); }

bool Fills(const Task& task, const Object& object) {
  return std::find(task.returns.begin(), task.returns.end(), &object) != task.returns.end();
}

const Task* Among(const ChannelPtr& channel, const Object& object) {
  if (!channel) return nullptr;
  for (const Task* task : channel->in_flight.All()) {
    if (Fills(*task, object)) return task;
  }
  return nullptr;
}

// How many calls went to that worker before this one and are not answered.
size_t Before(const ChannelPtr& channel, const Task& task) {
  const auto all = channel ? channel->in_flight.All() : std::vector<Task*>();
  return static_cast<size_t>(std::find(all.begin(), all.end(), &task) - all.begin());
}

}  // namespace

// What was found out, and what the raylet is still to be asked.
struct CoreWorker::Explanation {
  std::string text;
  bool ask = false;
  uint64_t lease_request = 0;
  NodeId node;
  ActorId actor;
};

bool CoreWorker::TellWhyWaiting(Lock& lock, std::span<Object* const> objects) {
  const Object* first = nullptr;
  size_t pending = 0;
  for (const Object* object : objects) {
    if (object->state != ObjectState::Pending) continue;
    if (first == nullptr) first = object;
    ++pending;
  }
  if (first == nullptr) return true;
  Explanation found;
  found.text = "waiting for " + std::to_string(options_.explain_after_ns / 1'000'000'000) + " s, ";
  if (objects.size() > 1) {
    found.text += std::to_string(pending) + " of " + std::to_string(objects.size()) +
                  " objects are not ready; the first: ";
  }
  Explain(*first, found, 0);
  if (!options_.is_driver) {
    // Long waits are the rule where tasks wait for tasks; their driver hears of those. But
    // two that wait for what the other one holds are seen only from here.
    const int64_t now_ns = NowNs();
    if (!found.ask || now_ns < explained_at_ns_ + kWorkerPauseNs) return true;
    explained_at_ns_ = now_ns;
  }
  lock.unlock();
  bool goes_on = true;
  if (found.ask) {
    const auto why = AskRayletWhy(found);
    goes_on = why.has_value();
    if (why && !why->empty()) found.text += ": " + *why;
  }
  if (goes_on) options_.on_notice(found.text, /*is_error=*/false);
  lock.lock();
  return goes_on;
}

void CoreWorker::TellUnheeded(const ValuePtr& error) {
  if (!options_.on_failure || !raylet_lost_.empty()) return;
  gateway_.Defer([this, error] { options_.on_failure("", error); });
}

void CoreWorker::TellRetried(const Task& task, const ValuePtr& error) {
  if (!options_.on_failure) return;
  const std::string left = task.retries_left < 0 ? "no limit of retries"
                           : task.retries_left == 1
                               ? "the last retry"
                               : std::to_string(task.retries_left) + " retries left";
  gateway_.Defer([this, error, what = task.function->name + " is run again (" + left + ")"] {
    options_.on_failure(what, error);
  });
}

void CoreWorker::TellActorEnded(const Actor& actor, const fbr::ActorInfo& info) {
  // What was asked for, and an __init__ that raised, is known where it happened.
  if (!options_.on_notice || !actor.ours || info.exit() == nullptr || info.exit()->expected()) {
    return;
  }
  const bool restarts = info.state() == fbr::ActorState::Restarting;
  gateway_.Defer(
      [this, text = "actor " + actor.class_name + " (" + actor.id.Hex() + ") " +
                    (restarts ? "is started again: " : "is dead: ") +
                    DescribeExit(info.exit())] { options_.on_notice(text, /*is_error=*/true); });
}

void CoreWorker::TellManyCalls(Actor& actor) {
  const std::string count = std::to_string(std::exchange(actor.many_calls, 2 * actor.many_calls));
  if (!options_.on_notice) return;
  gateway_.Defer([this, text = "more than " + count + " tasks are pending submission to actor " +
                               actor.class_name + " with actor_id " + actor.id.Hex() +
                               ". To reduce memory usage, wait for these tasks to finish before "
                               "sending more, or bound them with max_pending_calls"] {
    options_.on_notice(text, /*is_error=*/false);
  });
}

std::optional<std::string> CoreWorker::AskRayletWhy(const Explanation& asked) {
  auto reply = Request(
      [&](Builder& builder, fbr::Body& type) {
        type = fbr::Body::ExplainLease;
        const auto node = PutId(builder, asked.node);
        const auto actor = PutId(builder, asked.actor);
        return fbr::CreateExplainLease(builder, asked.lease_request, node, actor).Union();
      },
      NowNs() + kAnswerWithinNs);
  if (!reply && reply.error().code() == ErrorCode::Cancelled) return std::nullopt;
  if (!reply) return "the raylet does not say why (" + reply.error().message() + ")";
  const auto* said = flatbuffers::GetRoot<fbr::Message>(reply->data())->body_as_LeaseExplanation();
  return said == nullptr ? std::string() : ToString(said->text());
}

const Task* CoreWorker::FindTaskOf(const Object& object) const {
  for (const Task* task : awaiting_arguments_.all()) {
    if (Fills(*task, object)) return task;
  }
  for (const auto& [key, lease_class] : submitter_.classes()) {
    for (const Task* task : lease_class->queue) {
      if (Fills(*task, object)) return task;
    }
    for (const Lease* lease : lease_class->leases) {
      if (const Task* task = Among(lease->channel, object)) return task;
    }
  }
  for (const auto& [id, actor] : actors_.actors()) {
    for (const Task* task : actor->queue) {
      if (Fills(*task, object)) return task;
    }
    if (const Task* task = Among(actor->channel, object)) return task;
  }
  return nullptr;
}

void CoreWorker::Explain(const Object& object, Explanation& out, int depth) const {
  out.text += "object " + Shorten(object.id.Hex());
  if (object.owner != nullptr) {
    out.text += " belongs to worker " + Shorten(object.owner->worker.Hex()) +
                ", which has not got its value yet";
    return;
  }
  if (const Task* task = FindTaskOf(object)) return ExplainTask(*task, out, depth);
  out.text += " is being made";
}

void CoreWorker::ExplainTask(const Task& task, Explanation& out, int depth) const {
  out.text += " of " + NameOf(task);
  if (task.unresolved > 0) {
    out.text += ", which waits for its argument: ";
    for (const RefArgument& argument : task.ref_args) {
      if (argument.object->state != ObjectState::Pending) continue;
      if (depth < kDepthMax) return Explain(*argument.object, out, depth + 1);
      out.text += "object " + Shorten(argument.object->id.Hex());
      return;
    }
  }
  if (task.actor != nullptr) return ExplainActor(*task.actor, task, out);
  if (task.lease != nullptr) {
    const size_t before = Before(task.lease->channel, task);
    out.text +=
        before == 0 ? ", which runs on the worker pid " : ", which is behind others on pid ";
    out.text += std::to_string(task.lease->pid);
    // It idled, for 100 ms at most, just before what it does now.
    const int64_t busy_ns = NowNs() - task.lease->idle_since_ns;
    out.text += ", busy for " + std::to_string(busy_ns / 1'000'000'000) + " s";
    if (task.lease->node != self_.node) out.text += " of node " + Shorten(task.lease->node.Hex());
    return;
  }
  out.text += ", which waits for a worker";
  for (const auto& [id, pending] : requests_) {
    if (pending.kind != PendingRequest::Kind::Lease || pending.lease_class != task.lease_class) {
      continue;
    }
    out.ask = true;
    out.lease_request = id;
    out.node = pending.node;
    return;
  }
}

void CoreWorker::ExplainActor(const Actor& actor, const Task& call, Explanation& out) const {
  const std::string who = actor.class_name + " (" + Shorten(actor.id.Hex()) + ")";
  if (call.sent && actor.channel) {
    const size_t before = Before(actor.channel, call);
    out.text += before == 0 ? ", which runs in actor " + who
                            : ", which is behind " + std::to_string(before) +
                                  (before == 1 ? " call" : " calls") + " in actor " + who;
    return;
  }
  if (actor.state == ActorState::Alive) {
    out.text += ", which waits for the connection to actor " + who;
    return;
  }
  out.text += ", which waits for actor " + who + " to be created";
  if (actor.unsent_creation != nullptr) {
    out.text += "; an argument of its __init__ is not ready";
    return;
  }
  out.ask = true;
  out.actor = actor.id;
}

}  // namespace skyray::core_worker
