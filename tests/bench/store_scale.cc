// SPDX-License-Identifier: Apache-2.0
// What the store's bookkeeping costs as objects become many: nanoseconds for
// each operation of the pure core, the longest single one, and bytes of this
// process's memory for each object, every one of them referred to by a client.
//
//   store_scale [most objects, default 1000000]
#include <malloc.h>
#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "plasma/object_store.h"

namespace skyray::plasma {
namespace {

using Clock = std::chrono::steady_clock;

struct Cost {
  double mean_ns = 0;
  double longest_us = 0;
};

double ThreadNs() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

// Runs `work(i)` for each object. The mean is this thread's own time, so that a
// busy machine does not change it; the longest is what a client would wait.
template <class Work>
Cost Measure(size_t objects, Work work) {
  Cost cost;
  const double begin_ns = ThreadNs();
  auto last = Clock::now();
  for (size_t i = 0; i < objects; ++i) {
    work(i);
    const auto now = Clock::now();
    cost.longest_us =
        std::max(cost.longest_us, std::chrono::duration<double, std::micro>(now - last).count());
    last = now;
  }
  cost.mean_ns = (ThreadNs() - begin_ns) / static_cast<double>(objects);
  return cost;
}

void Print(const Cost& cost) { std::printf(" %6.0f/%-7.0f", cost.mean_ns, cost.longest_us); }

void Run(size_t objects) {
  constexpr uint64_t kBytes = 1000;
  std::vector<ObjectId> ids(objects);
  for (ObjectId& id : ids) id = ObjectId::FromRandom();
  const WorkerId owner = WorkerId::FromRandom();
  const size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
  ObjectStore store({.segment_bytes = {objects * 2048 + 4096}});
  const ClientId client = store.AddClient(true);
  std::printf("%8zu", objects);
  Print(Measure(objects, [&](size_t i) {
    store.Create(client, i + 1, {ids[i], owner, kBytes, 0, true}, false, 1);
  }));
  Print(Measure(objects, [&](size_t i) { store.Seal(client, ids[i], false, 1); }));
  Print(Measure(objects, [&](size_t i) { store.Get(client, 1, {ids[i]}, 0, 1); }));
  const size_t used = mallinfo2().uordblks + mallinfo2().hblkhd - before;
  Print(Measure(objects, [&](size_t i) { store.Release(client, ids[i], 1); }));
  Print(Measure(objects, [&](size_t i) { store.Delete(std::span(&ids[i], 1), 1); }));
  std::printf(" %6.0f\n", static_cast<double>(used) / static_cast<double>(objects));
}

}  // namespace
}  // namespace skyray::plasma

int main(int argc, char** argv) {
  const size_t most = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1'000'000;
  std::printf(
      " objects  create ns/longest us  seal           get            release        "
      "delete         bytes each\n");
  for (size_t objects = 1000; objects <= most; objects *= 10) skyray::plasma::Run(objects);
  return 0;
}
