// SPDX-License-Identifier: Apache-2.0
#include "raylet/cluster_view.h"

#include <algorithm>
#include <optional>

namespace skyray::raylet {
namespace {

// The share of the scarcest of `demand`'s resources that is in use, 0 to 1.
double Utilisation(const ResourceSet& total, const ResourceSet& available,
                   const ResourceSet& demand) {
  double worst = 0;
  for (const auto& [name, amount] : demand.amounts()) {
    const ResourceAmount all = total.Get(name);
    if (all == 0) return 1;
    const auto used = static_cast<double>(all - available.Get(name));
    worst = std::max(worst, used / static_cast<double>(all));
  }
  return worst;
}

}  // namespace

void ClusterView::Update(PeerNode node) {
  const auto it = peers_.find(node.id);
  if (it == peers_.end()) {
    peers_.emplace(node.id, std::move(node));
  } else if (!node.alive || node.version >= it->second.version) {
    it->second = std::move(node);
  }
}

const PeerNode* ClusterView::Find(const NodeId& node) const {
  const auto it = peers_.find(node);
  return it == peers_.end() ? nullptr : &it->second;
}

void ClusterView::Debit(const NodeId& node, const ResourceSet& demand) {
  const auto it = peers_.find(node);
  if (it == peers_.end()) return;
  for (const auto& [name, amount] : demand.amounts()) {
    it->second.available.Set(name, it->second.available.Get(name) - amount);
  }
}

const PeerNode* ClusterView::Roomiest(const ResourceSet& demand, bool available_now) const {
  const PeerNode* best = nullptr;
  double best_utilisation = 0;
  for (const auto& [id, node] : peers_) {
    if (!node.alive || !node.total.Contains(demand)) continue;
    if (available_now && !node.available.Contains(demand)) continue;
    const double utilisation = Utilisation(node.total, node.available, demand);
    if (best == nullptr || utilisation < best_utilisation) {
      best = &node;
      best_utilisation = utilisation;
    }
  }
  return best;
}

Decision ClusterView::Decide(const ResourceLedger& local, const ResourceSet& demand,
                             const Strategy& strategy, bool spilled) {
  if (strategy.kind == Strategy::Kind::NodeAffinity) {
    if (strategy.node == self_) {
      if (local.Fits(demand)) return {Decision::Kind::Local, {}};
      if (local.Feasible(demand)) return {Decision::Kind::Wait, {}};
      if (!strategy.soft) return {Decision::Kind::Infeasible, {}};
    } else {
      const PeerNode* node = Find(strategy.node);
      if (node != nullptr && node->alive && node->total.Contains(demand)) {
        return {Decision::Kind::SendOn, strategy.node};
      }
      if (!strategy.soft) {
        // One never heard of may just have joined; the GCS's news is on its way.
        const bool died = node != nullptr && !node->alive;
        return {died ? Decision::Kind::NodeDied : Decision::Kind::Infeasible, {}};
      }
    }
  } else if (strategy.kind == Strategy::Kind::Spread && !spilled) {
    return DecideSpread(local, demand);
  }
  return DecideAnywhere(local, demand, spilled);
}

Decision ClusterView::DecideAnywhere(const ResourceLedger& local, const ResourceSet& demand,
                                     bool spilled) {
  if (local.Fits(demand)) return {Decision::Kind::Local, {}};
  const bool feasible = local.Feasible(demand);
  if (feasible && spilled) return {Decision::Kind::Wait, {}};
  if (const PeerNode* node = Roomiest(demand, /*available_now=*/true)) {
    return {Decision::Kind::SendOn, node->id};
  }
  if (feasible) return {Decision::Kind::Wait, {}};
  // Busy, but the only kind of node that can: it waits there.
  if (const PeerNode* node = Roomiest(demand, /*available_now=*/false)) {
    return {Decision::Kind::SendOn, node->id};
  }
  return {Decision::Kind::Infeasible, {}};
}

Decision ClusterView::DecideSpread(const ResourceLedger& local, const ResourceSet& demand) {
  std::vector<NodeId> with_room;
  if (local.Fits(demand)) with_room.push_back(self_);
  for (const auto& [id, node] : peers_) {
    if (node.alive && node.available.Contains(demand)) with_room.push_back(id);
  }
  if (with_room.empty()) return DecideAnywhere(local, demand, /*spilled=*/false);
  std::sort(with_room.begin(), with_room.end());
  auto next = std::upper_bound(with_room.begin(), with_room.end(), last_spread_);
  if (next == with_room.end()) next = with_room.begin();
  last_spread_ = *next;
  if (*next == self_) return {Decision::Kind::Local, {}};
  return {Decision::Kind::SendOn, *next};
}

std::string ClusterView::WhyInfeasible(const ResourceLedger& local, const ResourceSet& demand,
                                       const Strategy& strategy) const {
  std::string missing;
  for (const auto& [name, amount] : demand.amounts()) {
    ResourceAmount most = local.total().Get(name);
    for (const auto& [id, node] : peers_) {
      if (node.alive) most = std::max(most, node.total.Get(name));
    }
    if (most >= amount) continue;
    ResourceSet one;
    one.Set(name, amount);
    missing += (missing.empty() ? "" : " and ") + one.ToString();
  }
  std::string text = "it needs " + demand.ToString();
  if (strategy.kind == Strategy::Kind::NodeAffinity && !strategy.soft) {
    text += " on node " + strategy.node.Hex().substr(0, 8);
  }
  text += missing.empty() ? ", which no single node has" : "; no node has " + missing;
  text += ". This node has " + local.total().ToString();
  size_t told = 0;
  for (const auto& [id, node] : peers_) {
    if (!node.alive) continue;
    if (++told > 5) {
      text += ", and others less";
      break;
    }
    text += ", node " + id.Hex().substr(0, 8) + " has " + node.total.ToString();
  }
  return text + ". Ask for less, or add a node that has it; the request stays queued meanwhile";
}

}  // namespace skyray::raylet
