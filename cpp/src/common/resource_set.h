// SPDX-License-Identifier: Apache-2.0
// Amounts of named resources ("CPU", "GPU", "memory", custom), exact to 1/10000.
//
// Threading: values. Ownership: values.
// Errors: Subtract and FromDouble answer false / nothing where an amount would
// be negative or not finite. A zero amount is the same as an absent one.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace skyray {

// 1.0 of a resource is kResourceUnit; Ray's granularity of 0.0001 is 1.
using ResourceAmount = int64_t;
constexpr ResourceAmount kResourceUnit = 10000;

std::optional<ResourceAmount> ResourceAmountFromDouble(double value);
double ResourceAmountToDouble(ResourceAmount amount);

class ResourceSet {
 public:
  void Set(std::string_view name, ResourceAmount amount);
  ResourceAmount Get(std::string_view name) const;
  bool empty() const { return amounts_.empty(); }
  const std::map<std::string, ResourceAmount, std::less<>>& amounts() const { return amounts_; }

  // True if every amount of `demand` is there.
  bool Contains(const ResourceSet& demand) const;
  void Add(const ResourceSet& other);
  // Takes `other` away; false, and nothing changed, if it is not all there.
  bool Subtract(const ResourceSet& other);

  // "{CPU: 2, GPU: 0.5}".
  std::string ToString() const;
  friend bool operator==(const ResourceSet&, const ResourceSet&) = default;

 private:
  std::map<std::string, ResourceAmount, std::less<>> amounts_;
};

}  // namespace skyray
