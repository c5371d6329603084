// SPDX-License-Identifier: Apache-2.0
#include "common/id.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "common/logging.h"

namespace skyray {
namespace {

constexpr size_t kActorUniqueBytes = 12;
constexpr size_t kTaskUniqueBytes = 8;

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

uint64_t HashSeed() {
  uint64_t seed = 0;
  if (const char* fixed = getenv("SKYRAY_HASH_SEED")) return strtoull(fixed, nullptr, 10);
  FillRandom(&seed, sizeof seed);
  return seed;
}

}  // namespace

const uint64_t kIdHashSeed = HashSeed();

void FillRandom(void* bytes, size_t size) {
  auto* out = static_cast<uint8_t*>(bytes);
  while (size > 0) {
    const ssize_t got = getrandom(out, size, 0);
    if (got < 0) {
      SKYRAY_CHECK(errno == EINTR);
      continue;
    }
    out += got;
    size -= static_cast<size_t>(got);
  }
}

std::string BytesToHex(std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  hex.reserve(bytes.size() * 2);
  for (const char c : bytes) {
    const auto byte = static_cast<uint8_t>(c);
    hex += kDigits[byte >> 4];
    hex += kDigits[byte & 15];
  }
  return hex;
}

bool HexToBytes(std::string_view hex, void* bytes, size_t size) {
  if (hex.size() != size * 2) return false;
  auto* out = static_cast<uint8_t*>(bytes);
  for (size_t i = 0; i < size; ++i) {
    const int high = HexDigit(hex[2 * i]);
    const int low = HexDigit(hex[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    out[i] = static_cast<uint8_t>(high * 16 + low);
  }
  return true;
}

JobId JobIdFromInt(uint32_t number) {
  // Big-endian, so that hex reads as a number ("01000000" would surprise).
  JobId job;
  for (size_t i = 0; i < 4; ++i)
    job.mutable_data()[i] = static_cast<uint8_t>(number >> (24 - 8 * i));
  return job;
}

uint32_t JobIdToInt(const JobId& job) {
  uint32_t number = 0;
  for (size_t i = 0; i < 4; ++i) number = number << 8 | job.data()[i];
  return number;
}

ActorId RandomActorId(const JobId& job) {
  ActorId actor = ActorId::FromRandom();
  std::memcpy(actor.mutable_data() + kActorUniqueBytes, job.data(), JobId::kSize);
  return actor;
}

JobId JobOf(const ActorId& actor) { return JobId::FromBytes(actor.data() + kActorUniqueBytes); }

JobId JobOf(const TaskId& task) { return JobOf(ActorOf(task)); }

JobId JobOf(const ObjectId& object) { return JobOf(TaskOf(object)); }

TaskId ActorCreationTask(const ActorId& actor) {
  TaskId task;
  std::memcpy(task.mutable_data() + kTaskUniqueBytes, actor.data(), ActorId::kSize);
  return task;
}

ActorId ActorOf(const TaskId& task) { return ActorId::FromBytes(task.data() + kTaskUniqueBytes); }

ObjectId ObjectIdOf(const TaskId& task, uint32_t index) {
  ObjectId object;
  std::memcpy(object.mutable_data(), task.data(), TaskId::kSize);
  std::memcpy(object.mutable_data() + TaskId::kSize, &index, sizeof index);
  return object;
}

TaskId TaskOf(const ObjectId& object) { return TaskId::FromBytes(object.data()); }

uint32_t IndexOf(const ObjectId& object) {
  uint32_t index;
  std::memcpy(&index, object.data() + TaskId::kSize, sizeof index);
  return index;
}

}  // namespace skyray
