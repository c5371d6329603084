// SPDX-License-Identifier: Apache-2.0
#include "plasma/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <string>

namespace skyray::plasma {

Result<std::shared_ptr<Mapping>> Mapping::Map(int fd, uint64_t bytes, bool writable) {
  const int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
  void* data = mmap(nullptr, bytes, protection, MAP_SHARED, fd, 0);
  if (data == MAP_FAILED) {
    return ErrnoStatus("mapping a store segment of " + std::to_string(bytes) + " bytes", errno);
  }
  // Core dumps without the whole store in them.
  madvise(data, bytes, MADV_DONTDUMP);
  return std::shared_ptr<Mapping>(new Mapping(static_cast<uint8_t*>(data), bytes));
}

Mapping::~Mapping() { munmap(data_, bytes_); }

Result<Segment> Segment::Create(uint64_t bytes) {
  Segment segment;
  segment.fd = UniqueFd(memfd_create("skyray-plasma", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!segment.fd.valid()) return ErrnoStatus("memfd_create", errno);
  if (ftruncate(segment.fd.get(), static_cast<off_t>(bytes)) != 0) {
    return ErrnoStatus("sizing a store segment to " + std::to_string(bytes) + " bytes", errno);
  }
  if (fcntl(segment.fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return ErrnoStatus("sealing the size of a store segment", errno);
  }
  auto mapping = Mapping::Map(segment.fd.get(), bytes, /*writable=*/true);
  if (!mapping) return mapping.error();
  segment.mapping = std::move(*mapping);
  return segment;
}

}  // namespace skyray::plasma
