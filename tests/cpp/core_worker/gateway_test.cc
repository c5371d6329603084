// SPDX-License-Identifier: Apache-2.0
// The gateway with real sockets and threads. What must not happen twice or at
// the same time is left to the thread sanitizer to see.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <map>
#include <random>

#include "core_worker/gateway_fixture.h"
#include "ipc/fixture.h"
#include "ipc/socket.h"

namespace skyray::core_worker {
namespace {

using ::testing::ElementsAre;

// --- Who reads ---

TEST_F(GatewayTest, TheIoThreadDeliversWhenNobodyWaits) {
  const Wire wire = Open();
  Say(wire, "news");
  ASSERT_TRUE(notes.AwaitFrames(wire.channel->id, 1));
  EXPECT_THAT(notes.Frames(wire.channel->id), ElementsAre("news"));
}

TEST_F(GatewayTest, WhatIsThereAlreadyIsNotWaitedFor) {
  GatewayWaiter waiter;
  EXPECT_EQ(Wait(waiter), WaitResult::Done);
}

TEST_F(GatewayTest, AWaiterIsWokenByAFrame) {
  GatewayWaiter* waiting = nullptr;
  notes.on_frame = [&](Channel&, FrameView&) {
    waiting->remaining = 0;
    gateway.Notify(waiting);
  };
  const Wire wire = Open();
  for (Channel* hot : {static_cast<Channel*>(nullptr), wire.channel.get()}) {
    WaitingThread one([&](GatewayWaiter& waiter) {
      {
        Lock lock(gateway.mutex());
        waiting = &waiter;
      }
      return Wait(waiter, hot);
    });
    AwaitLeader(one.thread());
    Say(wire, "here it is");
    EXPECT_EQ(one.Join(), WaitResult::Done);
  }
}

TEST_F(GatewayTest, AWaiterLeadsItself) {
  pthread_t reader{};
  GatewayWaiter waiter;
  waiter.remaining = 1;
  notes.on_frame = [&](Channel&, FrameView&) {
    reader = pthread_self();
    waiter.remaining = 0;
    gateway.Notify(&waiter);
  };
  const Wire wire = Open();
  std::thread thread([&] { EXPECT_EQ(Wait(waiter), WaitResult::Done); });
  AwaitLeader(thread);
  const pthread_t id = thread.native_handle();
  Say(wire, "for you");
  thread.join();
  EXPECT_TRUE(pthread_equal(reader, id));
}

TEST_F(GatewayTest, TheLeadIsHandedOnUntilTheIoThreadHasItAgain) {
  const Wire wire = Open();
  {
    WaitingThread first([&](GatewayWaiter& waiter) { return Wait(waiter); });
    AwaitLeader(first.thread());
    WaitingThread second([&](GatewayWaiter& waiter) { return Wait(waiter); });
    Wake(first.waiter());
    EXPECT_EQ(first.Join(), WaitResult::Done);
    AwaitLeader(second.thread());
    Wake(second.waiter());
    EXPECT_EQ(second.Join(), WaitResult::Done);
  }
  Say(wire, "for nobody");
  EXPECT_TRUE(notes.AwaitFrames(wire.channel->id, 1));
}

TEST_F(GatewayTest, ManyWaitersAreAnsweredInAnyOrder) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::map<std::string, GatewayWaiter*> waiting;
  notes.on_frame = [&](Channel&, FrameView& frame) {
    const auto it = waiting.find(std::string(frame.body.begin(), frame.body.end()));
    if (it == waiting.end()) return;
    it->second->remaining = 0;
    gateway.Notify(it->second);
    waiting.erase(it);
  };
  const Wire wire = Open();
  constexpr int kThreads = 8, kCalls = 100;
  // Answers what it finds, up to four calls together, in any order.
  std::thread server([&] {
    std::mt19937 random(seed);
    std::vector<std::string> asked;
    for (int left = kThreads * kCalls; left > 0;) {
      char byte;
      do {
        asked.push_back(Hear(wire));
      } while (asked.size() < 4 && recv(wire.peer.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0);
      std::shuffle(asked.begin(), asked.end(), random);
      for (const std::string& name : asked) Say(wire, name);
      left -= static_cast<int>(asked.size());
      asked.clear();
    }
  });
  std::vector<std::thread> clients;
  for (int t = 0; t < kThreads; ++t) {
    clients.emplace_back([&, t] {
      for (int i = 0; i < kCalls; ++i) {
        const std::string name = std::to_string(t) + "/" + std::to_string(i);
        GatewayWaiter waiter;
        waiter.remaining = 1;
        Lock lock(gateway.mutex());
        waiting[name] = &waiter;
        wire.channel->out += FrameOf(name);
        gateway.Commit(lock, *wire.channel, /*lazy=*/i % 3 == 0);
        Channel* hot = t % 2 == 0 ? wire.channel.get() : nullptr;
        EXPECT_EQ(gateway.Wait(lock, waiter, INT64_MAX, hot, {}), WaitResult::Done);
      }
    });
  }
  for (std::thread& client : clients) client.join();
  server.join();
}

TEST_F(GatewayTest, AnotherThreadWakesTheLeader) {
  WaitingThread one([&](GatewayWaiter& waiter) { return Wait(waiter); });
  AwaitLeader(one.thread());
  Wake(one.waiter());
  EXPECT_EQ(one.Join(), WaitResult::Done);
}

TEST_F(GatewayTest, AnotherThreadWakesAFollower) {
  WaitingThread leader([&](GatewayWaiter& waiter) { return Wait(waiter); });
  AwaitLeader(leader.thread());
  WaitingThread follower([&](GatewayWaiter& waiter) { return Wait(waiter); });
  Wake(follower.waiter());
  EXPECT_EQ(follower.Join(), WaitResult::Done);
  Wake(leader.waiter());
  EXPECT_EQ(leader.Join(), WaitResult::Done);
}

// --- Giving up ---

TEST_F(GatewayTest, WaitingEndsAtTheDeadline) {
  GatewayWaiter waiter;
  waiter.remaining = 1;
  EXPECT_EQ(Wait(waiter, nullptr, NowNs() + 5'000'000), WaitResult::TimedOut);
  EXPECT_EQ(Wait(waiter, nullptr, NowNs() - 1), WaitResult::TimedOut);
}

TEST_F(GatewayTest, AFollowersWaitingEndsAtTheDeadline) {
  WaitingThread leader([&](GatewayWaiter& waiter) { return Wait(waiter); });
  AwaitLeader(leader.thread());
  GatewayWaiter waiter;
  waiter.remaining = 1;
  EXPECT_EQ(Wait(waiter, nullptr, NowNs() + 5'000'000), WaitResult::TimedOut);
  Wake(leader.waiter());
}

TEST_F(GatewayTest, AFollowersHotSocketMayCloseBeforeItLeads) {
  WaitingThread leader([&](GatewayWaiter& waiter) { return Wait(waiter); });
  AwaitLeader(leader.thread());
  Wire wire = Open();
  const uint64_t id = wire.channel->id;
  std::promise<void> follows;
  WaitingThread follower([&](GatewayWaiter& waiter) {
    Lock lock(gateway.mutex());
    follows.set_value();
    Channel* hot = wire.channel.get();
    wire.channel.reset();  // From now on only the gateway has it.
    return gateway.Wait(lock, waiter, INT64_MAX, hot, {});
  });
  follows.get_future().wait();
  wire.peer.Reset();
  ASSERT_TRUE(notes.AwaitClosed(id));
  Wake(leader.waiter());
  AwaitLeader(follower.thread());
  Wake(follower.waiter());
  EXPECT_EQ(follower.Join(), WaitResult::Done);
}

TEST_F(GatewayTest, ALeaderThatGivesUpLeavesTheLeadToAFollower) {
  WaitingThread leader(
      [&](GatewayWaiter& waiter) { return Wait(waiter, nullptr, NowNs() + 200'000'000); });
  WaitingThread follower([&](GatewayWaiter& waiter) { return Wait(waiter); });
  EXPECT_EQ(leader.Join(), WaitResult::TimedOut);
  AwaitLeader(follower.thread());
  Wake(follower.waiter());
}

TEST_F(GatewayTest, AnInterruptedLeaderGivesUp) {
  // Python's handler may have run on any thread: the leader itself sees no signal.
  std::atomic<bool> raised{false};
  WaitingThread one([&](GatewayWaiter& waiter) {
    return Wait(waiter, nullptr, INT64_MAX, [&] { return raised.load(); });
  });
  AwaitLeader(one.thread());
  raised = true;
  EXPECT_EQ(one.Join(), WaitResult::Interrupted);
}

TEST_F(GatewayTest, AnInterruptedFollowerGivesUp) {
  WaitingThread leader([&](GatewayWaiter& waiter) { return Wait(waiter); });
  AwaitLeader(leader.thread());
  std::atomic<bool> raised{false};
  WaitingThread one([&](GatewayWaiter& waiter) {
    return Wait(waiter, nullptr, INT64_MAX, [&] { return raised.load(); });
  });
  raised = true;
  EXPECT_EQ(one.Join(), WaitResult::Interrupted);
  Wake(leader.waiter());
}

TEST_F(GatewayTest, ASignalIsLookedAtAndWaitingGoesOn) {
  struct sigaction ignore {};
  ignore.sa_handler = [](int) {};
  struct sigaction before {};
  sigaction(SIGUSR1, &ignore, &before);
  std::atomic<int> looks{0};
  WaitingThread one([&](GatewayWaiter& waiter) {
    return Wait(waiter, nullptr, INT64_MAX, [&] { return ++looks, false; });
  });
  AwaitLeader(one.thread());
  const int seen = looks;
  while (looks == seen) {
    pthread_kill(one.thread().native_handle(), SIGUSR1);
    sched_yield();
  }
  Wake(one.waiter());
  EXPECT_EQ(one.Join(), WaitResult::Done);
  sigaction(SIGUSR1, &before, nullptr);
}

TEST_F(GatewayTest, StopWakesAllWhoWait) {
  WaitingThread leader([&](GatewayWaiter& waiter) { return Wait(waiter); });
  AwaitLeader(leader.thread());
  WaitingThread one([&](GatewayWaiter& waiter) { return Wait(waiter); });
  WaitingThread two([&](GatewayWaiter& waiter) { return Wait(waiter); });
  gateway.Stop();
  EXPECT_EQ(leader.Join(), WaitResult::Stopped);
  EXPECT_EQ(one.Join(), WaitResult::Stopped);
  EXPECT_EQ(two.Join(), WaitResult::Stopped);
  GatewayWaiter late;
  late.remaining = 1;
  EXPECT_EQ(Wait(late), WaitResult::Stopped);
}

TEST(GatewayLife, MayEndUnused) {
  Notes notes;
  Gateway never_started(notes);
  never_started.Stop();
}

// --- Writing ---

TEST_F(GatewayTest, ACommittedFrameIsSentAtOnce) {
  const Wire wire = Open();
  Send(wire, "now");
  std::string bytes(64, '\0');
  const ssize_t got = recv(wire.peer.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
  EXPECT_EQ(bytes.substr(0, static_cast<size_t>(got)), FrameOf("now"));
}

TEST_F(GatewayTest, ALazyFrameIsSentByItself) {
  const Wire wire = Open();
  Send(wire, "in a while", /*lazy=*/true);
  EXPECT_EQ(Hear(wire), "in a while");
}

TEST_F(GatewayTest, ALazyFrameIsSentByASleepingLeader) {
  const Wire wire = Open();
  WaitingThread leader([&](GatewayWaiter& waiter) { return Wait(waiter); });
  AwaitLeader(leader.thread());
  Send(wire, "in a while", /*lazy=*/true);
  EXPECT_EQ(Hear(wire), "in a while");
  Wake(leader.waiter());
}

TEST_F(GatewayTest, ALazyFrameIsSentWhateverTheLeaderIsDoing) {
  // The leader looks at its hot socket, begins to sleep, wakes: at no moment may
  // a frame be left behind.
  GatewayWaiter* waiting = nullptr;
  bool over = false;
  notes.on_frame = [&](Channel&, FrameView&) {
    if (waiting == nullptr) return;
    waiting->remaining = 0;
    gateway.Notify(waiting);
  };
  const Wire hot = Open();
  const Wire other = Open();
  std::thread leader([&] {
    Lock lock(gateway.mutex());
    while (!over) {
      GatewayWaiter waiter;
      waiter.remaining = 1;
      waiting = &waiter;
      gateway.Wait(lock, waiter, INT64_MAX, hot.channel.get(), {});
      waiting = nullptr;
    }
  });
  for (int i = 0; i < 2000; ++i) {
    Send(other, std::to_string(i), /*lazy=*/true);
    const std::string heard = Hear(other);
    EXPECT_EQ(heard, std::to_string(i));
    if (heard != std::to_string(i)) break;
    Say(hot, "go on");
  }
  {
    Lock lock(gateway.mutex());
    over = true;
    if (waiting != nullptr) {
      waiting->remaining = 0;
      gateway.Notify(waiting);
    }
  }
  leader.join();
}

TEST_F(GatewayTest, WhatAThreadLeavesDirtyIsSentWhenItBeginsToWait) {
  const Wire wire = Open();
  WaitingThread leader([&](GatewayWaiter& waiter) { return Wait(waiter); });
  AwaitLeader(leader.thread());
  WaitingThread follower([&](GatewayWaiter& waiter) {
    Lock lock(gateway.mutex());
    wire.channel->out += FrameOf("the answer");
    gateway.MarkDirty(*wire.channel);
    return gateway.Wait(lock, waiter, INT64_MAX, nullptr, {});
  });
  EXPECT_EQ(Hear(wire), "the answer");
  Wake(follower.waiter());
  Wake(leader.waiter());
}

TEST_F(GatewayTest, MuchLazyOutputIsSentAtOnce) {
  const Wire wire = Open();
  const std::string much(16 << 10, 'x');
  Send(wire, much, /*lazy=*/true);
  char byte;
  EXPECT_EQ(recv(wire.peer.get(), &byte, 1, MSG_DONTWAIT | MSG_PEEK), 1);
}

TEST_F(GatewayTest, WhatAHandlerWritesIsSent) {
  notes.on_frame = [&](Channel& channel, FrameView& frame) {
    channel.out += FrameOf("re: " + std::string(frame.body.begin(), frame.body.end()));
    gateway.MarkDirty(channel);
  };
  const Wire wire = Open();
  Say(wire, "ping");
  EXPECT_EQ(Hear(wire), "re: ping");
}

TEST_F(GatewayTest, AFullSocketBlocksNobodyAndLosesNothing) {
  const Wire wire = Open();
  constexpr int kFrames = 200;
  const std::string filler(64 << 10, 'f');  // 12 MiB in all; the socket holds some 200 KiB.
  for (int i = 0; i < kFrames; ++i) Send(wire, std::to_string(i) + filler, i % 2 == 0);
  for (int i = 0; i < kFrames; ++i) {
    const std::string heard = Hear(wire);
    ASSERT_EQ(heard.substr(0, heard.find('f')), std::to_string(i));
    ASSERT_EQ(heard.size(), std::to_string(i).size() + filler.size());
  }
}

TEST_F(GatewayTest, WhatSeveralThreadsSendKeepsEachOnesOrder) {
  const Wire wire = Open();
  constexpr int kThreads = 4, kFrames = 500;
  std::vector<std::thread> senders;
  for (int t = 0; t < kThreads; ++t) {
    senders.emplace_back([&, t] {
      const std::string filler(static_cast<size_t>(t) * 700, '.');
      for (int i = 0; i < kFrames; ++i) {
        Send(wire, std::to_string(t) + "/" + std::to_string(i) + "/" + filler, i % 3 == 0);
      }
    });
  }
  std::map<std::string, int> next;
  for (int i = 0; i < kThreads * kFrames; ++i) {
    const std::string heard = Hear(wire);
    const size_t slash = heard.find('/');
    ASSERT_NE(slash, std::string::npos) << heard;
    ASSERT_EQ(std::stoi(heard.substr(slash + 1)), next[heard.substr(0, slash)]++);
  }
  for (std::thread& sender : senders) sender.join();
}

// --- The end of channels ---

TEST_F(GatewayTest, APeersEndIsToldOnceAndAfterItsLastFrame) {
  Wire wire = Open();
  const uint64_t id = wire.channel->id;
  for (int i = 0; i < 10; ++i) Say(wire, std::to_string(i));
  wire.peer.Reset();
  ASSERT_TRUE(notes.AwaitClosed(id));
  EXPECT_EQ(notes.Frames(id).size(), 10u);
  // Whatever else comes to the gateway, this is not told again.
  const Wire other = Open();
  Send(wire, "into the void");
  Say(other, "something else");
  ASSERT_TRUE(notes.AwaitFrames(other.channel->id, 1));
  EXPECT_EQ(notes.Closed(id), 1);
  Lock lock(gateway.mutex());
  EXPECT_TRUE(wire.channel->closed);
  EXPECT_EQ(gateway.FindChannel(id), nullptr);
}

TEST_F(GatewayTest, ClosingByUsIsNotToldButSeenByThePeer) {
  const Wire wire = Open();
  {
    Lock lock(gateway.mutex());
    gateway.CloseChannel(*wire.channel);
    gateway.CloseChannel(*wire.channel);
  }
  EXPECT_TRUE(PeerSeesTheEnd(wire));
  const Wire other = Open();
  Say(other, "something else");
  ASSERT_TRUE(notes.AwaitFrames(other.channel->id, 1));
  EXPECT_EQ(notes.Closed(wire.channel->id), 0);
}

TEST_F(GatewayTest, AHandlerMayCloseTheChannelItReads) {
  notes.on_frame = [&](Channel& channel, FrameView&) { gateway.CloseChannel(channel); };
  const Wire wire = Open();
  const std::string two = FrameOf("first") + FrameOf("second");
  ASSERT_EQ(send(wire.peer.get(), two.data(), two.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(two.size()));
  EXPECT_TRUE(PeerSeesTheEnd(wire));
  ASSERT_TRUE(notes.AwaitFrames(wire.channel->id, 1));
  EXPECT_THAT(notes.Frames(wire.channel->id), ElementsAre("first"));
}

TEST_F(GatewayTest, AFrameOverTheCapEndsOnlyItsChannel) {
  const Wire stranger = Open(ChannelKind::Inbound);  // May send ipc::kHelloBytesMax.
  const Wire good = Open();
  std::string header;
  AppendStruct(header, ipc::FrameHeader{ipc::kHelloBytesMax + 1, 0, 0});
  ASSERT_EQ(send(stranger.peer.get(), header.data(), header.size(), MSG_NOSIGNAL), 8);
  EXPECT_TRUE(PeerSeesTheEnd(stranger));
  ASSERT_TRUE(notes.AwaitClosed(stranger.channel->id));
  Say(good, "still here");
  ASSERT_TRUE(notes.AwaitFrames(good.channel->id, 1));
  EXPECT_EQ(notes.Closed(stranger.channel->id), 1);
  EXPECT_EQ(notes.Closed(good.channel->id), 0);
}

TEST_F(GatewayTest, GarbageEndsOnlyItsChannel) {
  const Wire wire = Open(ChannelKind::Inbound);
  const std::string garbage(64, '\xff');
  ASSERT_GT(send(wire.peer.get(), garbage.data(), garbage.size(), MSG_NOSIGNAL), 0);
  EXPECT_TRUE(PeerSeesTheEnd(wire));
  ASSERT_TRUE(notes.AwaitClosed(wire.channel->id));
}

TEST_F(GatewayTest, ChannelsEndWhileOthersWriteToThem) {
  for (int round = 0; round < 50; ++round) {
    Wire wire = Open();
    std::thread writer([&] {
      for (int i = 0; i < 50; ++i) Send(wire, std::string(1000, 'x'), i % 2 == 0);
    });
    (void)Hear(wire);
    wire.peer.Reset();
    writer.join();
    ASSERT_TRUE(notes.AwaitClosed(wire.channel->id));
    EXPECT_EQ(notes.Closed(wire.channel->id), 1);
  }
}

// --- Pausing, accepting, descriptors, deferred work ---

TEST_F(GatewayTest, APausedChannelIsReadAgainWhenItIsResumed) {
  notes.on_frame = [](Channel& channel, FrameView& frame) {
    if (frame.body.size() == 5) channel.paused = true;  // "pause"
  };
  const Wire wire = Open();
  const Wire other = Open();
  Say(wire, "pause");
  ASSERT_TRUE(notes.AwaitFrames(wire.channel->id, 1));
  Say(wire, "unread");
  for (int i = 0; i < 20; ++i) {
    Say(other, "meanwhile");
    ASSERT_TRUE(notes.AwaitFrames(other.channel->id, static_cast<size_t>(i) + 1));
  }
  EXPECT_EQ(notes.Frames(wire.channel->id).size(), 1u);
  {
    Lock lock(gateway.mutex());
    gateway.Resume(*wire.channel);
  }
  ASSERT_TRUE(notes.AwaitFrames(wire.channel->id, 2));
}

TEST_F(GatewayTest, APausedChannelCanBeWrittenTo) {
  notes.on_frame = [](Channel& channel, FrameView&) { channel.paused = true; };
  const Wire wire = Open();
  Say(wire, "pause");
  ASSERT_TRUE(notes.AwaitFrames(wire.channel->id, 1));
  const std::string much(1 << 20, 'x');
  Send(wire, much);
  EXPECT_EQ(Hear(wire), much);
  {
    Lock lock(gateway.mutex());
    gateway.Resume(*wire.channel);
  }
  Say(wire, "again");
  ASSERT_TRUE(notes.AwaitFrames(wire.channel->id, 2));
}

TEST_F(GatewayTest, WhoConnectsIsAccepted) {
  std::promise<uint64_t> accepted;
  notes.on_accepted = [&](UniqueFd socket) {
    accepted.set_value(gateway.AddChannel(std::move(socket), ChannelKind::Inbound, {})->id);
  };
  for (int i = 0; i < 5; ++i) {
    accepted = {};
    auto socket = ipc::ConnectUnix(socket_path);
    ASSERT_TRUE(socket.has_value());
    ASSERT_TRUE(ipc::SendFrame(socket->get(), 0, BytesOf("hello")).ok());
    const uint64_t id = accepted.get_future().get();
    ASSERT_TRUE(notes.AwaitFrames(id, 1));
    socket->Reset();
    ASSERT_TRUE(notes.AwaitClosed(id));
  }
}

TEST_F(GatewayTest, TheRayletsFramesBringDescriptors) {
  int fds_seen = -1;
  notes.on_frame = [&](Channel&, FrameView& frame) {
    fds_seen = static_cast<int>(frame.fds.size());
  };
  const Wire wire = Open(ChannelKind::Raylet);
  UniqueFd null(open("/dev/null", O_RDONLY | O_CLOEXEC));
  const int fds[] = {null.get()};
  ASSERT_TRUE(ipc::SendFrame(wire.peer.get(), 0, BytesOf("with it"), fds).ok());
  ASSERT_TRUE(notes.AwaitFrames(wire.channel->id, 1));
  EXPECT_EQ(fds_seen, 1);
}

TEST_F(GatewayTest, DescriptorsFromAWorkerEndItsChannel) {
  const Wire wire = Open(ChannelKind::Inbound);
  UniqueFd null(open("/dev/null", O_RDONLY | O_CLOEXEC));
  const int fds[] = {null.get()};
  ASSERT_TRUE(ipc::SendFrame(wire.peer.get(), 0, BytesOf("unasked"), fds).ok());
  EXPECT_TRUE(PeerSeesTheEnd(wire));
}

TEST_F(GatewayTest, DeferredWorkRunsWithoutTheMutex) {
  std::mutex mutex;
  std::condition_variable changed;
  bool ran = false;
  WaitingThread leader([&](GatewayWaiter& waiter) { return Wait(waiter); });
  AwaitLeader(leader.thread());
  {
    Lock lock(gateway.mutex());
    gateway.Defer([&] {
      Lock inner(gateway.mutex());  // Would deadlock if it were held.
      std::lock_guard done(mutex);
      ran = true;
      changed.notify_all();
    });
  }
  {
    std::unique_lock lock(mutex);
    EXPECT_TRUE(changed.wait_for(lock, kFarTooLong, [&] { return ran; }));
  }
  Wake(leader.waiter());
}

}  // namespace
}  // namespace skyray::core_worker
