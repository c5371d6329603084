// SPDX-License-Identifier: Apache-2.0
#include "scheduling/policy.h"

#include <gmock/gmock.h>

#include <set>

namespace skyray::scheduling {
namespace {

using testing::AllOf;
using testing::HasSubstr;

ResourceSet Amounts(std::initializer_list<std::pair<const char*, double>> entries) {
  ResourceSet set;
  for (const auto& [name, amount] : entries) set.Set(name, *ResourceAmountFromDouble(amount));
  return set;
}

class PolicyTest : public testing::Test {
 protected:
  NodeId Add(const std::string& name, ResourceSet total, const ResourceSet& used = {}) {
    NodeView node;
    node.id.mutable_data()[0] = static_cast<uint8_t>(cluster.nodes().size());
    node.name = name;
    node.total = total;
    node.available = std::move(total);
    EXPECT_TRUE(node.available.Subtract(used));
    cluster.Put(node);
    return node.id;
  }

  Choice Task(const ResourceSet& demand, Strategy strategy = {}) {
    return Choose({demand, demand, strategy}, cluster, tie);
  }

  static Strategy On(const NodeId& node, bool soft = false) {
    return {Strategy::Kind::NodeAffinity, node, soft};
  }

  ClusterView cluster;
  Tie tie;
};

TEST_F(PolicyTest, PrefersTheRequestersNodeWhileItIsLessThanHalfUsed) {
  Add("a", Amounts({{"CPU", 4}}));
  const NodeId b = Add("b", Amounts({{"CPU", 4}}), Amounts({{"CPU", 1}}));
  tie.preferred = b;
  EXPECT_EQ(Task(Amounts({{"CPU", 1}})).node, b);
}

TEST_F(PolicyTest, LeavesTheRequestersNodeOnceItIsHalfUsed) {
  const NodeId a = Add("a", Amounts({{"CPU", 4}}));
  const NodeId b = Add("b", Amounts({{"CPU", 4}}), Amounts({{"CPU", 3}}));
  tie.preferred = b;
  EXPECT_EQ(Task(Amounts({{"CPU", 1}})).node, a);
}

TEST_F(PolicyTest, AboveTheThresholdTheLeastUsedIsTaken) {
  Add("a", Amounts({{"CPU", 10}}), Amounts({{"CPU", 8}}));
  const NodeId b = Add("b", Amounts({{"CPU", 10}}), Amounts({{"CPU", 6}}));
  EXPECT_EQ(Task(Amounts({{"CPU", 1}})).node, b);
}

TEST_F(PolicyTest, KeepsGpuNodesForWhatNeedsGpus) {
  const NodeId gpu = Add("gpu", Amounts({{"CPU", 4}, {"GPU", 1}}));
  const NodeId plain = Add("plain", Amounts({{"CPU", 4}}), Amounts({{"CPU", 3}}));
  tie.preferred = gpu;
  EXPECT_EQ(Task(Amounts({{"CPU", 1}})).node, plain);
  EXPECT_EQ(Task(Amounts({{"GPU", 1}})).node, gpu);
}

TEST_F(PolicyTest, BusyEverywhereIsLater) {
  const NodeId a = Add("a", Amounts({{"CPU", 2}}), Amounts({{"CPU", 2}}));
  const Choice choice = Task(Amounts({{"CPU", 1}}));
  EXPECT_EQ(choice.kind, Choice::Kind::Later);
  EXPECT_EQ(choice.node, a);
}

TEST_F(PolicyTest, AFreeNodeGoesBeforeAPreferredBusyOne) {
  const NodeId busy = Add("busy", Amounts({{"CPU", 2}}), Amounts({{"CPU", 2}}));
  const NodeId free = Add("free", Amounts({{"CPU", 2}}), Amounts({{"CPU", 1}}));
  tie.preferred = busy;
  const Choice choice = Task(Amounts({{"CPU", 1}}));
  EXPECT_EQ(choice.kind, Choice::Kind::Now);
  EXPECT_EQ(choice.node, free);
}

TEST_F(PolicyTest, AnActorThatHoldsNothingStartsOnABusyNode) {
  const NodeId a = Add("a", Amounts({{"CPU", 1}}), Amounts({{"CPU", 1}}));
  const Choice choice = Choose({{}, Amounts({{"CPU", 1}}), {}}, cluster, tie);
  EXPECT_EQ(choice.kind, Choice::Kind::Now);
  EXPECT_EQ(choice.node, a);
}

TEST_F(PolicyTest, AnActorNeedsItsPlacementResourceInTotal) {
  Add("a", Amounts({{"memory", 1}}));
  const Choice choice = Choose({{}, Amounts({{"CPU", 1}}), {}}, cluster, tie);
  EXPECT_EQ(choice.kind, Choice::Kind::Never);
  EXPECT_THAT(choice.why, HasSubstr("no node has any CPU"));
}

TEST_F(PolicyTest, SpreadGoesRound) {
  for (int i = 0; i < 3; ++i) Add("n", Amounts({{"CPU", 4}}));
  std::set<NodeId> seen;
  for (tie.turn = 0; tie.turn < 3; ++tie.turn) {
    seen.insert(Task(Amounts({{"CPU", 1}}), {Strategy::Kind::Spread, {}, false}).node);
  }
  EXPECT_EQ(seen.size(), 3u);
}

TEST_F(PolicyTest, ManySchedulersDoNotAllTakeTheSameNode) {
  for (int i = 0; i < 20; ++i) Add("n", Amounts({{"CPU", 4}}));
  std::set<NodeId> seen;
  for (tie.turn = 0; tie.turn < 20; ++tie.turn) seen.insert(Task(Amounts({{"CPU", 1}})).node);
  EXPECT_EQ(seen.size(), 4u);  // A fifth of them.
}

TEST_F(PolicyTest, AffinityWaitsForItsNode) {
  const NodeId a = Add("a", Amounts({{"CPU", 1}}), Amounts({{"CPU", 1}}));
  Add("b", Amounts({{"CPU", 1}}));
  const Choice choice = Task(Amounts({{"CPU", 1}}), On(a));
  EXPECT_EQ(choice.kind, Choice::Kind::Later);
  EXPECT_EQ(choice.node, a);
}

TEST_F(PolicyTest, HardAffinityToADeadNodeIsNever) {
  Add("b", Amounts({{"CPU", 1}}));
  const Choice choice = Task(Amounts({{"CPU", 1}}), On(NodeId()));
  EXPECT_EQ(choice.kind, Choice::Kind::Never);
  EXPECT_THAT(choice.why, AllOf(HasSubstr("not alive"), HasSubstr("soft=True")));
}

TEST_F(PolicyTest, HardAffinityToATooSmallNodeSaysWhatItLacks) {
  const NodeId a = Add("a", Amounts({{"CPU", 1}}));
  Add("b", Amounts({{"CPU", 4}}));
  EXPECT_THAT(Task(Amounts({{"CPU", 2}}), On(a)).why, HasSubstr("the most any node has is 1"));
}

TEST_F(PolicyTest, SoftAffinityToADeadNodeRunsElsewhere) {
  const NodeId b = Add("b", Amounts({{"CPU", 1}}));
  EXPECT_EQ(Task(Amounts({{"CPU", 1}}), On(NodeId(), true)).node, b);
}

TEST_F(PolicyTest, NeverNamesTheMissingResourceAndTheBestNode) {
  Add("a", Amounts({{"CPU", 4}, {"GPU", 1}}));
  Add("b", Amounts({{"CPU", 8}}));
  EXPECT_EQ(Task(Amounts({{"CPU", 9.5}})).why,
            "CPU: 9.5 is asked for, but the most any node has is 8 (node b)");
  EXPECT_EQ(Task(Amounts({{"TPU", 1}})).why, "TPU: 1 is asked for, but no node has any TPU");
  EXPECT_EQ(Task(Amounts({{"CPU", 8}, {"GPU", 1}})).why,
            "no single node has all of {CPU: 8, GPU: 1}; node a comes closest and lacks "
            "CPU (has 4 of 8)");
}

TEST_F(PolicyTest, NeverWithoutNodes) {
  EXPECT_EQ(Task({}).why, "there is no node in the cluster");
}

TEST_F(PolicyTest, NothingAskedForRunsAnywhere) {
  Add("a", Amounts({{"CPU", 1}}), Amounts({{"CPU", 1}}));
  EXPECT_EQ(Task({}).kind, Choice::Kind::Now);
}

TEST_F(PolicyTest, DebitKeepsABurstFromOverplacing) {
  const NodeId a = Add("a", Amounts({{"CPU", 2}}));
  cluster.Debit(a, Amounts({{"CPU", 1}}));
  EXPECT_EQ(Task(Amounts({{"CPU", 1}})).kind, Choice::Kind::Now);
  cluster.Debit(a, Amounts({{"CPU", 1.5}}));
  EXPECT_EQ(Task(Amounts({{"CPU", 1}})).kind, Choice::Kind::Later);
  EXPECT_EQ(cluster.Find(a)->available.Get("CPU"), 0);
}

TEST_F(PolicyTest, OldReportsAreIgnored) {
  const NodeId a = Add("a", Amounts({{"CPU", 2}}));
  EXPECT_TRUE(cluster.Update(a, 2, Amounts({{"CPU", 1}}), 7));
  EXPECT_FALSE(cluster.Update(a, 1, Amounts({{"CPU", 2}}), 0));
  EXPECT_EQ(cluster.Find(a)->available, Amounts({{"CPU", 1}}));
  EXPECT_EQ(cluster.Find(a)->pending_leases, 7u);
  EXPECT_TRUE(cluster.Remove(a));
  EXPECT_FALSE(cluster.Update(a, 3, {}, 0));
}

class LabelPolicyTest : public PolicyTest {
 protected:
  NodeId AddIn(const std::string& zone, ResourceSet total, const ResourceSet& used = {}) {
    const NodeId id = Add(zone, std::move(total), used);
    NodeView node = *cluster.Find(id);
    node.labels["zone"] = zone;
    cluster.Put(node);
    return id;
  }
  static LabelSelector Zone(const char* zone) { return {{"zone", LabelTerm::Op::In, {zone}}}; }
  static Strategy Among(std::vector<LabelSelector> selectors) {
    return {Strategy::Kind::Default, NodeId(), false, std::move(selectors)};
  }
};

TEST_F(LabelPolicyTest, OnlyNodesWithTheLabelsAreChosen) {
  tie.preferred = AddIn("a", Amounts({{"CPU", 4}}));
  const NodeId b = AddIn("b", Amounts({{"CPU", 1}}), Amounts({{"CPU", 1}}));
  const Choice choice = Task(Amounts({{"CPU", 1}}), Among({Zone("b")}));
  EXPECT_EQ(choice.kind, Choice::Kind::Later);
  EXPECT_EQ(choice.node, b);
}

TEST_F(LabelPolicyTest, TheFirstSelectorWithAFreeNodeWins) {
  AddIn("a", Amounts({{"CPU", 1}}), Amounts({{"CPU", 1}}));
  const NodeId b = AddIn("b", Amounts({{"CPU", 1}}));
  AddIn("c", Amounts({{"CPU", 1}}));
  const Choice choice =
      Task(Amounts({{"CPU", 1}}), Among({Zone("x"), Zone("a"), Zone("b"), Zone("c")}));
  EXPECT_EQ(choice.kind, Choice::Kind::Now);
  EXPECT_EQ(choice.node, b);
}

TEST_F(LabelPolicyTest, WithoutAFreeNodeTheFirstSelectorThatCouldIsWaitedFor) {
  const NodeId a = AddIn("a", Amounts({{"CPU", 1}}), Amounts({{"CPU", 1}}));
  AddIn("b", Amounts({{"CPU", 1}}), Amounts({{"CPU", 1}}));
  const Choice choice = Task(Amounts({{"CPU", 1}}), Among({Zone("x"), Zone("a"), Zone("b")}));
  EXPECT_EQ(choice.kind, Choice::Kind::Later);
  EXPECT_EQ(choice.node, a);
}

TEST_F(LabelPolicyTest, SaysWhichLabelsOrAmountsAreLacking) {
  AddIn("a", Amounts({{"CPU", 1}}));
  const Choice choice = Task(Amounts({{"CPU", 2}}), Among({Zone("x"), Zone("a")}));
  EXPECT_EQ(choice.kind, Choice::Kind::Never);
  EXPECT_THAT(choice.why, AllOf(HasSubstr("no node has the labels zone=x"),
                                HasSubstr("of the nodes with the labels zone=a: CPU: 2")));
}

}  // namespace
}  // namespace skyray::scheduling
