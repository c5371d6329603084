// SPDX-License-Identifier: Apache-2.0
#include "common/resource_set.h"

#include <cmath>
#include <cstdio>

namespace skyray {

std::optional<ResourceAmount> ResourceAmountFromDouble(double value) {
  const double scaled = value * static_cast<double>(kResourceUnit);
  if (!std::isfinite(scaled) || scaled < 0 || scaled > 9.0e18) return std::nullopt;
  return static_cast<ResourceAmount>(std::llround(scaled));
}

double ResourceAmountToDouble(ResourceAmount amount) {
  return static_cast<double>(amount) / static_cast<double>(kResourceUnit);
}

void ResourceSet::Set(std::string_view name, ResourceAmount amount) {
  const auto it = amounts_.find(name);
  if (amount == 0) {
    if (it != amounts_.end()) amounts_.erase(it);
  } else if (it != amounts_.end()) {
    it->second = amount;
  } else {
    amounts_.emplace(name, amount);
  }
}

ResourceAmount ResourceSet::Get(std::string_view name) const {
  const auto it = amounts_.find(name);
  return it == amounts_.end() ? 0 : it->second;
}

bool ResourceSet::Contains(const ResourceSet& demand) const {
  for (const auto& [name, amount] : demand.amounts_) {
    if (Get(name) < amount) return false;
  }
  return true;
}

void ResourceSet::Add(const ResourceSet& other) {
  for (const auto& [name, amount] : other.amounts_) Set(name, Get(name) + amount);
}

bool ResourceSet::Subtract(const ResourceSet& other) {
  if (!Contains(other)) return false;
  for (const auto& [name, amount] : other.amounts_) Set(name, Get(name) - amount);
  return true;
}

std::string ResourceSet::ToString() const {
  std::string text = "{";
  for (const auto& [name, amount] : amounts_) {
    if (text.size() > 1) text += ", ";
    char number[40];
    snprintf(number, sizeof number, "%.10g", ResourceAmountToDouble(amount));
    text += name + ": " + number;
  }
  return text + "}";
}

}  // namespace skyray
