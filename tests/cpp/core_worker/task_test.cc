// SPDX-License-Identifier: Apache-2.0
#include "core_worker/task.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core_worker/words.h"

namespace skyray::core_worker {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class TaskTest : public ::testing::Test {
 protected:
  TaskTest() {
    task.id = TaskId::FromRandom();
    task.function = &function;
    task.returns_asked = 3;
    task.flags = kCallHasBoth;
    task.args = "the arguments";
    owner = SomeWorker();
    by_value.id = ObjectId::FromRandom();
    by_value.state = ObjectState::InProcess;
    by_value.value = TextValue("a value");
    stored.id = ObjectId::FromRandom();
    stored.state = ObjectState::InStore;
    stored.owner = &owner;
    stored.store_bytes = 123'456;
    stored.nodes = {NodeId::FromRandom(), NodeId::FromRandom()};
  }
  void AddRefs() {
    task.ref_args.push_back({2, "", &by_value});
    task.ref_args.push_back({-1, "keyword", &stored});
  }
  // The body of the frame that AppendCall makes.
  std::string Body() const {
    std::string out;
    AppendCall(out, task, task.args, 42, 7);
    ipc::FrameHeader header;
    std::memcpy(&header, out.data(), sizeof header);
    EXPECT_EQ(header.kind, kCallFrame);
    EXPECT_EQ(header.fds, 0);
    EXPECT_EQ(header.body_bytes, out.size() - sizeof header);
    return out.substr(sizeof header);
  }
  static bool Parses(std::string_view body) {
    // Exactly its bytes, so that a sanitizer sees a read behind their end.
    const std::vector<uint8_t> bytes(body.begin(), body.end());
    ReceivedCall call;
    return ParseCall(bytes, call);
  }

  Function function;
  Task task;
  WorkerAddress owner;
  Object by_value, stored;
};

TEST_F(TaskTest, ACallArrivesAsItWasMade) {
  AddRefs();
  const std::string body = Body();
  ReceivedCall call;
  ASSERT_TRUE(ParseCall(BytesOf(body), call));
  EXPECT_EQ(call.header.sequence, 42u);
  EXPECT_EQ(call.header.function_index, 7u);
  EXPECT_EQ(call.header.task, task.id);
  EXPECT_EQ(call.header.returns, 3);
  EXPECT_EQ(call.header.flags, kCallHasBoth | kCallOnce);
  EXPECT_EQ(std::string(call.args.begin(), call.args.end()), "the arguments");
  ASSERT_EQ(call.ref_args.size(), 2u);
  const ReceivedRefArg& first = call.ref_args[0];
  EXPECT_EQ(first.head.position, 2);
  EXPECT_EQ(first.head.object, by_value.id);
  EXPECT_EQ(first.head.owner, WorkerAddress()) << "nil: the caller itself";
  EXPECT_EQ(TextOf(first.payload), "a value");
  EXPECT_THAT(first.nodes, IsEmpty());
  const ReceivedRefArg& second = call.ref_args[1];
  EXPECT_EQ(second.head.position, -1);
  EXPECT_EQ(second.key, "keyword");
  EXPECT_EQ(second.head.object, stored.id);
  EXPECT_EQ(second.head.owner, owner);
  EXPECT_EQ(second.head.bytes, 123'456u);
  EXPECT_THAT(second.nodes, ElementsAre(stored.nodes[0], stored.nodes[1]));
}

TEST_F(TaskTest, WhatMayRunAgainIsNotSaidToRunOnce) {
  task.retries_left = 1;
  ReceivedCall call;
  const std::string body = Body();
  ASSERT_TRUE(ParseCall(BytesOf(body), call));
  EXPECT_EQ(call.header.flags, kCallHasBoth);
}

TEST_F(TaskTest, ACallWithoutArgumentsArrives) {
  task.args.clear();
  ReceivedCall call;
  const std::string body = Body();
  ASSERT_TRUE(ParseCall(BytesOf(body), call));
  EXPECT_THAT(call.args, IsEmpty());
  EXPECT_THAT(call.ref_args, IsEmpty());
}

TEST_F(TaskTest, CallsFollowEachOtherInOneBuffer) {
  std::string out;
  AppendCall(out, task, task.args, 0, 0);
  const size_t first = out.size();
  AppendCall(out, task, task.args, 1, 0);
  EXPECT_EQ(out.size(), 2 * first);
  ReceivedCall call;
  ASSERT_TRUE(ParseCall(BytesOf(out).subspan(first + sizeof(ipc::FrameHeader)), call));
  EXPECT_EQ(call.header.sequence, 1u);
}

TEST_F(TaskTest, ACallCutAtAnyByteIsNone) {
  AddRefs();
  const std::string body = Body();
  for (size_t size = 0; size < body.size(); ++size) {
    EXPECT_FALSE(Parses(body.substr(0, size))) << size << " of " << body.size();
  }
  EXPECT_TRUE(Parses(body));
}

TEST_F(TaskTest, BytesBehindACallMakeItNone) { EXPECT_FALSE(Parses(Body() + "x")); }

TEST_F(TaskTest, LyingCountsMakeItNone) {
  AddRefs();
  const std::string body = Body();
  const auto with_header = [&](auto change) {
    CallHeader header;
    std::memcpy(&header, body.data(), sizeof header);
    change(header);
    std::string changed = body;
    std::memcpy(changed.data(), &header, sizeof header);
    return changed;
  };
  EXPECT_FALSE(Parses(with_header([](CallHeader& h) { h.ref_args = UINT32_MAX; })));
  EXPECT_FALSE(Parses(with_header([](CallHeader& h) { h.ref_args = 0; })));
  EXPECT_FALSE(Parses(with_header([](CallHeader& h) { h.args_bytes = UINT32_MAX; })));
  EXPECT_FALSE(Parses(with_header([](CallHeader& h) { h.args_bytes += 1; })));
  const auto with_ref = [&](auto change) {
    const size_t at = sizeof(CallHeader) + task.args.size();
    RefArg ref;
    std::memcpy(static_cast<void*>(&ref), body.data() + at, sizeof ref);
    change(ref);
    std::string changed = body;
    std::memcpy(changed.data() + at, &ref, sizeof ref);
    return changed;
  };
  EXPECT_TRUE(Parses(with_ref([](RefArg&) {})));
  EXPECT_FALSE(Parses(with_ref([](RefArg& r) { r.bytes = UINT64_MAX; })));
  EXPECT_FALSE(Parses(with_ref([](RefArg& r) { r.nodes = UINT16_MAX; })));
  EXPECT_FALSE(Parses(with_ref([](RefArg& r) { r.key_bytes = UINT16_MAX; })));
}

TEST_F(TaskTest, EveryFlippedByteIsHarmless) {
  AddRefs();
  const std::string body = Body();
  for (size_t at = 0; at < body.size(); ++at) {
    for (const int bit : {0, 3, 7}) {
      std::string changed = body;
      changed[at] = static_cast<char>(changed[at] ^ (1 << bit));
      (void)Parses(changed);  // True or false, but no read out of bounds (asan).
    }
  }
}

TEST(ByteReader, ReadsNothingBehindItsEnd) {
  const std::string bytes = "12345678";
  ByteReader reader(BytesOf(bytes));
  uint32_t number = 0;
  std::span<const uint8_t> piece;
  EXPECT_TRUE(reader.Read(number));
  EXPECT_FALSE(reader.ReadBytes(5, piece));
  EXPECT_FALSE(reader.ReadBytes(UINT64_MAX, piece));
  EXPECT_EQ(reader.left(), 4u) << "a failed read takes nothing";
  EXPECT_TRUE(reader.ReadBytes(3, piece));
  EXPECT_FALSE(reader.Read(number));
  EXPECT_TRUE(reader.ReadBytes(1, piece));
  EXPECT_TRUE(reader.ReadBytes(0, piece));
  EXPECT_EQ(reader.left(), 0u);
}

}  // namespace
}  // namespace skyray::core_worker
