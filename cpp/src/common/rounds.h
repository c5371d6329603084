// SPDX-License-Identifier: Apache-2.0
// Questions that are put to many at once, and are answered when each of those has
// answered or is gone.
//
// Threading:  a value. Ownership: values. Errors: none: who was not asked changes nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <vector>

namespace skyray {

template <class Id>
class Rounds {
 public:
  // Who does not answer keeps no more than so many questions here: the oldest is forgotten.
  static constexpr size_t kRoundsMax = 1000;

  // True if nobody is asked: it is over already. REQUIRES: greater than all before it.
  bool Begin(uint64_t round, std::set<Id> asked) {
    if (asked.empty()) return true;
    if (rounds_.size() == kRoundsMax) rounds_.erase(rounds_.begin());
    rounds_.emplace_hint(rounds_.end(), round, std::move(asked));
    return false;
  }
  // One that answers a round has answered those before it. The rounds that are over now.
  std::vector<uint64_t> Answered(const Id& id, uint64_t round) { return Remove(id, round); }
  // It answers nothing any more.
  std::vector<uint64_t> Left(const Id& id) { return Remove(id, UINT64_MAX); }
  void Forget(uint64_t round) { rounds_.erase(round); }
  size_t size() const { return rounds_.size(); }

 private:
  std::vector<uint64_t> Remove(const Id& id, uint64_t last) {
    std::vector<uint64_t> over;
    for (auto it = rounds_.begin(); it != rounds_.end() && it->first <= last;) {
      if (it->second.erase(id) > 0 && it->second.empty()) {
        over.push_back(it->first);
        it = rounds_.erase(it);
      } else {
        ++it;
      }
    }
    return over;
  }

  std::map<uint64_t, std::set<Id>> rounds_;
};

}  // namespace skyray
