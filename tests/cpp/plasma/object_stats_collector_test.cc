// SPDX-License-Identifier: Apache-2.0
#include "plasma/object_stats_collector.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <unordered_map>
#include <unordered_set>

#include "plasma/object_store.h"

namespace skyray::plasma {
namespace {

// The definition of each figure, object by object.
ObjectStats Recount(const ObjectTable& table) {
  ObjectStats stats;
  for (ObjectIndex index = 0; index < table.end_index(); ++index) {
    const LocalObject* object = table.Peek(index);
    if (object == nullptr) continue;
    const auto add = [object](ObjectCount& count) {
      count.objects += 1;
      count.bytes += Allocator::Rounded(object->object.data_bytes + object->object.metadata_bytes);
    };
    if (object->allocation.bytes == 0) {
      add(stats.spilled);
      continue;
    }
    add(stats.all);
    const bool sealed = object->state == ObjectState::Sealed;
    const bool used = object->references > 0;
    const bool fallback = object->allocation.segment >= kFallbackSegmentFirst;
    const bool dispensable = !object->object.primary || object->stored;
    if (used) add(stats.in_use);
    if (fallback) add(stats.fallback);
    if (!sealed) add(stats.unsealed);
    if (sealed && used) add(stats.sealed_in_use);
    if (sealed && !used && dispensable) add(stats.evictable);
    if (sealed && !used && dispensable && fallback) add(stats.fallback_evictable);
    if (sealed && !used && !dispensable && !fallback) add(stats.spillable);
    if (sealed && !used && !dispensable && fallback) add(stats.stranded);
  }
  return stats;
}

uint64_t Setting(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

// Clients, somebody who spills and restores, and a disk, all at random.
class Walk {
 public:
  explicit Walk(uint64_t seed) : random_(seed) {
    for (int i = 0; i < 40; ++i) ids_.push_back(ObjectId::FromRandom());
    for (int i = 0; i < 4; ++i) owners_.push_back(WorkerId::FromRandom());
    for (int i = 0; i < 5; ++i) clients_.push_back(store.AddClient(i % 2 == 0));
  }

  void Step() {
    ++now_;
    ClientId& client = clients_[Random(clients_.size())];
    const ObjectId& id = ids_[Random(ids_.size())];
    switch (Random(16)) {
      case 0:
      case 1:
        return Create(client, id);
      case 2:
      case 3:
        for (const ClientId each : clients_) Carry(store.Seal(each, id, Random(4) == 0, now_));
        return;
      case 4:
        return Carry(store.Abort(client, id, now_));
      case 5:
      case 6:
        return Carry(store.Get(client, 2, {id, ids_[Random(ids_.size())], id},
                               static_cast<int64_t>(Random(20)) - 1, now_));
      case 7:
      case 8:
      case 9:
        for (const ClientId each : clients_) Carry(store.Release(each, id, now_));
        return;
      case 10:
        return Random(4) == 0 ? Carry(store.Delete(std::span(&id, 1), now_)) : Tick();
      case 11:
        return Random(10) == 0 ? Carry(store.Evict(Random(4000), now_)) : Tick();
      case 12:
        return Spill();
      case 13:
        return Restore();
      case 14:
        if (Random(100) == 0) return KillOwner();
        return Retry();
      default:
        if (Random(50) != 0) return Tick();
        Carry(store.RemoveClient(client, now_));
        client = store.AddClient(Random(2) == 0);
    }
  }

  // Everybody goes; what was under way ends.
  void End() {
    for (const ClientId client : clients_) Carry(store.RemoveClient(client, now_));
    while (!spilling_.empty()) EndSpill();
    while (!wanted_.empty() || !restoring_.empty() || store.Stats().waiting_creates > 0) {
      if (!wanted_.empty()) AskRestore();
      while (!restoring_.empty()) EndRestore();
      now_ += 50;
      Tick();
    }
    for (const WorkerId& owner : owners_) Carry(store.OwnerDied(owner, now_));
  }

  ObjectStore store{{.segment_bytes = {1 << 14, 1 << 13},
                     .create_grace_ms = 20,
                     .full_delay_ms = 5,
                     .spill_threshold = 0.5,
                     .spilling = true,
                     .fallback = true}};
  std::unordered_set<uint32_t> fallback;

 private:
  uint64_t Random(uint64_t below) { return random_() % below; }

  void Carry(Outcome outcome) {
    for (const StoreEvent& event : outcome.events) {
      if (event.kind == StoreEvent::Kind::RestoreWanted) wanted_.push_back(event.object.id);
    }
    for (const CreateDone& done : outcome.created) {
      if (done.unfinished) unfinished_.push_back({done.client, done.request_id});
      if (done.client == carrier_ && done.place)
        restoring_.push_back(restores_.at(done.request_id));
    }
    for (const uint32_t segment : outcome.emptied) fallback.erase(segment);
    for (const FallbackWanted& wanted : outcome.fallback_wanted) {
      const bool works = Random(4) != 0;
      if (works) fallback.insert(wanted.segment);
      Carry(store.FallbackMade(wanted.segment,
                               works ? Status() : Status(ErrorCode::OutOfDisk, "full"), now_));
    }
  }
  void Tick() { Carry(store.Tick(now_)); }
  void Create(ClientId client, const ObjectId& id) {
    const uint64_t bytes = Random(300) == 0 ? 20000 + Random(20000) : Random(3000);
    const NewObject object{id, owners_[Random(owners_.size())], bytes, Random(50), Random(2) == 0};
    Carry(store.Create(client, ++requests_, object, Random(10) == 0, now_));
  }
  void Retry() {
    if (unfinished_.empty()) return Tick();
    const auto [client, request_id] = unfinished_.back();
    unfinished_.pop_back();
    const bool here = std::find(clients_.begin(), clients_.end(), client) != clients_.end();
    if (here) Carry(store.CreateRetry(client, ++requests_, request_id, Random(5), now_));
  }
  void Spill() {
    if (!spilling_.empty() && Random(2) == 0) return EndSpill();
    for (const LocalObject* object : store.TakeSpillable(Random(3000), 3)) {
      spilling_.push_back(object->object.id);
    }
  }
  void EndSpill() {
    const ObjectId id = spilling_.back();
    spilling_.pop_back();
    if (Random(4) == 0) {
      Carry(store.SpillFailed(std::span(&id, 1), Status(ErrorCode::IoError, "no"), now_));
    } else {
      Carry(store.Spilled(std::span(&id, 1), now_));
    }
  }
  void Restore() {
    if (!restoring_.empty() && Random(2) == 0) return EndRestore();
    if (wanted_.empty()) return Tick();
    AskRestore();
  }
  void AskRestore() {
    const ObjectId id = wanted_.back();
    wanted_.pop_back();
    restores_[++requests_] = id;
    Carry(store.Restore(carrier_, requests_, id, now_));
  }
  void EndRestore() {
    const ObjectId id = restoring_.back();
    restoring_.pop_back();
    if (Random(4) == 0) {
      Carry(store.Lose(id, Status(ErrorCode::ObjectLost, "damaged"), now_));
    } else {
      Carry(store.SealRestored(id, now_));
    }
  }
  void KillOwner() {
    WorkerId& owner = owners_[Random(owners_.size())];
    Carry(store.OwnerDied(owner, now_));
    owner = WorkerId::FromRandom();
  }

  std::mt19937_64 random_;
  int64_t now_ = 0;
  uint64_t requests_ = 10;
  std::vector<ObjectId> ids_;
  std::vector<WorkerId> owners_;
  std::vector<ClientId> clients_;
  const ClientId carrier_ = store.AddClient();
  std::vector<std::pair<ClientId, uint64_t>> unfinished_;
  std::vector<ObjectId> spilling_;
  std::vector<ObjectId> wanted_;
  std::vector<ObjectId> restoring_;
  std::unordered_map<uint64_t, ObjectId> restores_;
};

// SKYRAY_WALK_SEED repeats a walk, SKYRAY_WALK_STEPS makes it shorter or longer.
TEST(ObjectStatsTest, TotalsEqualARecountAfterEveryStepOfARandomWalk) {
  const uint64_t seed = Setting("SKYRAY_WALK_SEED", std::random_device{}());
  const uint64_t steps = Setting("SKYRAY_WALK_STEPS", 1'000'000);
  std::printf("SKYRAY_WALK_SEED=%llu SKYRAY_HASH_SEED=%llu\n",
              static_cast<unsigned long long>(seed), static_cast<unsigned long long>(kIdHashSeed));
  Walk walk(seed);
  for (uint64_t step = 0; step < steps; ++step) {
    walk.Step();
    const StoreStats stats = walk.store.Stats();
    ASSERT_EQ(stats.objects, Recount(walk.store.objects().table())) << "step " << step;
    ASSERT_EQ(stats.allocated_bytes, stats.objects.all.bytes - stats.objects.fallback.bytes);
    ASSERT_EQ(stats.objects.fallback.objects, walk.fallback.size()) << "step " << step;
  }
  const ObjectTotals totals = walk.store.Stats().totals;
  // It has been everywhere.
  EXPECT_GT(totals.evicted.objects, steps / 1000);
  EXPECT_GT(totals.spilled.objects, steps / 1000);
  EXPECT_GT(totals.restored.objects, steps / 10000);
  walk.End();
  EXPECT_EQ(walk.store.Stats().objects, ObjectStats());
  EXPECT_EQ(walk.store.Stats().allocated_bytes, 0u);
  EXPECT_EQ(walk.store.Stats().waiting_gets, 0u);
  EXPECT_EQ(walk.store.Stats().waiting_creates, 0u);
  EXPECT_TRUE(walk.fallback.empty());
}

}  // namespace
}  // namespace skyray::plasma
