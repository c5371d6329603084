// SPDX-License-Identifier: Apache-2.0
#include "core_worker/gateway_store.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "common/sizes.h"
#include "plasma/store_fixture.h"
#include "plasma/wire.h"

namespace skyray::core_worker {
namespace {

using plasma::Client;
using plasma::RunningStore;
using plasma::StoreStats;

class StoreConnectionTest : public ::testing::Test {
 protected:
  std::shared_ptr<StoreConnection> Connect(std::function<bool()> interrupted = nullptr) {
    auto connection = StoreConnection::Connect(store.socket_path, std::move(interrupted));
    EXPECT_TRUE(connection.has_value());
    return *connection;
  }
  std::string Text(StoreConnection& connection, const ObjectId& id, int64_t timeout_ms) {
    return connection.With([&](Client& client) { return plasma::GetText(client, id, timeout_ms); });
  }

  RunningStore store{64 * kMiB};
  const WorkerId owner = WorkerId::FromRandom();
};

TEST_F(StoreConnectionTest, WhileOneThreadWaitsOthersGoOn) {
  const auto connection = Connect();
  const ObjectId late = ObjectId::FromRandom();
  std::vector<std::thread> waiters;
  std::atomic<int> got = 0;
  for (int i = 0; i < 3; ++i) {
    waiters.emplace_back([&] { got += Text(*connection, late, -1) == "late"; });
  }
  EXPECT_TRUE(store.StatsBecome([](const StoreStats& stats) { return stats.waiting_gets == 3; }));
  // The one connection serves this thread meanwhile.
  for (int i = 0; i < 100; ++i) {
    const std::string text = "object " + std::to_string(i);
    const ObjectId id =
        connection->With([&](Client& client) { return plasma::PutText(client, owner, text); });
    EXPECT_EQ(Text(*connection, id, -1), text);
  }
  const auto other = store.Connect();
  auto object = other->Create(late, plasma::Room(4, owner));
  ASSERT_TRUE(object.has_value());
  std::memcpy(object->data, "late", 4);
  ASSERT_TRUE(other->Seal(late).ok());
  for (std::thread& waiter : waiters) waiter.join();
  EXPECT_EQ(got, 3);
}

TEST_F(StoreConnectionTest, AnInterruptedGetGivesBackWhatItIsGivenLater) {
  std::atomic<bool> interrupt = false;
  const auto connection = Connect([&] { return interrupt.load(); });
  const ObjectId id = ObjectId::FromRandom();
  std::thread waiter([&] {
    const ObjectId ids[] = {id};
    const auto views =
        connection->With([&](Client& client) { return client.Get(ids, /*timeout_ms=*/-1); });
    ASSERT_FALSE(views.has_value());
    EXPECT_EQ(views.error().code(), ErrorCode::Cancelled);
  });
  EXPECT_TRUE(store.StatsBecome([](const StoreStats& stats) { return stats.waiting_gets == 1; }));
  interrupt = true;
  waiter.join();
  interrupt = false;

  const auto other = store.Connect();
  ASSERT_TRUE(other->Create(id, plasma::Room(4, owner)).has_value());
  ASSERT_TRUE(other->Seal(id).ok());
  EXPECT_TRUE(
      store.StatsBecome([](const StoreStats& stats) { return stats.objects.in_use.objects == 1; }));
  // The late answer is found with the next request, and what it brought let go at the one after.
  Text(*connection, ObjectId::FromRandom(), 0);
  Text(*connection, ObjectId::FromRandom(), 0);
  EXPECT_TRUE(
      store.StatsBecome([](const StoreStats& stats) { return stats.objects.in_use.objects == 0; }));
}

TEST_F(StoreConnectionTest, WhenTheStoreGoesEveryWaiterHearsOfIt) {
  const auto connection = Connect();
  std::vector<std::thread> waiters;
  std::atomic<int> told = 0;
  for (int i = 0; i < 4; ++i) {
    waiters.emplace_back([&] {
      const ObjectId ids[] = {ObjectId::FromRandom()};
      const auto views = connection->With([&](Client& client) { return client.Get(ids, -1); });
      told += !views.has_value() && views.error().code() == ErrorCode::Disconnected;
    });
  }
  EXPECT_TRUE(store.StatsBecome([](const StoreStats& stats) { return stats.waiting_gets == 4; }));
  store.runner.reset();
  for (std::thread& waiter : waiters) waiter.join();
  EXPECT_EQ(told, 4);
}

TEST_F(StoreConnectionTest, ManyThreadsShareOneConnection) {
  const auto connection = Connect();
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      for (int i = 0; i < 300; ++i) {
        const std::string text = std::to_string(thread) + ":" + std::to_string(i);
        const ObjectId id =
            connection->With([&](Client& client) { return plasma::PutText(client, owner, text); });
        wrong += Text(*connection, id, -1) != text;
        connection->With([&](Client& client) {
          const ObjectId ids[] = {id};
          return client.Release(id).ok() && client.Delete(ids).ok();
        });
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_TRUE(
      store.StatsBecome([](const StoreStats& stats) { return stats.allocated_bytes == 0; }));
}

// The store takes nothing more from who leaves its answers unread, and each of these
// requests is more than a socket holds.
TEST_F(StoreConnectionTest, LargeRequestsOfManyThreadsDoNotWaitForEachOthersAnswers) {
  const auto connection = Connect();
  std::vector<ObjectId> ids(plasma::kIdsPerRequestMax);
  for (uint32_t i = 0; i < ids.size(); ++i) ids[i] = ObjectIdOf(TaskId(), i);
  const ObjectId there =
      connection->With([&](Client& client) { return plasma::PutText(client, owner, "there"); });
  std::vector<std::thread> threads;
  std::atomic<int> answered = 0;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&] {
      for (int round = 0; round < 3; ++round) {
        const auto views =
            connection->With([&](Client& client) { return client.Get(ids, /*timeout_ms=*/0); });
        answered += views.has_value() && views->size() == ids.size();
      }
    });
  }
  // What is small goes its way meanwhile.
  for (int i = 0; i < 20; ++i) EXPECT_EQ(Text(*connection, there, 0), "there");
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(answered, 12);
}

}  // namespace
}  // namespace skyray::core_worker
