// SPDX-License-Identifier: Apache-2.0
#include "plasma/copy_kernels.h"

#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace skyray::plasma {
namespace {

void Memcpy(uint8_t* to, const uint8_t* from, size_t bytes) { std::memcpy(to, from, bytes); }

#if defined(__x86_64__)
constexpr size_t kStrideBytes = 4096;
constexpr size_t kStreams = 16;
constexpr size_t kGroupBytes = kStreams * kStrideBytes;

__attribute__((target("avx512f"))) inline void StreamBlock512(uint8_t* to, const uint8_t* from) {
  const __m512i a = _mm512_loadu_si512(from);
  const __m512i b = _mm512_loadu_si512(from + 64);
  const __m512i c = _mm512_loadu_si512(from + 128);
  const __m512i d = _mm512_loadu_si512(from + 192);
  _mm512_stream_si512(reinterpret_cast<__m512i*>(to), a);
  _mm512_stream_si512(reinterpret_cast<__m512i*>(to + 64), b);
  _mm512_stream_si512(reinterpret_cast<__m512i*>(to + 128), c);
  _mm512_stream_si512(reinterpret_cast<__m512i*>(to + 192), d);
}

__attribute__((target("avx512f"))) void Straight512(uint8_t* to, const uint8_t* from,
                                                    size_t bytes) {
  for (size_t at = 0; at < bytes; at += kCopyBlockBytes) StreamBlock512(to + at, from + at);
  _mm_sfence();
}

__attribute__((target("avx512f"))) void Interleaved512(uint8_t* to, const uint8_t* from,
                                                       size_t bytes) {
  size_t at = 0;
  for (; bytes - at >= kGroupBytes; at += kGroupBytes) {
    for (size_t line = at; line < at + kStrideBytes; line += 64) {
      for (size_t page = 0; page < kGroupBytes; page += kStrideBytes) {
        _mm512_stream_si512(reinterpret_cast<__m512i*>(to + line + page),
                            _mm512_loadu_si512(from + line + page));
      }
    }
  }
  Straight512(to + at, from + at, bytes - at);
}

__attribute__((target("avx2"))) inline void StreamLine256(uint8_t* to, const uint8_t* from) {
  const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  const __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + 32));
  _mm256_stream_si256(reinterpret_cast<__m256i*>(to), a);
  _mm256_stream_si256(reinterpret_cast<__m256i*>(to + 32), b);
}

__attribute__((target("avx2"))) void Straight256(uint8_t* to, const uint8_t* from, size_t bytes) {
  for (size_t at = 0; at < bytes; at += 64) StreamLine256(to + at, from + at);
  _mm_sfence();
}

__attribute__((target("avx2"))) void Interleaved256(uint8_t* to, const uint8_t* from,
                                                    size_t bytes) {
  size_t at = 0;
  for (; bytes - at >= kGroupBytes; at += kGroupBytes) {
    for (size_t line = at; line < at + kStrideBytes; line += 64) {
      for (size_t page = 0; page < kGroupBytes; page += kStrideBytes) {
        StreamLine256(to + line + page, from + line + page);
      }
    }
  }
  Straight256(to + at, from + at, bytes - at);
}
#endif

}  // namespace

std::span<const CopyKernel> CopyKernels() {
  static constexpr CopyKernel kMemcpy{"memcpy", Memcpy};
#if defined(__x86_64__)
  static constexpr CopyKernel kAvx512[] = {
      {"straight, AVX-512", Straight512}, {"interleaved, AVX-512", Interleaved512}, kMemcpy};
  static constexpr CopyKernel kAvx2[] = {
      {"straight, AVX2", Straight256}, {"interleaved, AVX2", Interleaved256}, kMemcpy};
  if (__builtin_cpu_supports("avx512f")) return kAvx512;
  if (__builtin_cpu_supports("avx2")) return kAvx2;
#endif
  return {&kMemcpy, 1};
}

}  // namespace skyray::plasma
