// SPDX-License-Identifier: Apache-2.0
#include "core_worker/payload.h"

#include <cstring>
#include <new>

#include "core_worker/pooled.h"
#include "plasma/copy.h"

namespace skyray::core_worker {
namespace {

constexpr size_t kActorHexBytes = 32;

uint64_t AlignUp(uint64_t offset) {
  return (offset + kBufferAlignment - 1) / kBufferAlignment * kBufferAlignment;
}

uint64_t InbandOffset(uint64_t buffers) {
  return sizeof(PayloadHeader) + buffers * sizeof(uint64_t);
}

// For most results, and most values that are put. Null: of that size there are few.
BlockPool* PoolFor(uint64_t bytes) {
  static auto& small = *new BlockPool(64);
  static auto& larger = *new BlockPool(128);
  if (sizeof(Value) + bytes <= 64) return &small;
  return sizeof(Value) + bytes <= 128 ? &larger : nullptr;
}

}  // namespace

uint64_t PayloadParts::Bytes() const {
  uint64_t end = InbandOffset(buffers.size()) + inband.size();
  for (const auto& buffer : buffers) end = AlignUp(end) + buffer.size();
  return end;
}

void PayloadParts::WriteTo(uint8_t* out) const {
  const PayloadHeader header{static_cast<uint32_t>(format), static_cast<uint32_t>(buffers.size()),
                             inband.size()};
  std::memcpy(out, &header, sizeof header);
  uint64_t at = sizeof header;
  for (const auto& buffer : buffers) {
    const uint64_t size = buffer.size();
    std::memcpy(out + at, &size, sizeof size);
    at += sizeof size;
  }
  if (!inband.empty()) std::memcpy(out + at, inband.data(), inband.size());
  at += inband.size();
  for (const auto& buffer : buffers) {
    const uint64_t begin = AlignUp(at);
    // No byte of another object's past may travel in the padding.
    std::memset(out + at, 0, begin - at);
    if (!buffer.empty()) plasma::CopyToShared(out + begin, buffer.data(), buffer.size());
    at = begin + buffer.size();
  }
}

std::optional<PayloadView> PayloadView::Parse(std::span<const uint8_t> bytes) {
  PayloadHeader header;
  if (bytes.size() < sizeof header) return std::nullopt;
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.format > static_cast<uint32_t>(PayloadFormat::SystemError)) return std::nullopt;
  if (header.buffers > (bytes.size() - sizeof header) / sizeof(uint64_t)) return std::nullopt;
  uint64_t at = InbandOffset(header.buffers);
  if (header.inband_bytes > bytes.size() - at) return std::nullopt;
  PayloadView view;
  view.format = static_cast<PayloadFormat>(header.format);
  view.inband = bytes.subspan(at, header.inband_bytes);
  at += header.inband_bytes;
  view.buffers.reserve(header.buffers);
  for (uint32_t i = 0; i < header.buffers; ++i) {
    uint64_t size;
    std::memcpy(&size, bytes.data() + sizeof header + i * sizeof size, sizeof size);
    at = AlignUp(at);
    if (at > bytes.size() || size > bytes.size() - at) return std::nullopt;
    view.buffers.push_back(bytes.subspan(at, size));
    at += size;
  }
  return view;
}

Value* Value::New(uint64_t bytes, bool aligned) {
  static_assert(sizeof(Value) <= kBufferAlignment && sizeof(Value) % alignof(PayloadHeader) == 0);
  if (aligned) {
    void* memory = ::operator new(kBufferAlignment + bytes, std::align_val_t(kBufferAlignment));
    return new (memory) Value(bytes, kBufferAlignment);
  }
  BlockPool* pool = PoolFor(bytes);
  void* memory = pool == nullptr ? ::operator new(sizeof(Value) + bytes) : pool->Take();
  return new (memory) Value(bytes, sizeof(Value));
}

void Value::Release() {
  if (count_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  const bool aligned = offset_ == kBufferAlignment;
  BlockPool* pool = aligned ? nullptr : PoolFor(bytes_);
  this->~Value();
  if (aligned) {
    ::operator delete(static_cast<void*>(this), std::align_val_t(kBufferAlignment));
  } else if (pool != nullptr) {
    pool->Give(this);
  } else {
    ::operator delete(static_cast<void*>(this));
  }
}

ValuePtr CopyValue(std::span<const uint8_t> payload) {
  PayloadHeader header{};
  if (payload.size() >= sizeof header) std::memcpy(&header, payload.data(), sizeof header);
  ValuePtr value(Value::New(payload.size(), /*aligned=*/header.buffers > 0));
  if (!payload.empty()) std::memcpy(value->data(), payload.data(), payload.size());
  return value;
}

ValuePtr MakeValue(const PayloadParts& parts) {
  ValuePtr value(Value::New(parts.Bytes(), /*aligned=*/!parts.buffers.empty()));
  parts.WriteTo(value->data());
  return value;
}

ValuePtr MakeErrorValue(ErrorCode code, std::string_view message, std::string_view actor_hex) {
  std::string inband(1, static_cast<char>(code));
  inband.append(actor_hex.size() == kActorHexBytes ? std::string(actor_hex)
                                                   : std::string(kActorHexBytes, ' '));
  inband.append(message);
  return MakeValue({PayloadFormat::SystemError, inband, {}});
}

ValuePtr CreationError(const ValuePtr& error, const std::string& actor_hex) {
  const auto payload = PayloadView::Parse(error->span());
  if (!payload || payload->format != PayloadFormat::TaskError) return error;
  std::string inband = kOfCreation + actor_hex;
  inband.append(reinterpret_cast<const char*>(payload->inband.data()), payload->inband.size());
  return MakeValue({PayloadFormat::TaskError, inband, {}});
}

SystemErrorView ParseSystemError(const PayloadView& payload) {
  const std::string_view text(reinterpret_cast<const char*>(payload.inband.data()),
                              payload.inband.size());
  if (text.size() < 1 + kActorHexBytes) {
    return {ErrorCode::Internal, "", "an error arrived without its message"};
  }
  std::string actor(text.substr(1, kActorHexBytes));
  if (actor[0] == ' ') actor.clear();
  const auto code = static_cast<ErrorCode>(text[0]);
  return {code <= ErrorCode::MAX ? code : ErrorCode::Internal, std::move(actor),
          std::string(text.substr(1 + kActorHexBytes))};
}

bool IsTaskFailure(std::span<const uint8_t> bytes) {
  if (!IsError(bytes)) return false;
  const auto payload = PayloadView::Parse(bytes);
  if (!payload) return false;
  if (payload->format == PayloadFormat::TaskError) {
    return payload->inband.empty() || payload->inband.front() != kOfCreation;
  }
  switch (ParseSystemError(*payload).code) {
    case ErrorCode::WorkerCrashed:
    case ErrorCode::OutOfMemoryKilled:
    case ErrorCode::NodeDied:
    case ErrorCode::RuntimeEnvFailed:
    case ErrorCode::Unschedulable:
      return true;
    default:
      return false;
  }
}

bool IsError(std::span<const uint8_t> payload) {
  uint32_t format;
  if (payload.size() < sizeof format) return false;
  std::memcpy(&format, payload.data(), sizeof format);
  return format >= static_cast<uint32_t>(PayloadFormat::TaskError);
}

}  // namespace skyray::core_worker
