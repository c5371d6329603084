// SPDX-License-Identifier: Apache-2.0
// Which nodes something may run on, by their labels: "zone=in(a,b), disk=!hdd".
//
// Threading: values. Ownership: values. Errors: none.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace skyray {

using Labels = std::map<std::string, std::string>;

struct LabelTerm {
  enum class Op : uint8_t { In, NotIn, Exists, Missing };  // As in fbs/raylet.fbs.
  std::string key;
  Op op = Op::In;
  std::vector<std::string> values;  // In, NotIn.
  friend auto operator<=>(const LabelTerm&, const LabelTerm&) = default;
};

// All terms must hold; without any, every node will do.
using LabelSelector = std::vector<LabelTerm>;

// A label that a node does not have is not in any list.
bool Matches(const LabelSelector& selector, const Labels& labels);
std::string ToString(const LabelSelector& selector);

}  // namespace skyray
