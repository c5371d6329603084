// SPDX-License-Identifier: Apache-2.0
// A set of resources as it is written down.
//
// Threading: any. Ownership: values. Errors: none.
#pragma once

#include <initializer_list>
#include <utility>

#include "common/resource_set.h"

namespace skyray::raylet {

inline ResourceSet Resources(std::initializer_list<std::pair<const char*, double>> amounts) {
  ResourceSet set;
  for (const auto& [name, value] : amounts) set.Set(name, *ResourceAmountFromDouble(value));
  return set;
}

}  // namespace skyray::raylet
