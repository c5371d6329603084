// SPDX-License-Identifier: Apache-2.0
// Spilling and restoring against raw file I/O on the same disk, of the same bytes
// in the same pieces, from and into the same shared memory, in turns.
//
//   cmake --build build/release --target spill_bench
//   build/release/bin/spill_bench [DIRECTORY] [OBJECT_BYTES]
//
// A virtual machine may give its free memory back to its host, and then writes 20 times
// as long into a page it has to ask for again: with 1 MiB to a write that is 2.6 ms
// instead of 0.13, for some and not for others. So what is compared is the quickest
// round of each, in which few pages were new; the medians are printed as well.
//
// Claim: at least 0.8 of what raw I/O does, checksums and all, both ways.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>

#include "object_manager/spill_local.h"

namespace skyray::object_manager {
namespace {

constexpr uint64_t kTotalBytes = 512u << 20;
constexpr uint64_t kFileBytes = 128u << 20;
constexpr uint64_t kRawPieceBytes = 1u << 20;
constexpr int kRounds = 25;

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void Check(bool good, const char* what) {
  if (good) return;
  std::perror(what);
  std::exit(1);
}

class Bench {
 public:
  Bench(const std::string& directory, uint64_t object_bytes) : directory_(directory) {
    const int memory = memfd_create("spill_bench", MFD_CLOEXEC);
    Check(memory >= 0 && ftruncate(memory, kTotalBytes) == 0, "memfd");
    void* mapped = mmap(nullptr, kTotalBytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    Check(mapped != MAP_FAILED, "mmap");
    bytes_ = {static_cast<uint8_t*>(mapped), kTotalBytes};
    std::mt19937_64 random(1);
    for (size_t i = 0; i < kTotalBytes; i += 8) {
      const uint64_t word = random();
      std::copy_n(reinterpret_cast<const uint8_t*>(&word), 8, &bytes_[i]);
    }
    for (uint64_t at = 0; at < kTotalBytes; at += object_bytes) {
      const uint64_t size = std::min(object_bytes, kTotalBytes - at);
      pieces_.push_back({{ObjectId::FromRandom(), WorkerId::FromRandom(), size, 0},
                         bytes_.subspan(at, size),
                         {}});
    }
  }

  // Seconds of: raw write, raw read, spill, restore.
  std::vector<double> Round() {
    std::vector<double> seconds = Raw();
    for (const double taken : Spilled()) seconds.push_back(taken);
    return seconds;
  }

 private:
  std::vector<double> Raw() {
    std::vector<int> fds;
    const double began = Now();
    for (uint64_t at = 0; at < kTotalBytes; at += kFileBytes) {
      const std::string path = directory_ + "/raw";
      const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
      Check(fd >= 0, "open");
      unlink(path.c_str());
      Check(fallocate(fd, 0, 0, kFileBytes) == 0, "fallocate");
      for (uint64_t in = 0; in < kFileBytes; in += kRawPieceBytes) {
        const ssize_t written =
            pwrite(fd, &bytes_[at + in], kRawPieceBytes, static_cast<off_t>(in));
        Check(written == static_cast<ssize_t>(kRawPieceBytes), "pwrite");
      }
      fds.push_back(fd);
    }
    const double written = Now();
    for (size_t i = 0; i < fds.size(); ++i) {
      for (uint64_t in = 0; in < kFileBytes; in += kRawPieceBytes) {
        const ssize_t got =
            pread(fds[i], &bytes_[i * kFileBytes + in], kRawPieceBytes, static_cast<off_t>(in));
        Check(got == static_cast<ssize_t>(kRawPieceBytes), "pread");
      }
    }
    const double read = Now();
    for (const int fd : fds) close(fd);
    return {written - began, read - written};
  }

  std::vector<double> Spilled() {
    boost::asio::io_context loop;
    const auto work = boost::asio::make_work_guard(loop);
    SpillLocal storage(loop, {{directory_}, "spill_bench", false});
    std::vector<SpillPlace> places(pieces_.size());
    size_t open = 0;
    const double began = Now();
    for (size_t first = 0; first < pieces_.size();) {
      size_t last = first;
      for (uint64_t bytes = 0; last < pieces_.size() && bytes < kFileBytes; ++last) {
        bytes += pieces_[last].bytes.size();
      }
      ++open;
      storage.Write(
          {pieces_.begin() + static_cast<ptrdiff_t>(first),
           pieces_.begin() + static_cast<ptrdiff_t>(last)},
          [&, first](const Result<WrittenFile>& file) {
            Check(static_cast<bool>(file), "spill");
            for (size_t i = 0; i < file->offsets.size(); ++i) {
              places[first + i] = {file->path, file->offsets[i], pieces_[first + i].record};
            }
            --open;
          });
      first = last;
    }
    while (open > 0) loop.run_one();
    const double written = Now();
    for (size_t i = 0; i < pieces_.size(); ++i) {
      ++open;
      const auto* data = pieces_[i].bytes.data();
      const std::span<uint8_t> into =
          bytes_.subspan(static_cast<size_t>(data - bytes_.data()), pieces_[i].bytes.size());
      storage.Read(places[i], {into, {}}, [&](const Status& status) {
        Check(status.ok(), "restore");
        --open;
      });
    }
    while (open > 0) loop.run_one();
    return {written - began, Now() - written};
  }

  const std::string directory_;
  std::span<uint8_t> bytes_;
  std::vector<SpillPiece> pieces_;
};

}  // namespace
}  // namespace skyray::object_manager

int main(int argc, char** argv) {
  using namespace skyray::object_manager;
  Bench bench(argc > 1 ? argv[1] : "/tmp", argc > 2 ? std::stoull(argv[2]) : 10'000'000);
  std::vector<std::vector<double>> seconds(4);
  for (int round = 0; round < kRounds; ++round) {
    const std::vector<double> taken = bench.Round();
    for (size_t i = 0; i < taken.size(); ++i) seconds[i].push_back(taken[i]);
  }
  std::array<double, 4> best;
  std::array<double, 4> median;
  for (size_t i = 0; i < 4; ++i) {
    std::sort(seconds[i].begin(), seconds[i].end());
    best[i] = static_cast<double>(kTotalBytes) / 1e9 / seconds[i].front();
    median[i] = static_cast<double>(kTotalBytes) / 1e9 / seconds[i][kRounds / 2];
  }
  const auto print = [&](const char* ours, const char* raw, size_t mine, size_t other) {
    std::printf("%s %.2f GB/s, %s %.2f GB/s: %.2f (claim 0.8); medians %.2f, %.2f\n", ours,
                best[mine], raw, best[other], best[mine] / best[other], median[mine],
                median[other]);
  };
  print("spill", "raw write", 2, 0);
  print("restore", "raw read", 3, 1);
  return 0;
}
