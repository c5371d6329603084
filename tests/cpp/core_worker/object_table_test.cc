// SPDX-License-Identifier: Apache-2.0
#include "core_worker/object_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core_worker/task.h"
#include "core_worker/words.h"

namespace skyray::core_worker {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

class ObjectTableTest : public ::testing::Test {
 protected:
  Object* New() { return table.New(ObjectId::FromRandom()); }
  Object* Published() {
    Object* object = New();
    table.Publish(object);
    return object;
  }
  Object* Borrowed(const WorkerAddress& owner) {
    return table.Restore(ObjectId::FromRandom(), owner);
  }
  void Drop(Object* object) { table.Drop(object, freed); }
  void Fill(Object* object, std::string_view text = "value") {
    table.SetValue(object, TextValue(text), ready);
  }
  std::vector<ObjectId> FreedCopies() const {
    std::vector<ObjectId> ids;
    for (const auto& copy : freed.store_copies) ids.push_back(copy.id);
    return ids;
  }
  std::vector<ObjectId> Returned() const {
    std::vector<ObjectId> ids;
    for (const auto& ref : freed.returned) ids.push_back(ref.object);
    return ids;
  }

  WorkerAddress self = SomeWorker();
  WorkerAddress other = SomeWorker();
  WorkerAddress third = SomeWorker();
  ObjectTable table{self};
  ReadyEffects ready;
  FreedEffects freed;
};

// --- Counting ---

TEST_F(ObjectTableTest, AnObjectGoesWithItsLastReference) {
  Object* object = New();
  table.Hold(object);
  Drop(object);
  EXPECT_EQ(table.size(), 1u);
  Drop(object);
  EXPECT_EQ(table.size(), 0u);
}

TEST_F(ObjectTableTest, AnErrorThatNobodyLookedAtIsLeftOver) {
  const ValuePtr error = MakeErrorValue(ErrorCode::WorkerCrashed, "");
  for (const bool unheeded : {true, false}) {
    Object* before = New();
    Object* after = New();
    Object* fine = New();
    for (Object* object : {before, after, fine}) object->unheeded = unheeded;
    after->task_pending = true;
    Drop(after);
    EXPECT_TRUE(freed.empty());
    table.SetValue(before, error, ready);
    table.SetValue(after, error, ready);
    Fill(fine);
    Drop(before);
    Drop(fine);
    EXPECT_EQ(freed.unheeded.size(), unheeded ? 1u : 0u);
    EXPECT_EQ(freed.empty(), !unheeded);
    table.TaskDone(after, freed);
    EXPECT_EQ(freed.unheeded.size(), unheeded ? 2u : 0u);
    freed = {};
  }
}

TEST_F(ObjectTableTest, OnlyAPublishedObjectIsFoundByItsName) {
  Object* object = New();
  const ObjectId id = object->id;
  EXPECT_EQ(table.Find(id), nullptr);
  table.Publish(object);
  table.Publish(object);  // Twice does no harm.
  EXPECT_EQ(table.Find(id), object);
  Drop(object);
  EXPECT_EQ(table.Find(id), nullptr);
}

TEST_F(ObjectTableTest, RestoringAKnownObjectAddsAReference) {
  Object* object = Published();
  EXPECT_EQ(table.Restore(object->id, self), object);
  Drop(object);
  EXPECT_EQ(table.size(), 1u);
  Drop(object);
  EXPECT_EQ(table.size(), 0u);
}

TEST_F(ObjectTableTest, AReferenceMaySayWhereItsObjectIs) {
  Object* object = New();
  EXPECT_FALSE(ObjectTable::PlaceOf(*object).has_value()) << "nowhere yet";
  table.SetInStore(object, other.node, 1000, ready);
  const auto place = ObjectTable::PlaceOf(*object);
  ASSERT_TRUE(place.has_value());
  Object* borrowed = table.Restore(ObjectId::FromRandom(), other, place);
  EXPECT_EQ(borrowed->state, ObjectState::InStore);
  EXPECT_TRUE(borrowed->IsAt(other.node));
  EXPECT_EQ(borrowed->store_bytes, 1000u);
  EXPECT_TRUE(borrowed->hearsay);
  EXPECT_TRUE(ObjectTable::PlaceOf(*borrowed).has_value()) << "it may be handed on";
  table.Forget(borrowed);
  EXPECT_FALSE(borrowed->hearsay) << "now its owner is asked";
  Drop(borrowed);
  // Whoever gets the references inside must be known to their owners first.
  table.Contain(object, New());
  EXPECT_FALSE(ObjectTable::PlaceOf(*object).has_value());
  Drop(object);
  EXPECT_EQ(table.size(), 0u);
}

TEST_F(ObjectTableTest, AStoredObjectsCopiesAreFreedWithIt) {
  Object* object = New();
  const ObjectId id = object->id;
  table.SetInStore(object, self.node, 1000, ready);
  table.SetInStore(object, other.node, 1000, ready);
  table.SetInStore(object, other.node, 1000, ready);  // Known already.
  Drop(object);
  ASSERT_EQ(freed.store_copies.size(), 1u);
  EXPECT_EQ(freed.store_copies[0].id, id);
  EXPECT_THAT(freed.store_copies[0].nodes, UnorderedElementsAre(self.node, other.node));
}

TEST_F(ObjectTableTest, AnErrorInPlaceOfAStoredValueStillFreesItsCopies) {
  // One return was stored, the next was malformed: all become the error.
  Object* object = New();
  const ObjectId id = object->id;
  table.SetInStore(object, self.node, 1000, ready);
  table.SetValue(object, MakeErrorValue(ErrorCode::Internal, "malformed"), ready);
  Drop(object);
  EXPECT_THAT(FreedCopies(), ElementsAre(id));
}

TEST_F(ObjectTableTest, ADroppedReturnLivesUntilItsTaskIsDone) {
  Object* object = New();
  object->task_pending = true;
  Drop(object);
  EXPECT_EQ(table.size(), 1u);
  Fill(object);  // The task may still fill it.
  table.TaskDone(object, freed);
  EXPECT_EQ(table.size(), 0u);
}

TEST_F(ObjectTableTest, TaskDoneLeavesWhatIsReferredTo) {
  Object* object = New();
  object->task_pending = true;
  table.TaskDone(object, freed);
  EXPECT_EQ(table.size(), 1u);
  Drop(object);
  EXPECT_EQ(table.size(), 0u);
}

TEST_F(ObjectTableTest, ForgettingMakesPendingAgain) {
  Object* object = New();
  table.SetInStore(object, other.node, 7, ready);
  table.Forget(object);
  EXPECT_EQ(object->state, ObjectState::Pending);
  EXPECT_FALSE(object->IsAt(other.node));
  Drop(object);
  EXPECT_THAT(FreedCopies(), IsEmpty());
}

TEST_F(ObjectTableTest, OneOfOursThatIsGoneIsKnownToBeLost) {
  // Its last reference went while the name travelled: nobody will ever fill it.
  Object* object = table.Restore(ObjectId::FromRandom(), self);
  ASSERT_EQ(object->state, ObjectState::InProcess);
  ASSERT_TRUE(IsError(object->value->span()));
  EXPECT_EQ(ParseSystemError(*PayloadView::Parse(object->value->span())).code,
            ErrorCode::ObjectLost);
  Drop(object);
  EXPECT_EQ(table.size(), 0u);
}

// --- Borrowing ---

TEST_F(ObjectTableTest, ARegisteredBorrowIsReturned) {
  Object* object = Borrowed(other);
  const ObjectId id = object->id;
  EXPECT_EQ(table.borrowed_count(), 1u);
  EXPECT_EQ(table.OwnerOf(*object), other);
  object->registered = true;
  Drop(object);
  EXPECT_THAT(Returned(), ElementsAre(id));
  EXPECT_EQ(freed.returned[0].owner, other);
  EXPECT_EQ(table.borrowed_count(), 0u);
}

TEST_F(ObjectTableTest, ABorrowIsReturnedAsOftenAsTheOwnerWasToldOfIt) {
  Object* object = Borrowed(other);
  object->registered = true;
  object->registered_again = 2;
  Drop(object);
  ASSERT_EQ(freed.returned.size(), 1u);
  EXPECT_EQ(freed.returned[0].count, 3u);
}

TEST_F(ObjectTableTest, ABorrowTheOwnerWasNotToldOfIsDroppedInSilence) {
  Object* object = Borrowed(other);
  Drop(object);
  EXPECT_THAT(Returned(), IsEmpty());
}

TEST_F(ObjectTableTest, ABorrowersStoreCopyIsNotOursToFree) {
  Object* object = Borrowed(other);
  table.SetInStore(object, self.node, 1000, ready);
  Drop(object);
  EXPECT_THAT(FreedCopies(), IsEmpty());
}

TEST_F(ObjectTableTest, ABorrowerKeepsTheObject) {
  Object* object = Published();
  const ObjectId id = object->id;
  table.AddBorrower(id, other, freed);
  Drop(object);
  EXPECT_EQ(table.Find(id), object);
  EXPECT_EQ(table.lent_count(), 1u);
  table.RemoveBorrower(id, other, freed);
  EXPECT_EQ(table.size(), 0u);
  EXPECT_EQ(table.lent_count(), 0u);
}

TEST_F(ObjectTableTest, BorrowersCountHoweverTheirMessagesCross) {
  Object* object = Published();
  const ObjectId id = object->id;
  table.RemoveBorrower(id, other, freed);  // Overtook its Add: the count is -1.
  Drop(object);
  EXPECT_EQ(table.size(), 1u) << "an Add is still on its way";
  EXPECT_EQ(table.lent_count(), 1u);
  table.AddBorrower(id, other, freed);
  EXPECT_EQ(table.size(), 0u);
  EXPECT_EQ(table.lent_count(), 0u);
}

TEST_F(ObjectTableTest, ABorrowerThatIsCountedTwiceReturnsTwice) {
  Object* object = Published();
  const ObjectId id = object->id;
  table.AddBorrower(id, other, freed);
  table.AddBorrower(id, other, freed);
  Drop(object);
  table.RemoveBorrower(id, other, freed);
  EXPECT_EQ(table.size(), 1u);
  table.RemoveBorrower(id, other, freed);
  EXPECT_EQ(table.size(), 0u);
}

TEST_F(ObjectTableTest, ARemovalOfSeveralMayOvertakeTheLastOfThem) {
  Object* object = Published();
  const ObjectId id = object->id;
  table.AddBorrower(id, other, freed);
  Drop(object);
  table.RemoveBorrower(id, other, freed, 2);
  EXPECT_EQ(table.size(), 1u) << "an Add is still on its way";
  table.AddBorrower(id, other, freed);
  EXPECT_EQ(table.size(), 0u);
}

TEST_F(ObjectTableTest, BorrowersOfUnknownOrForeignObjectsAreIgnored) {
  table.AddBorrower(ObjectId::FromRandom(), other, freed);
  table.RemoveBorrower(ObjectId::FromRandom(), other, freed);
  Object* foreign = Borrowed(other);
  table.AddBorrower(foreign->id, third, freed);
  Drop(foreign);
  EXPECT_EQ(table.size(), 0u);
}

TEST_F(ObjectTableTest, ADeadBorrowerLetsGoOfAll) {
  std::vector<ObjectId> kept;
  for (int i = 0; i < 10; ++i) {
    Object* object = Published();
    table.AddBorrower(object->id, other, freed);
    table.AddBorrower(object->id, other, freed);
    if (i % 2 == 0) {
      table.AddBorrower(object->id, third, freed);
      kept.push_back(object->id);
    }
    Drop(object);
  }
  EXPECT_EQ(table.lent_count(), 10u);
  table.BorrowerGone(other.worker, freed);
  EXPECT_EQ(table.size(), 5u);
  EXPECT_EQ(table.lent_count(), 5u);
  for (const ObjectId& id : kept) EXPECT_NE(table.Find(id), nullptr);
  table.BorrowerGone(third.worker, freed);
  EXPECT_EQ(table.size(), 0u);
}

TEST_F(ObjectTableTest, ADeadBorrowerOfAValueAndOfWhatIsInIt) {
  Object* inner = Published();
  Object* outer = Published();
  table.AddBorrower(inner->id, other, freed);
  table.AddBorrower(outer->id, other, freed);
  table.Contain(outer, inner);  // Takes our reference over.
  Drop(outer);
  EXPECT_EQ(table.size(), 2u);
  table.BorrowerGone(other.worker, freed);
  EXPECT_EQ(table.size(), 0u);
}

TEST_F(ObjectTableTest, PendingObjectsOfADeadOwnerAreFound) {
  Object* waiting = Borrowed(other);
  Object* filled = Borrowed(other);
  Object* of_third = Borrowed(third);
  Object* ours = Published();
  Fill(filled);
  EXPECT_THAT(table.PendingOf(other.worker), ElementsAre(waiting));
  for (Object* object : {waiting, filled, of_third, ours}) Drop(object);
  EXPECT_EQ(table.size(), 0u);
}

TEST_F(ObjectTableTest, AnAddressIsKeptOnce) {
  EXPECT_EQ(table.Intern(other), table.Intern(other));
  EXPECT_NE(table.Intern(other), table.Intern(third));
}

// --- Values that contain references ---

TEST_F(ObjectTableTest, AContainedObjectLivesAsLongAsItsContainer) {
  Object* inner = Published();
  Object* outer = New();
  const ObjectId inner_id = inner->id;
  table.Contain(outer, inner);
  EXPECT_EQ(table.Find(inner_id), inner);
  Drop(outer);
  EXPECT_EQ(table.size(), 0u);
}

TEST_F(ObjectTableTest, AContainedBorrowIsReturnedToItsOwner) {
  Object* inner = Borrowed(other);
  inner->registered = true;
  const ObjectId inner_id = inner->id;
  Object* outer = New();
  table.Contain(outer, inner);
  Drop(outer);
  EXPECT_THAT(Returned(), ElementsAre(inner_id));
}

TEST_F(ObjectTableTest, AListOfListsIsFreedHoweverDeepItIs) {
  constexpr int kDepth = 1'000'000;  // By recursion this would overflow the stack.
  Object* outer = New();
  for (int i = 0; i < kDepth; ++i) {
    Object* next = New();
    table.Contain(next, outer);
    outer = next;
  }
  Drop(outer);
  EXPECT_EQ(table.size(), 0u);
}

TEST_F(ObjectTableTest, WhatTwoValuesContainGoesWithTheSecond) {
  Object* shared = New();
  Object* first = New();
  Object* second = New();
  table.Hold(shared);
  table.Contain(first, shared);
  table.Contain(second, shared);
  Drop(first);
  EXPECT_EQ(table.size(), 2u);
  Drop(second);
  EXPECT_EQ(table.size(), 0u);
}

// --- Becoming ready ---

TEST_F(ObjectTableTest, EveryWaiterIsCountedDown) {
  Object* a = New();
  Object* b = New();
  Waiter both{2};
  Waiter one{1};
  a->waiters = {&both, &one};
  b->waiters = {&both};
  Fill(a);
  EXPECT_THAT(ready.waiters, UnorderedElementsAre(&both, &one));
  EXPECT_TRUE(one.done());
  EXPECT_FALSE(both.done());
  table.SetInStore(b, self.node, 5, ready);
  EXPECT_TRUE(both.done());
  Drop(a);
  Drop(b);
}

TEST_F(ObjectTableTest, ASecondCopyIsNoNews) {
  Object* object = New();
  table.SetInStore(object, self.node, 5, ready);
  Waiter waiter{1};
  object->waiters = {&waiter};
  table.SetInStore(object, other.node, 5, ready);
  EXPECT_FALSE(waiter.done());
  Drop(object);
}

TEST_F(ObjectTableTest, DependentTasksAreUnblockedOnceByTheirLastArgument) {
  Object* object = New();
  Task twice, once, more;
  twice.unresolved = 2;
  once.unresolved = 1;
  more.unresolved = 2;
  object->Extras().dependents = {&twice, &once, &twice, &more};
  Fill(object);
  EXPECT_THAT(ready.unblocked, ElementsAre(&once, &twice));
  EXPECT_EQ(twice.unresolved, 0);
  EXPECT_EQ(once.unresolved, 0);
  EXPECT_EQ(more.unresolved, 1);
  Drop(object);
}

TEST_F(ObjectTableTest, RemoteWaitersAndCallbacksAreAnsweredOnce) {
  Object* object = New();
  int called = 0;
  object->Extras().remote_waiters = {7, 9};
  object->Extras().callbacks.push_back([&] { ++called; });
  Fill(object);
  using Answer = std::pair<uint64_t, Object*>;
  EXPECT_THAT(ready.answers, ElementsAre(Answer{7, object}, Answer{9, object}));
  ASSERT_EQ(ready.callbacks.size(), 1u);
  ready.callbacks[0]();
  EXPECT_EQ(called, 1);
  ready = {};
  Fill(object, "again");
  EXPECT_THAT(ready.answers, IsEmpty());
  EXPECT_THAT(ready.callbacks, IsEmpty());
  Drop(object);
}

}  // namespace
}  // namespace skyray::core_worker
