// SPDX-License-Identifier: Apache-2.0
#include "plasma/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <utility>

#include "common/byte_size.h"
#include "common/logging.h"
#include "plasma/allocator.h"

namespace skyray::plasma {
namespace {

// More than any file system holds; rounding up cannot overflow below.
constexpr uint64_t kSegmentBytesMax = uint64_t{1} << 60;

// A file without a name. Some file systems want it made and unlinked instead.
Result<UniqueFd> OpenUnnamed(const std::string& directory) {
  UniqueFd file(open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC | O_EXCL, 0600));
  if (!file.valid() && (errno == EOPNOTSUPP || errno == EISDIR)) {
    std::string path = directory + "/skyray-plasma-XXXXXX";
    file = UniqueFd(mkostemp(path.data(), O_CLOEXEC));
    if (file.valid()) unlink(path.c_str());
  }
  if (!file.valid()) return ErrnoStatus("making a file in the directory " + directory, errno);
  return file;
}

Status NoRoom(const std::string& directory, uint64_t bytes, const struct statfs& system) {
  const uint64_t free_bytes = system.f_bavail * static_cast<uint64_t>(system.f_bsize);
  return Status(ErrorCode::OutOfDisk, "no room in the directory " + directory + ": " +
                                          ByteSize(bytes) + " are needed, " + ByteSize(free_bytes) +
                                          " are free");
}

// fallocate(2) itself: what glibc's posix_fallocate does where a file system
// cannot (write to every block) would take minutes.
Status Reserve(int fd, const std::string& directory, uint64_t bytes, const struct statfs& system) {
  int result = 0;
  do {
    result = fallocate(fd, 0, 0, static_cast<off_t>(bytes));
  } while (result != 0 && errno == EINTR);
  if (result == 0) return Status();
  if (errno == ENOSPC || errno == EDQUOT || errno == EFBIG) {
    return NoRoom(directory, bytes, system);
  }
  if (errno == EOPNOTSUPP) {
    return Status(ErrorCode::InvalidArgument,
                  "the file system of " + directory +
                      " cannot reserve room for a file (fallocate), so a full disk could end " +
                      "whoever writes there; name a directory on ext4, xfs, btrfs or tmpfs");
  }
  return ErrnoStatus("reserving " + ByteSize(bytes) + " in " + directory, errno);
}

Status TooFewHugePages(uint64_t bytes, uint64_t page_bytes, const std::string& place,
                       const Status& why) {
  const std::string pages = std::to_string(bytes / page_bytes);
  return Status(ErrorCode::OutOfMemory,
                "the store's " + ByteSize(bytes) + " in " + place + " need " + pages +
                    " free huge pages of " + ByteSize(page_bytes) + ", which could not be had (" +
                    why.message() +
                    "); as root, raise vm.nr_hugepages by that (sysctl; HugePages_Free in " +
                    "/proc/meminfo tells how many are left), or do without huge pages");
}

Result<Segment> Finish(Segment segment, uint64_t bytes) {
  auto mapping = Mapping::Map(segment.fd->get(), bytes, /*writable=*/true);
  if (!mapping) return mapping.error();
  segment.mapping = std::move(*mapping);
  return segment;
}

// Pages are reserved when they are mapped, which fails if there are too few.
Result<Segment> FinishHuge(Segment segment, uint64_t page_bytes, uint64_t bytes_wanted,
                           const std::string& place) {
  const uint64_t bytes = WholePages(bytes_wanted, page_bytes);
  if (ftruncate(segment.fd->get(), static_cast<off_t>(bytes)) != 0) {
    return ErrnoStatus("sizing a store segment of huge pages to " + ByteSize(bytes), errno);
  }
  auto mapping = Mapping::Map(segment.fd->get(), bytes, /*writable=*/true);
  if (!mapping) return TooFewHugePages(bytes, page_bytes, place, mapping.error());
  segment.mapping = std::move(*mapping);
  return segment;
}

Status SealSize(int fd) {
  if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0) return Status();
  return ErrnoStatus("sealing the size of a store segment", errno);
}

Result<Segment> CreateHugeMemfd(uint64_t bytes) {
  Segment segment;
  segment.fd =
      Share(UniqueFd(memfd_create("skyray-plasma", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB)));
  if (!segment.fd->valid()) {
    return ErrnoStatus("memfd_create with huge pages (does this kernel have them?)", errno);
  }
  struct statfs system = {};
  if (fstatfs(segment.fd->get(), &system) != 0) return ErrnoStatus("fstatfs of a memfd", errno);
  auto finished = FinishHuge(std::move(segment), static_cast<uint64_t>(system.f_bsize), bytes,
                             "a memfd of huge pages");
  if (!finished) return finished;
  if (Status status = SealSize(finished->fd->get()); !status.ok()) return status;
  return finished;
}

Result<Segment> CreateMemfd(uint64_t bytes) {
  Segment segment;
  segment.can_give_back = true;
  segment.fd = Share(UniqueFd(memfd_create("skyray-plasma", MFD_CLOEXEC | MFD_ALLOW_SEALING)));
  if (!segment.fd->valid()) return ErrnoStatus("memfd_create", errno);
  if (ftruncate(segment.fd->get(), static_cast<off_t>(bytes)) != 0) {
    return ErrnoStatus("sizing a store segment to " + ByteSize(bytes), errno);
  }
  if (Status status = SealSize(segment.fd->get()); !status.ok()) return status;
  return Finish(std::move(segment), bytes);
}

Result<Segment> CreateInDirectory(const SegmentOptions& options) {
  Segment segment;
  auto file = OpenUnnamed(options.directory);
  if (!file) return file.error();
  segment.fd = Share(std::move(*file));
  struct statfs system = {};
  if (fstatfs(segment.fd->get(), &system) != 0) {
    return ErrnoStatus("fstatfs of the directory " + options.directory, errno);
  }
  if (system.f_type == HUGETLBFS_MAGIC) {
    return FinishHuge(std::move(segment), static_cast<uint64_t>(system.f_bsize), options.bytes,
                      options.directory);
  }
  if (options.huge_pages) {
    return Status(ErrorCode::InvalidArgument,
                  "huge pages are wanted, but the directory " + options.directory +
                      " is not on hugetlbfs; mount one there (mount -t hugetlbfs none " +
                      options.directory + "), or name no directory");
  }
  if (options.bytes > kSegmentBytesMax) return NoRoom(options.directory, options.bytes, system);
  const uint64_t bytes = WholePages(options.bytes, kPageBytes);
  Status reserved = Reserve(segment.fd->get(), options.directory, bytes, system);
  if (!reserved.ok()) return reserved;
  return Finish(std::move(segment), bytes);
}

}  // namespace

uint64_t WholePages(uint64_t bytes, uint64_t page_bytes) {
  return std::max(page_bytes, (bytes + page_bytes - 1) / page_bytes * page_bytes);
}

Result<std::shared_ptr<Mapping>> Mapping::Map(int fd, uint64_t bytes, bool writable) {
  // Behind the end of what is mapped there is SIGBUS; whose descriptor it is may be wrong.
  struct stat found = {};
  if (fstat(fd, &found) != 0) return ErrnoStatus("looking at a store segment", errno);
  if (static_cast<uint64_t>(found.st_size) < bytes) {
    return Status(ErrorCode::InvalidArgument, "mapping a store segment of " +
                                                  std::to_string(bytes) + " bytes: it has only " +
                                                  std::to_string(found.st_size));
  }
  const int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
  void* data = mmap(nullptr, bytes, protection, MAP_SHARED, fd, 0);
  if (data == MAP_FAILED) {
    return ErrnoStatus("mapping a store segment of " + std::to_string(bytes) +
                           " bytes (ulimit -v and vm.max_map_count bound what can be mapped)",
                       errno);
  }
  // Core dumps without the whole store in them.
  madvise(data, bytes, MADV_DONTDUMP);
  return std::shared_ptr<Mapping>(new Mapping(static_cast<uint8_t*>(data), bytes));
}

Result<std::shared_ptr<Mapping>> Mapping::MapCopyOnWrite(int fd, uint64_t offset, uint64_t bytes) {
  struct statfs system = {};
  if (fstatfs(fd, &system) != 0) return ErrnoStatus("looking at a store segment", errno);
  if (system.f_type == HUGETLBFS_MAGIC) {
    return Status(ErrorCode::InvalidArgument, "huge pages cannot be copied when written to");
  }
  // Not reserved: most of it is never written.
  constexpr int kFlags = MAP_PRIVATE | MAP_NORESERVE;
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, kFlags, fd, static_cast<off_t>(offset));
  if (data == MAP_FAILED) {
    return ErrnoStatus("mapping " + std::to_string(bytes) + " bytes of a store segment", errno);
  }
  madvise(data, bytes, MADV_DONTDUMP);
  return std::shared_ptr<Mapping>(new Mapping(static_cast<uint8_t*>(data), bytes));
}

void Mapping::MakePrivate(int fd) const {
  constexpr int kFlags = MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE;
  if (mmap(data_, bytes_, PROT_READ | PROT_WRITE, kFlags, fd, 0) != MAP_FAILED) return;
  // Then rather none: the address range stays, and writing there faults.
  mprotect(data_, bytes_, PROT_NONE);
}

Mapping::~Mapping() { munmap(data_, bytes_); }

Result<Segment> Segment::Create(const SegmentOptions& options) {
  if (!options.directory.empty()) return CreateInDirectory(options);
  if (options.huge_pages) return CreateHugeMemfd(options.bytes);
  return CreateMemfd(WholePages(options.bytes, kPageBytes));
}

Result<Segment> Segment::CreateFallback(const std::string& directory, uint64_t bytes) {
  return CreateInDirectory({.bytes = bytes, .directory = directory, .huge_pages = false});
}

Status Segment::GiveBack(uint64_t offset, uint64_t bytes) const {
  SKYRAY_CHECK(can_give_back && offset + bytes <= mapping->bytes());
  const int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  if (fallocate(fd->get(), mode, static_cast<off_t>(offset), static_cast<off_t>(bytes)) == 0) {
    return Status();
  }
  return ErrnoStatus("giving " + ByteSize(bytes) + " of a store segment back", errno);
}

}  // namespace skyray::plasma
