// SPDX-License-Identifier: Apache-2.0
// The one place where threads meet: a mutex around the core worker's cores, the
// sockets, and who of the waiting threads reads them.
//
// Leader and followers. At any time at most one thread, the leader, reads the
// sockets: a thread that waits for something (get, wait, a worker's main thread
// between tasks) leads itself, so that the reply it waits for reaches it without
// a hand-over. The I/O thread leads when nobody has waited for a while. A leader
// first polls the socket it expects news from, yielding the CPU on each look,
// for at most 20 µs (blind spinning collapses when the cores are busy), and then
// sleeps in epoll.
//
// Writes. Whoever has something to say appends frames to a channel's buffer
// under the mutex; Commit sends it at once, outside the mutex, or leaves it to be
// sent with what follows: when 16 KiB have gathered, when a thread begins to
// wait, or 200 µs later.
//
// Threading:  every method says whether the mutex must be held (`lock`).
// Ownership:  owns the channels and the I/O thread; the handler outlives it.
// Errors:     a channel that fails is closed and OnClosed told, once.
#pragma once

#include <sys/epoll.h>
#include <time.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <list>
#include <mutex>
#include <span>
#include <thread>
#include <unordered_map>
#include <vector>

#include "common/status.h"
#include "core_worker/acceptor.h"
#include "core_worker/channel.h"
#include "core_worker/object_table.h"

namespace skyray::core_worker {

using Lock = std::unique_lock<std::mutex>;

// A thread that waits; made on its stack.
struct GatewayWaiter : Waiter {
  std::condition_variable wake;
  bool leading = false;
  bool appointed = false;  // Woken to take over the lead.
};

enum class WaitResult : uint8_t { Done, TimedOut, Interrupted, Stopped };

class GatewayHandler {
 public:
  virtual ~GatewayHandler() = default;
  // All with the mutex held; they may not wait.
  virtual void OnFrame(Channel& channel, FrameView& frame) = 0;
  virtual void OnClosed(Channel& channel) = 0;
  virtual void OnAccepted(UniqueFd socket) = 0;
  // The watched descriptor can be read (Gateway::Watch).
  virtual void OnWatched() {}
  // Does what is due at `now_ns`; the time of the next thing, or INT64_MAX.
  virtual int64_t OnTimer(int64_t now_ns) = 0;
};

class Gateway {
 public:
  explicit Gateway(GatewayHandler& handler);
  ~Gateway();
  Gateway(const Gateway&) = delete;
  Gateway& operator=(const Gateway&) = delete;

  // REQUIRES: `listener` does not block.
  Status Start(UniqueFd listener);
  // Waits until what was said on all channels has left, or has nobody to go to.
  void Drain(int64_t deadline_ns);
  // Ends the I/O thread and wakes all who wait (Stopped). Call once, unlocked.
  void Stop();

  std::mutex& mutex() { return mutex_; }

  // lock held:
  ChannelPtr AddChannel(UniqueFd socket, ChannelKind kind, const WorkerAddress& peer);
  // Without OnClosed.
  void CloseChannel(Channel& channel);
  // Takes in what has arrived, then closes it (OnClosed). On the thread that leads.
  void HangUp(Channel& channel);
  Channel* FindChannel(uint64_t id);
  // REQUIRES: not closed.
  ChannelPtr Share(const Channel& channel) { return channels_.at(channel.id); }
  void Resume(Channel& channel);
  // `channel.out` has new frames. Lazy: they may wait for company.
  void Commit(Lock& lock, Channel& channel, bool lazy);
  // The same from inside a handler: sent when the handler has returned.
  void MarkDirty(Channel& channel);
  void FlushDirty(Lock& lock);
  void Notify(Waiter* waiter);
  // Runs soon, on the thread that leads, without the mutex.
  void Defer(std::function<void()> work);
  void RunDeferred(Lock& lock);
  // One descriptor of somebody else's (an event loop's epoll) that whoever leads
  // looks at too: OnWatched once, when it can be read after ArmWatched.
  void Watch(int descriptor);
  void ArmWatched();
  // Whether it has become readable since the last call.
  bool TakeWatched() { return std::exchange(watched_ready_, false); }
  // OnTimer is to be called again, then at the latest (0: at once). REQUIRES: lock held.
  void WakeForTimer(int64_t at_ns = 0);

  // lock held; let go of while waiting. `hot` is the channel to poll first (may
  // be null). `interrupted` is asked after signals, and every 100 ms to
  // 800 ms since one may have come to another thread (may be empty).
  WaitResult Wait(Lock& lock, GatewayWaiter& waiter, int64_t deadline_ns, Channel* hot,
                  const std::function<bool()>& interrupted);
  // The same without ever leading: for a thread that others work for.
  WaitResult Follow(Lock& lock, GatewayWaiter& waiter, const std::function<bool()>& interrupted);

 private:
  enum class Lead : uint8_t { Nobody, IoThread, Waiter };

  void RunIoThread();
  // Leads until `waiter` is done (or, null: until a waiter wants to lead). Interrupted:
  // a signal may have come, or it is `look_at_ns` (INT64_MAX: neither matters).
  WaitResult Drive(Lock& lock, GatewayWaiter* waiter, int64_t deadline_ns,
                   const ChannelPtr& keep_hot, int64_t look_at_ns);
  bool Nap(Lock& lock, GatewayWaiter& waiter, int64_t left_ns,
           const std::function<bool()>& interrupted);
  void LeaveLead();
  void HandleEvents(Lock& lock);
  // Lets replies that nobody waits for gather.
  void Rest(Lock& lock);
  bool PollHot(Channel& channel);
  void Sleep(int64_t deadline_ns);
  int AwaitEvents(epoll_event* events, const timespec* timeout);
  // False: the channel is closed.
  bool ReadInto(Channel& channel, bool& got);
  void Deliver(Channel& channel, bool open);
  void Flush(Lock& lock, Channel& channel);
  void Arm(Channel& channel);
  void Kick();

  GatewayHandler& handler_;
  std::mutex mutex_;
  UniqueFd epoll_;
  UniqueFd wake_;
  Acceptor acceptor_;
  std::thread io_thread_;
  bool stopping_ = false;
  std::condition_variable drained_;  // Something was sent, while `draining_`.
  bool draining_ = false;

  Lead lead_ = Lead::Nobody;
  int64_t lead_since_ns_ = 0;
  int64_t lead_left_ns_ = 0;
  int waiters_wanting_lead_ = 0;
  std::list<GatewayWaiter*> followers_;
  std::condition_variable io_wake_;
  bool io_parked_ = false;
  bool sleeping_ = false;  // The leader is in epoll, or about to be.

  std::unordered_map<uint64_t, ChannelPtr> channels_;
  uint64_t next_channel_ = 1;
  std::vector<ChannelPtr> dirty_;
  int64_t flush_at_ns_ = INT64_MAX;
  int64_t timer_at_ns_ = INT64_MAX;
  std::vector<std::function<void()>> deferred_;

  int watched_ = -1;
  bool watched_armed_ = false;
  bool watched_ready_ = false;

  // Only the leader's: what epoll reported.
  std::vector<uint64_t> readable_;
  std::vector<uint64_t> writable_;
  bool accept_ready_ = false;
  bool watched_event_ = false;
  bool has_pwait2_ = true;  // Until the kernel says that it has not.
};

int64_t NowNs();

}  // namespace skyray::core_worker
