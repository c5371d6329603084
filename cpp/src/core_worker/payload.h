// SPDX-License-Identifier: Apache-2.0
// A serialized value: how it lies in a frame, in this process, and in the store.
//
//   | format u32 | buffers u32 | inband_bytes u64 | buffer sizes u64... |
//   | in-band bytes | pad | buffer 0 | pad | buffer 1 | ...
//
// Buffers begin at multiples of 64 from the payload's start, which itself is
// 64-byte aligned in memory and in the store: arrays are read where they lie.
//
// Threading: a Value is immutable once made, its count is atomic.
// Ownership: ValuePtr shares a Value.
// Errors: PayloadView::Parse answers nothing for bytes that are not a payload.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/status.h"

namespace skyray::core_worker {

enum class PayloadFormat : uint32_t {
  Compact = 0,      // Our own, for None, bool, int, float, str, bytes, tuples of them.
  Pickle = 1,       // Pickle 5 with out-of-band buffers.
  Bytes = 2,        // One bytes object, in-band.
  TaskError = 3,    // What Hooks.task_error made.
  SystemError = 4,  // One ErrorCode byte, 32 bytes actor hex or blanks, the message.
};

constexpr size_t kBufferAlignment = 64;
// Larger values go to the store.
constexpr uint64_t kInProcessBytesMax = 100 << 10;

struct PayloadHeader {
  uint32_t format;
  uint32_t buffers;
  uint64_t inband_bytes;
};
static_assert(sizeof(PayloadHeader) == 16);

// What is to become a payload; views into somebody else's memory.
struct PayloadParts {
  PayloadFormat format = PayloadFormat::Compact;
  std::string_view inband;
  std::vector<std::span<const uint8_t>> buffers;

  uint64_t Bytes() const;
  // REQUIRES: `out` has Bytes() bytes. Large buffers are copied past the cache.
  void WriteTo(uint8_t* out) const;
};

struct PayloadView {
  PayloadFormat format = PayloadFormat::Compact;
  std::span<const uint8_t> inband;
  std::vector<std::span<const uint8_t>> buffers;

  static std::optional<PayloadView> Parse(std::span<const uint8_t> bytes);
};

// A payload in this process's memory.
class Value {
 public:
  // `aligned`: for a payload with buffers, which begin where Python expects them. The others
  // lie right behind their Value.
  static Value* New(uint64_t bytes, bool aligned);
  uint8_t* data() { return reinterpret_cast<uint8_t*>(this) + offset_; }
  const uint8_t* data() const { return reinterpret_cast<const uint8_t*>(this) + offset_; }
  uint64_t bytes() const { return bytes_; }
  std::span<const uint8_t> span() const { return {data(), bytes_}; }
  void AddRef() { count_.fetch_add(1, std::memory_order_relaxed); }
  void Release();

 private:
  Value(uint64_t bytes, uint32_t offset) : offset_(offset), bytes_(bytes) {}
  std::atomic<uint32_t> count_{1};
  const uint32_t offset_;
  const uint64_t bytes_;
};

class ValuePtr {
 public:
  ValuePtr() = default;
  explicit ValuePtr(Value* adopted) : value_(adopted) {}
  ValuePtr(const ValuePtr& other) : value_(other.value_) {
    if (value_ != nullptr) value_->AddRef();
  }
  ValuePtr(ValuePtr&& other) noexcept : value_(std::exchange(other.value_, nullptr)) {}
  ValuePtr& operator=(ValuePtr other) noexcept {
    std::swap(value_, other.value_);
    return *this;
  }
  ~ValuePtr() {
    if (value_ != nullptr) value_->Release();
  }
  Value* operator->() const { return value_; }
  Value* get() const { return value_; }
  explicit operator bool() const { return value_ != nullptr; }

 private:
  Value* value_ = nullptr;
};

ValuePtr CopyValue(std::span<const uint8_t> payload);
ValuePtr MakeValue(const PayloadParts& parts);
// `actor_hex` is empty or 32 digits.
ValuePtr MakeErrorValue(ErrorCode code, std::string_view message, std::string_view actor_hex = {});

// What a TaskError begins with, and the actor's 32 digits, if one could not be made
// because of it.
constexpr char kOfCreation = 'C';
// The error of an argument of an actor's creation, as its calls are to raise it.
ValuePtr CreationError(const ValuePtr& error, const std::string& actor_hex);

struct SystemErrorView {
  ErrorCode code;
  std::string actor_hex;
  std::string message;
};
// REQUIRES: the payload's format is SystemError.
SystemErrorView ParseSystemError(const PayloadView& payload);
bool IsError(std::span<const uint8_t> payload);
// One that its maker might want to hear of if nobody looks at it: not that somebody
// cancelled a call, nor that its actor is gone.
bool IsTaskFailure(std::span<const uint8_t> payload);

}  // namespace skyray::core_worker
