// SPDX-License-Identifier: Apache-2.0
#include "common/label_selector.h"

#include <algorithm>

namespace skyray {
namespace {

bool Holds(const LabelTerm& term, const Labels& labels) {
  const auto it = labels.find(term.key);
  const bool present = it != labels.end();
  const bool listed =
      present && std::find(term.values.begin(), term.values.end(), it->second) != term.values.end();
  switch (term.op) {
    case LabelTerm::Op::In:
      return listed;
    case LabelTerm::Op::NotIn:
      return !listed;
    case LabelTerm::Op::Exists:
      return present;
    case LabelTerm::Op::Missing:
      return !present;
  }
  return false;
}

std::string ToString(const LabelTerm& term) {
  if (term.op == LabelTerm::Op::Exists) return term.key + " present";
  if (term.op == LabelTerm::Op::Missing) return term.key + " absent";
  std::string text = term.key + (term.op == LabelTerm::Op::NotIn ? "=!" : "=");
  if (term.values.size() == 1) return text + term.values.front();
  const char* comma = "";
  text += "in(";
  for (const std::string& value : term.values) {
    text += comma + value;
    comma = ",";
  }
  return text + ")";
}

}  // namespace

bool Matches(const LabelSelector& selector, const Labels& labels) {
  return std::all_of(selector.begin(), selector.end(),
                     [&](const LabelTerm& term) { return Holds(term, labels); });
}

std::string ToString(const LabelSelector& selector) {
  std::string text;
  for (const LabelTerm& term : selector) text += (text.empty() ? "" : ", ") + ToString(term);
  return text;
}

}  // namespace skyray
