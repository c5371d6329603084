// SPDX-License-Identifier: Apache-2.0
#include "core_worker/pooled.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <new>

#include "common/logging.h"
#include "common/sanitizers.h"

namespace skyray::core_worker {
namespace {

constexpr size_t kAlignment = alignof(std::max_align_t);
// What malloc notes before a block would else push each chunk behind the next boundary.
constexpr size_t kUsableBytes = BlockPool::kChunkBytes - 64;

// Free nearly always, as most of what is taken and given is so under the gateway's mutex: a
// mutex of the C library would cost more than all the rest.
class PoolLock {
 public:
  PoolLock() { Acquire(); }
  ~PoolLock() { Release(); }
  PoolLock(const PoolLock&) = delete;
  PoolLock& operator=(const PoolLock&) = delete;

  static void Acquire() {
    while (taken_.test_and_set(std::memory_order_acquire)) sched_yield();
  }
  static void Release() { taken_.clear(std::memory_order_release); }

 private:
  static std::atomic_flag taken_;
};

std::atomic_flag PoolLock::taken_;

}  // namespace

struct BlockPool::FreeBlock {
  FreeBlock* next;
};

// At the beginning of its memory, which is aligned to its size.
struct alignas(kAlignment) BlockPool::Chunk {
  Chunk* before = nullptr;
  Chunk* after = nullptr;
  FreeBlock* free = nullptr;
  size_t used = 0;
  size_t untouched = 0;  // How many of its last blocks were never taken.

  static Chunk* Of(void* block) {
    const uintptr_t offset = reinterpret_cast<uintptr_t>(block) % kChunkBytes;
    return reinterpret_cast<Chunk*>(static_cast<uint8_t*>(block) - offset);
  }
};

BlockPool::BlockPool(size_t block_bytes)
    : block_bytes_((std::max(block_bytes, sizeof(FreeBlock)) + kAlignment - 1) / kAlignment *
                   kAlignment),
      blocks_per_chunk_((kUsableBytes - sizeof(Chunk)) / block_bytes_) {
  SKYRAY_CHECK(block_bytes_ <= kBlockBytesMax);
  static std::once_flag once;
  std::call_once(
      once, [] { pthread_atfork(&PoolLock::Acquire, &PoolLock::Release, &PoolLock::Release); });
}

void BlockPool::AddChunk() {
  void* memory = ::operator new(kUsableBytes, std::align_val_t(kChunkBytes));
  open_ = new (memory) Chunk;
  open_->untouched = blocks_per_chunk_;
  ++chunks_;
}

void BlockPool::Unlink(Chunk* chunk) {
  (chunk->before == nullptr ? open_ : chunk->before->after) = chunk->after;
  if (chunk->after != nullptr) chunk->after->before = chunk->before;
  chunk->before = chunk->after = nullptr;
}

void* BlockPool::Take() {
#if SKYRAY_ASAN || SKYRAY_TSAN
  return ::operator new(block_bytes_);
#else
  const PoolLock lock;
  if (open_ == nullptr) AddChunk();
  Chunk* chunk = open_;
  void* block = chunk->free;
  if (block != nullptr) {
    chunk->free = chunk->free->next;
  } else {
    // One after the other: the pages of a chunk come as they are needed.
    block = reinterpret_cast<uint8_t*>(chunk) + sizeof(Chunk) +
            (blocks_per_chunk_ - chunk->untouched--) * block_bytes_;
  }
  if (++chunk->used == blocks_per_chunk_) Unlink(chunk);
  return block;
#endif
}

void BlockPool::Give(void* block) {
#if SKYRAY_ASAN || SKYRAY_TSAN
  ::operator delete(block);
#else
  if (block == nullptr) return;
  Chunk* const chunk = Chunk::Of(block);
  {
    const PoolLock lock;
    const bool was_full = chunk->used == blocks_per_chunk_;
    auto* const free = static_cast<FreeBlock*>(block);
    free->next = chunk->free;
    chunk->free = free;
    if (was_full) {
      chunk->after = open_;
      if (open_ != nullptr) open_->before = chunk;
      open_ = chunk;
    }
    if (--chunk->used > 0 || (chunk == open_ && chunk->after == nullptr)) return;
    Unlink(chunk);
    --chunks_;
  }
  ::operator delete(static_cast<void*>(chunk), std::align_val_t(kChunkBytes));
#endif
}

}  // namespace skyray::core_worker
