// SPDX-License-Identifier: Apache-2.0
// Fuzz target: the store with several clients, each input a script of records
// (store_script.h). The mutator knows where records begin.
#include <algorithm>
#include <array>
#include <cstring>
#include <random>

#include "common/logging.h"
#include "store_script.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace skyray::fuzz {
namespace {

constexpr size_t kRecordBytes = sizeof(Record);

Record MakeUp(std::mt19937& random) {
  // Values that often mean something: small ones, all bits, a size's choice.
  const auto value = [&random]() -> uint32_t {
    switch (random() % 4) {
      case 0:
        return static_cast<uint32_t>(random());
      case 1:
        return UINT32_MAX;
      default:
        return static_cast<uint32_t>(random() % 64);
    }
  };
  Record record;
  record.op = static_cast<Op>(random() % static_cast<uint32_t>(Op::kCount));
  record.client = static_cast<uint8_t>(random() % 4);
  record.id = static_cast<uint8_t>(random() % 4);
  record.flags = static_cast<uint8_t>(random());
  record.a = value();
  record.b = value();
  record.c = value();
  return record;
}

void Tweak(Record& record, std::mt19937& random) {
  const Record other = MakeUp(random);
  switch (random() % 7) {
    case 0:
      record.op = other.op;
      break;
    case 1:
      record.client = other.client;
      break;
    case 2:
      record.id = other.id;
      break;
    case 3:
      record.flags ^= static_cast<uint8_t>(1u << random() % 8);
      break;
    case 4:
      record.a = other.a;
      break;
    case 5:
      record.b = other.b;
      break;
    default:
      record.c = other.c;
  }
}

size_t MutateRecords(uint8_t* data, size_t size, size_t size_max, std::mt19937& random) {
  const size_t count = size / kRecordBytes;
  const size_t at = count == 0 ? 0 : random() % count;
  uint8_t* const place = data + at * kRecordBytes;
  const size_t behind = size - at * kRecordBytes;
  const uint32_t choice = random() % 8;
  if (choice < 3 && count > 0) {
    Record record;
    std::memcpy(&record, place, kRecordBytes);
    Tweak(record, random);
    std::memcpy(place, &record, kRecordBytes);
    return size;
  }
  if (choice == 3 && count > 1) {
    std::memmove(place, place + kRecordBytes, behind - kRecordBytes);
    return size - kRecordBytes;
  }
  if (choice == 4 && count > 1) {
    uint8_t* const other = data + random() % count * kRecordBytes;
    std::array<uint8_t, kRecordBytes> kept;
    std::memcpy(kept.data(), place, kRecordBytes);
    std::memmove(place, other, kRecordBytes);
    std::memcpy(other, kept.data(), kRecordBytes);
    return size;
  }
  if (size + kRecordBytes > size_max) return size;
  Record record = MakeUp(random);
  if (choice == 5 && count > 0)
    std::memcpy(&record, data + random() % count * kRecordBytes, kRecordBytes);
  std::memmove(place + kRecordBytes, place, behind);
  std::memcpy(place, &record, kRecordBytes);
  return size + kRecordBytes;
}

}  // namespace
}  // namespace skyray::fuzz

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  skyray::ConfigureLogging("store_fuzz", skyray::LogLevel::Error);
  return 0;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t size_max,
                                          unsigned int seed) {
  std::mt19937 random(seed);
  if (random() % 3 == 0) return LLVMFuzzerMutate(data, size, size_max);
  for (uint32_t rounds = 1 + random() % 4; rounds > 0; --rounds) {
    size = skyray::fuzz::MutateRecords(data, size, size_max, random);
  }
  return size;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  skyray::fuzz::RunScript({data, size});
  return 0;
}
