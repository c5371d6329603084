// SPDX-License-Identifier: Apache-2.0
// Who holds what of this node: total, available, and every holding between them.
//
//   available = total - sum(holdings), always (Recount() adds it up for tests).
//
// GPUs are given out concretely. A whole GPU goes to one holder; a fraction
// shares one GPU with other fractions and never straddles two. A holder that
// blocks lends its CPU, and only that: what sits in GPU memory stays there.
// When it goes on, its CPU is taken back even if it has been lent out, and
// `available` is negative until somebody is done.
//
// Threading:  lives on the raylet's loop; not thread-safe.
// Ownership:  values.
// Errors:     Allocate answers false, and changes nothing, if it does not fit.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "common/id.h"
#include "common/resource_set.h"

namespace skyray::raylet {

inline constexpr char kCpu[] = "CPU";
inline constexpr char kGpu[] = "GPU";

class ResourceLedger {
 public:
  // `gpu_ids` names the GPUs, e.g. as CUDA_VISIBLE_DEVICES had them; those the
  // total has beyond the list are numbered from there on.
  ResourceLedger(ResourceSet total, std::vector<std::string> gpu_ids);

  // True if this node could ever hold `demand`.
  bool Feasible(const ResourceSet& demand) const { return total_.Contains(demand); }
  // True if it could hold it now.
  bool Fits(const ResourceSet& demand) const;
  // REQUIRES: `lease` holds nothing yet.
  bool Allocate(const LeaseId& lease, const ResourceSet& demand);
  // False if it held nothing (said already, or never granted).
  bool Release(const LeaseId& lease);
  // Lends the holding's CPU out. False if unknown or lent already.
  bool Block(const LeaseId& lease);
  // Takes the CPU back, whether or not it is there.
  bool Unblock(const LeaseId& lease);

  const ResourceSet& total() const { return total_; }
  // May be negative in CPU; see above.
  const ResourceSet& available() const { return available_; }
  // Null if it holds nothing.
  const ResourceSet* Find(const LeaseId& lease) const;
  std::vector<std::string> GpuIds(const LeaseId& lease) const;
  size_t holding_count() const { return holdings_.size(); }
  // Grows with every change of available().
  uint64_t version() const { return version_; }
  // `available` as the holdings say it must be, and each GPU likewise.
  bool Recount() const;

 private:
  struct Gpu {
    std::string id;
    ResourceAmount capacity = 0;
    ResourceAmount free = 0;
  };
  struct GpuShare {
    size_t index = 0;
    ResourceAmount amount = 0;
  };
  struct Holding {
    ResourceSet resources;
    std::vector<GpuShare> gpus;
    bool lent = false;
  };

  // Empty if `amount` does not fit, or is zero.
  std::vector<GpuShare> ChooseGpus(ResourceAmount amount) const;
  void Change(const std::string& name, ResourceAmount amount);

  ResourceSet total_;
  ResourceSet available_;
  std::vector<Gpu> gpus_;
  std::unordered_map<LeaseId, Holding> holdings_;
  uint64_t version_ = 1;
};

}  // namespace skyray::raylet
