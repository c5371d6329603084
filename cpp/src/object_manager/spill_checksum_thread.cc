// SPDX-License-Identifier: Apache-2.0
#include "object_manager/spill_checksum_thread.h"

#include <pthread.h>

#include <csignal>

#include "common/logging.h"

namespace skyray::object_manager {

// More, of 1 MiB each, would have left the caches by the time they are looked at.
static constexpr size_t kPiecesBehindMax = 3;

SpillChecksumThread::SpillChecksumThread() {
  // Signals belong to the owner's thread.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::jthread([this] { Run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

SpillChecksumThread::~SpillChecksumThread() {
  const std::lock_guard lock(mutex_);
  pieces_.clear();
  stop_ = true;
  wanted_.notify_one();
}

void SpillChecksumThread::Run() {
  pthread_setname_np(pthread_self(), "spill checksum");
  std::unique_lock lock(mutex_);
  for (;;) {
    wanted_.wait(lock, [this] { return stop_ || (!pieces_.empty() && !busy_); });
    if (stop_) return;
    TakeOne(lock);
  }
}

void SpillChecksumThread::TakeOne(std::unique_lock<std::mutex>& lock) {
  const auto piece = pieces_.front();
  pieces_.pop_front();
  busy_ = true;
  lock.unlock();
  sum_->Add(piece);
  lock.lock();
  busy_ = false;
  taken_.notify_one();
}

void SpillChecksumThread::Begin() {
  const std::lock_guard lock(mutex_);
  SKYRAY_CHECK(pieces_.empty() && !busy_);
  sum_.emplace();
}

void SpillChecksumThread::Add(std::span<const uint8_t> bytes) {
  std::unique_lock lock(mutex_);
  pieces_.push_back(bytes);
  wanted_.notify_one();
  CatchUp(lock, kPiecesBehindMax);
}

void SpillChecksumThread::CatchUp(std::unique_lock<std::mutex>& lock, size_t behind_max) {
  while (pieces_.size() + (busy_ ? 1 : 0) > behind_max) {
    if (busy_) {
      taken_.wait(lock);
    } else {
      TakeOne(lock);
    }
  }
}

SpillSum SpillChecksumThread::Finish() {
  std::unique_lock lock(mutex_);
  CatchUp(lock, 0);
  return sum_->Finish();
}

void SpillChecksumThread::Drop() {
  std::unique_lock lock(mutex_);
  pieces_.clear();
  taken_.wait(lock, [this] { return !busy_; });
}

}  // namespace skyray::object_manager
