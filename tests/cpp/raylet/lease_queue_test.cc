// SPDX-License-Identifier: Apache-2.0
#include "raylet/lease_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "resources.h"

namespace skyray::raylet {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class LeaseQueueTest : public ::testing::Test {
 protected:
  NodeId self = NodeId::FromRandom(), other = NodeId::FromRandom();
  LeaseOwner ann{self, WorkerId::FromRandom()}, bob{self, WorkerId::FromRandom()};
  ResourceLedger ledger{Resources({{"CPU", 2}}), {}};
  Placement placement{self, "here", ledger};
  LeaseQueue queue{ledger};
  TimePoint now{seconds(100)};
  uint64_t last_request = 0;

  LeaseRequest Request(const LeaseOwner& owner, ResourceSet demand = Resources({{"CPU", 1}})) {
    LeaseRequest request;
    request.owner = owner;
    request.request_id = ++last_request;
    request.job = JobIdFromInt(1);
    request.demand = request.held = std::move(demand);
    request.name = "f";
    return request;
  }
  void Ask(const LeaseOwner& owner) { queue.Add(Request(owner), now); }
  LeaseOutcome Run() { return queue.Schedule(placement, now); }
  void HearOf(const NodeId& node, ResourceSet total, ResourceSet available, uint64_t version = 1) {
    scheduling::NodeView peer;
    peer.id = node;
    peer.total = std::move(total);
    peer.available = std::move(available);
    peer.version = version;
    placement.Update(std::move(peer));
  }
  static std::vector<uint64_t> Ids(const std::vector<Lease>& leases) {
    std::vector<uint64_t> ids;
    for (const Lease& lease : leases) ids.push_back(lease.request.request_id);
    return ids;
  }
};

TEST_F(LeaseQueueTest, GrantsInOrderWhatFitsAndTheRestAsItIsReturned) {
  for (int i = 0; i < 4; ++i) Ask(ann);
  auto out = Run();
  ASSERT_THAT(Ids(out.granted), ElementsAre(1, 2));
  EXPECT_THAT(Run().granted, IsEmpty());
  EXPECT_TRUE(queue.Return(out.granted[0].id));
  EXPECT_FALSE(queue.Return(out.granted[0].id));
  EXPECT_THAT(Ids(Run().granted), ElementsAre(3));
}

TEST_F(LeaseQueueTest, OwnersTakeTurns) {
  for (int i = 0; i < 3; ++i) Ask(ann);
  Ask(bob);
  EXPECT_THAT(Ids(Run().granted), ElementsAre(1, 4));
}

TEST_F(LeaseQueueTest, ClassesTakeTurns) {
  for (int i = 0; i < 2; ++i) Ask(ann);
  queue.Add(Request(ann, Resources({{"CPU", 0.5}})), now);
  queue.Add(Request(ann, Resources({{"CPU", 0.5}})), now);
  EXPECT_THAT(Ids(Run().granted), ::testing::UnorderedElementsAre(1, 3, 4));
}

TEST_F(LeaseQueueTest, AnActorNeedsACpuToBePlacedAndHoldsNone) {
  LeaseRequest request = Request({});
  request.actor = RandomActorId(request.job);
  request.held = ResourceSet();
  queue.Add(request, now);
  EXPECT_THAT(Run().granted, SizeIs(1));
  EXPECT_EQ(ledger.available(), ledger.total());

  Ask(ann), Ask(ann), Run();
  request.actor = RandomActorId(request.job);
  queue.Add(request, now);
  EXPECT_THAT(Run().granted, IsEmpty());
  EXPECT_TRUE(queue.CancelActor(request.actor).has_value());
  EXPECT_EQ(queue.waiting_count(), 0u);
}

TEST_F(LeaseQueueTest, WhatTheHolderClaimsBeyondItsDemandIsNeededToo) {
  LeaseRequest request = Request(ann, Resources({{"CPU", 1}}));
  request.held = Resources({{"CPU", 3}});
  queue.Add(request, now);
  EXPECT_THAT(Run().granted, IsEmpty());
}

TEST_F(LeaseQueueTest, SendsOnWhatAnotherNodeHasRoomForAndCountsIt) {
  HearOf(other, Resources({{"CPU", 1}}), Resources({{"CPU", 1}}));
  for (int i = 0; i < 4; ++i) Ask(ann);
  auto out = Run();
  EXPECT_THAT(out.granted, SizeIs(2));
  ASSERT_THAT(out.sent_on, SizeIs(1));
  EXPECT_EQ(out.sent_on[0].node, other);
  EXPECT_EQ(queue.waiting_count(), 1u);

  HearOf(other, Resources({{"CPU", 1}}), Resources({{"CPU", 1}}), 2);
  EXPECT_THAT(Run().sent_on, SizeIs(1));
}

TEST_F(LeaseQueueTest, ANodeThatStaysSilentHasWhatItHad) {
  HearOf(other, Resources({{"CPU", 1}}), Resources({{"CPU", 1}}));
  for (int i = 0; i < 4; ++i) Ask(ann);
  EXPECT_THAT(Run().sent_on, SizeIs(1));
  EXPECT_EQ(*queue.NextWake(), now + kDebitLasts);
  now += kDebitLasts;
  EXPECT_THAT(Run().sent_on, SizeIs(1));
}

TEST_F(LeaseQueueTest, WhatOnlyABusyNodeCanRunWaitsThere) {
  HearOf(other, Resources({{"oil", 1}}), ResourceSet());
  queue.Add(Request(ann, Resources({{"oil", 1}})), now);
  EXPECT_THAT(Run().sent_on, SizeIs(1));
}

TEST_F(LeaseQueueTest, ASpilledRequestStays) {
  HearOf(other, Resources({{"CPU", 9}}), Resources({{"CPU", 9}}));
  Ask(ann), Ask(ann);
  LeaseRequest request = Request(bob);
  request.spilled = true;
  queue.Add(request, now);
  auto out = Run();
  EXPECT_THAT(out.granted, SizeIs(2));
  EXPECT_THAT(out.sent_on, SizeIs(1));  // One of ann's: bob's took a CPU, or waits.
  for (const auto& sent : out.sent_on) EXPECT_FALSE(sent.request.spilled);
}

TEST_F(LeaseQueueTest, SpreadGoesRoundTheNodesThatHaveRoom) {
  HearOf(other, Resources({{"CPU", 2}}), Resources({{"CPU", 2}}));
  for (int i = 0; i < 4; ++i) {
    LeaseRequest request = Request(ann);
    request.strategy.kind = Strategy::Kind::Spread;
    queue.Add(request, now);
  }
  auto out = Run();
  EXPECT_THAT(out.granted, SizeIs(2));
  EXPECT_THAT(out.sent_on, SizeIs(2));
}

TEST_F(LeaseQueueTest, InfeasibleIsSaidOnceAfterFiveSecondsAndStaysQueued) {
  HearOf(other, Resources({{"CPU", 4}}), Resources({{"CPU", 4}}));
  queue.Add(Request(ann, Resources({{"GPU", 1}})), now);
  queue.Add(Request(ann, Resources({{"GPU", 1}})), now);
  EXPECT_THAT(Run().infeasible, IsEmpty());
  ASSERT_TRUE(queue.NextWake().has_value());
  EXPECT_EQ(*queue.NextWake(), now + kInfeasibleNoticeAfter);
  now += kInfeasibleNoticeAfter;
  auto out = Run();
  ASSERT_THAT(out.infeasible, SizeIs(2));
  EXPECT_TRUE(out.infeasible[0].tell_driver);
  EXPECT_FALSE(out.infeasible[1].tell_driver);
  EXPECT_THAT(out.infeasible[0].message, HasSubstr("no node has any GPU"));
  EXPECT_THAT(Run().infeasible, IsEmpty());
  EXPECT_FALSE(queue.NextWake().has_value());

  const NodeId helper = NodeId::FromRandom();
  HearOf(helper, Resources({{"GPU", 2}}), Resources({{"GPU", 2}}));
  EXPECT_THAT(Run().sent_on, SizeIs(2));
}

TEST_F(LeaseQueueTest, WhatInsistsOnANodeThatNobodyKnowsFailsAfterAWhile) {
  LeaseRequest insists = Request(ann);
  insists.strategy = {Strategy::Kind::NodeAffinity, other, false};
  LeaseRequest too_large = Request(ann, Resources({{"CPU", 1000}}));
  too_large.strategy = {Strategy::Kind::NodeAffinity, self, false};
  queue.Add(insists, now);
  queue.Add(too_large, now);
  EXPECT_THAT(Run().failed, IsEmpty()) << "news of a node may be under way";
  EXPECT_EQ(*queue.NextWake(), now + kInfeasibleNoticeAfter);
  now += kInfeasibleNoticeAfter;
  const auto out = Run();
  EXPECT_THAT(out.infeasible, IsEmpty());
  ASSERT_THAT(out.failed, SizeIs(2));
  std::string said;
  for (const auto& failed : out.failed) {
    EXPECT_EQ(failed.status.code(), ErrorCode::Unschedulable);
    said += failed.status.message();
  }
  EXPECT_THAT(said, AllOf(HasSubstr("which is not alive"), HasSubstr("1000")));
  EXPECT_EQ(queue.waiting_count(), 0u);
}

TEST_F(LeaseQueueTest, OnlyHardAffinityToADeadNodeFails) {
  placement.NodeDied(other);
  LeaseRequest request = Request(ann);
  request.strategy = {Strategy::Kind::NodeAffinity, other, false};
  queue.Add(request, now);
  auto out = Run();
  ASSERT_THAT(out.failed, SizeIs(1));
  EXPECT_EQ(out.failed[0].status.code(), ErrorCode::Unschedulable);
  request.strategy.soft = true;
  queue.Add(request, now);
  EXPECT_THAT(Run().granted, SizeIs(1));
}

TEST_F(LeaseQueueTest, AsksOthersForTheirLeasesAfterAQuantum) {
  Ask(ann), Ask(ann);
  Run();
  Ask(ann);  // More of its own: no reason to ask it.
  now += seconds(1);
  EXPECT_THAT(Run().wanted_from, IsEmpty());
  Ask(bob);
  EXPECT_THAT(Run().wanted_from, ElementsAre(ann));
  EXPECT_THAT(Run().wanted_from, IsEmpty()) << "said once per lease";
}

TEST_F(LeaseQueueTest, AYoungLeaseIsNotAskedBackYet) {
  Ask(ann), Ask(ann);
  Run();
  Ask(bob);
  const auto out = Run();
  EXPECT_THAT(out.wanted_from, IsEmpty());
  EXPECT_THAT(out.idle_wanted_from, ElementsAre(ann)) << "if she does not use it";
  EXPECT_THAT(Run().idle_wanted_from, IsEmpty()) << "said once";
  EXPECT_EQ(*queue.NextWake(), now + kLeaseQuantum);
  now += kLeaseQuantum;
  EXPECT_THAT(Run().wanted_from, ElementsAre(ann));
}

TEST_F(LeaseQueueTest, TheSameOwnerIsAskedForAnotherKindOfWork) {
  Ask(ann), Ask(ann);
  Run();
  now += kLeaseQuantum;
  queue.Add(Request(ann, Resources({{"CPU", 2}})), now);
  EXPECT_THAT(Run().wanted_from, ElementsAre(ann));
}

TEST_F(LeaseQueueTest, WhatIsCancelledOrOrphanedIsNotGranted) {
  Ask(ann), Ask(ann), Ask(ann), Ask(bob);
  auto cancelled = queue.Cancel(ann, 2);
  ASSERT_TRUE(cancelled.has_value());
  EXPECT_FALSE(queue.Cancel(ann, 2).has_value());
  EXPECT_FALSE(queue.Cancel(bob, 1).has_value()) << "another's request";
  queue.RemoveOwner(ann);
  auto out = Run();
  EXPECT_THAT(Ids(out.granted), ElementsAre(4));
  EXPECT_THAT(queue.LeasesOf(bob), SizeIs(1));
  EXPECT_THAT(queue.LeasesOf(ann), IsEmpty());
}

TEST_F(LeaseQueueTest, ARequestForOtherLabelsIsSentToTheNodeThatHasThem) {
  Placement labelled(self, "here", ledger, {{"zone", "a"}});
  scheduling::NodeView peer;
  peer.id = other;
  peer.total = Resources({{"CPU", 1}});
  peer.labels["zone"] = "b";
  peer.version = 1;
  labelled.Update(peer);  // Busy, and yet the only one that may.
  for (const char* zone : {"a", "b"}) {
    LeaseRequest request = Request(ann);
    request.strategy.selectors = {{{"zone", LabelTerm::Op::In, {zone}}}};
    queue.Add(std::move(request), now);
  }
  const auto out = queue.Schedule(labelled, now);
  EXPECT_THAT(Ids(out.granted), ElementsAre(1));
  ASSERT_THAT(out.sent_on, SizeIs(1));
  EXPECT_EQ(out.sent_on[0].node, other);
}

TEST_F(LeaseQueueTest, OnOneNodeTooTheLabelsMustFit) {
  Placement labelled(self, "here", ledger, {{"zone", "a"}});
  LeaseRequest request = Request(ann);
  request.strategy.selectors = {{{"zone", LabelTerm::Op::In, {"b"}}}};
  queue.Add(std::move(request), now);
  EXPECT_THAT(queue.Schedule(labelled, now).granted, IsEmpty());
  now += kInfeasibleNoticeAfter;
  const auto out = queue.Schedule(labelled, now);
  ASSERT_THAT(out.infeasible, SizeIs(1));
  EXPECT_THAT(out.infeasible[0].message, HasSubstr("no node has the labels zone=b"));
}

TEST_F(LeaseQueueTest, AnIdleLeaseOfAnotherEnvironmentIsAskedBack) {
  Ask(ann);
  Ask(ann);
  Run();
  LeaseRequest special = Request(ann);
  special.runtime_env = "{}";
  queue.Add(std::move(special), now);
  EXPECT_THAT(Run().idle_wanted_from, ElementsAre(ann));
}

TEST_F(LeaseQueueTest, SaysWhatIsLackingAndWhoHasIt) {
  for (int i = 0; i < 2; ++i) {
    LeaseRequest holder = Request(ann);
    holder.name = "greedy";
    queue.Add(std::move(holder), now);
  }
  const auto granted = Run().granted;
  LeaseRequest waiting = Request(bob);
  const uint64_t id = waiting.request_id;
  queue.Add(std::move(waiting), now);
  Run();
  EXPECT_EQ(queue.WhyWaiting(bob, id),
            "it needs {CPU: 1}; CPU: 0 of 2 free, held by greedy (2 leases)");
  EXPECT_EQ(queue.WhyWaiting(ann, id), "") << "it is not hers";
  EXPECT_EQ(queue.WhyWaiting(bob, id + 1), "");
  queue.Return(granted[0].id);
  Run();
  EXPECT_EQ(queue.WhyWaiting(bob, id), "") << "granted by now";
}

TEST_F(LeaseQueueTest, SaysWhyAnActorWaits) {
  LeaseRequest actor = Request(ann, Resources({{"GPU", 1}}));
  actor.actor = ActorId::FromRandom();
  const ActorId id = actor.actor;
  queue.Add(std::move(actor), now);
  Run();
  EXPECT_THAT(queue.WhyWaiting(id), HasSubstr("no node can run it: GPU: 1 is asked for"));
  EXPECT_EQ(queue.WhyWaiting(ActorId::FromRandom()), "");
}

TEST_F(LeaseQueueTest, NamesAFewHoldersAndCountsTheRest) {
  ledger = ResourceLedger(Resources({{"CPU", 10}, {"memory", 5}}), {});
  for (int i = 0; i < 6; ++i) {
    LeaseRequest holder = Request(ann);
    holder.name = "f" + std::to_string(i);
    queue.Add(std::move(holder), now);
  }
  Run();
  EXPECT_EQ(queue.WhoHolds({}), "CPU: 4 of 10 free, held by f0, f1, f2, f3 and 2 more");
}

}  // namespace
}  // namespace skyray::raylet
