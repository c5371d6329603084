// SPDX-License-Identifier: Apache-2.0
#include "core_worker/handed_back.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace skyray::core_worker {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class HandedBackTest : public testing::Test {
 protected:
  const WorkerId peer = WorkerId::FromRandom();
  const HandedBack::Removal a{ObjectId::FromRandom(), 1};
  const HandedBack::Removal b{ObjectId::FromRandom(), 2};
  HandedBack both;  // Both sides' in one.
};

TEST_F(HandedBackTest, CountsWhatIsHandedToEach) {
  EXPECT_EQ(both.HandedTo(peer), 0u);
  both.Hand(peer, 2);
  both.Hand(peer, 1);
  EXPECT_EQ(both.HandedTo(peer), 3u);
  EXPECT_EQ(both.HandedTo(WorkerId::FromRandom()), 0u);
}

TEST_F(HandedBackTest, ARemovalThatOvertookWaitsForWhatItComesAfter) {
  EXPECT_TRUE(both.Defer(peer, a, 2));
  EXPECT_THAT(both.Took(peer), IsEmpty());
  EXPECT_THAT(both.Took(peer), ElementsAre(a));
  EXPECT_THAT(both.Took(peer), IsEmpty());
}

TEST_F(HandedBackTest, ARemovalInOrderDoesNotWait) {
  EXPECT_FALSE(both.Defer(peer, a, 0));
  both.Took(peer);
  EXPECT_FALSE(both.Defer(peer, a, 1));
  EXPECT_THAT(both.Took(peer), IsEmpty());
}

TEST_F(HandedBackTest, SeveralAreDueInTheirOrder) {
  EXPECT_TRUE(both.Defer(peer, a, 1));
  EXPECT_TRUE(both.Defer(peer, b, 1));
  EXPECT_TRUE(both.Defer(peer, a, 2));
  EXPECT_THAT(both.Took(peer), ElementsAre(a, b));
  EXPECT_THAT(both.Took(peer), ElementsAre(a));
}

TEST_F(HandedBackTest, PeersAreCountedApart) {
  EXPECT_TRUE(both.Defer(peer, a, 1));
  EXPECT_THAT(both.Took(WorkerId::FromRandom()), IsEmpty());
  EXPECT_THAT(both.Took(peer), ElementsAre(a));
}

TEST_F(HandedBackTest, APeerThatEndedIsForgotten) {
  both.Hand(peer, 1);
  EXPECT_TRUE(both.Defer(peer, a, 1));
  both.Forget(peer);
  EXPECT_EQ(both.HandedTo(peer), 0u);
  EXPECT_THAT(both.Took(peer), IsEmpty());
}

}  // namespace
}  // namespace skyray::core_worker
