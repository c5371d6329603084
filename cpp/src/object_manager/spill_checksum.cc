// SPDX-License-Identifier: Apache-2.0
#include "object_manager/spill_checksum.h"

#include <algorithm>

#include "object_manager/guarded_read.h"

#define SKYRAY_CHECKSUM_KERNEL kChecksumAnyCpu
#include "object_manager/spill_checksum_kernel.h"

namespace skyray::object_manager {

#if defined(__x86_64__)
extern const ChecksumKernel kChecksumAvx2;
extern const ChecksumKernel kChecksumAvx512;
#endif

static_assert(sizeof(XXH3_state_t) <= 576 && alignof(XXH3_state_t) <= 64,
              "SpillChecksum has room for the state");

std::span<const ChecksumKernel* const> ChecksumKernels() {
#if defined(__x86_64__)
  static const ChecksumKernel* const kernels[] = {&kChecksumAnyCpu, &kChecksumAvx2,
                                                  &kChecksumAvx512};
  static const size_t usable = __builtin_cpu_supports("avx512f") ? 3u
                               : __builtin_cpu_supports("avx2")  ? 2u
                                                                 : 1u;
#else
  static const ChecksumKernel* const kernels[] = {&kChecksumAnyCpu};
  static const size_t usable = 1;
#endif
  return {kernels, usable};
}

std::optional<SpillSum> SpillChecksum::OfShared(std::span<const uint8_t> bytes) {
  SpillChecksum sum;
  if (!sum.AddShared(bytes)) return std::nullopt;
  return sum.Finish();
}

SpillSum SpillChecksum::Of(std::span<const uint8_t> bytes) {
  SpillChecksum sum;
  sum.Add(bytes);
  return sum.Finish();
}

void SpillChecksum::Add(std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    if (chunk_bytes_ == kSpillChunkBytes) {
      chunks_.push_back(kernel_.finish(state_));
      kernel_.start(state_);
      chunk_bytes_ = 0;
    }
    const size_t size = std::min(bytes.size(), kSpillChunkBytes - chunk_bytes_);
    kernel_.add(state_, bytes.data(), size);
    chunk_bytes_ += size;
    bytes = bytes.subspan(size);
  }
}

bool SpillChecksum::AddShared(std::span<const uint8_t> bytes) {
  struct Work {
    SpillChecksum* sum;
    std::span<const uint8_t> bytes;
  } work{this, bytes};
  const auto add = [](void* context) {
    const Work& todo = *static_cast<Work*>(context);
    todo.sum->Add(todo.bytes);
  };
  return GuardedRead(bytes, add, &work);
}

SpillSum SpillChecksum::Finish() const {
  const SpillSum last = kernel_.finish(state_);
  if (chunks_.empty()) return last;
  std::vector<SpillSum> chunks = chunks_;
  chunks.push_back(last);
  return OfChunks(chunks);
}

SpillSum SpillChecksum::OfChunks(std::span<const SpillSum> chunks) {
  if (chunks.size() == 1) return chunks.front();
  return Of({reinterpret_cast<const uint8_t*>(chunks.data()), chunks.size_bytes()});
}

}  // namespace skyray::object_manager
