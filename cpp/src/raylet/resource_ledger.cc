// SPDX-License-Identifier: Apache-2.0
#include "raylet/resource_ledger.h"

#include <algorithm>

#include "common/logging.h"

namespace skyray::raylet {

ResourceLedger::ResourceLedger(ResourceSet total, std::vector<std::string> gpu_ids)
    : total_(std::move(total)), available_(total_) {
  ResourceAmount left = total_.Get(kGpu);
  for (size_t i = 0; left > 0; ++i) {
    const ResourceAmount capacity = std::min(left, kResourceUnit);
    gpus_.push_back({i < gpu_ids.size() ? gpu_ids[i] : std::to_string(i), capacity, capacity});
    left -= capacity;
  }
}

bool ResourceLedger::Fits(const ResourceSet& demand) const {
  if (!available_.Contains(demand)) return false;
  const ResourceAmount gpus = demand.Get(kGpu);
  return gpus == 0 || !ChooseGpus(gpus).empty();
}

std::vector<ResourceLedger::GpuShare> ResourceLedger::ChooseGpus(ResourceAmount amount) const {
  std::vector<GpuShare> chosen;
  ResourceAmount whole = amount - amount % kResourceUnit;
  const ResourceAmount fraction = amount % kResourceUnit;
  std::vector<bool> taken(gpus_.size(), false);
  for (size_t i = 0; i < gpus_.size() && whole > 0; ++i) {
    if (gpus_[i].free < kResourceUnit) continue;
    chosen.push_back({i, kResourceUnit});
    taken[i] = true;
    whole -= kResourceUnit;
  }
  if (whole > 0) return {};
  if (fraction == 0) return chosen;
  // Best fit: the fullest GPU that has room, so that whole ones stay whole.
  size_t best = gpus_.size();
  for (size_t i = 0; i < gpus_.size(); ++i) {
    if (taken[i] || gpus_[i].free < fraction) continue;
    if (best == gpus_.size() || gpus_[i].free < gpus_[best].free) best = i;
  }
  if (best == gpus_.size()) return {};
  chosen.push_back({best, fraction});
  return chosen;
}

void ResourceLedger::Change(const std::string& name, ResourceAmount amount) {
  available_.Set(name, available_.Get(name) + amount);
  ++version_;
}

bool ResourceLedger::Allocate(const LeaseId& lease, const ResourceSet& demand) {
  SKYRAY_CHECK(!holdings_.contains(lease));
  if (!Fits(demand)) return false;
  Holding holding;
  holding.resources = demand;
  holding.gpus = ChooseGpus(demand.Get(kGpu));
  for (const GpuShare& share : holding.gpus) gpus_[share.index].free -= share.amount;
  for (const auto& [name, amount] : demand.amounts()) Change(name, -amount);
  holdings_.emplace(lease, std::move(holding));
  return true;
}

bool ResourceLedger::Release(const LeaseId& lease) {
  const auto it = holdings_.find(lease);
  if (it == holdings_.end()) return false;
  for (const GpuShare& share : it->second.gpus) gpus_[share.index].free += share.amount;
  for (const auto& [name, amount] : it->second.resources.amounts()) {
    if (name != kCpu || !it->second.lent) Change(name, amount);
  }
  holdings_.erase(it);
  return true;
}

bool ResourceLedger::Block(const LeaseId& lease) {
  const auto it = holdings_.find(lease);
  if (it == holdings_.end() || it->second.lent) return false;
  it->second.lent = true;
  if (const ResourceAmount cpu = it->second.resources.Get(kCpu)) Change(kCpu, cpu);
  return true;
}

bool ResourceLedger::Unblock(const LeaseId& lease) {
  const auto it = holdings_.find(lease);
  if (it == holdings_.end() || !it->second.lent) return false;
  it->second.lent = false;
  if (const ResourceAmount cpu = it->second.resources.Get(kCpu)) Change(kCpu, -cpu);
  return true;
}

const ResourceSet* ResourceLedger::Find(const LeaseId& lease) const {
  const auto it = holdings_.find(lease);
  return it == holdings_.end() ? nullptr : &it->second.resources;
}

std::vector<std::string> ResourceLedger::GpuIds(const LeaseId& lease) const {
  std::vector<std::string> ids;
  const auto it = holdings_.find(lease);
  if (it == holdings_.end()) return ids;
  for (const GpuShare& share : it->second.gpus) ids.push_back(gpus_[share.index].id);
  return ids;
}

bool ResourceLedger::Recount() const {
  ResourceSet available = total_;
  std::vector<ResourceAmount> free;
  for (const Gpu& gpu : gpus_) free.push_back(gpu.capacity);
  for (const auto& [lease, holding] : holdings_) {
    for (const auto& [name, amount] : holding.resources.amounts()) {
      if (name == kCpu && holding.lent) continue;
      available.Set(name, available.Get(name) - amount);
    }
    for (const GpuShare& share : holding.gpus) free[share.index] -= share.amount;
  }
  for (size_t i = 0; i < gpus_.size(); ++i) {
    if (free[i] < 0 || free[i] != gpus_[i].free) return false;
  }
  return available == available_;
}

}  // namespace skyray::raylet
