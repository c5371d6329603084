// SPDX-License-Identifier: Apache-2.0
#include "raylet/placement.h"

#include <algorithm>

namespace skyray::raylet {

using Kind = Decision::Kind;

Placement::Placement(const NodeId& self, std::string name, const ResourceLedger& ledger,
                     Labels labels)
    : self_(self), name_(std::move(name)), labels_(std::move(labels)), ledger_(ledger) {
  LookAtSelf();
}

void Placement::LookAtSelf() {
  if (seen_version_ == ledger_.version()) return;
  seen_version_ = ledger_.version();
  scheduling::NodeView view;
  view.id = self_;
  view.name = name_;
  view.labels = labels_;
  view.total = ledger_.total();
  for (const auto& [name, amount] : ledger_.available().amounts()) {
    view.available.Set(name, std::max<ResourceAmount>(0, amount));
  }
  nodes_.Put(std::move(view));
}

void Placement::Update(scheduling::NodeView node) {
  if (dead_.contains(node.id)) return;
  const scheduling::NodeView* known = nodes_.Find(node.id);
  if (known != nullptr && known->version > node.version) return;
  debited_.erase(node.id);
  nodes_.Put(std::move(node));
}

void Placement::NodeDied(const NodeId& node) {
  nodes_.Remove(node);
  debited_.erase(node);
  dead_.insert(node);
}

void Placement::Debit(const NodeId& node, const ResourceSet& demand, TimePoint now) {
  const scheduling::NodeView* known = nodes_.Find(node);
  if (known == nullptr) return;
  const auto it = debited_.try_emplace(node, Debited{*known, now}).first;
  it->second.last = now;
  nodes_.Debit(node, demand);
}

std::optional<TimePoint> Placement::UndoDebits(TimePoint now) {
  std::optional<TimePoint> next;
  for (auto it = debited_.begin(); it != debited_.end();) {
    const TimePoint old = it->second.last + kDebitLasts;
    if (now >= old) {
      nodes_.Put(std::move(it->second.reported));
      it = debited_.erase(it);
    } else {
      if (!next || old < *next) next = old;
      ++it;
    }
  }
  return next;
}

Decision Placement::Decide(const scheduling::Request& request, bool spilled) {
  const bool insists =
      request.strategy.kind == Strategy::Kind::NodeAffinity && !request.strategy.soft;
  if (insists && dead_.contains(request.strategy.node)) return {Kind::NodeDied, {}, ""};
  const bool here = scheduling::Allows(request.strategy, labels_) &&
                    (request.strategy.kind != Strategy::Kind::NodeAffinity ||
                     request.strategy.node == self_ || !Knows(request.strategy.node));
  // Nobody else to ask, or it was sent here: no need to compare.
  const bool settled = spilled || nodes_.nodes().size() == 1;
  if (settled && here && (!insists || request.strategy.node == self_)) {
    if (ledger_.Fits(request.placement)) return {Kind::Local, {}, ""};
    if (ledger_.Feasible(request.placement)) return {Kind::Wait, {}, ""};
  }
  return DecideAmongAll(request);
}

Decision Placement::DecideAmongAll(const scheduling::Request& request) {
  LookAtSelf();
  scheduling::Choice choice = scheduling::Choose(request, nodes_, {self_, turn_});
  if (choice.kind == scheduling::Choice::Kind::Never) {
    return {Kind::Infeasible, {}, std::move(choice.why)};
  }
  const bool now = choice.kind == scheduling::Choice::Kind::Now;
  if (choice.node == self_) {
    // The view knows amounts, the ledger also which GPUs they are on.
    if (!now || !ledger_.Fits(request.placement)) return {Kind::Wait, {}, ""};
    ++turn_;
    return {Kind::Local, {}, ""};
  }
  const bool bound =
      request.strategy.kind == Strategy::Kind::NodeAffinity && choice.node == request.strategy.node;
  const bool could_stay =
      ledger_.Feasible(request.placement) && scheduling::Allows(request.strategy, labels_);
  if (!now && !bound && could_stay) return {Kind::Wait, {}, ""};
  ++turn_;
  return {Kind::SendOn, choice.node, ""};
}

}  // namespace skyray::raylet
