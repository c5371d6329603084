// SPDX-License-Identifier: Apache-2.0
// A long random life of an ObjectTable: whatever happened, when nobody refers to
// anything any more, nothing is left, and everything was freed exactly once.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <map>
#include <random>
#include <set>

#include "core_worker/object_table.h"
#include "core_worker/words.h"

namespace skyray::core_worker {
namespace {

class Walk {
 public:
  explicit Walk(uint64_t seed) : random_(seed) {
    for (int i = 0; i < 5; ++i) workers_.push_back(SomeWorker());
  }

  void Step() {
    switch (Below(12)) {
      case 0:
      case 1:
        return New(false);
      case 2:
        return New(true);  // A task's return.
      case 3:
        return Borrow();
      case 4:
        return HoldOne();
      case 5:
      case 6:
      case 7:
        return DropOne();
      case 8:
        return ContainOne();
      case 9:
        return FillOne();
      case 10:
        return Below(2) == 0 ? AddBorrower() : RemoveBorrower();
      case 11:
        if (Below(200) == 0) return WorkerGone();
        return EndTask();
    }
  }

  void LetGoOfAll() {
    while (!tasks_.empty()) EndTask();
    while (!held_.empty()) DropOne();
    // Crossed messages all arrive in the end.
    while (!lent_.empty()) RemoveBorrower();
  }

  void Check() {
    EXPECT_EQ(table_.size(), 0u);
    EXPECT_EQ(table_.borrowed_count(), 0u);
    EXPECT_EQ(freed_copies_, stored_);
    EXPECT_EQ(returned_, registered_);
  }
  size_t size() const { return table_.size(); }

 private:
  size_t Below(size_t limit) {
    return std::uniform_int_distribution<size_t>(0, limit - 1)(random_);
  }
  Object* Any() { return held_[Below(held_.size())]; }

  void Took() {
    for (const auto& copy : freed_.store_copies) {
      EXPECT_TRUE(freed_copies_.insert(copy.id).second) << "freed twice";
    }
    for (const auto& ref : freed_.returned) {
      EXPECT_TRUE(returned_.insert(ref.object).second) << "returned twice";
    }
    freed_ = {};
    ready_ = {};
  }

  void New(bool of_task) {
    Object* object = table_.New(ObjectId::FromRandom());
    held_.push_back(object);
    if (of_task) {
      object->task_pending = true;
      tasks_.push_back(object);
    }
    if (Below(2) == 0) table_.Publish(object);
  }
  void Borrow() {
    Object* object = table_.Restore(ObjectId::FromRandom(), workers_[Below(workers_.size())]);
    object->registered = true;
    registered_.insert(object->id);
    held_.push_back(object);
  }
  void HoldOne() {
    if (held_.empty()) return;
    Object* object = Any();
    if (object->in_table && Below(2) == 0) {
      EXPECT_EQ(table_.Restore(object->id, table_.OwnerOf(*object)), object);
    } else {
      table_.Hold(object);
    }
    held_.push_back(object);
  }
  void DropOne() {
    if (held_.empty()) return;
    const size_t at = Below(held_.size());
    Object* object = held_[at];
    held_[at] = held_.back();
    held_.pop_back();
    table_.Drop(object, freed_);
    Took();
  }
  void ContainOne() {
    if (held_.size() < 2) return;
    Object* outer = Any();
    // Never a cycle: what is contained is new.
    Object* inner = table_.New(ObjectId::FromRandom());
    if (Below(2) == 0) {
      held_.push_back(inner);
      table_.Hold(inner);
      table_.Publish(inner);
    }
    if (Below(2) == 0) {
      table_.SetInStore(inner, table_.self().node, 1, ready_);
      stored_.insert(inner->id);
    }
    table_.Contain(outer, inner);
    Took();
  }
  void FillOne() {
    if (held_.empty()) return;
    Object* object = Any();
    if (object->state != ObjectState::Pending) return;
    if (Below(2) == 0) {
      table_.SetValue(object, TextValue("x"), ready_);
    } else {
      table_.SetInStore(object, table_.self().node, 1, ready_);
      if (object->owner == nullptr) stored_.insert(object->id);
    }
    Took();
  }
  // A held, owned object is lent; it may well be dropped before it comes back.
  void AddBorrower() {
    if (held_.empty()) return;
    Object* object = Any();
    if (object->owner != nullptr) return;
    table_.Publish(object);
    const auto& borrower = workers_[Below(workers_.size())];
    table_.AddBorrower(object->id, borrower, freed_);
    lent_.emplace(borrower.worker, std::pair(object->id, borrower));
    Took();
  }
  void RemoveBorrower() {
    if (lent_.empty()) return;
    auto it = lent_.begin();
    std::advance(it, static_cast<ptrdiff_t>(Below(std::min<size_t>(lent_.size(), 8))));
    table_.RemoveBorrower(it->second.first, it->second.second, freed_);
    lent_.erase(it);
    Took();
  }
  void WorkerGone() {
    const size_t at = Below(workers_.size());
    table_.BorrowerGone(workers_[at].worker, freed_);
    lent_.erase(workers_[at].worker);
    workers_[at] = SomeWorker();
    Took();
  }
  void EndTask() {
    if (tasks_.empty()) return;
    const size_t at = Below(tasks_.size());
    Object* object = tasks_[at];
    tasks_[at] = tasks_.back();
    tasks_.pop_back();
    table_.TaskDone(object, freed_);
    Took();
  }

  std::mt19937_64 random_;
  ObjectTable table_{SomeWorker()};
  std::vector<WorkerAddress> workers_;
  std::vector<Object*> held_;   // One entry a reference.
  std::vector<Object*> tasks_;  // Returns of tasks that run.
  std::multimap<WorkerId, std::pair<ObjectId, WorkerAddress>> lent_;
  std::set<ObjectId> stored_, freed_copies_, registered_, returned_;
  ReadyEffects ready_;
  FreedEffects freed_;
};

TEST(ObjectTableWalk, EndsWithNothing) {
  const char* given = getenv("SKYRAY_TEST_SEED");
  const uint64_t seed = given != nullptr ? std::stoull(given) : std::random_device{}();
  SCOPED_TRACE("repeat with SKYRAY_TEST_SEED=" + std::to_string(seed));
  Walk walk(seed);
  size_t most = 0;
  for (int i = 0; i < 100'000; ++i) {
    walk.Step();
    most = std::max(most, walk.size());
  }
  EXPECT_GT(most, 10u) << "the walk did nothing";
  walk.LetGoOfAll();
  walk.Check();
}

}  // namespace
}  // namespace skyray::core_worker
