// SPDX-License-Identifier: Apache-2.0
#include "core_worker/task_event_buffer.h"

#include <gmock/gmock.h>

#include "core_worker/frames_out.h"

namespace skyray::core_worker {
namespace {

namespace fbr = fb::raylet;
namespace fbt = fb::task_event;
using testing::ElementsAre;

class TaskEventBufferTest : public testing::Test {
 protected:
  bool Add(RecordedFunction& function, const TaskTimes& times = {100, 110, 130, 160}) {
    return buffer.Add(task, function, times, nullptr);
  }
  void AddFailed(const TaskTimes& times, bool in_outputs, const std::string& traceback = "trace") {
    TaskFailure failure{in_outputs, "type", "value", traceback};
    buffer.Add(task, f, times, &failure);
  }
  const fbr::TaskEvents& Take(int64_t to_wall_ns = 0) {
    builder.Clear();
    const auto taken = buffer.Take(source, to_wall_ns, builder);
    builder.Finish(fbr::CreateTaskEvents(builder, taken.batch, taken.executions, taken.dropped));
    flatbuffers::Verifier verifier(builder.GetBufferPointer(), builder.GetSize());
    EXPECT_TRUE(verifier.VerifyBuffer<fbr::TaskEvents>(nullptr));
    return *flatbuffers::GetRoot<fbr::TaskEvents>(builder.GetBufferPointer());
  }
  static const fbt::Batch& In(const fbr::TaskEvents& events) {
    flatbuffers::Verifier verifier(events.batch()->data(), events.batch()->size());
    EXPECT_TRUE(verifier.VerifyBuffer<fbt::Batch>(nullptr));
    return *flatbuffers::GetRoot<fbt::Batch>(events.batch()->data());
  }
  static std::vector<int64_t> TimesOf(const fbr::TaskEvents& events, uint32_t i) {
    const fbt::Execution& execution = *events.executions()->Get(i);
    return {execution.start_ns(), execution.arguments_ns(), execution.executed_ns(),
            execution.end_ns()};
  }
  static std::string NameOf(const fbr::TaskEvents& events, uint32_t i) {
    const auto* function = In(events).functions()->Get(events.executions()->Get(i)->function());
    return function->name()->str() + " " + function->code()->str();
  }

  const TaskId task = TaskId::FromRandom();
  const TaskEventSource source{"10.0.0.1", WorkerId::FromRandom(), JobIdFromInt(7),
                               ActorId::FromRandom()};
  RecordedFunction f{"f", "module.f"}, g{"g", ""};
  TaskEventBuffer buffer;
  Builder builder;
};

TEST_F(TaskEventBufferTest, OnlyTheFirstToComeIsNews) {
  EXPECT_TRUE(buffer.empty());
  EXPECT_TRUE(Add(f));
  EXPECT_FALSE(Add(g));
  EXPECT_FALSE(buffer.empty());
  EXPECT_EQ(Take().executions()->size(), 2u);
  EXPECT_TRUE(buffer.empty());
  EXPECT_TRUE(Add(f));
}

TEST_F(TaskEventBufferTest, ExecutionsComeInTheirOrderWithTheirTimes) {
  Add(f);
  Add(g, {200, 201, 203, 206});
  Add(f, {300, 300, 300, 300});
  const fbr::TaskEvents& batch = Take(/*to_wall_ns=*/5000);
  EXPECT_EQ(batch.executions()->size(), 3u);
  EXPECT_EQ(batch.dropped(), 0u);
  EXPECT_EQ(In(batch).to_wall_ns(), 5000);
  EXPECT_EQ(In(batch).functions()->size(), 2u) << "each once";
  EXPECT_EQ(NameOf(batch, 0), "f module.f");
  EXPECT_EQ(NameOf(batch, 1), "g g");
  EXPECT_EQ(NameOf(batch, 2), "f module.f");
  EXPECT_THAT(TimesOf(batch, 0), ElementsAre(100, 110, 130, 160));
  EXPECT_THAT(TimesOf(batch, 1), ElementsAre(200, 201, 203, 206));
  EXPECT_EQ(0, memcmp(batch.executions()->Get(1)->task_id()->Data(), task.data(), TaskId::kSize));
  EXPECT_EQ(batch.executions()->Get(0)->failure(), 0u);
}

TEST_F(TaskEventBufferTest, ABatchSaysWhoseItIs) {
  Add(f);
  const fbr::TaskEvents& batch = Take();
  const auto is = [](const flatbuffers::Vector<uint8_t>* bytes, const auto& id) {
    return bytes->size() == id.kSize && memcmp(bytes->data(), id.data(), id.kSize) == 0;
  };
  EXPECT_EQ(In(batch).node_ip()->str(), "10.0.0.1");
  EXPECT_TRUE(is(In(batch).worker_id(), source.worker));
  EXPECT_TRUE(is(In(batch).job_id(), source.job));
  EXPECT_TRUE(is(In(batch).actor_id(), source.actor));
}

TEST_F(TaskEventBufferTest, AFunctionIsListedAnewInEachBatch) {
  Add(f);
  Take();
  Add(g);
  Add(f);
  const fbr::TaskEvents& batch = Take();
  EXPECT_EQ(NameOf(batch, 0), "g g");
  EXPECT_EQ(NameOf(batch, 1), "f module.f");
}

TEST_F(TaskEventBufferTest, TheFunctionsChannelMayBeGoneBeforeTheBatch) {
  {
    RecordedFunction shortly{"short", "lived"};
    Add(shortly);
  }
  EXPECT_EQ(NameOf(Take(), 0), "short lived");
}

TEST_F(TaskEventBufferTest, WhatRaisedSaysWhatAndWhere) {
  Add(f);
  AddFailed({100, 110, 130, 160}, false);
  AddFailed({100, 110, 130, 160}, true);
  const fbr::TaskEvents& batch = Take();
  EXPECT_EQ(batch.executions()->Get(0)->failure(), 0u);
  EXPECT_EQ(batch.executions()->Get(1)->failure(), 1u);
  ASSERT_EQ(batch.executions()->Get(2)->failure(), 2u);
  EXPECT_EQ(In(batch).failures()->Get(1)->type()->str(), "type");
  EXPECT_EQ(In(batch).failures()->Get(1)->value()->str(), "value");
  EXPECT_EQ(In(batch).failures()->Get(1)->traceback()->str(), "trace");
  EXPECT_FALSE(In(batch).failures()->Get(0)->in_outputs());
  EXPECT_TRUE(In(batch).failures()->Get(1)->in_outputs());
}

TEST_F(TaskEventBufferTest, WhatIsTooMuchIsCountedAndDropped) {
  for (size_t i = 0; i < kTaskEventsMax + 3; ++i) Add(f, {1, 2, 3, static_cast<int64_t>(i) + 4});
  const fbr::TaskEvents& batch = Take();
  EXPECT_EQ(batch.executions()->size(), kTaskEventsMax);
  EXPECT_EQ(batch.dropped(), 3u);
  for (uint32_t i = 0; i < kTaskEventsMax; ++i) {
    ASSERT_EQ(batch.executions()->Get(i)->end_ns(), i + 4) << "the first ones are kept";
  }
  Add(f);
  EXPECT_EQ(Take().dropped(), 0u) << "told once";
}

TEST_F(TaskEventBufferTest, LongTextsAreCutBetweenCharacters) {
  // "ä" is two bytes: the last one would be cut in the middle.
  std::string text(1, 'x');
  while (text.size() < 2 * kFailureTextBytesMax) text += "\xC3\xA4";
  AddFailed({1, 2, 3, 4}, false, text);
  const std::string cut = In(Take()).failures()->Get(0)->traceback()->str();
  EXPECT_EQ(cut, text.substr(0, kFailureTextBytesMax - 1));
  f.name = f.code = text;
  Add(f);
  EXPECT_EQ(In(Take()).functions()->Get(0)->name()->str(), text.substr(0, kTaskNameBytesMax - 1));
}

TEST_F(TaskEventBufferTest, BeyondABoundFailuresGoWithoutTheirTexts) {
  const std::string text(kFailureTextBytesMax, 'x');
  const size_t count = kFailureBytesMax / kFailureTextBytesMax + 5;
  for (size_t i = 0; i < count; ++i) AddFailed({1, 2, 3, 4}, false, text);
  const fbr::TaskEvents& batch = Take();
  size_t bytes = 0;
  for (const auto* failure : *In(batch).failures()) {
    bytes += failure->type()->size() + failure->value()->size() + failure->traceback()->size();
  }
  EXPECT_LE(bytes, kFailureBytesMax);
  EXPECT_EQ(In(batch).failures()->Get(0)->traceback()->size(), text.size());
  EXPECT_EQ(In(batch).failures()->Get(static_cast<uint32_t>(count - 1))->traceback()->size(), 0u);
  EXPECT_EQ(batch.executions()->Get(static_cast<uint32_t>(count - 1))->failure(), count);
}

}  // namespace
}  // namespace skyray::core_worker
