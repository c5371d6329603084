// SPDX-License-Identifier: Apache-2.0
#include "object_manager/spill_file.h"

#include <cstring>
#include <string>

namespace skyray::object_manager {
namespace {

constexpr char kMagic[8] = {'s', 'k', 'y', 's', 'p', 'i', 'l', 'l'};
constexpr uint32_t kVersion = 2;
constexpr uint64_t kPageBytes = 4096;
constexpr uint64_t kSmallAlignment = 64;

// The layout on disk; written and read as it is in memory (little-endian).
struct Header {
  char magic[8];
  uint32_t version;
  uint32_t header_bytes;
  uint64_t data_bytes;
  uint64_t metadata_bytes;
  uint8_t object[ObjectId::kSize];
  uint8_t owner[WorkerId::kSize];
  uint64_t sum_low;
  uint64_t sum_high;
  uint64_t zeros[2];
  uint64_t header_sum;
};
static_assert(sizeof(Header) == kSpillHeaderBytes);
static_assert(offsetof(Header, object) == 32 && offsetof(Header, sum_low) == 88 &&
              offsetof(Header, header_sum) == 120);

uint64_t SumOf(const Header& header) {
  return SpillChecksum::Of(
             {reinterpret_cast<const uint8_t*>(&header), offsetof(Header, header_sum)})
      .low;
}

Status Lost(const std::string& what) {
  return Status(ErrorCode::ObjectLost, "the copy is damaged: " + what);
}

}  // namespace

SpillHeader BuildSpillHeader(const SpillRecord& record, const SpillSum& sum) {
  Header header{};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  header.version = kVersion;
  header.header_bytes = kSpillHeaderBytes;
  header.data_bytes = record.data_bytes;
  header.metadata_bytes = record.metadata_bytes;
  std::memcpy(header.object, record.object.data(), ObjectId::kSize);
  std::memcpy(header.owner, record.owner.data(), WorkerId::kSize);
  header.sum_low = sum.low;
  header.sum_high = sum.high;
  header.header_sum = SumOf(header);
  SpillHeader bytes;
  std::memcpy(bytes.data(), &header, sizeof header);
  return bytes;
}

Result<SpillSum> CheckSpillHeader(std::span<const uint8_t> bytes, const SpillRecord& want) {
  if (bytes.size() < kSpillHeaderBytes) {
    return Lost("the file ends within its header");
  }
  Header header;
  std::memcpy(&header, bytes.data(), sizeof header);
  if (std::memcmp(header.magic, kMagic, sizeof kMagic) != 0) {
    return Lost("there is no record where it should be");
  }
  if (header.header_sum != SumOf(header)) {
    return Lost("its header does not match the header's checksum");
  }
  if (header.version != kVersion || header.header_bytes != kSpillHeaderBytes) {
    return Lost("it has version " + std::to_string(header.version) + ", not " +
                std::to_string(kVersion));
  }
  SpillRecord found;
  found.object = ObjectId::FromBytes(header.object);
  found.owner = WorkerId::FromBytes(header.owner);
  found.data_bytes = header.data_bytes;
  found.metadata_bytes = header.metadata_bytes;
  if (found.object != want.object) {
    return Lost("object " + found.object.Hex() + " is in its place");
  }
  if (!(found == want)) {
    return Lost("it has " + std::to_string(found.data_bytes) + " + " +
                std::to_string(found.metadata_bytes) + " bytes of owner " + found.owner.Hex() +
                ", but " + std::to_string(want.data_bytes) + " + " +
                std::to_string(want.metadata_bytes) + " of owner " + want.owner.Hex() +
                " were written");
  }
  return SpillSum{header.sum_low, header.sum_high};
}

Status CheckSpillBytes(const SpillSum& found, const SpillSum& want) {
  if (found == want) return Status();
  return Lost("its bytes do not match their checksum");
}

SpillLayout LayOutSpillFile(std::span<const uint64_t> object_bytes) {
  SpillLayout layout;
  layout.offsets.reserve(object_bytes.size());
  uint64_t end = 0;
  for (const uint64_t bytes : object_bytes) {
    const uint64_t alignment = bytes >= kSpillPageAlignedFrom ? kPageBytes : kSmallAlignment;
    const uint64_t begin = (end + kSpillHeaderBytes + alignment - 1) / alignment * alignment;
    layout.offsets.push_back(begin - kSpillHeaderBytes);
    end = begin + bytes;
  }
  layout.file_bytes = end;
  return layout;
}

}  // namespace skyray::object_manager
