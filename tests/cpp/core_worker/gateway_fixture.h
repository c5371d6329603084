// SPDX-License-Identifier: Apache-2.0
// A gateway with real sockets, and threads that wait in it.
#pragma once

#include <gtest/gtest.h>
#include <pthread.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core_worker/gateway.h"
#include "core_worker/words.h"
#include "ipc/fixture.h"
#include "ipc/socket.h"

namespace skyray::core_worker {

inline constexpr std::chrono::seconds kFarTooLong{60};
inline constexpr int kFarTooLongMs = 60'000;

// Notes what it is told and lets the test's thread wait for it.
class Notes : public GatewayHandler {
 public:
  void OnFrame(Channel& channel, FrameView& frame) override {
    if (on_frame) on_frame(channel, frame);
    std::lock_guard lock(mutex_);
    frames_[channel.id].emplace_back(frame.body.begin(), frame.body.end());
    changed_.notify_all();
  }
  void OnClosed(Channel& channel) override {
    std::lock_guard lock(mutex_);
    ++closed_[channel.id];
    changed_.notify_all();
  }
  void OnAccepted(UniqueFd socket) override {
    if (on_accepted) on_accepted(std::move(socket));
  }
  void OnWatched() override {
    if (on_watched) on_watched();
  }
  int64_t OnTimer(int64_t) override {
    std::lock_guard lock(mutex_);
    ++timers_;
    leader_ = pthread_self();
    changed_.notify_all();
    return INT64_MAX;
  }

  std::vector<std::string> Frames(uint64_t channel) {
    std::lock_guard lock(mutex_);
    return frames_[channel];
  }
  int Closed(uint64_t channel) {
    std::lock_guard lock(mutex_);
    return closed_[channel];
  }
  bool AwaitFrames(uint64_t channel, size_t count) {
    return Await([&] { return frames_[channel].size() >= count; });
  }
  bool AwaitClosed(uint64_t channel) {
    return Await([&] { return closed_[channel] > 0; });
  }
  uint64_t timers() {
    std::lock_guard lock(mutex_);
    return timers_;
  }
  // Who ran the timer for the first time after it had run `count` times.
  pthread_t LeaderAfter(uint64_t count) {
    EXPECT_TRUE(Await([&] { return timers_ > count; }));
    std::lock_guard lock(mutex_);
    return leader_;
  }

  // With the gateway's mutex held. To be set before there are channels.
  std::function<void(Channel&, FrameView&)> on_frame;
  std::function<void(UniqueFd)> on_accepted;
  std::function<void()> on_watched;

 private:
  template <class Condition>
  bool Await(Condition condition) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kFarTooLong, condition);
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<uint64_t, std::vector<std::string>> frames_;
  std::map<uint64_t, int> closed_;
  uint64_t timers_ = 0;
  pthread_t leader_{};
};

class GatewayTest : public ::testing::Test {
 protected:
  struct Wire {
    ChannelPtr channel;
    UniqueFd peer;
  };

  GatewayTest() {
    auto listener = ipc::ListenUnix(socket_path, 16);
    EXPECT_TRUE(listener.has_value());
    EXPECT_TRUE(ipc::SetNonBlocking(listener->get(), true).ok());
    EXPECT_TRUE(gateway.Start(std::move(*listener)).ok());
  }
  ~GatewayTest() override {
    gateway.Stop();
    unlink(socket_path.c_str());
  }

  Wire Open(ChannelKind kind = ChannelKind::Outbound) {
    auto [ours, theirs] = SocketPair();
    Lock lock(gateway.mutex());
    return {gateway.AddChannel(std::move(ours), kind, SomeWorker()), std::move(theirs)};
  }
  // By the peer, blocking.
  static void Say(const Wire& wire, std::string_view text) {
    EXPECT_TRUE(ipc::SendFrame(wire.peer.get(), ipc::kFlatBuffer, BytesOf(text)).ok());
  }
  static std::string Hear(const Wire& wire) {
    auto frame = ipc::ReceiveFrame(wire.peer.get(), kFarTooLongMs);
    return frame ? std::string(frame->text()) : "nothing: " + frame.error().message();
  }
  static bool PeerSeesTheEnd(const Wire& wire) {
    const timeval far_too_long{kFarTooLong.count(), 0};
    setsockopt(wire.peer.get(), SOL_SOCKET, SO_RCVTIMEO, &far_too_long, sizeof far_too_long);
    char byte;
    const ssize_t got = recv(wire.peer.get(), &byte, 1, 0);
    return got == 0 || (got < 0 && errno == ECONNRESET);
  }
  void Send(const Wire& wire, std::string_view text, bool lazy = false) {
    Lock lock(gateway.mutex());
    wire.channel->out += FrameOf(text);
    gateway.Commit(lock, *wire.channel, lazy);
  }
  WaitResult Wait(GatewayWaiter& waiter, Channel* hot = nullptr, int64_t deadline_ns = INT64_MAX,
                  const std::function<bool()>& interrupted = {}) {
    Lock lock(gateway.mutex());
    return gateway.Wait(lock, waiter, deadline_ns, hot, interrupted);
  }
  void Wake(GatewayWaiter& waiter) {
    Lock lock(gateway.mutex());
    waiter.remaining = 0;
    gateway.Notify(&waiter);
  }
  // Asks whoever leads to show itself, until it is somebody that `wanted` wants.
  // Past it that thread sleeps in epoll, or is about to.
  template <class Wanted>
  void AwaitLeader(Wanted wanted) {
    const auto give_up = std::chrono::steady_clock::now() + kFarTooLong;
    for (;;) {
      const uint64_t before = notes.timers();
      {
        Lock lock(gateway.mutex());
        gateway.WakeForTimer();
      }
      if (wanted(notes.LeaderAfter(before))) return;
      ASSERT_LT(std::chrono::steady_clock::now(), give_up) << "the lead was never taken over";
    }
  }
  void AwaitLeader(std::thread& thread) {
    AwaitLeader([&](pthread_t leader) { return pthread_equal(leader, thread.native_handle()); });
  }

  ipc::TemporaryDirectory directory;
  std::string socket_path = directory.path() + "/socket";
  Notes notes;
  Gateway gateway{notes};
};

// A thread that waits, and what came of it.
class WaitingThread {
 public:
  template <class Run>
  explicit WaitingThread(Run run) : thread_([this, run] { result_ = run(waiter_); }) {}
  ~WaitingThread() {
    if (thread_.joinable()) thread_.join();
  }
  WaitResult Join() {
    thread_.join();
    return result_;
  }
  std::thread& thread() { return thread_; }
  GatewayWaiter& waiter() { return waiter_; }

 private:
  struct OneToWaitFor : GatewayWaiter {
    OneToWaitFor() { remaining = 1; }
  };
  OneToWaitFor waiter_;
  WaitResult result_ = WaitResult::Done;
  std::thread thread_;
};

}  // namespace skyray::core_worker
