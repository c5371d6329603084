// SPDX-License-Identifier: Apache-2.0
// The names of things: fixed-size binary ids, sized as Ray's.
//
//   JobId 4 | ActorId 16 = 12 unique + JobId | TaskId 24 = 8 unique + 16
//   ObjectId 28 = TaskId + index (little-endian u32) | NodeId, WorkerId, UniqueId 28
//
// Threading: values. Ownership: values. Errors: FromBinary and FromHex answer
// nothing when the size or a digit is wrong. All bytes 0xff is the nil id.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace skyray {

// Fills `bytes` from the kernel's random generator.
void FillRandom(void* bytes, size_t size);

// Of this process, so that nobody can make ids that hash alike. SKYRAY_HASH_SEED (a
// number) fixes it, for a run that is to be repeated exactly.
extern const uint64_t kIdHashSeed;

std::string BytesToHex(std::string_view bytes);
// False if `hex` is not exactly 2 * size hexadecimal digits.
bool HexToBytes(std::string_view hex, void* bytes, size_t size);

template <size_t kBytes, class Tag>
class Id {
 public:
  static constexpr size_t kSize = kBytes;

  Id() { bytes_.fill(0xff); }  // Nil.

  static Id Nil() { return Id(); }
  static Id FromRandom() {
    Id id;
    FillRandom(id.bytes_.data(), kBytes);
    return id;
  }
  static std::optional<Id> FromBinary(std::string_view binary) {
    if (binary.size() != kBytes) return std::nullopt;
    return FromBytes(binary.data());
  }
  static std::optional<Id> FromHex(std::string_view hex) {
    Id id;
    if (!HexToBytes(hex, id.bytes_.data(), kBytes)) return std::nullopt;
    return id;
  }
  // REQUIRES: `bytes` points to kSize bytes.
  static Id FromBytes(const void* bytes) {
    Id id;
    std::memcpy(id.bytes_.data(), bytes, kBytes);
    return id;
  }

  bool IsNil() const { return *this == Id(); }
  const uint8_t* data() const { return bytes_.data(); }
  uint8_t* mutable_data() { return bytes_.data(); }
  std::string_view Binary() const { return {reinterpret_cast<const char*>(bytes_.data()), kBytes}; }
  std::string Hex() const { return BytesToHex(Binary()); }
  friend bool operator==(const Id&, const Id&) = default;
  friend auto operator<=>(const Id&, const Id&) = default;

  // Mixes the whole id: task ids of one process differ in few bytes.
  size_t Hash() const { return HashWith(kIdHashSeed); }
  size_t HashWith(uint64_t seed) const {
    uint64_t mixed = seed;
    size_t at = 0;
    for (; at + 8 <= kBytes; at += 8) mixed = Mix(mixed, Load<uint64_t>(at));
    if constexpr (kBytes % 8 != 0) mixed = Mix(mixed, Load<uint32_t>(kBytes - 4));
    return static_cast<size_t>(mixed);
  }

 private:
  template <class Word>
  Word Load(size_t at) const {
    Word word;
    std::memcpy(&word, bytes_.data() + at, sizeof word);
    return word;
  }
  static uint64_t Mix(uint64_t state, uint64_t word) {
    const unsigned __int128 product =
        static_cast<unsigned __int128>(state ^ word) * 0xd6e8feb86659fd93ull;
    return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
  }

  std::array<uint8_t, kBytes> bytes_;
};

using JobId = Id<4, struct JobTag>;
using NodeId = Id<28, struct NodeTag>;
using WorkerId = Id<28, struct WorkerTag>;
using UniqueId = Id<28, struct UniqueTag>;
using FunctionId = Id<28, struct FunctionTag>;
using LeaseId = Id<28, struct LeaseTag>;
using ActorId = Id<16, struct ActorTag>;
using TaskId = Id<24, struct TaskTag>;
using ObjectId = Id<28, struct ObjectTag>;
using PlacementGroupId = Id<18, struct PlacementGroupTag>;

JobId JobIdFromInt(uint32_t number);
uint32_t JobIdToInt(const JobId& job);
ActorId RandomActorId(const JobId& job);
JobId JobOf(const ActorId& actor);
JobId JobOf(const TaskId& task);
JobId JobOf(const ObjectId& object);
// The task that creates `actor`: its unique part is all 0xff.
TaskId ActorCreationTask(const ActorId& actor);
// The last 16 bytes; an actor only if the task is one of an actor's.
ActorId ActorOf(const TaskId& task);
// The id of return value `index` (from 1) of `task`. Values that `task` puts use
// indices from kPutIndexBase on.
constexpr uint32_t kPutIndexBase = 1u << 30;
ObjectId ObjectIdOf(const TaskId& task, uint32_t index);
TaskId TaskOf(const ObjectId& object);
uint32_t IndexOf(const ObjectId& object);

}  // namespace skyray

template <size_t kBytes, class Tag>
struct std::hash<skyray::Id<kBytes, Tag>> {
  size_t operator()(const skyray::Id<kBytes, Tag>& id) const { return id.Hash(); }
};
