// SPDX-License-Identifier: Apache-2.0
// Chooses the fastest of several ways to do the same by trying each a few times in turn.
//
// A pure core: the clock is the caller's. The median of a candidate's times is what it is worth:
// neither what else the machine did once nor what happened to be cached once decides.
//
// Threading: one thread at a time. Ownership: values. Errors: none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace skyray::plasma {

class CopyChoice {
 public:
  static constexpr size_t kTrialsEach = 8;

  // REQUIRES: candidates > 0.
  explicit CopyChoice(size_t candidates);

  // Whose turn it is, until there is a choice.
  size_t next() const { return trials_ % times_ns_.size(); }
  // That trial took so long; all are of the same work.
  void Took(int64_t nanoseconds);
  // The first candidate, unless another is clearly faster.
  std::optional<size_t> chosen() const;

 private:
  size_t trials_ = 0;
  std::vector<std::vector<int64_t>> times_ns_;  // Of each candidate.
};

}  // namespace skyray::plasma
