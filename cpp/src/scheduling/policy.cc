// SPDX-License-Identifier: Apache-2.0
#include "scheduling/policy.h"

#include <algorithm>
#include <cstdio>
#include <tuple>
#include <vector>

namespace skyray::scheduling {
namespace {

using Nodes = std::vector<const NodeView*>;

std::string NameOf(const NodeView& node) {
  return node.name.empty() ? node.id.Hex().substr(0, 8) : node.name;
}

std::string Amount(ResourceAmount amount) {
  char text[40];
  snprintf(text, sizeof text, "%.10g", ResourceAmountToDouble(amount));
  return text;
}

bool CanRun(const NodeView& node, const Request& request) {
  return node.total.Contains(request.placement) && node.total.Contains(request.held);
}

// What Default sorts by, the best first.
using Rank = std::tuple<bool, bool, double, bool>;

Rank RankOf(const NodeView& node, const Request& request, const Tie& tie) {
  const bool crowded = !node.available.Contains(request.placement);
  const bool wastes_gpu = node.total.Get("GPU") > 0 && request.placement.Get("GPU") == 0;
  const double used = Utilisation(node, request.placement);
  return {crowded, wastes_gpu, used < kPackBelow ? 0.0 : used, node.id != tie.preferred};
}

const NodeView* PickDefault(const Nodes& nodes, const Request& request, const Tie& tie) {
  std::vector<std::pair<Rank, const NodeView*>> ranked;
  ranked.reserve(nodes.size());
  for (const NodeView* node : nodes) ranked.emplace_back(RankOf(*node, request, tie), node);
  // Stable: nodes of one rank stay in the order of their ids, so that work packs.
  std::stable_sort(ranked.begin(), ranked.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  if (ranked.front().second->id == tie.preferred) return ranked.front().second;
  // Several schedulers that see the same view should not all take the same node.
  const auto top =
      std::max<size_t>(1, static_cast<size_t>(static_cast<double>(ranked.size()) * kTopFraction));
  return ranked[tie.turn % top].second;
}

const NodeView* PickSpread(const Nodes& nodes, const Tie& tie) {
  return nodes[tie.turn % nodes.size()];
}

Choice ChooseAmong(const Nodes& nodes, const Request& request, const Tie& tie) {
  Nodes free;
  std::copy_if(nodes.begin(), nodes.end(), std::back_inserter(free),
               [&](const NodeView* node) { return node->available.Contains(request.held); });
  const bool now = !free.empty();
  const Nodes& from = now ? free : nodes;
  const NodeView* picked = request.strategy.kind == Strategy::Kind::Spread
                               ? PickSpread(from, tie)
                               : PickDefault(from, request, tie);
  return {now ? Choice::Kind::Now : Choice::Kind::Later, picked->id, ""};
}

// Of the nodes in `cluster`, whatever their labels.
Choice ChooseOf(const Request& request, const ClusterView& cluster, const Tie& tie) {
  if (request.strategy.kind == Strategy::Kind::NodeAffinity) {
    const NodeView* node = cluster.Find(request.strategy.node);
    if (node != nullptr && CanRun(*node, request)) return ChooseAmong({node}, request, tie);
    if (!request.strategy.soft) {
      const std::string id = request.strategy.node.Hex();
      if (node == nullptr) {
        return {Choice::Kind::Never, NodeId(),
                "it must run on node " + id + ", which is not alive; use soft=True to let it " +
                    "run elsewhere"};
      }
      ClusterView alone;
      alone.Put(*node);
      return {Choice::Kind::Never, NodeId(),
              "it must run on node " + id + ": " + WhyNever(request.placement, alone)};
    }
  }
  Nodes able;
  for (const auto& [id, node] : cluster.nodes()) {
    if (CanRun(node, request)) able.push_back(&node);
  }
  if (able.empty()) {
    ResourceSet demand = request.placement;
    for (const auto& [name, amount] : request.held.amounts()) {
      demand.Set(name, std::max(amount, demand.Get(name)));
    }
    return {Choice::Kind::Never, NodeId(), WhyNever(demand, cluster)};
  }
  return ChooseAmong(able, request, tie);
}

ClusterView WithLabels(const LabelSelector& selector, const ClusterView& cluster) {
  ClusterView matching;
  for (const auto& [id, node] : cluster.nodes()) {
    if (Matches(selector, node.labels)) matching.Put(node);
  }
  return matching;
}

}  // namespace

bool Allows(const Strategy& strategy, const Labels& labels) {
  return strategy.selectors.empty() ||
         std::any_of(strategy.selectors.begin(), strategy.selectors.end(),
                     [&](const LabelSelector& selector) { return Matches(selector, labels); });
}

Choice Choose(const Request& request, const ClusterView& cluster, const Tie& tie) {
  if (request.strategy.selectors.empty()) return ChooseOf(request, cluster, tie);
  Choice later;
  std::string why;
  for (const LabelSelector& selector : request.strategy.selectors) {
    const ClusterView matching = WithLabels(selector, cluster);
    const std::string labels = "the labels " + ToString(selector);
    if (matching.nodes().empty()) {
      why += (why.empty() ? "" : "; ") + ("no node has " + labels);
      continue;
    }
    Choice choice = ChooseOf(request, matching, tie);
    if (choice.kind == Choice::Kind::Now) return choice;
    if (choice.kind == Choice::Kind::Never) {
      why += (why.empty() ? "" : "; ") + ("of the nodes with " + labels + ": " + choice.why);
    } else if (later.kind == Choice::Kind::Never) {
      later = std::move(choice);
    }
  }
  if (later.kind == Choice::Kind::Later) return later;
  return {Choice::Kind::Never, NodeId(), why};
}

double Utilisation(const NodeView& node, const ResourceSet& demand) {
  double most = 0;
  const auto consider = [&](std::string_view name) {
    const ResourceAmount total = node.total.Get(name);
    if (total <= 0) return;
    const auto used = static_cast<double>(total - node.available.Get(name));
    most = std::max(most, used / static_cast<double>(total));
  };
  consider("CPU");
  consider("memory");
  for (const auto& [name, amount] : demand.amounts()) consider(name);
  return std::clamp(most, 0.0, 1.0);
}

std::string WhyNever(const ResourceSet& demand, const ClusterView& cluster) {
  if (cluster.nodes().empty()) return "there is no node in the cluster";
  const NodeView* closest = &cluster.nodes().begin()->second;
  size_t closest_lacks = demand.amounts().size() + 1;
  for (const auto& [name, amount] : demand.amounts()) {
    const NodeView* best = closest;
    for (const auto& [id, node] : cluster.nodes()) {
      if (node.total.Get(name) > best->total.Get(name)) best = &node;
    }
    const ResourceAmount most = best->total.Get(name);
    if (most >= amount) continue;
    const std::string asked = name + ": " + Amount(amount) + " is asked for, but ";
    if (most == 0) return asked + "no node has any " + name;
    return asked + "the most any node has is " + Amount(most) + " (node " + NameOf(*best) + ")";
  }
  for (const auto& [id, node] : cluster.nodes()) {
    const auto lacks = static_cast<size_t>(std::count_if(
        demand.amounts().begin(), demand.amounts().end(), [&total = node.total](const auto& entry) {
          return total.Get(entry.first) < entry.second;
        }));
    if (lacks < closest_lacks) {
      closest_lacks = lacks;
      closest = &node;
    }
  }
  std::string text = "no single node has all of " + demand.ToString() + "; node " +
                     NameOf(*closest) + " comes closest and lacks";
  const char* comma = " ";
  for (const auto& [name, amount] : demand.amounts()) {
    const ResourceAmount has = closest->total.Get(name);
    if (has >= amount) continue;
    text += comma + name + " (has " + Amount(has) + " of " + Amount(amount) + ")";
    comma = ", ";
  }
  return text;
}

}  // namespace skyray::scheduling
