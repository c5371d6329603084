// SPDX-License-Identifier: Apache-2.0
#include "core_worker/pooled.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

namespace skyray::core_worker {
namespace {

TEST(BlockPool, BlocksAreApartAndKeepWhatIsWritten) {
  for (const size_t bytes : {1u, 16u, 40u, 64u, 300u, 2048u}) {
    BlockPool pool(bytes);
    std::vector<uint8_t*> blocks;
    for (size_t i = 0; i < 3000; ++i) {
      auto* block = static_cast<uint8_t*>(pool.Take());
      EXPECT_EQ(reinterpret_cast<uintptr_t>(block) % alignof(std::max_align_t), 0u);
      std::memset(block, static_cast<int>(i % 251), bytes);
      blocks.push_back(block);
    }
    for (size_t i = 0; i < blocks.size(); ++i) {
      EXPECT_EQ(blocks[i][0], i % 251);
      EXPECT_EQ(blocks[i][bytes - 1], i % 251);
      pool.Give(blocks[i]);
    }
  }
}

// Under a sanitizer there are no chunks, and nothing to see of them.
bool HasChunks() {
  BlockPool pool(64);
  pool.Give(pool.Take());
  return pool.chunks() > 0;
}

TEST(BlockPool, AChunkGoesWithItsLastBlockButForOne) {
  if (!HasChunks()) GTEST_SKIP() << "under a sanitizer blocks are malloc's";
  BlockPool pool(100);
  std::vector<void*> blocks;
  for (size_t i = 0; i < 10 * pool.blocks_per_chunk(); ++i) blocks.push_back(pool.Take());
  EXPECT_EQ(pool.chunks(), 10u);
  std::shuffle(blocks.begin(), blocks.end(), std::mt19937(7));
  for (void* block : blocks) pool.Give(block);
  EXPECT_EQ(pool.chunks(), 1u);
  pool.Give(pool.Take());
  EXPECT_EQ(pool.chunks(), 1u);
}

TEST(BlockPool, ARandomWalkEndsWithoutAnyBlock) {
  const auto seed = std::random_device{}();
  RecordProperty("seed", static_cast<int>(seed));
  std::mt19937 random(seed);
  BlockPool pool(48);
  struct Taken {
    uint64_t* block;
    uint64_t mark;
  };
  std::vector<Taken> taken;
  for (uint64_t step = 0; step < 200'000; ++step) {
    // Up to some thousands, and down again.
    const bool growing = step / 20'000 % 2 == 0;
    if (taken.empty() || random() % 10 < (growing ? 6u : 4u)) {
      auto* block = static_cast<uint64_t*>(pool.Take());
      block[0] = block[5] = step;
      taken.push_back({block, step});
    } else {
      std::swap(taken[random() % taken.size()], taken.back());
      const Taken one = taken.back();
      taken.pop_back();
      ASSERT_EQ(one.block[0], one.mark) << "seed " << seed;
      ASSERT_EQ(one.block[5], one.mark) << "seed " << seed;
      pool.Give(one.block);
    }
    ASSERT_LE(pool.chunks(), 1 + step / pool.blocks_per_chunk()) << "seed " << seed;
  }
  for (const Taken& one : taken) pool.Give(one.block);
  EXPECT_LE(pool.chunks(), 1u);
}

TEST(BlockPool, ThreadsTakeAndGiveWhatOthersTook) {
  BlockPool pool(64);
  std::vector<std::atomic<uint64_t*>> places(64);
  const auto work = [&](uint32_t seed) {
    std::mt19937 random(seed);
    for (int i = 0; i < 20'000; ++i) {
      auto* mine = static_cast<uint64_t*>(pool.Take());
      mine[0] = mine[7] = random();
      uint64_t* other = places[random() % places.size()].exchange(mine);
      if (other == nullptr) continue;
      EXPECT_EQ(other[0], other[7]);
      pool.Give(other);
    }
  };
  std::vector<std::thread> threads;
  for (uint32_t i = 0; i < 4; ++i) threads.emplace_back(work, i);
  for (std::thread& thread : threads) thread.join();
  for (auto& place : places) pool.Give(place.load());
  EXPECT_LE(pool.chunks(), 1u);
}

// os.fork() of the user's code comes at any time; the child has no thread that would let go.
TEST(BlockPool, AChildOfAForkCanTakeAsEver) {
  if (!HasChunks()) GTEST_SKIP() << "blocks are malloc's, and a sanitizer's may be locked";
  BlockPool pool(64);
  std::atomic<bool> stop = false;
  std::thread busy([&] {
    while (!stop) pool.Give(pool.Take());
  });
  for (int i = 0; i < 50; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      alarm(60);  // A lock that is held for ever.
      for (int j = 0; j < 10; ++j) pool.Give(pool.Take());
      _exit(0);
    }
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
  }
  stop = true;
  busy.join();
}

struct Counted final : Pooled<Counted> {
  explicit Counted(int* count) : count(count) { ++*count; }
  ~Counted() { --*count; }
  int* count;
};

TEST(Pooled, NewAndDeleteConstructAndDestroy) {
  int count = 0;
  auto* one = new Counted(&count);
  const auto other = std::make_unique<Counted>(&count);
  EXPECT_EQ(count, 2);
  delete one;
  EXPECT_EQ(count, 1);
}

}  // namespace
}  // namespace skyray::core_worker
