// SPDX-License-Identifier: Apache-2.0
// Memory for what every call needs one of: blocks of one size, cut from chunks.
//
// malloc keeps a handful of free blocks of a size within reach (glibc: seven) and looks for the
// next one at ten times the cost; here hundreds of calls are under way, and all blocks are alike.
// They lie side by side, without a header each.
//
//   struct Task final : Pooled<Task> { ... };      // new and delete as ever
//
// Threading:  any thread; one lock for all pools, held for a few instructions and over a fork.
// Ownership:  a chunk is given back with its last block, but for one of each pool. Pools
//             themselves stay until the process ends.
// Errors:     std::bad_alloc. Under a sanitizer every block is malloc's, so that it is watched.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace skyray::core_worker {

class BlockPool {
 public:
  // REQUIRES: at most kBlockBytesMax.
  explicit BlockPool(size_t block_bytes);
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;

  void* Take();
  void Give(void* block);

  size_t chunks() const { return chunks_; }
  size_t blocks_per_chunk() const { return blocks_per_chunk_; }

  static constexpr size_t kChunkBytes = 64 << 10;
  static constexpr size_t kBlockBytesMax = 2048;

 private:
  struct FreeBlock;
  struct Chunk;
  void AddChunk();
  void Unlink(Chunk* chunk);

  const size_t block_bytes_;
  const size_t blocks_per_chunk_;
  Chunk* open_ = nullptr;  // Those with free blocks, the one to take from first.
  size_t chunks_ = 0;
};

template <class T>
struct Pooled {
  static void* operator new(size_t) {
    static_assert(std::is_final_v<T>, "what derives from it has another size");
    return Pool().Take();
  }
  static void operator delete(void* block) { Pool().Give(block); }

 private:
  static BlockPool& Pool() {
    static auto& pool = *new BlockPool(sizeof(T));  // It outlives all that is static.
    return pool;
  }
};

}  // namespace skyray::core_worker
