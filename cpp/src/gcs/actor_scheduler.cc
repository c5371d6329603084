// SPDX-License-Identifier: Apache-2.0
#include "gcs/actor_scheduler.h"

#include <algorithm>

#include "gcs/node_table.h"

namespace skyray::gcs {
namespace {

using scheduling::Choice;
using scheduling::Strategy;

Strategy StrategyFromMessage(const pb::Strategy& message) {
  Strategy strategy;
  if (message.kind() == pb::Strategy::SPREAD) strategy.kind = Strategy::Kind::Spread;
  if (message.kind() == pb::Strategy::NODE_AFFINITY) {
    strategy.kind = Strategy::Kind::NodeAffinity;
    strategy.node = NodeId::FromBinary(message.node_id()).value_or(NodeId());
    strategy.soft = message.soft();
  }
  for (const pb::LabelSelector& selector : message.selectors()) {
    LabelSelector& terms = strategy.selectors.emplace_back();
    for (const pb::LabelTerm& term : selector.terms()) {
      terms.push_back({term.key(),
                       static_cast<LabelTerm::Op>(term.op()),
                       {term.values().begin(), term.values().end()}});
    }
  }
  return strategy;
}

// Two actors with the same text can be placed on the same nodes, equally well.
std::string ClassOf(const scheduling::Request& request, const NodeId& preferred) {
  std::string labels;
  for (const LabelSelector& selector : request.strategy.selectors) {
    labels += "[" + ToString(selector) + "]";
  }
  return labels + request.held.ToString() + request.placement.ToString() +
         std::to_string(static_cast<int>(request.strategy.kind)) +
         std::to_string(request.strategy.soft) + request.strategy.node.Hex() + preferred.Hex();
}

}  // namespace

void ActorScheduler::Add(const ActorId& actor, const pb::ActorSpec& spec) {
  scheduling::Request request{ResourcesFromMessage(spec.resources()),
                              ResourcesFromMessage(spec.placement_resources()),
                              StrategyFromMessage(spec.strategy())};
  const NodeId preferred = NodeId::FromBinary(spec.owner().node_id()).value_or(NodeId());
  const std::string name = ClassOf(request, preferred);
  Line& line = lines_[name];
  line.request = std::move(request);
  line.preferred = preferred;
  line.actors.push_back(actor);
  line.told_infeasible = false;
  class_of_[actor] = name;
}

void ActorScheduler::Remove(const ActorId& actor) {
  if (const auto it = class_of_.find(actor); it != class_of_.end()) {
    const auto line = lines_.find(it->second);
    std::erase(line->second.actors, actor);
    if (line->second.actors.empty()) lines_.erase(line);
    class_of_.erase(it);
  }
  const auto ordered = ordered_on_.find(actor);
  if (ordered == ordered_on_.end()) return;
  const NodeId id = ordered->second;
  ordered_on_.erase(ordered);
  Node& node = nodes_.at(id);
  std::erase_if(node.orders, [&](const Order& order) { return order.actor == actor; });
  const scheduling::NodeView* view = view_.Find(id);
  Refresh(id, node, view->version, view->pending_leases);
}

void ActorScheduler::Started(const ActorId& actor) {
  const auto ordered = ordered_on_.find(actor);
  if (ordered == ordered_on_.end()) return;
  for (Order& order : nodes_.at(ordered->second).orders) {
    if (order.actor == actor) order.started = true;
  }
}

void ActorScheduler::NodeAdded(const pb::NodeInfo& info) {
  const NodeId id = *NodeId::FromBinary(info.node_id());
  scheduling::NodeView view;
  view.id = id;
  view.name = info.name().empty() ? info.ip() : info.name();
  view.total = ResourcesFromMessage(info.total());
  view.available = ResourcesFromMessage(info.available());
  view.labels.insert(info.labels().begin(), info.labels().end());
  view.version = info.version();
  nodes_[id] = Node{view.available, 0, {}};
  view_.Put(std::move(view));
  for (auto& [name, line] : lines_) line.told_infeasible = false;
}

void ActorScheduler::NodeReported(const NodeId& id, const pb::ResourceReport& report) {
  const auto it = nodes_.find(id);
  if (it == nodes_.end()) return;
  Node& node = it->second;
  std::erase_if(node.orders, [&](const Order& order) {
    const bool counted = order.started || order.number <= report.starts_seen();
    if (counted) ordered_on_.erase(order.actor);
    return counted;
  });
  node.reported = ResourcesFromMessage(report.available());
  Refresh(id, node, report.version(), report.pending_leases());
}

void ActorScheduler::TakeUntilReported(const NodeId& id, const ActorId& actor,
                                       const ResourceSet& held) {
  Node& node = nodes_.at(id);
  ++node.orders_given;
  if (held.empty()) return;
  node.orders.push_back({actor, node.orders_given, held, false});
  ordered_on_[actor] = id;
  view_.Debit(id, held);
}

void ActorScheduler::Refresh(const NodeId& id, const Node& node, uint64_t version,
                             uint64_t pending_leases) {
  scheduling::NodeView view = *view_.Find(id);
  view.available = node.reported;
  view.version = version;
  view.pending_leases = pending_leases;
  view_.Put(std::move(view));
  for (const Order& order : node.orders) view_.Debit(id, order.held);
}

void ActorScheduler::NodeRemoved(const NodeId& id) {
  const auto it = nodes_.find(id);
  if (it == nodes_.end()) return;
  for (const Order& order : it->second.orders) ordered_on_.erase(order.actor);
  nodes_.erase(it);
  view_.Remove(id);
  for (auto& [name, line] : lines_) line.told_infeasible = false;
}

std::vector<ActorPlacement> ActorScheduler::Schedule() {
  std::vector<ActorPlacement> placements;
  for (auto it = lines_.begin(); it != lines_.end();) {
    ScheduleLine(it->second, placements);
    it = it->second.actors.empty() ? lines_.erase(it) : std::next(it);
  }
  return placements;
}

void ActorScheduler::ScheduleLine(Line& line, std::vector<ActorPlacement>& placements) {
  // Without any node the cluster is only starting.
  while (!line.actors.empty() && !view_.nodes().empty()) {
    const ActorId actor = line.actors.front();
    const Choice choice = scheduling::Choose(line.request, view_, {line.preferred, turn_});
    if (choice.kind == Choice::Kind::Later) return;
    if (choice.kind == Choice::Kind::Now) {
      ++turn_;
      TakeUntilReported(choice.node, actor, line.request.held);
      placements.push_back({ActorPlacement::Kind::Place, actor, choice.node, ""});
    } else if (line.request.strategy.kind == Strategy::Kind::NodeAffinity &&
               !line.request.strategy.soft) {
      placements.push_back({ActorPlacement::Kind::Unschedulable, actor, NodeId(), choice.why});
    } else {
      if (!line.told_infeasible) {
        line.told_infeasible = true;
        for (const ActorId& waiting : line.actors) {
          placements.push_back({ActorPlacement::Kind::Infeasible, waiting, NodeId(), choice.why});
        }
      }
      return;
    }
    line.actors.pop_front();
    class_of_.erase(actor);
  }
}

}  // namespace skyray::gcs
