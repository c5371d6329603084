// SPDX-License-Identifier: Apache-2.0
// What the gateway does for an event loop, and for a thread that others work for.
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <atomic>

#include "core_worker/gateway_fixture.h"

namespace skyray::core_worker {
namespace {

TEST_F(GatewayTest, WhoeverLeadsSeesTheWatchedDescriptorOnce) {
  UniqueFd inner(epoll_create1(EPOLL_CLOEXEC));
  UniqueFd event(eventfd(0, EFD_CLOEXEC));
  epoll_event readable{};
  readable.events = EPOLLIN;
  ASSERT_EQ(epoll_ctl(inner.get(), EPOLL_CTL_ADD, event.get(), &readable), 0);
  GatewayWaiter* waiting = nullptr;
  int told = 0;
  notes.on_watched = [&] {
    ++told;
    waiting->remaining = 0;
    gateway.Notify(waiting);
  };
  {
    Lock lock(gateway.mutex());
    gateway.Watch(inner.get());
  }
  for (int round = 1; round <= 2; ++round) {
    WaitingThread one([&](GatewayWaiter& waiter) {
      Lock lock(gateway.mutex());
      waiting = &waiter;
      EXPECT_EQ(gateway.TakeWatched(), round > 1);
      gateway.ArmWatched();
      return gateway.Wait(lock, waiter, INT64_MAX, nullptr, {});
    });
    // In the second round it is readable from the start: that is told again.
    if (round == 1) {
      AwaitLeader(one.thread());
      ASSERT_EQ(eventfd_write(event.get(), 1), 0);
    }
    EXPECT_EQ(one.Join(), WaitResult::Done);
  }
  // Still readable, and nobody armed it: nobody spins on it.
  AwaitLeader([](pthread_t) { return true; });
  Lock lock(gateway.mutex());
  EXPECT_EQ(told, 2);
}

TEST_F(GatewayTest, AThreadThatFollowsNeverLeads) {
  const Wire wire = Open();
  WaitingThread one([&](GatewayWaiter& waiter) {
    Lock lock(gateway.mutex());
    return gateway.Follow(lock, waiter, {});
  });
  Say(wire, "news");
  ASSERT_TRUE(notes.AwaitFrames(wire.channel->id, 1));
  AwaitLeader(
      [&](pthread_t leader) { return !pthread_equal(leader, one.thread().native_handle()); });
  Wake(one.waiter());
  EXPECT_EQ(one.Join(), WaitResult::Done);
  std::atomic<bool> raised{false};
  WaitingThread other([&](GatewayWaiter& waiter) {
    Lock lock(gateway.mutex());
    return gateway.Follow(lock, waiter, [&] { return raised.load(); });
  });
  raised = true;
  EXPECT_EQ(other.Join(), WaitResult::Interrupted);
}

}  // namespace
}  // namespace skyray::core_worker
