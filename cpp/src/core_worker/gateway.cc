// SPDX-License-Identifier: Apache-2.0
#include "core_worker/gateway.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "common/logging.h"
#include "common/signals_blocked.h"
#include "ipc/fd_passing.h"
#include "ipc/socket.h"

namespace skyray::core_worker {
namespace {

constexpr int64_t kSpinNs = 20'000;
constexpr int64_t kFlushDelayNs = 200'000;
constexpr size_t kFlushBytes = 16 << 10;
constexpr size_t kReadBytes = 64 << 10;
constexpr int kEventsMax = 64;
constexpr size_t kLastReadsMax = 64;
// How long after a waiting thread has left the I/O thread takes the lead, how
// often it looks meanwhile, and when it stops looking because one leads for long.
constexpr int64_t kLeadGraceNs = 1'000'000;
constexpr std::chrono::microseconds kStandbyLook{2'000};
constexpr int64_t kParkAfterNs = 10'000'000;
constexpr int64_t kInterruptLookNs = 100'000'000;
// What these looks come to in a long sleep: idle workers are not to take a CPU's time.
constexpr int64_t kInterruptLookNsMax = 800'000'000;
// Replies nobody waits for are read in batches of this much time.
constexpr int64_t kModerationNs = 50'000;
constexpr uint64_t kWakeTag = 0;
constexpr uint64_t kListenerTag = UINT64_MAX;
constexpr uint64_t kWatchedTag = UINT64_MAX - 1;

}  // namespace

int64_t NowNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

Gateway::Gateway(GatewayHandler& handler) : handler_(handler) {}

Gateway::~Gateway() { Stop(); }

Status Gateway::Start(UniqueFd listener) {
  epoll_ = UniqueFd(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_.valid()) return ErrnoStatus("epoll_create1", errno);
  wake_ = UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake_.valid()) return ErrnoStatus("eventfd", errno);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = kWakeTag;
  epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_.get(), &event);
  acceptor_.Start(std::move(listener), epoll_.get(), kListenerTag);
  const SignalsBlocked blocked;  // They are for Python's main thread.
  io_thread_ = std::thread([this] { RunIoThread(); });
  return Status();
}

void Gateway::Drain(int64_t deadline_ns) {
  Lock lock(mutex_);
  draining_ = true;
  const auto all_sent = [this] {
    return std::none_of(channels_.begin(), channels_.end(), [](const auto& entry) {
      return entry.second->writing || entry.second->pending_bytes() > 0;
    });
  };
  FlushDirty(lock);
  while (!stopping_ && !all_sent() && NowNs() < deadline_ns) {
    drained_.wait_for(lock, std::chrono::nanoseconds(deadline_ns - NowNs()));
  }
  draining_ = false;
}

void Gateway::Stop() {
  {
    Lock lock(mutex_);
    if (stopping_) return;
    stopping_ = true;
    for (GatewayWaiter* waiter : followers_) waiter->wake.notify_one();
    io_wake_.notify_one();
    if (wake_.valid()) Kick();
  }
  if (io_thread_.joinable()) io_thread_.join();
}

ChannelPtr Gateway::AddChannel(UniqueFd socket, ChannelKind kind, const WorkerAddress& peer) {
  auto channel = std::make_shared<Channel>();
  channel->id = next_channel_++;
  channel->kind = kind;
  channel->fd = std::move(socket);
  channel->peer = peer;
  if (kind != ChannelKind::Inbound) channel->frame_bytes_max = ipc::kFrameBytesMax;
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = channel->id;
  epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, channel->fd.get(), &event);
  channels_.emplace(channel->id, channel);
  return channel;
}

void Gateway::CloseChannel(Channel& channel) {
  if (channel.closed) return;
  channel.closed = true;
  // Shut down now, closed when the last user has let go of it: a thread may be
  // in send() or recv() on this descriptor, and its number must not be reused.
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, channel.fd.get(), nullptr);
  shutdown(channel.fd.get(), SHUT_RDWR);
  channels_.erase(channel.id);
  if (draining_) drained_.notify_one();
}

void Gateway::HangUp(Channel& channel) {
  bool got = true;
  // Whoever goes on talking is cut short.
  for (size_t reads = 0; got && !channel.closed && reads < kLastReadsMax; ++reads) {
    got = false;
    const bool open = ReadInto(channel, got);
    Deliver(channel, open);
  }
  if (channel.closed) return;
  CloseChannel(channel);
  handler_.OnClosed(channel);
}

Channel* Gateway::FindChannel(uint64_t id) {
  const auto it = channels_.find(id);
  return it == channels_.end() ? nullptr : it->second.get();
}

void Gateway::Resume(Channel& channel) {
  if (!channel.paused || channel.closed) return;
  channel.paused = false;
  epoll_event event{};
  event.events = EPOLLIN | (channel.blocked ? EPOLLOUT : 0u);
  event.data.u64 = channel.id;
  epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, channel.fd.get(), &event);
}

void Gateway::Kick() {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t done = write(wake_.get(), &one, sizeof one);
}

void Gateway::MarkDirty(Channel& channel) {
  if (channel.dirty || channel.closed) return;
  const auto it = channels_.find(channel.id);
  if (it == channels_.end()) return;
  channel.dirty = true;
  dirty_.push_back(it->second);
}

void Gateway::Commit(Lock& lock, Channel& channel, bool lazy) {
  if (channel.closed || channel.writing || channel.blocked) return;
  if (lazy && channel.pending_bytes() < kFlushBytes) return Arm(channel);
  Flush(lock, channel);
}

void Gateway::Arm(Channel& channel) {
  MarkDirty(channel);
  if (flush_at_ns_ != INT64_MAX) return;
  flush_at_ns_ = NowNs() + kFlushDelayNs;
  // A sleeping leader does not know of the new deadline. Without a leader, the
  // I/O thread looks around by itself within 2 ms (it is not parked then).
  if (sleeping_) Kick();
}

void Gateway::Flush(Lock& lock, Channel& channel) {
  const auto it = channels_.find(channel.id);
  if (it == channels_.end()) return;
  const ChannelPtr keep = it->second;
  while (!channel.closed && !channel.writing && !channel.blocked && channel.pending_bytes() > 0) {
    channel.writing = true;
    std::string sending;
    sending.swap(channel.out);
    size_t begin = std::exchange(channel.out_begin, 0);
    lock.unlock();
    ssize_t done;
    do {
      done = send(channel.fd.get(), sending.data() + begin, sending.size() - begin,
                  MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (done < 0 && errno == EINTR);
    const int error = errno;
    lock.lock();
    channel.writing = false;
    if (draining_) drained_.notify_one();
    if (done > 0) begin += static_cast<size_t>(done);
    if (done < 0 && error != EAGAIN) return;  // The leader will read the end of the socket.
    if (begin < sending.size()) {
      // Put back in front of what was appended meanwhile.
      sending.append(channel.out);
      channel.out = std::move(sending);
      channel.out_begin = begin;
      if (channel.closed) return;
      channel.blocked = true;
      epoll_event event{};
      event.events = EPOLLOUT | (channel.paused ? 0u : EPOLLIN);
      event.data.u64 = channel.id;
      epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, channel.fd.get(), &event);
    } else if (channel.out.empty() && sending.capacity() <= 4 * kFlushBytes) {
      sending.clear();
      channel.out = std::move(sending);  // Keeps the buffer's memory warm.
    }
  }
}

void Gateway::FlushDirty(Lock& lock) {
  flush_at_ns_ = INT64_MAX;
  while (!dirty_.empty()) {
    const ChannelPtr channel = std::move(dirty_.back());
    dirty_.pop_back();
    channel->dirty = false;
    Flush(lock, *channel);
  }
}

void Gateway::Notify(Waiter* waiter) {
  if (!waiter->done()) return;
  auto* thread = static_cast<GatewayWaiter*>(waiter);
  if (!thread->leading) {
    thread->wake.notify_one();
  } else if (sleeping_) {
    Kick();
  }
}

void Gateway::Defer(std::function<void()> work) {
  deferred_.push_back(std::move(work));
  if (sleeping_) Kick();
}

void Gateway::RunDeferred(Lock& lock) {
  while (!deferred_.empty()) {
    auto work = std::move(deferred_);
    deferred_.clear();
    lock.unlock();
    for (auto& piece : work) piece();
    work.clear();
    lock.lock();
  }
}

void Gateway::Watch(int descriptor) {
  watched_ = descriptor;
  epoll_event event{};
  event.data.u64 = kWatchedTag;
  epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, watched_, &event);
}

void Gateway::ArmWatched() {
  if (watched_ < 0 || watched_armed_) return;
  watched_armed_ = true;
  epoll_event event{};
  // Once: it stays readable until its owner comes to look, and the leader, who
  // may be another thread, must not spin on it meanwhile.
  event.events = EPOLLIN | EPOLLONESHOT;
  event.data.u64 = kWatchedTag;
  epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, watched_, &event);
}

void Gateway::WakeForTimer(int64_t at_ns) {
  if (timer_at_ns_ <= at_ns) return;
  timer_at_ns_ = at_ns;
  if (sleeping_) Kick();
}

// Sleeps until somebody notifies the waiter, or the time; true: interrupted.
bool Gateway::Nap(Lock& lock, GatewayWaiter& waiter, int64_t left_ns,
                  const std::function<bool()>& interrupted) {
  const auto nap = interrupted ? std::min<int64_t>(left_ns, kInterruptLookNs)
                               : std::min<int64_t>(left_ns, int64_t{3600} * 1'000'000'000);
  waiter.wake.wait_for(lock, std::chrono::nanoseconds(nap));
  if (!interrupted || waiter.done()) return false;
  lock.unlock();
  const bool stop = interrupted();
  lock.lock();
  return stop;
}

WaitResult Gateway::Follow(Lock& lock, GatewayWaiter& waiter,
                           const std::function<bool()>& interrupted) {
  while (!waiter.done()) {
    if (stopping_) return WaitResult::Stopped;
    if (Nap(lock, waiter, INT64_MAX, interrupted)) return WaitResult::Interrupted;
  }
  return WaitResult::Done;
}

WaitResult Gateway::Wait(Lock& lock, GatewayWaiter& waiter, int64_t deadline_ns, Channel* hot,
                         const std::function<bool()>& interrupted) {
  // Held from here on: it may be closed, and let go of, while the mutex is free.
  const ChannelPtr keep_hot = hot == nullptr || hot->closed ? nullptr : channels_.at(hot->id);
  // What this thread, or one before it, has left to be sent: it may be what the
  // answer depends on, and a follower sends nothing.
  if (!dirty_.empty()) FlushDirty(lock);
  if (waiter.done()) return WaitResult::Done;
  // The I/O thread is asked to step down; among waiters the first to come leads.
  bool counted = false;
  // A signal's handler may have run on another thread, or just before a sleep.
  int64_t look_after_ns = kInterruptLookNs;
  const auto place = followers_.insert(followers_.end(), &waiter);
  WaitResult result = WaitResult::Done;
  while (!waiter.done()) {
    if (stopping_) {
      result = WaitResult::Stopped;
      break;
    }
    if (lead_ == Lead::Nobody) {
      lead_ = Lead::Waiter;
      lead_since_ns_ = NowNs();
      waiter.leading = true;
      const int64_t look_at_ns = interrupted ? lead_since_ns_ + look_after_ns : INT64_MAX;
      result = Drive(lock, &waiter, deadline_ns, keep_hot, look_at_ns);
      LeaveLead();
      bool stop = true;
      if (result == WaitResult::Interrupted) {
        // Not as the leader: what a signal's handler does may wait, too.
        lock.unlock();
        stop = interrupted();
        lock.lock();
        look_after_ns = std::min(2 * look_after_ns, kInterruptLookNsMax);
      }
      waiter.leading = false;
      if (stop) break;
      continue;
    }
    if (lead_ == Lead::IoThread && !counted) {
      counted = true;
      ++waiters_wanting_lead_;
      if (sleeping_) Kick();
    }
    const int64_t left_ns = deadline_ns - NowNs();
    if (left_ns <= 0) {
      result = WaitResult::TimedOut;
      break;
    }
    if (Nap(lock, waiter, left_ns, interrupted)) {
      result = WaitResult::Interrupted;
      break;
    }
  }
  followers_.erase(place);
  if (counted) --waiters_wanting_lead_;
  if (waiter.appointed && lead_ == Lead::Nobody) LeaveLead();  // Pass it on.
  return waiter.done() ? WaitResult::Done : result;
}

void Gateway::LeaveLead() {
  lead_ = Lead::Nobody;
  lead_left_ns_ = NowNs();
  for (GatewayWaiter* waiter : followers_) {
    if (waiter->leading || waiter->done()) continue;
    waiter->appointed = true;
    waiter->wake.notify_one();
    return;
  }
  if (io_parked_) io_wake_.notify_one();
}

void Gateway::RunIoThread() {
  pthread_setname_np(pthread_self(), "skyray-io");
  prctl(PR_SET_TIMERSLACK, 1000);  // 1 µs: the flush delay is 200.
  Lock lock(mutex_);
  while (!stopping_) {
    const int64_t now = NowNs();
    const bool may_lead = lead_ == Lead::Nobody && waiters_wanting_lead_ == 0;
    if (may_lead && now - lead_left_ns_ >= kLeadGraceNs) {
      lead_ = Lead::IoThread;
      lead_since_ns_ = now;
      timer_at_ns_ = 0;  // Much may have changed since the timer was set.
      Drive(lock, nullptr, INT64_MAX, nullptr, INT64_MAX);
      LeaveLead();
      continue;
    }
    if (flush_at_ns_ <= now && lead_ == Lead::Nobody) {
      FlushDirty(lock);
      continue;
    }
    io_parked_ = lead_ == Lead::Waiter && now - lead_since_ns_ >= kParkAfterNs;
    if (io_parked_) {
      io_wake_.wait(lock);
      io_parked_ = false;
    } else {
      io_wake_.wait_for(lock, kStandbyLook);
    }
  }
}

WaitResult Gateway::Drive(Lock& lock, GatewayWaiter* waiter, int64_t deadline_ns,
                          const ChannelPtr& keep_hot, int64_t look_at_ns) {
  bool look_first = keep_hot != nullptr;
  for (;;) {
    FlushDirty(lock);
    RunDeferred(lock);
    if (waiter != nullptr ? waiter->done() : waiters_wanting_lead_ > 0) return WaitResult::Done;
    if (stopping_) return WaitResult::Stopped;
    const int64_t now = NowNs();
    if (now >= deadline_ns) return WaitResult::TimedOut;
    if (now >= timer_at_ns_) {
      timer_at_ns_ = handler_.OnTimer(now);
      continue;
    }
    if (look_first && !keep_hot->closed && !keep_hot->paused) {
      lock.unlock();
      look_first = PollHot(*keep_hot);
      lock.lock();
      if (look_first) Deliver(*keep_hot, true);
      continue;  // Much may have changed while the mutex was free.
    }
    if (!dirty_.empty() && flush_at_ns_ == INT64_MAX) continue;
    const int64_t wake_at = std::min({deadline_ns, flush_at_ns_, timer_at_ns_, look_at_ns});
    sleeping_ = true;
    lock.unlock();
    Sleep(wake_at);
    const bool signalled = errno == EINTR;
    lock.lock();
    sleeping_ = false;
    HandleEvents(lock);
    look_first = keep_hot != nullptr && !readable_.empty();
    if (waiter == nullptr && !readable_.empty() && waiters_wanting_lead_ == 0 &&
        deferred_.empty() && followers_.empty()) {
      Rest(lock);
    }
    if (look_at_ns != INT64_MAX && (signalled || NowNs() >= look_at_ns)) {
      return WaitResult::Interrupted;
    }
  }
}

void Gateway::HandleEvents(Lock& lock) {
  if (accept_ready_ || (acceptor_.again_ns() != INT64_MAX && NowNs() >= acceptor_.again_ns())) {
    acceptor_.AcceptAll(NowNs(),
                        [this](UniqueFd socket) { handler_.OnAccepted(std::move(socket)); });
  }
  if (watched_event_) {
    watched_armed_ = false;
    watched_ready_ = true;
    handler_.OnWatched();
  }
  for (const uint64_t id : writable_) {
    Channel* channel = FindChannel(id);
    if (channel == nullptr) continue;
    channel->blocked = false;
    epoll_event event{};
    event.events = channel->paused ? 0u : EPOLLIN;
    event.data.u64 = id;
    epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, channel->fd.get(), &event);
    Flush(lock, *channel);
  }
  for (const uint64_t id : readable_) {
    const auto it = channels_.find(id);
    if (it == channels_.end()) continue;
    const ChannelPtr channel = it->second;
    lock.unlock();
    bool got = false;
    const bool open = ReadInto(*channel, got);
    lock.lock();
    Deliver(*channel, open);
  }
}

void Gateway::Rest(Lock& lock) {
  FlushDirty(lock);
  lock.unlock();
  const timespec pause{0, kModerationNs};
  nanosleep(&pause, nullptr);
  lock.lock();
}

bool Gateway::PollHot(Channel& channel) {
  const int64_t end = NowNs() + kSpinNs;
  do {
    bool got = false;
    if (!ReadInto(channel, got)) return false;  // Closed: epoll will say so again.
    if (got) return true;
    sched_yield();
  } while (NowNs() < end);
  return false;
}

// As epoll_wait, to the nanosecond. The call for that is younger (Linux 5.11) than some
// kernels, containers' filters and valgrind.
int Gateway::AwaitEvents(epoll_event* events, const timespec* timeout) {
  if (has_pwait2_) {
    const int count = epoll_pwait2(epoll_.get(), events, kEventsMax, timeout, nullptr);
    if (count >= 0 || (errno != ENOSYS && errno != EPERM)) return count;
    has_pwait2_ = false;
  }
  pollfd any{epoll_.get(), POLLIN, 0};
  if (ppoll(&any, 1, timeout, nullptr) < 0) return -1;
  return epoll_wait(epoll_.get(), events, kEventsMax, 0);
}

void Gateway::Sleep(int64_t deadline_ns) {
  readable_.clear();
  writable_.clear();
  accept_ready_ = false;
  watched_event_ = false;
  epoll_event events[kEventsMax];
  deadline_ns = std::min(deadline_ns, acceptor_.again_ns());
  const int64_t left = deadline_ns == INT64_MAX ? 0 : std::max<int64_t>(deadline_ns - NowNs(), 0);
  const timespec timeout{left / 1'000'000'000, left % 1'000'000'000};
  const int count = AwaitEvents(events, deadline_ns == INT64_MAX ? nullptr : &timeout);
  if (count >= 0) errno = 0;
  for (int i = 0; i < count; ++i) {
    const uint64_t tag = events[i].data.u64;
    if (tag == kWakeTag) {
      uint64_t drained;
      [[maybe_unused]] const ssize_t done = read(wake_.get(), &drained, sizeof drained);
      errno = 0;
    } else if (tag == kListenerTag) {
      accept_ready_ = true;
    } else if (tag == kWatchedTag) {
      watched_event_ = true;
    } else {
      if ((events[i].events & EPOLLOUT) != 0) writable_.push_back(tag);
      if ((events[i].events & ~static_cast<uint32_t>(EPOLLOUT)) != 0) readable_.push_back(tag);
    }
  }
}

bool Gateway::ReadInto(Channel& channel, bool& got) {
  const auto space = channel.in.Space(std::max(kReadBytes, channel.in.missing()));
  ssize_t bytes;
  if (channel.kind == ChannelKind::Raylet) {
    bytes = ipc::ReceiveWithFds(channel.fd.get(), space.data(), space.size(), channel.in.fds(),
                                MSG_DONTWAIT);
  } else {
    bytes = recv(channel.fd.get(), space.data(), space.size(), MSG_DONTWAIT);
  }
  if (bytes > 0) {
    channel.in.Added(static_cast<size_t>(bytes));
    got = true;
    return true;
  }
  return bytes < 0 && (errno == EAGAIN || errno == EINTR);
}

void Gateway::Deliver(Channel& channel, bool open) {
  FrameView frame;
  while (!channel.closed) {
    const NextFrameResult next = channel.in.Next(channel.frame_bytes_max, frame);
    if (next == NextFrameResult::Frame) {
      handler_.OnFrame(channel, frame);
      continue;
    }
    if (next == NextFrameResult::Bad) {
      SKYRAY_LOG(Warning) << "dropped a connection: a frame over the cap of "
                          << channel.frame_bytes_max << " bytes";
      open = false;
    }
    break;
  }
  if (channel.paused && !channel.closed) {
    epoll_event event{};
    event.events = channel.blocked ? EPOLLOUT : 0u;
    event.data.u64 = channel.id;
    epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, channel.fd.get(), &event);
  }
  if (!open && !channel.closed) {
    CloseChannel(channel);
    handler_.OnClosed(channel);
  }
}

}  // namespace skyray::core_worker
