// SPDX-License-Identifier: Apache-2.0
// How well the store's allocator keeps free memory together, and what it costs.
// Bookkeeping only, no memory is touched:
//
//   build/release/tests/cpp/allocator_bench [seed]
//
// Claims, checked at the end (exit status 1 if one does not hold):
//   * in a store that is 80 % full, at most 1 in 1000 allocations of a shuffle's sizes
//     (1 KB .. 100 MB) finds no range although enough is free in sum; at 90 %, 1 in 100;
//   * with 10^6 live blocks, one allocation and one free together take at most 10
//     times what they take with 10^3 (the tables leave the caches; no search grows).
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <random>
#include <vector>

#include "plasma/allocator.h"

namespace skyray::plasma {
namespace {

constexpr uint64_t kGiB = uint64_t{1} << 30;

// What the store uses.
class BestFit {
 public:
  explicit BestFit(uint64_t bytes) : allocator_({bytes}) {}
  std::optional<Allocation> Allocate(uint64_t bytes) { return allocator_.Allocate(bytes); }
  void Free(const Allocation& block) { allocator_.Free(block); }
  uint64_t largest_free_bytes() const { return allocator_.largest_free_bytes(); }

 private:
  Allocator allocator_;
};

// The alternatives, in the fewest lines; free ranges are joined by all of them.
class Joining {
 public:
  explicit Joining(uint64_t bytes) { free_.emplace(0, bytes); }
  uint64_t largest_free_bytes() const {
    uint64_t largest = 0;
    for (const auto& [offset, bytes] : free_) largest = std::max(largest, bytes);
    return largest;
  }

 protected:
  using Map = std::map<uint64_t, uint64_t>;
  Allocation TakeFront(Map::iterator range, uint64_t bytes) {
    const auto [offset, range_bytes] = *range;
    free_.erase(range);
    if (range_bytes > bytes) free_.emplace(offset + bytes, range_bytes - bytes);
    return {0, offset, bytes};
  }
  Map::iterator Join(const Allocation& block) {
    auto range = free_.emplace(block.offset, block.bytes).first;
    if (const auto next = std::next(range);
        next != free_.end() && next->first == range->first + range->second) {
      range->second += next->second;
      Removed(next->first, next->second);
      free_.erase(next);
    }
    if (range == free_.begin()) return range;
    const auto previous = std::prev(range);
    if (previous->first + previous->second != range->first) return range;
    Removed(previous->first, previous->second);
    previous->second += range->second;
    free_.erase(range);
    return previous;
  }
  virtual void Removed(uint64_t, uint64_t) {}
  virtual ~Joining() = default;
  Map free_;
};

// The range with the lowest address that fits.
class FirstFit : public Joining {
 public:
  using Joining::Joining;
  std::optional<Allocation> Allocate(uint64_t data_bytes) {
    const uint64_t bytes = Allocator::Rounded(data_bytes);
    for (auto range = free_.begin(); range != free_.end(); ++range) {
      if (range->second >= bytes) return TakeFront(range, bytes);
    }
    return std::nullopt;
  }
  void Free(const Allocation& block) { Join(block); }
};

// Lists by size, 8 to each power of two; any range of a list whose every range
// fits (two-level segregated fit), so that an operation looks at no more than one.
class Segregated : public Joining {
 public:
  explicit Segregated(uint64_t bytes) : Joining(bytes) { lists_[ListOf(bytes)][0] = bytes; }
  std::optional<Allocation> Allocate(uint64_t data_bytes) {
    const uint64_t bytes = Allocator::Rounded(data_bytes);
    for (size_t list = ListOf(bytes) + 1; list < lists_.size(); ++list) {
      if (!lists_[list].empty()) return Take(lists_[list].begin()->first, bytes);
    }
    for (const auto& [offset, range_bytes] : lists_[ListOf(bytes)]) {
      if (range_bytes >= bytes) return Take(offset, bytes);
    }
    return std::nullopt;
  }
  void Free(const Allocation& block) {
    const auto range = Join(block);
    lists_[ListOf(range->second)][range->first] = range->second;
  }

 private:
  static size_t ListOf(uint64_t bytes) {
    const int log = 63 - __builtin_clzll(bytes);
    return static_cast<size_t>(log) * 8 + ((bytes >> (log - 3)) & 7);
  }
  Allocation Take(uint64_t offset, uint64_t bytes) {
    const auto range = free_.find(offset);
    const uint64_t rest = range->second - bytes;
    Removed(offset, range->second);
    if (rest > 0) lists_[ListOf(rest)][offset + bytes] = rest;
    return TakeFront(range, bytes);
  }
  void Removed(uint64_t offset, uint64_t bytes) override { lists_[ListOf(bytes)].erase(offset); }
  std::array<std::map<uint64_t, uint64_t>, 512> lists_;
};

// Of this process, so that what runs beside it does not count.
double CpuNanoseconds() {
  timespec now = {};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

class Sizes {
 public:
  Sizes(unsigned seed, double least, double most)
      : random_(seed), log_(std::log(least), std::log(most)) {}
  uint64_t Next() { return static_cast<uint64_t>(std::exp(log_(random_))); }
  uint64_t Below(uint64_t bound) { return random_() % bound; }

 private:
  std::mt19937_64 random_;
  std::uniform_real_distribution<double> log_;
};

struct Fragmentation {
  double largest_share = 0;  // Mean of the largest free range / all that is free.
  double failed_share = 0;   // Of the allocations for which enough was free in sum.
};

// A shuffle: each map task writes one block for each of the reducers, which read
// theirs (one of every map task) in turn and let them go; one block in twenty
// stays much longer. Blocks of several jobs are there at the same time.
template <class Policy>
Fragmentation Shuffle(unsigned seed, uint64_t capacity, double occupancy) {
  constexpr size_t kMaps = 40;
  constexpr size_t kReducers = 25;
  constexpr int kJobs = 60;
  Policy policy(capacity);
  Sizes sizes(seed, 1e3, 1e8);
  std::deque<Allocation> to_free;  // In the order of their end.
  std::vector<Allocation> long_lived;
  uint64_t used = 0;
  uint64_t tries = 0;
  uint64_t failures = 0;
  double share_sum = 0;
  uint64_t samples = 0;
  const auto free_next = [&] {
    Allocation block;
    if (!long_lived.empty() && (to_free.empty() || sizes.Below(25) == 0)) {
      std::swap(long_lived[sizes.Below(long_lived.size())], long_lived.back());
      block = long_lived.back();
      long_lived.pop_back();
    } else {
      block = to_free.front();
      to_free.pop_front();
    }
    policy.Free(block);
    used -= block.bytes;
  };
  for (int job = 0; job < kJobs; ++job) {
    std::vector<std::vector<Allocation>> by_reducer(kReducers);
    for (size_t map = 0; map < kMaps; ++map) {
      for (auto& column : by_reducer) {
        const uint64_t bytes = Allocator::Rounded(sizes.Next());
        while (static_cast<double>(used + bytes) > occupancy * static_cast<double>(capacity) &&
               !(to_free.empty() && long_lived.empty())) {
          free_next();
        }
        ++tries;
        auto block = policy.Allocate(bytes);
        if (!block) ++failures;
        while (!block && !(to_free.empty() && long_lived.empty())) {
          free_next();
          block = policy.Allocate(bytes);
        }
        if (!block) continue;  // All that is there is this job's own.
        used += block->bytes;
        (sizes.Below(20) == 0 ? long_lived : column).push_back(*block);
        if (job > kJobs / 4 && tries % 16 == 0) {
          share_sum += static_cast<double>(policy.largest_free_bytes()) /
                       static_cast<double>(capacity - used);
          ++samples;
        }
      }
    }
    for (const auto& column : by_reducer)
      to_free.insert(to_free.end(), column.begin(), column.end());
  }
  const auto count = static_cast<double>(tries);
  return {share_sum / static_cast<double>(samples), static_cast<double>(failures) / count};
}

// Random blocks end and others take their place, in a store that is 80 % full.
template <class Policy>
double NanosecondsWith(unsigned seed, size_t live) {
  Sizes sizes(seed, 1e3, 6.4e4);
  std::vector<Allocation> blocks;
  blocks.reserve(live);
  // The mean of the sizes is 15 KB.
  Policy policy(static_cast<uint64_t>(static_cast<double>(live) * 15200 * 1.25) / 4096 * 4096);
  while (blocks.size() < live) {
    const auto block = policy.Allocate(sizes.Next());
    if (!block) break;
    blocks.push_back(*block);
  }
  const auto churn = [&](size_t steps) {
    for (size_t i = 0; i < steps; ++i) {
      Allocation& block = blocks[sizes.Below(blocks.size())];
      policy.Free(block);
      auto next = policy.Allocate(sizes.Next());
      if (!next) next = policy.Allocate(block.bytes);
      block = *next;
    }
  };
  churn(live);
  const size_t steps = std::max<size_t>(live, 200'000);
  const double start = CpuNanoseconds();
  churn(steps);
  return (CpuNanoseconds() - start) / static_cast<double>(steps);
}

template <class Policy>
void PrintShuffle(const char* name, unsigned seed, std::vector<double>* failed) {
  for (const double occupancy : {0.80, 0.90, 0.95}) {
    const Fragmentation found = Shuffle<Policy>(seed, 64 * kGiB, occupancy);
    printf("%-12s %3.0f %% full   largest free / all free %4.2f   failed %.3f %%\n", name,
           occupancy * 100, found.largest_share, found.failed_share * 100);
    if (failed != nullptr) failed->push_back(found.failed_share);
  }
}

int Main(unsigned seed) {
  printf("seed %u; a shuffle of 1 KB .. 100 MB in a store of 64 GiB\n", seed);
  std::vector<double> failed;
  PrintShuffle<BestFit>("best fit", seed, &failed);
  PrintShuffle<FirstFit>("first fit", seed, nullptr);
  PrintShuffle<Segregated>("segregated", seed, nullptr);
  std::vector<double> costs;
  printf("an allocation and a free of 1 KB .. 64 KB, 80 %% full\n");
  for (const size_t live : {1'000, 10'000, 100'000, 1'000'000}) {
    costs.push_back(NanosecondsWith<BestFit>(seed, live));
    printf("%8zu live blocks: best fit %5.0f ns, segregated %5.0f ns\n", live, costs.back(),
           NanosecondsWith<Segregated>(seed, live));
  }
  const bool held = failed[0] <= 0.001 && failed[1] <= 0.01 && costs.back() <= 10 * costs.front();
  printf("%s\n", held ? "the claims hold" : "a claim does not hold");
  return held ? 0 : 1;
}

}  // namespace
}  // namespace skyray::plasma

int main(int argc, char** argv) {
  return skyray::plasma::Main(argc > 1 ? static_cast<unsigned>(strtoul(argv[1], nullptr, 10))
                                       : std::random_device{}());
}
