// SPDX-License-Identifier: Apache-2.0
#include "ipc/look_around.h"

#include <gtest/gtest.h>

namespace skyray::ipc {
namespace {

TEST(LookAroundTest, NobodyLooksBeforeTheBeginning) {
  LookAround look;
  EXPECT_FALSE(look.Again());
}

TEST(LookAroundTest, EveryLookEnds) {
  LookAround look;
  for (int i = 0; i < 1000; ++i) {
    look.Begin();
    while (look.Again()) {
    }
    EXPECT_FALSE(look.Again());
  }
}

}  // namespace
}  // namespace skyray::ipc
