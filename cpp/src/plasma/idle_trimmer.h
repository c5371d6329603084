// SPDX-License-Identifier: Apache-2.0
// Decides when the store gives the pages of free memory back to the system:
// when nothing was created for a while, and no sooner than that after there is
// anything to give back. Then a bounded piece at a time.
//
// It asks for no wakeup while there is nothing to give back, and in a busy store
// for one in `give_back_after_ms`, not for one with each create.
//
// Threading:  not thread-safe; lives on the store's loop.
// Ownership:  values. Errors: none. Times are milliseconds of one monotonic clock.
#pragma once

#include <cstdint>
#include <optional>

namespace skyray::plasma {

class IdleTrimmer {
 public:
  // 0: nothing is ever given back.
  explicit IdleTrimmer(int64_t give_back_after_ms) : after_ms_(give_back_after_ms) {}

  void Created(int64_t now_ms) { quiet_since_ms_ = now_ms; }
  // To be called after every change: whether free memory has pages.
  void Observe(bool warm_memory_is_free, int64_t now_ms);

  // When MayGiveBack should be asked.
  std::optional<int64_t> NextDeadline() const { return deadline_ms_; }
  // Whether a piece may be given back now. Ask again soon, after Observe.
  bool MayGiveBack(int64_t now_ms);

 private:
  const int64_t after_ms_;
  int64_t quiet_since_ms_ = INT64_MIN / 2;
  std::optional<int64_t> deadline_ms_;
};

}  // namespace skyray::plasma
