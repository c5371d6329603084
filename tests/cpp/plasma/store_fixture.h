// SPDX-License-Identifier: Apache-2.0
// A store on a thread of its own with its socket in a directory of its own,
// and the words the store's tests use.
//
// Threading: the fixture's loop is run by RunUntil, on the test's thread.
// Ownership: the directory goes with the fixture. Errors: fail the test.
#pragma once

#include <dirent.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <string>
#include <string_view>

#include "ipc/fixture.h"
#include "plasma/client.h"
#include "plasma/store_runner.h"

namespace skyray::plasma {

using ipc::TemporaryDirectory;

inline size_t CountOpenFds() {
  DIR* directory = opendir("/proc/self/fd");
  size_t count = 0;
  while (readdir(directory) != nullptr) ++count;
  closedir(directory);
  return count;
}

class RunningStore {
 public:
  // Answers come to `shared_loop` if that is given, else to a loop of its own.
  explicit RunningStore(uint64_t capacity_bytes, int64_t create_grace_ms = 0,
                        boost::asio::io_context* shared_loop = nullptr)
      : RunningStore(capacity_bytes, WithGrace(create_grace_ms), shared_loop) {}
  RunningStore(uint64_t capacity_bytes, StoreOptions options,
               boost::asio::io_context* shared_loop = nullptr)
      : loop(shared_loop == nullptr ? own_loop_ : *shared_loop) {
    options.capacity_bytes = capacity_bytes;
    options.socket_path = directory_.path() + "/store.sock";
    socket_path = options.socket_path;
    auto started = StoreRunner::Start(options, loop, [this](std::vector<StoreEvent> batch) {
      events.insert(events.end(), batch.begin(), batch.end());
    });
    EXPECT_TRUE(started.has_value());
    runner = std::move(*started);
  }

  std::unique_ptr<Client> Connect() {
    auto client = Client::Connect(socket_path);
    EXPECT_TRUE(client.has_value()) << (client ? "" : client.error().ToString());
    return client ? std::move(*client) : nullptr;
  }

  // Runs the owner's loop until `done()`; false after far too long.
  template <class Condition>
  bool RunUntil(Condition done) {
    loop.restart();
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!done()) {
      if (std::chrono::steady_clock::now() > give_up) return false;
      loop.restart();
      loop.run_one_for(std::chrono::milliseconds(100));
    }
    return true;
  }

  StoreStats Stats() {
    std::optional<StoreStats> stats;
    runner->Stats([&stats](StoreStats now) { stats = now; });
    EXPECT_TRUE(RunUntil([&] { return stats.has_value(); }));
    return stats.value_or(StoreStats());
  }
  // Asks until `condition(stats)` holds: for what another process does on its own.
  template <class Condition>
  bool StatsBecome(Condition condition) {
    return RunUntil([&] { return condition(Stats()); });
  }

 private:
  static StoreOptions WithGrace(int64_t create_grace_ms) {
    StoreOptions options;
    options.create_grace_ms = create_grace_ms;
    return options;
  }
  TemporaryDirectory directory_;
  boost::asio::io_context own_loop_;

 public:
  std::string socket_path;
  boost::asio::io_context& loop;
  std::vector<StoreEvent> events;
  std::unique_ptr<StoreRunner> runner;
};

inline CreateOptions Room(uint64_t data_bytes, const WorkerId& owner, bool primary = true) {
  CreateOptions options;
  options.data_bytes = data_bytes;
  options.owner = owner;
  options.primary = primary;
  return options;
}

inline ObjectId PutText(Client& client, const WorkerId& owner, std::string_view text,
                        bool primary = true) {
  const ObjectId id = ObjectId::FromRandom();
  auto object = client.Create(id, Room(text.size(), owner, primary));
  EXPECT_TRUE(object.has_value()) << (object ? "" : object.error().ToString());
  if (!object) return id;
  std::memcpy(object->data, text.data(), text.size());
  EXPECT_TRUE(client.Seal(id).ok());
  return id;
}

inline std::string TextOf(const Result<ObjectView>& view) {
  if (!view) {
    return view.error().code() == ErrorCode::ObjectNotFound ? "(nothing)" : view.error().ToString();
  }
  return {reinterpret_cast<const char*>(view->data), view->data_bytes};
}

inline std::string GetText(Client& client, const ObjectId& id, int64_t timeout_ms = 0) {
  const std::vector<ObjectId> ids{id};
  auto views = client.Get(ids, timeout_ms);
  return views ? TextOf(views->front()) : views.error().ToString();
}

}  // namespace skyray::plasma
