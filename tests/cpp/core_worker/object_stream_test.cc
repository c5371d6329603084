// SPDX-License-Identifier: Apache-2.0
#include "core_worker/object_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core_worker/task.h"
#include "core_worker/words.h"

namespace skyray::core_worker {
namespace {

using Place = ObjectStream::Place;

class ObjectStreamTest : public ::testing::Test {
 protected:
  // As an item that has arrived.
  Place Fill(ObjectStream& stream, uint64_t index, std::string_view text = "item") {
    Object* object = nullptr;
    const Place place = stream.Slot(index, &object);
    if (place != Place::Free) return place;
    ReadyEffects ready;
    objects.SetValue(object, MakeValue(TextParts(text)), ready);
    woken += ready.waiters.size();
    stream.Filled();
    return place;
  }
  std::string Take(ObjectStream& stream) {
    Object* object = stream.Take();
    const std::string text = TextOf(object->value->span());
    FreedEffects freed;
    objects.Drop(object, freed);
    return text;
  }
  void End(ObjectStream& stream, const ValuePtr& error = ValuePtr()) {
    ReadyEffects ready;
    stream.End(error, ready);
  }
  void Drop(ObjectStream& stream) {
    FreedEffects freed;
    stream.Drop(freed);
  }

  ObjectTable objects{{NodeId::FromRandom(), WorkerId::FromRandom()}};
  TaskId task = TaskId::FromRandom();
  size_t woken = 0;
};

TEST_F(ObjectStreamTest, ItemsAreTakenInOrderUntilTheEnd) {
  ObjectStream stream(objects, task, 0, false);
  EXPECT_FALSE(stream.NextIsReady());
  EXPECT_EQ(Fill(stream, 0, "a"), Place::Free);
  EXPECT_EQ(Fill(stream, 1, "b"), Place::Free);
  EXPECT_EQ(stream.Next()->id, ObjectIdOf(task, kFirstItemIndex));
  EXPECT_EQ(Take(stream), "a");
  EXPECT_EQ(stream.Next()->id, ObjectIdOf(task, kFirstItemIndex + 1));
  EXPECT_EQ(Take(stream), "b");
  EXPECT_FALSE(stream.NextIsReady());
  End(stream);
  EXPECT_TRUE(stream.NextIsReady());
  EXPECT_TRUE(stream.NextIsEnd());
  Drop(stream);
  EXPECT_EQ(objects.size(), 0u);
}

TEST_F(ObjectStreamTest, AnErrorIsTheLastItem) {
  ObjectStream stream(objects, task, 0, false);
  Fill(stream, 0, "a");
  End(stream, MakeErrorValue(ErrorCode::WorkerCrashed, "gone"));
  End(stream, MakeErrorValue(ErrorCode::WorkerCrashed, "told twice"));
  EXPECT_EQ(Take(stream), "a");
  EXPECT_FALSE(stream.NextIsEnd());
  EXPECT_TRUE(IsError(stream.Next()->value->span()));
  Take(stream);
  EXPECT_TRUE(stream.NextIsEnd());
  Drop(stream);
  EXPECT_EQ(objects.size(), 0u);
}

TEST_F(ObjectStreamTest, WhoWaitsForTheNextItemIsWoken) {
  ObjectStream stream(objects, task, 0, false);
  Waiter waiter;
  waiter.remaining = 1;
  stream.Next()->waiters.push_back(&waiter);
  Fill(stream, 0);
  EXPECT_EQ(woken, 1u);
  EXPECT_TRUE(waiter.done());
  Drop(stream);
}

TEST_F(ObjectStreamTest, ItemsYieldedAgainAreThereAlready) {
  ObjectStream stream(objects, task, 0, false);
  Fill(stream, 0, "a");
  Fill(stream, 1, "b");
  Take(stream);
  EXPECT_EQ(Fill(stream, 0, "again"), Place::Taken);
  EXPECT_EQ(Fill(stream, 1, "again"), Place::Taken);
  EXPECT_EQ(Fill(stream, 2, "c"), Place::Free);
  EXPECT_EQ(Take(stream), "b");
  EXPECT_EQ(Take(stream), "c");
  Drop(stream);
}

// Items in a store, of a task that can make them again.
class KeptItemsTest : public ObjectStreamTest {
 protected:
  void Yield(uint64_t index) {
    Object* item = nullptr;
    ReadyEffects ready;
    if (stream->Slot(index, &item) == Place::Free) {
      objects.SetInStore(item, node, 1000, ready);
      stream->Keep(item, &maker);
      stream->Filled();
    } else if (Object* known = stream->Kept(index)) {
      objects.SetInStore(known, node, 1000, ready);
      FreedEffects freed;
      objects.TaskDone(known, freed);
    }
    stream->Yielded(index);
  }
  void YieldAll(uint64_t count) {
    for (uint64_t i = 0; i < count; ++i) Yield(i);
  }
  std::vector<Object*> TakeAll(uint64_t count) {
    std::vector<Object*> all;
    for (uint64_t i = 0; i < count; ++i) all.push_back(stream->Take());
    return all;
  }
  void Free(Object* item) {
    FreedEffects freed;
    objects.Drop(item, freed);
  }

  Task maker;
  std::shared_ptr<ObjectStream> stream = maker.stream =
      std::make_shared<ObjectStream>(objects, task, 4, false);
  NodeId node = NodeId::FromRandom();
};

TEST_F(KeptItemsTest, TheyAreListedUntilTheyAreFreed) {
  YieldAll(3);
  const std::vector<Object*> items = TakeAll(3);
  EXPECT_EQ(stream->kept_count(), 3u);
  Free(items[1]);
  EXPECT_EQ(stream->Kept(0), items[0]);
  EXPECT_EQ(stream->Kept(1), nullptr);
  EXPECT_EQ(stream->Kept(2), items[2]);
  Free(items[0]);
  Free(items[2]);
  EXPECT_EQ(stream->kept_count(), 0u);
  Drop(*stream);
  EXPECT_EQ(objects.size(), 0u);
}

TEST_F(KeptItemsTest, OneThatThisRunYieldsYetNeedsNoOther) {
  YieldAll(3);
  const std::vector<Object*> items = TakeAll(3);
  EXPECT_TRUE(stream->EndRun(true).empty());
  Yield(0);  // The next run.
  objects.Forget(items[2]);
  stream->LostInRun(items[2]);
  EXPECT_EQ(stream->consumed(), UINT64_MAX);  // It is not to wait for room.
  Yield(1);
  Yield(2);
  EXPECT_EQ(items[2]->state, ObjectState::InStore);
  EXPECT_TRUE(stream->EndRun(true).empty());
  for (Object* item : items) Free(item);
  Drop(*stream);
}

TEST_F(KeptItemsTest, OneThatTheRunHasPassedTakesAnother) {
  YieldAll(3);
  const std::vector<Object*> items = TakeAll(3);
  objects.Forget(items[0]);
  stream->LostInRun(items[0]);
  EXPECT_TRUE(stream->EndRun(true).empty());
  EXPECT_EQ(items[0]->state, ObjectState::Pending) << "it takes another run";
  // The next run ends too soon.
  EXPECT_EQ(stream->EndRun(true), std::vector<Object*>{items[0]});
  for (Object* item : items) {
    item->task_pending = false;
    Free(item);
  }
  Drop(*stream);
}

TEST_F(KeptItemsTest, OneThatNobodyRefersToHasNoPartInIt) {
  YieldAll(1);
  const std::vector<Object*> items = TakeAll(1);
  objects.Forget(items[0]);
  stream->LostInRun(items[0]);
  Free(items[0]);  // Not yet: it is to be filled.
  EXPECT_TRUE(stream->EndRun(true).empty());
  FreedEffects freed;
  objects.TaskDone(items[0], freed);
  EXPECT_EQ(stream->kept_count(), 0u);
  Drop(*stream);
}

TEST_F(ObjectStreamTest, AGapIsNoItem) {
  ObjectStream stream(objects, task, 0, false);
  EXPECT_EQ(Fill(stream, 1), Place::Bad);
  EXPECT_EQ(Fill(stream, UINT64_MAX), Place::Bad);
  Drop(stream);
}

TEST_F(ObjectStreamTest, NothingIsKeptOfWhatNobodyTakes) {
  ObjectStream stream(objects, task, 2, false);
  Fill(stream, 0);
  Drop(stream);
  EXPECT_EQ(objects.size(), 0u);
  EXPECT_EQ(Fill(stream, 1), Place::Taken);
  EXPECT_EQ(stream.consumed(), UINT64_MAX);
  EXPECT_TRUE(stream.TakeNews());
  End(stream, MakeErrorValue(ErrorCode::WorkerCrashed, "gone"));
  EXPECT_FALSE(stream.TakeNews());
  EXPECT_EQ(objects.size(), 0u);
}

TEST_F(ObjectStreamTest, TakenItemsAreToldWhenHalfTheRoomIsFree) {
  ObjectStream stream(objects, task, 4, false);
  for (uint64_t i = 0; i < 4; ++i) Fill(stream, i);
  Take(stream);
  EXPECT_FALSE(stream.TakeNews());
  Take(stream);
  EXPECT_TRUE(stream.TakeNews());
  EXPECT_FALSE(stream.TakeNews());
  EXPECT_EQ(stream.consumed(), 2u);
  Drop(stream);

  ObjectStream unbounded(objects, TaskId::FromRandom(), 0, false);
  Fill(unbounded, 0);
  Take(unbounded);
  EXPECT_FALSE(unbounded.TakeNews());
  Drop(unbounded);

  ObjectStream one(objects, TaskId::FromRandom(), 1, false);
  Fill(one, 0);
  Take(one);
  EXPECT_TRUE(one.TakeNews());
  Drop(one);
}

TEST_F(ObjectStreamTest, ListedItemsCanBeFoundByName) {
  ObjectStream stream(objects, task, 0, true);
  Fill(stream, 0);
  EXPECT_NE(objects.Find(ObjectIdOf(task, kFirstItemIndex)), nullptr);
  End(stream);
  Drop(stream);
  EXPECT_EQ(objects.size(), 0u);
}

}  // namespace
}  // namespace skyray::core_worker
