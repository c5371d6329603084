// SPDX-License-Identifier: Apache-2.0
#include "plasma/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <functional>
#include <thread>
#include <utility>

#include "common/sizes.h"
#include "ipc/socket.h"
#include "plasma/store_fixture.h"
#include "plasma/wire.h"

namespace skyray::plasma {
namespace {

class ClientTest : public ::testing::Test {
 protected:
  RunningStore store{64 * kMiB};
  WorkerId owner = WorkerId::FromRandom();
  std::unique_ptr<Client> client = store.Connect();
};

TEST_F(ClientTest, WhatOneClientPutsAnotherGets) {
  const auto reader = store.Connect();
  const ObjectId id = PutText(*client, owner, "hello");
  EXPECT_EQ(GetText(*reader, id, -1), "hello");
  EXPECT_TRUE(*reader->Contains(id));
  EXPECT_EQ(client->capacity_bytes(), 64 * kMiB);
}

TEST_F(ClientTest, ObjectsAreAlignedAndMayBeEmpty) {
  for (const size_t bytes : {size_t{0}, size_t{1}, size_t{63}, size_t{65}, size_t{100000}}) {
    const ObjectId id = PutText(*client, owner, std::string(bytes, 'x'));
    const std::vector<ObjectId> ids{id};
    auto views = client->Get(ids, 0);
    ASSERT_TRUE(views.has_value() && views->front().has_value());
    EXPECT_EQ(views->front()->data_bytes, bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(views->front()->data) % 64, 0u);
  }
}

TEST_F(ClientTest, AnUnsealedObjectIsNotFound) {
  const ObjectId id = ObjectId::FromRandom();
  ASSERT_TRUE(client->Create(id, Room(10, owner)).has_value());
  EXPECT_EQ(GetText(*client, id, 0), "(nothing)");
  EXPECT_EQ(GetText(*client, id, 1), "(nothing)");
  EXPECT_FALSE(*client->Contains(id));
  EXPECT_TRUE(client->Seal(id).ok());
  EXPECT_TRUE(*client->Contains(id));
}

TEST_F(ClientTest, AGetWaitsForTheSealOfAnotherClient) {
  const ObjectId id = ObjectId::FromRandom();
  auto object = client->Create(id, Room(5, owner));
  ASSERT_TRUE(object.has_value());
  std::memcpy(object->data, "later", 5);
  std::string got;
  std::thread reader([&] {
    const auto other = store.Connect();
    got = GetText(*other, id, -1);
  });
  EXPECT_TRUE(store.StatsBecome([](const StoreStats& stats) { return stats.waiting_gets == 1; }));
  EXPECT_TRUE(client->Seal(id).ok());
  reader.join();
  EXPECT_EQ(got, "later");
}

TEST_F(ClientTest, AGetAnswersInPartAtItsTimeout) {
  const ObjectId there = PutText(*client, owner, "there");
  const std::vector<ObjectId> ids{ObjectId::FromRandom(), there, ObjectId::FromRandom(), there};
  auto views = client->Get(ids, 20);
  ASSERT_TRUE(views.has_value());
  EXPECT_EQ(TextOf((*views)[0]), "(nothing)");
  EXPECT_EQ(TextOf((*views)[1]), "there");
  EXPECT_EQ(TextOf((*views)[2]), "(nothing)");
  EXPECT_EQ(TextOf((*views)[3]), "there");
  EXPECT_TRUE(client->Release(there).ok());
  EXPECT_EQ(store.Stats().objects.in_use.objects, 1u);
  EXPECT_TRUE(client->Release(there).ok());
  EXPECT_EQ(client->Release(there).code(), ErrorCode::ObjectNotFound);
  ASSERT_TRUE(client->Contains(there).has_value());
  EXPECT_EQ(store.Stats().objects.in_use.objects, 0u);
}

TEST_F(ClientTest, DeleteOfAnObjectInUseWaitsForItsRelease) {
  const ObjectId id = PutText(*client, owner, "kept");
  EXPECT_EQ(GetText(*client, id), "kept");
  const std::vector<ObjectId> ids{id};
  EXPECT_TRUE(client->Delete(ids).ok());
  EXPECT_TRUE(*client->Contains(id));
  EXPECT_TRUE(client->Release(id).ok());
  EXPECT_FALSE(*client->Contains(id));
  EXPECT_EQ(store.Stats().allocated_bytes, 0u);
}

TEST_F(ClientTest, CreatingTwiceIsAnError) {
  const ObjectId id = PutText(*client, owner, "first");
  auto second = client->Create(id, Room(5, owner));
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code(), ErrorCode::ObjectExists);
  EXPECT_EQ(GetText(*client, id), "first");
}

TEST_F(ClientTest, AbortFreesAndSealAfterItFails) {
  const ObjectId id = ObjectId::FromRandom();
  ASSERT_TRUE(client->Create(id, Room(kMiB, owner)).has_value());
  EXPECT_TRUE(client->Abort(id).ok());
  EXPECT_EQ(client->Seal(id).code(), ErrorCode::ObjectNotFound);
  EXPECT_FALSE(*client->Contains(id));
  EXPECT_EQ(store.Stats().allocated_bytes, 0u);
}

TEST_F(ClientTest, AFullStoreSaysWhoFillsIt) {
  for (int i = 0; i < 6; ++i) PutText(*client, owner, std::string(10 * kMiB, 'p'));
  auto result = client->Create(ObjectId::FromRandom(), Room(10 * kMiB, owner));
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().code(), ErrorCode::OutOfMemory);
  EXPECT_THAT(result.error().message(), ::testing::HasSubstr("67108864"));
  EXPECT_THAT(result.error().message(), ::testing::HasSubstr(owner.Hex().substr(0, 16)));
  auto too_large = client->Create(ObjectId::FromRandom(), Room(UINT64_MAX - 3, owner));
  ASSERT_FALSE(too_large.has_value());
  EXPECT_EQ(too_large.error().code(), ErrorCode::OutOfMemory);
}

TEST_F(ClientTest, SecondaryCopiesMakeRoomAndPrimariesStay) {
  const ObjectId primary = PutText(*client, owner, std::string(10 * kMiB, 'p'), true);
  const ObjectId secondary = PutText(*client, owner, std::string(10 * kMiB, 's'), false);
  const ObjectId large = PutText(*client, owner, std::string(50 * kMiB, 'l'), true);
  EXPECT_TRUE(*client->Contains(primary));
  EXPECT_FALSE(*client->Contains(secondary));
  EXPECT_TRUE(*client->Contains(large));
}

TEST_F(ClientTest, AClientThatIsKilledLeavesNothing) {
  int pipe_fds[2];
  ASSERT_EQ(pipe(pipe_fds), 0);
  const ObjectId sealed = PutText(*client, owner, "stays");
  const pid_t child = fork();
  if (child == 0) {
    auto mine = Client::Connect(store.socket_path);
    const std::vector<ObjectId> ids{sealed};
    const bool ok =
        mine && (*mine)->Create(ObjectId::FromRandom(), Room(kMiB, owner)) && (*mine)->Get(ids, 0);
    const char said = ok ? 'y' : 'n';
    if (write(pipe_fds[1], &said, 1) != 1) _exit(1);
    pause();
    _exit(0);
  }
  char said = 0;
  ASSERT_EQ(read(pipe_fds[0], &said, 1), 1);
  ASSERT_EQ(said, 'y');
  EXPECT_EQ(store.Stats().objects.unsealed.objects, 1u);
  EXPECT_EQ(store.Stats().objects.sealed_in_use.objects, 1u);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_TRUE(store.StatsBecome([](const StoreStats& stats) {
    return stats.objects.unsealed.objects == 0 && stats.objects.in_use.objects == 0;
  }));
  EXPECT_EQ(store.Stats().objects.all.objects, 1u);
  close(pipe_fds[0]);
  close(pipe_fds[1]);
}

TEST_F(ClientTest, WhatIsGotCannotBeWritten) {
  const ObjectId id = PutText(*client, owner, "frozen");
  const std::vector<ObjectId> ids{id};
  auto views = client->Get(ids, 0);
  ASSERT_TRUE(views.has_value() && views->front().has_value());
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGSEGV, [](int) { _exit(42); });
    const_cast<volatile uint8_t*>(views->front()->data)[0] = 1;
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 42);
}

// The bytes of what `client` holds under `id`, from `offset` on.
std::span<const uint8_t> Part(const Client& client, const ObjectId& id, size_t offset,
                              size_t bytes) {
  return {client.View(id)->data + offset, bytes};
}

TEST_F(ClientTest, WhatIsWrittenToACopyOnWriteViewIsSeenThroughItAlone) {
  PutText(*client, owner, "before it in the segment");
  const ObjectId id = PutText(*client, owner, std::string(3 * 4096, 'o'));
  const ObjectId ids[] = {id};
  auto views = client->Get(ids, 0);
  ASSERT_TRUE(views.has_value() && views->front().has_value());
  const auto one = client->CopyOnWrite(id, Part(*client, id, 100, 5000));
  const auto two = client->CopyOnWrite(id, Part(*client, id, 0, 3 * 4096));
  ASSERT_TRUE(one && two) << one.error().message();

  EXPECT_EQ(std::string(one->get(), one->get() + 5000), std::string(5000, 'o'));
  std::memset(one->get(), 'x', 5000);
  EXPECT_EQ(std::string(one->get(), one->get() + 5000), std::string(5000, 'x'));
  EXPECT_EQ(std::string(two->get(), two->get() + 3 * 4096), std::string(3 * 4096, 'o'));
  EXPECT_EQ(TextOf(views->front()), std::string(3 * 4096, 'o'));
  EXPECT_EQ(GetText(*store.Connect(), id, 0), std::string(3 * 4096, 'o'));
}

TEST_F(ClientTest, ACopyOnWriteViewIsOfWhatIsHeldOnly) {
  const ObjectId id = PutText(*client, owner, "short");
  const uint8_t elsewhere[5] = {};
  EXPECT_EQ(client->CopyOnWrite(id, elsewhere).error().code(), ErrorCode::ObjectNotFound);
  const ObjectId ids[] = {id};
  auto views = client->Get(ids, 0);
  ASSERT_TRUE(views.has_value() && views->front().has_value());
  EXPECT_EQ(client->CopyOnWrite(id, elsewhere).error().code(), ErrorCode::ObjectNotFound);
  EXPECT_FALSE(client->CopyOnWrite(id, Part(*client, id, 1, 5)));
  EXPECT_TRUE(client->CopyOnWrite(id, Part(*client, id, 1, 4)));
  EXPECT_TRUE(client->Release(id).ok());
  EXPECT_FALSE(client->CopyOnWrite(id, {views->front()->data, 5}));
}

TEST_F(ClientTest, AViewOutlivesItsClient) {
  const ObjectId id = PutText(*client, owner, "still mapped");
  const std::vector<ObjectId> ids{id};
  auto views = client->Get(ids, 0);
  client.reset();
  store.runner.reset();
  EXPECT_EQ(TextOf(views->front()), "still mapped");
}

TEST_F(ClientTest, WhatIsWrittenAfterDisconnectIsSeenByNobody) {
  auto object = client->Create(ObjectId::FromRandom(), Room(40 * kMiB, owner));
  ASSERT_TRUE(object.has_value());
  client->Disconnect();
  EXPECT_EQ(client->Contains(ObjectId::FromRandom()).error().code(), ErrorCode::NotConnected);

  // It finds room only where the first one was.
  const auto other = store.Connect();
  const ObjectId id = ObjectId::FromRandom();
  Result<MutableObject> next = Status(ErrorCode::OutOfMemory, "not tried yet");
  do {  // Until the store has noticed.
    next = other->Create(id, Room(40 * kMiB, owner));
  } while (!next && next.error().code() == ErrorCode::OutOfMemory);
  ASSERT_TRUE(next.has_value());
  std::memset(next->data, 'o', 40 * kMiB);
  EXPECT_TRUE(other->Seal(id).ok());

  std::memset(object->data, 'x', 40 * kMiB);
  EXPECT_EQ(GetText(*other, id, 0), std::string(40 * kMiB, 'o'));
}

TEST_F(ClientTest, WhatIsSealedAndKeptCanBeLookedAt) {
  const ObjectId id = ObjectId::FromRandom();
  EXPECT_EQ(client->View(id), nullptr);
  ASSERT_TRUE(client->Create(id, Room(10, owner)).has_value());
  EXPECT_EQ(client->View(id), nullptr);
  EXPECT_TRUE(client->Seal(id, /*keep=*/true).ok());
  ASSERT_NE(client->View(id), nullptr);
  EXPECT_EQ(client->View(id)->data_bytes, 10u);
  EXPECT_TRUE(client->Release(id).ok());
  EXPECT_EQ(client->View(id), nullptr);
}

TEST_F(ClientTest, AStoreThatIsGoneIsDisconnected) {
  store.runner.reset();
  EXPECT_EQ(client->Contains(ObjectId::FromRandom()).error().code(), ErrorCode::Disconnected);
  EXPECT_EQ(client->Create(ObjectId::FromRandom(), Room(1, owner)).error().code(),
            ErrorCode::Disconnected);
  const std::vector<ObjectId> ids{ObjectId::FromRandom()};
  EXPECT_EQ(client->Delete(ids).code(), ErrorCode::Disconnected);
  EXPECT_FALSE(Client::Connect(store.socket_path).has_value());
}

TEST_F(ClientTest, NoDescriptorLeaks) {
  const size_t before = CountOpenFds();
  for (int i = 0; i < 50; ++i) {
    const auto other = store.Connect();
    const ObjectId id = PutText(*other, owner, "x");
    GetText(*other, id);
  }
  EXPECT_TRUE(store.StatsBecome([](const StoreStats& stats) { return stats.clients == 2; }));
  EXPECT_EQ(CountOpenFds(), before);
}

TEST_F(ClientTest, DebugStateIsForPeople) {
  PutText(*client, owner, "x");
  auto text = client->DebugState();
  ASSERT_TRUE(text.has_value());
  EXPECT_THAT(*text, ::testing::HasSubstr("spillable: 1 objects, 64 bytes"));
}

// While the first caller sleeps, another reads the answers of both; then the first
// wants its own no more.
TEST_F(ClientTest, WhatComesWhileItIsGivenUpIsGivenBack) {
  struct Impatient : ReplyWaiter {
    Turn Sleep(int fd) override {
      if (!meanwhile) return ReplyWaiter::Sleep(fd);
      std::exchange(meanwhile, nullptr)();
      return Turn::GiveUp;
    }
    std::function<void()> meanwhile;
  };
  Impatient waiter;
  auto impatient = Client::Connect(store.socket_path, &waiter);
  ASSERT_TRUE(impatient.has_value());
  const ObjectId got = PutText(*client, owner, "got");
  const ObjectId ids[] = {got};
  // It is answered later than what is asked while it waits.
  const ObjectId late = ObjectId::FromRandom();
  const ObjectId both[] = {got, late};
  waiter.meanwhile = [&] {
    ASSERT_TRUE(client->Create(late, Room(4, owner)).has_value());
    ASSERT_TRUE(client->Seal(late).ok());
    EXPECT_TRUE(store.StatsBecome(
        [](const StoreStats& stats) { return stats.objects.in_use.objects == 2; }));
    EXPECT_TRUE(*(*impatient)->Contains(got));
  };
  const auto views = (*impatient)->Get(both, /*timeout_ms=*/-1);
  ASSERT_FALSE(views.has_value());
  EXPECT_EQ(views.error().code(), ErrorCode::Cancelled);
  EXPECT_EQ(GetText(**impatient, got, 0), "got");
  EXPECT_TRUE((*impatient)->Release(got).ok());
  EXPECT_TRUE(client->Delete(ids).ok());
  EXPECT_TRUE(
      store.StatsBecome([](const StoreStats& stats) { return stats.objects.in_use.objects == 0; }));
}

TEST_F(ClientTest, ManyIdsFitInOneGet) {
  std::vector<ObjectId> ids;
  for (int i = 0; i < 5000; ++i) ids.push_back(PutText(*client, owner, std::to_string(i)));
  const auto reader = store.Connect();
  auto views = reader->Get(ids, -1);
  ASSERT_TRUE(views.has_value());
  for (int i = 0; i < 5000; ++i) ASSERT_EQ(TextOf((*views)[i]), std::to_string(i));
}

}  // namespace
}  // namespace skyray::plasma
