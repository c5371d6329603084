// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "gcs/cluster.h"
#include "gcs/messages.h"
#include "gcs/sqlite_storage.h"

namespace skyray::gcs {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

class StorageTest : public testing::Test {
 protected:
  StorageTest() {
    std::string text = std::filesystem::temp_directory_path() / "skyray_store_test_XXXXXX";
    folder = mkdtemp(text.data());
    path = folder + "/gcs.db";
  }
  ~StorageTest() override { std::filesystem::remove_all(folder); }

  std::unique_ptr<Storage> Open() {
    auto storage = SqliteStorage::Open(path);
    EXPECT_TRUE(storage.has_value()) << storage.error().message();
    return std::move(*storage);
  }

  static std::vector<std::pair<std::string, std::string>> Read(Storage& storage, Table table) {
    std::vector<std::pair<std::string, std::string>> entries;
    EXPECT_TRUE(storage
                    .Load(table, [&](std::string_view key,
                                     std::string_view value) { entries.emplace_back(key, value); })
                    .ok());
    return entries;
  }

  std::string folder;
  std::string path;
};

TEST_F(StorageTest, WhatIsCommittedIsThereAfterReopening) {
  const std::string binary("a\0b", 3);
  {
    auto storage = Open();
    storage->Put(Table::Kv, "k", "old");
    storage->Put(Table::Kv, "k", binary);
    storage->Put(Table::Kv, "gone", "v");
    storage->Put(Table::Kv, "", "");
    storage->Delete(Table::Kv, "gone");
    storage->Put(Table::Jobs, "k", "job");
    ASSERT_TRUE(storage->Commit(storage->TakeWrites()).ok());
    storage->Put(Table::Kv, "never committed", "v");
  }
  auto storage = Open();
  EXPECT_THAT(Read(*storage, Table::Kv), ElementsAre(Pair("", ""), Pair("k", binary)));
  EXPECT_THAT(Read(*storage, Table::Jobs), ElementsAre(Pair("k", "job")));
}

TEST_F(StorageTest, WhatIsCommittedSurvivesSigkill) {
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t child = fork();
  if (child == 0) {
    auto storage = Open();
    for (int i = 0;; ++i) {
      storage->Put(Table::Kv, std::to_string(i), "v");
      storage->Put(Table::Jobs, std::to_string(i), "v");
      if (!storage->Commit(storage->TakeWrites()).ok() || write(ready[1], "x", 1) != 1) _exit(1);
    }
  }
  // Each byte stands for a commit that was acknowledged.
  size_t acknowledged = 0;
  char byte;
  while (acknowledged < 20 && read(ready[0], &byte, 1) == 1) ++acknowledged;
  kill(child, SIGKILL);
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  auto storage = Open();
  EXPECT_GE(Read(*storage, Table::Kv).size(), acknowledged);
  EXPECT_EQ(Read(*storage, Table::Kv).size(), Read(*storage, Table::Jobs).size());
  close(ready[0]);
  close(ready[1]);
}

TEST_F(StorageTest, TheFileIsItsOwnersOnly) {
  const auto storage = Open();
  struct stat info {};
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST_F(StorageTest, ASecondServerIsRefused) {
  const auto storage = Open();
  const auto second = SqliteStorage::Open(path);
  ASSERT_FALSE(second.has_value());
  EXPECT_THAT(second.error().message(), HasSubstr("another gcs_server"));
}

TEST_F(StorageTest, AFileThatIsNoStoreIsRefused) {
  std::ofstream(path) << std::string(5000, 'x');
  const auto storage = SqliteStorage::Open(path);
  ASSERT_FALSE(storage.has_value());
  EXPECT_THAT(storage.error().message(), HasSubstr("damaged"));
  EXPECT_THAT(storage.error().message(), HasSubstr(path));
}

TEST_F(StorageTest, ADamagedStoreIsRefused) {
  {
    auto storage = Open();
    for (int i = 0; i < 1000; ++i) {
      storage->Put(Table::Kv, std::to_string(i), std::string(100, 'v'));
    }
    ASSERT_TRUE(storage->Commit(storage->TakeWrites()).ok());
  }
  {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(5 * 4096);
    file << std::string(3 * 4096, '\x5a');
  }
  const auto storage = SqliteStorage::Open(path);
  ASSERT_FALSE(storage.has_value());
  EXPECT_THAT(storage.error().message(), HasSubstr("damaged"));
}

TEST_F(StorageTest, AStoreOfAnotherVersionIsRefused) {
  { Open(); }
  sqlite3* database = nullptr;
  ASSERT_EQ(sqlite3_open(path.c_str(), &database), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(database, "PRAGMA user_version = 99", nullptr, nullptr, nullptr),
            SQLITE_OK);
  sqlite3_close(database);
  const auto storage = SqliteStorage::Open(path);
  ASSERT_FALSE(storage.has_value());
  EXPECT_THAT(storage.error().message(), HasSubstr("format 99"));
}

TEST_F(StorageTest, AFolderThatIsNotThereIsNamed) {
  const auto storage = SqliteStorage::Open(folder + "/missing/gcs.db");
  ASSERT_FALSE(storage.has_value());
  EXPECT_THAT(storage.error().message(), HasSubstr(folder + "/missing/gcs.db"));
}

TEST_F(StorageTest, ADescriptionChoosesTheKind) {
  EXPECT_TRUE(OpenStorage("memory").has_value());
  EXPECT_TRUE(OpenStorage("sqlite:" + path).has_value());
  EXPECT_EQ(OpenStorage("sqlite:").error().code(), ErrorCode::InvalidArgument);
  EXPECT_THAT(OpenStorage("mysql").error().message(), HasSubstr("sqlite:PATH"));
}

// A GCS that ends and one that takes its place on the same store.
class ReloadTest : public StorageTest {
 protected:
  ReloadTest() { Restart(); }

  void Restart() {
    cluster.reset();
    storage.reset();
    storage = Open();
    cluster = std::make_unique<Cluster>(*storage);
    ASSERT_TRUE(cluster->Load(now).ok());
  }

  Effects Commit() {
    EXPECT_TRUE(storage->Commit(storage->TakeWrites()).ok());
    return cluster->TakeEffects();
  }

  pb::ActorInfo Info(const ActorId& actor) {
    pb::GetActorRequest request;
    request.set_actor_id(Bytes(actor));
    return cluster->GetActor(request).actor();
  }

  void Create(const pb::ActorSpec& spec) {
    pb::CreateActorRequest request;
    *request.mutable_spec() = spec;
    ASSERT_EQ(cluster->CreateActor(request).status().code(), 0u);
  }

  const NodeId n1 = NumberedId<NodeId>(1), n2 = NumberedId<NodeId>(2);
  const WorkerId driver = NumberedId<WorkerId>(1), worker = NumberedId<WorkerId>(2);
  const ActorId a = NumberedId<ActorId>(1), b = NumberedId<ActorId>(2);
  Now now{1000, 1'700'000'000'000};
  std::unique_ptr<Storage> storage;
  std::unique_ptr<Cluster> cluster;
};

TEST_F(ReloadTest, KeysAndJobsAreThereAgain) {
  ASSERT_TRUE(cluster->Register(Node(n1, 4)).has_value());
  const std::string job = cluster->AddJob(Job(driver, n1), now).job_id();
  pb::KvPutRequest put;
  put.set_namespace_("fun");
  put.set_key("3:k");
  put.set_value("v");
  cluster->KvPut(put);
  Commit();
  Restart();
  pb::KvGetRequest get;
  get.set_namespace_("fun");
  get.set_key("3:k");
  EXPECT_EQ(cluster->kv().Get(get, 0, 0)->value(), "v");
  EXPECT_EQ(cluster->GetJobs().jobs(0).start_time_ms(), now.wall_ms);
  EXPECT_EQ(cluster->AddJob(Job(driver, n1), now).job_id(), job);
  EXPECT_NE(cluster->AddJob(Job(worker, n1), now).job_id(), job);
}

TEST_F(ReloadTest, ALiveActorIsStillAliveWhenItsNodeComesBack) {
  ASSERT_TRUE(cluster->Register(Node(n1, 4)).has_value());
  const JobId job = *JobId::FromBinary(cluster->AddJob(Job(driver, n1), now).job_id());
  pb::ActorSpec spec = Actor(a, job, driver, n1);
  spec.set_name("alice");
  spec.set_max_restarts(1);
  Create(spec);
  cluster->OnNodeEvent(n1, Started(a, worker), now);
  Commit();
  Restart();
  EXPECT_FALSE(cluster->GetNodes().nodes(0).alive());
  EXPECT_EQ(Info(a).state(), pb::ALIVE);
  EXPECT_EQ(Info(a).address().worker_id(), Bytes(worker));
  EXPECT_EQ(Info(a).handle(), "handle");
  ASSERT_TRUE(cluster->Register(Node(n1, 4)).has_value());
  now.monotonic_ms += kReattachGraceMs;
  cluster->OnTime(now);
  EXPECT_EQ(Info(a).state(), pb::ALIVE);
  // And restarts from what was stored.
  cluster->OnNodeEvent(n1, Exited(a, 9), now);
  const Effects effects = Commit();
  EXPECT_EQ(effects.commands.back().second.start_actor().spec().creation_task(), "task");
}

TEST_F(ReloadTest, AnActorWithoutItsArgumentsGoesOnWaitingForThem) {
  ASSERT_TRUE(cluster->Register(Node(n1, 4)).has_value());
  const JobId job = *JobId::FromBinary(cluster->AddJob(Job(driver, n1), now).job_id());
  pb::ActorSpec spec = Actor(a, job, driver, n1);
  spec.clear_creation_task();
  Create(spec);
  Commit();
  Restart();
  ASSERT_TRUE(cluster->Register(Node(n1, 4)).has_value());
  for (const auto& [node, command] : Commit().commands) EXPECT_FALSE(command.has_start_actor());
  spec.set_creation_task("task");
  Create(spec);
  const Effects effects = Commit();
  EXPECT_EQ(effects.commands.back().second.start_actor().spec().creation_task(), "task");
}

TEST_F(ReloadTest, ANodeThatDoesNotComeBackIsDeadAfterTheGrace) {
  ASSERT_TRUE(cluster->Register(Node(n1, 4)).has_value());
  const JobId job = *JobId::FromBinary(cluster->AddJob(Job(driver, n1), now).job_id());
  pb::ActorSpec spec = Actor(a, job, driver, n1);
  spec.set_detached(true);
  spec.set_max_restarts(-1);
  Create(spec);
  cluster->OnNodeEvent(n1, Started(a, worker), now);
  Commit();
  Restart();
  ASSERT_TRUE(cluster->Register(Node(n2, 4)).has_value());
  now.monotonic_ms += kReattachGraceMs - 1;
  cluster->OnTime(now);
  EXPECT_EQ(Info(a).state(), pb::ALIVE);
  ++now.monotonic_ms;
  EXPECT_EQ(cluster->NextDeadlineMs(), now.monotonic_ms);
  cluster->OnTime(now);
  EXPECT_EQ(Info(a).state(), pb::RESTARTING);
  EXPECT_TRUE(cluster->GetJobs().jobs(0).finished());
  const Effects effects = Commit();
  EXPECT_EQ(effects.commands.back().first, n2);
  EXPECT_TRUE(effects.commands.back().second.has_start_actor());
  Restart();
  EXPECT_EQ(cluster->Register(Node(n1, 4)).error().code(), ErrorCode::NodeDied);
}

TEST_F(ReloadTest, ADeadActorStaysDeadAndItsNameFree) {
  ASSERT_TRUE(cluster->Register(Node(n1, 4)).has_value());
  const JobId job = *JobId::FromBinary(cluster->AddJob(Job(driver, n1), now).job_id());
  pb::ActorSpec spec = Actor(a, job, driver, n1);
  spec.set_name("alice");
  Create(spec);
  cluster->OnNodeEvent(n1, FailedToStart(a, "boom"), now);
  Commit();
  Restart();
  EXPECT_EQ(Info(a).state(), pb::DEAD);
  EXPECT_EQ(Info(a).creation_error(), "boom");
  spec.set_actor_id(Bytes(b));
  Create(spec);
  EXPECT_EQ(Info(b).state(), pb::PENDING);
}

TEST_F(ReloadTest, AnActorThatWaitedIsPlacedByTheNextServer) {
  ASSERT_TRUE(cluster->Register(Node(n1, 1)).has_value());
  const JobId job = *JobId::FromBinary(cluster->AddJob(Job(driver, n1), now).job_id());
  Create(Actor(a, job, driver, n1, /*cpus=*/2));
  EXPECT_THAT(Info(a).pending_reason(), HasSubstr("CPU: 2 is asked for"));
  Commit();
  Restart();
  ASSERT_TRUE(cluster->Register(Node(n2, 2)).has_value());
  const Effects effects = Commit();
  EXPECT_EQ(effects.commands.back().first, n2);
  EXPECT_EQ(effects.commands.back().second.start_actor().spec().actor_id(), Bytes(a));
}

TEST_F(ReloadTest, ANonsenseRecordIsRefused) {
  storage->Put(Table::Actors, "not an id", "not an actor");
  Commit();
  Cluster next(*storage);
  EXPECT_THAT(next.Load(now).message(), HasSubstr("malformed actor"));
}

}  // namespace
}  // namespace skyray::gcs
