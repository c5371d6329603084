// SPDX-License-Identifier: Apache-2.0
#include "core_worker/object_stream.h"

#include <algorithm>
#include <utility>

namespace skyray::core_worker {
namespace {

uint64_t PositionOf(const Object& item) { return IndexOf(item.id) - kFirstItemIndex; }

}  // namespace

ObjectStream::ObjectStream(ObjectTable& objects, const TaskId& task, uint64_t room_max, bool listed)
    : objects_(objects), task_(task), room_max_(room_max), listed_(listed) {
  items_.push_back(NewItem());
}

Object* ObjectStream::NewItem() {
  const uint64_t index = first_ + items_.size() + kFirstItemIndex;
  Object* object = objects_.New(ObjectIdOf(task_, static_cast<uint32_t>(index)));
  if (listed_) objects_.Publish(object);  // Its task's value will name it.
  return object;
}

ObjectStream::Place ObjectStream::Slot(uint64_t index, Object** object) {
  if (index < first_) return Place::Taken;
  if (dropped_ || ended_) return Place::Taken;
  const uint64_t at = index - first_;
  if (at >= items_.size()) return Place::Bad;
  if (at + 1 < items_.size()) return Place::Taken;
  *object = items_.back();
  return Place::Free;
}

void ObjectStream::Filled() { items_.push_back(NewItem()); }

void ObjectStream::End(const ValuePtr& error, ReadyEffects& ready) {
  if (ended_) return;
  if (!dropped_) {
    if (error) {
      objects_.SetValue(items_.back(), error, ready);
      Filled();
    }
    objects_.SetValue(items_.back(),
                      MakeErrorValue(ErrorCode::Internal, "the end of a generator's items"), ready);
  }
  ended_ = true;
}

Object* ObjectStream::Take() {
  Object* object = items_.front();
  items_.pop_front();
  ++first_;
  return object;
}

void ObjectStream::Drop(FreedEffects& freed) {
  dropped_ = true;
  for (Object* object : items_) objects_.Drop(object, freed);
  items_.clear();
}

void ObjectStream::Keep(Object* item, Task* maker) {
  item->maker = maker;
  kept_[PositionOf(*item)].object = item;
}

void ObjectStream::Unkeep(Object* item) {
  item->maker = nullptr;
  kept_.erase(PositionOf(*item));
}

Object* ObjectStream::Kept(uint64_t index) const {
  const auto it = kept_.find(index);
  return it == kept_.end() ? nullptr : it->second.object;
}

std::vector<Object*> ObjectStream::AllKept() const {
  std::vector<Object*> all;
  for (const auto& [index, item] : kept_) all.push_back(item.object);
  return all;
}

void ObjectStream::LostInRun(Object* item) {
  const uint64_t index = PositionOf(*item);
  item->task_pending = true;
  kept_.at(index).missed = index < run_at_;
  hurried_ = true;
}

std::vector<Object*> ObjectStream::EndRun(bool may_run_again) {
  std::vector<Object*> failed;
  run_at_ = 0;
  for (auto& [index, item] : kept_) {
    const bool missed = std::exchange(item.missed, false);
    if (item.object->state != ObjectState::Pending) continue;
    // One that only the lineage of others knows is made when that is needed.
    if (item.object->refs == 0) continue;
    if (!missed || !may_run_again) failed.push_back(item.object);
  }
  return failed;
}

bool ObjectStream::TakeNews() {
  if (!bounded() || ended_) return false;
  // Half of the room at a time: a message for every item would cost as much as the item.
  const uint64_t step = std::max<uint64_t>(room_max_ / 2, 1);
  if (!dropped_ && first_ - told_ < step) return false;
  told_ = first_;
  return true;
}

}  // namespace skyray::core_worker
