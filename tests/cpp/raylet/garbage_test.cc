// SPDX-License-Identifier: Apache-2.0
// Whatever clients send, the raylet lives and serves the others.
#include <random>

#include "node_fixture.h"

namespace skyray::raylet {
namespace {

// One message of every kind that a client may send, filled with plausible ids.
std::vector<std::vector<uint8_t>> Samples() {
  std::vector<std::vector<uint8_t>> samples;
  const auto add = [&samples](auto make) {
    Builder builder;
    const auto body = make(builder);
    Finish(builder, 7, body);
    samples.emplace_back(builder.GetBufferPointer(),
                         builder.GetBufferPointer() + builder.GetSize());
  };
  const auto bytes = [](Builder& builder, size_t size) {
    return PutBytes(builder, std::string(size, '\x05'));
  };
  const auto request = [&](Builder& builder) {
    ResourceSet set;
    set.Set("CPU", kResourceUnit);
    const auto resources = PutResources(builder, set);
    const auto strategy = wire::CreateStrategy(builder, wire::StrategyKind::NodeAffinity,
                                               bytes(builder, NodeId::kSize), true);
    const auto name = builder.CreateString("f");
    return wire::CreateRequestLease(builder, resources, strategy, name, false,
                                    bytes(builder, JobId::kSize));
  };
  add(request);
  add([&](Builder& b) {
    const auto inner = request(b);
    return wire::CreateRequestLeaseAt(b, bytes(b, NodeId::kSize), inner);
  });
  add([](Builder& b) { return wire::CreateCancelLeaseRequest(b, 7); });
  add([&](Builder& b) {
    const auto lease = bytes(b, LeaseId::kSize);
    return wire::CreateReturnLease(b, lease, bytes(b, NodeId::kSize), true);
  });
  add([](Builder& b) { return wire::CreateBlocked(b); });
  add([&](Builder& b) {
    const auto name_space = b.CreateString("fun");
    const auto key = bytes(b, 5);
    return wire::CreateKv(b, wire::KvOp::Put, name_space, key, bytes(b, 50));
  });
  add([&](Builder& b) {
    const auto actor = bytes(b, ActorId::kSize);
    const auto job = bytes(b, JobId::kSize);
    const auto class_name = b.CreateString("C");
    const auto owner = PutAddress(b, NodeId(), WorkerId());
    const auto task = bytes(b, 9);
    wire::ActorSpecBuilder spec(b);
    spec.add_actor_id(actor);
    spec.add_job_id(job);
    spec.add_class_name(class_name);
    spec.add_owner(owner);
    spec.add_creation_task(task);
    const auto finished = spec.Finish();
    return wire::CreateCreateActor(b, finished);
  });
  add([&](Builder& b) { return wire::CreateSubscribeActor(b, bytes(b, ActorId::kSize)); });
  add([&](Builder& b) { return wire::CreateUnsubscribeActor(b, bytes(b, ActorId::kSize)); });
  add([](Builder& b) { return wire::CreateGetNamedActor(b, b.CreateString("n")); });
  add([](Builder& b) { return wire::CreateListActors(b, true); });
  add([&](Builder& b) { return wire::CreateKillActor(b, bytes(b, ActorId::kSize)); });
  add([&](Builder& b) { return wire::CreateActorStarted(b, bytes(b, ActorId::kSize), true); });
  add([](Builder& b) { return wire::CreateExiting(b, b.CreateString("bye")); });
  add([](Builder& b) { return wire::CreateGetNodes(b); });
  add([](Builder& b) { return wire::CreateConnect(b, PutAddress(b, NodeId(), WorkerId())); });
  add([&](Builder& b) { return wire::CreateFetch(b, bytes(b, ObjectId::kSize)); });
  add([&](Builder& b) {
    const auto object = wire::CreateBytes(b, bytes(b, ObjectId::kSize));
    return wire::CreateFreeObjects(b, b.CreateVector(&object, 1));
  });
  return samples;
}

TEST_F(NodeServerTest, LivesThroughBrokenMessagesOfEveryKind) {
  StartNode();
  auto good = Driver();
  const TestWorker worker = Worker();
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const auto samples = Samples();
  for (int round = 0; round < 60; ++round) {
    auto client = round % 4 == 0 ? Connect() : Driver();
    for (int i = 0; i < 40 && !client->closed; ++i) {
      std::vector<uint8_t> bytes = samples[random() % samples.size()];
      for (size_t flips = random() % 4; flips > 0; --flips) {
        bytes[random() % bytes.size()] = static_cast<uint8_t>(random());
      }
      if (random() % 16 == 0) bytes.resize(random() % bytes.size());
      client->SendRaw(0, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
      loop.poll();
    }
  }
  RequestLease(*good);
  EXPECT_EQ(Await<wire::LeaseReply>(*good)->result(), wire::LeaseResult::Granted);
}

}  // namespace
}  // namespace skyray::raylet
