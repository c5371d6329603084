// SPDX-License-Identifier: Apache-2.0
#include "plasma/copy.h"

#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace skyray::plasma {
namespace {

using CopyFunction = void (*)(uint8_t*, const uint8_t*, size_t);

void PlainCopy(uint8_t* destination, const uint8_t* source, size_t bytes) {
  std::memcpy(destination, source, bytes);
}

#if defined(__x86_64__)
// REQUIRES of both: `destination` is 64-byte aligned, `bytes` a multiple of 256.
__attribute__((target("avx512f"))) void StreamingCopy512(uint8_t* destination,
                                                         const uint8_t* source, size_t bytes) {
  for (size_t at = 0; at < bytes; at += 256) {
    const __m512i a = _mm512_loadu_si512(source + at);
    const __m512i b = _mm512_loadu_si512(source + at + 64);
    const __m512i c = _mm512_loadu_si512(source + at + 128);
    const __m512i d = _mm512_loadu_si512(source + at + 192);
    _mm512_stream_si512(reinterpret_cast<__m512i*>(destination + at), a);
    _mm512_stream_si512(reinterpret_cast<__m512i*>(destination + at + 64), b);
    _mm512_stream_si512(reinterpret_cast<__m512i*>(destination + at + 128), c);
    _mm512_stream_si512(reinterpret_cast<__m512i*>(destination + at + 192), d);
  }
  _mm_sfence();
}

__attribute__((target("avx2"))) void StreamingCopy256(uint8_t* destination, const uint8_t* source,
                                                      size_t bytes) {
  const auto load = [source](size_t at) __attribute__((target("avx2"))) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(source + at));
  };
  for (size_t at = 0; at < bytes; at += 128) {
    const __m256i a = load(at);
    const __m256i b = load(at + 32);
    const __m256i c = load(at + 64);
    const __m256i d = load(at + 96);
    _mm256_stream_si256(reinterpret_cast<__m256i*>(destination + at), a);
    _mm256_stream_si256(reinterpret_cast<__m256i*>(destination + at + 32), b);
    _mm256_stream_si256(reinterpret_cast<__m256i*>(destination + at + 64), c);
    _mm256_stream_si256(reinterpret_cast<__m256i*>(destination + at + 96), d);
  }
  _mm_sfence();
}

CopyFunction ChooseCopy() {
  if (__builtin_cpu_supports("avx512f")) return StreamingCopy512;
  if (__builtin_cpu_supports("avx2")) return StreamingCopy256;
  return PlainCopy;
}
#else
CopyFunction ChooseCopy() { return PlainCopy; }
#endif

}  // namespace

void CopyToShared(void* destination, const void* source, size_t bytes) {
  static const CopyFunction streaming_copy = ChooseCopy();
  auto* to = static_cast<uint8_t*>(destination);
  const auto* from = static_cast<const uint8_t*>(source);
  if (bytes < kStreamingBytesMin) {
    std::memcpy(to, from, bytes);
    return;
  }
  // Plain copies up to the first aligned line and behind the last whole block.
  const size_t head = (64 - reinterpret_cast<uintptr_t>(to) % 64) % 64;
  const size_t body = (bytes - head) / 256 * 256;
  std::memcpy(to, from, head);
  streaming_copy(to + head, from + head, body);
  std::memcpy(to + head + body, from + head + body, bytes - head - body);
}

}  // namespace skyray::plasma
