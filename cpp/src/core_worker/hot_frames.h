// SPDX-License-Identifier: Apache-2.0
// The messages of the hot path, as fixed structs in front of opaque bytes.
//
//   Call  = CallHeader  args payload | RefArg key [payload | NodeId...] ... |
//   Reply = ReplyHeader | ReturnHeader payload ContainedRef... | ... | BorrowedRef...
//   Yield = YieldHeader | ReturnHeader payload ContainedRef...
//
// Everything is little-endian and packed; pieces follow each other without
// padding, so readers copy structs out (ByteReader) and never cast.
//
// Threading: values. Ownership: values. Errors: ByteReader answers false at the
// end of its bytes; the peer that sent them is dropped.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "common/id.h"

namespace skyray::core_worker {

constexpr uint32_t kProtocolVersion = 1;
constexpr uint16_t kCallFrame = 1;
constexpr uint16_t kReplyFrame = 2;
constexpr uint16_t kYieldFrame = 3;  // Before its call's Reply.

struct WorkerAddress {
  NodeId node;
  WorkerId worker;
  friend bool operator==(const WorkerAddress&, const WorkerAddress&) = default;
};
static_assert(sizeof(WorkerAddress) == 56 && std::is_trivially_copyable_v<WorkerAddress>);

#pragma pack(push, 1)
struct CallHeader {
  uint64_t sequence;  // Per connection, from 0, without gaps.
  TaskId task;
  uint32_t function_index;  // DefineFunction.
  uint16_t returns;
  uint16_t flags;
  uint32_t ref_args;
  uint32_t args_bytes;
};
static_assert(sizeof(CallHeader) == 48);
// The payload is (args, kwargs or None), not the args alone.
constexpr uint16_t kCallHasBoth = 1;
// The function is a generator, whose items are yielded as they are made; with
// kCallListed the value of the reply is the list of them.
constexpr uint16_t kCallYields = 2;
constexpr uint16_t kCallListed = 4;
// It cannot be run a second time: its answer waits for no other.
constexpr uint16_t kCallOnce = 8;

// A top-level argument that was an ObjectRef.
struct RefArg {
  int32_t position;  // In args, or -1: the keyword that follows.
  uint16_t key_bytes;
  uint16_t nodes;  // 0: the value itself follows; else NodeIds of stores that hold it.
  uint64_t bytes;  // Of the value.
  ObjectId object;
  WorkerAddress owner;
};
static_assert(sizeof(RefArg) == 100);

struct ReplyHeader {
  uint64_t sequence;
  uint32_t execute_us;
  uint16_t returns;  // 1 with kReplyIsError, whatever was asked for.
  uint16_t flags;
  uint32_t borrowed;
};
static_assert(sizeof(ReplyHeader) == 20);
constexpr uint16_t kReplyIsError = 1;
// With it: the function's options say that the call is to be made again.
constexpr uint16_t kReplyRetryable = 2;
// With it, from an actor: the call was not started, as all copies of an argument are lost.
// Its reference follows the payload.
constexpr uint16_t kReplyArgumentLost = 4;

struct YieldHeader {
  uint64_t sequence;
  uint64_t index;  // From 0 on, without gaps.
};
static_assert(sizeof(YieldHeader) == 16);

struct ReturnHeader {
  uint8_t in_store;    // 0: the payload follows; 1: it is in the executing node's store.
  uint32_t contained;  // ObjectRefs inside the value.
  uint64_t bytes;
};
static_assert(sizeof(ReturnHeader) == 13);

struct OwnedRef {
  ObjectId object;
  WorkerAddress owner;
};
static_assert(sizeof(OwnedRef) == 84);

// A store that held the object when a reference to it was pickled.
struct StoredAt {
  NodeId node;
  uint64_t bytes;
  uint32_t attempt;
};

// A pickled ObjectRef: an OwnedRef, or this.
struct PlacedRef {
  OwnedRef ref;
  StoredAt stored;
};
static_assert(sizeof(PlacedRef) == 124);
#pragma pack(pop)

class ByteReader {
 public:
  explicit ByteReader(std::span<const uint8_t> bytes) : bytes_(bytes) {}

  template <class T>
  bool Read(T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    if (bytes_.size() < sizeof value) return false;
    std::memcpy(static_cast<void*>(&value), bytes_.data(), sizeof value);
    bytes_ = bytes_.subspan(sizeof value);
    return true;
  }
  bool ReadBytes(uint64_t size, std::span<const uint8_t>& out) {
    if (bytes_.size() < size) return false;
    out = bytes_.first(size);
    bytes_ = bytes_.subspan(size);
    return true;
  }
  size_t left() const { return bytes_.size(); }

 private:
  std::span<const uint8_t> bytes_;
};

template <class T>
void AppendStruct(std::string& out, const T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

}  // namespace skyray::core_worker
