// SPDX-License-Identifier: Apache-2.0
#include "common/progress_board.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

namespace skyray {
namespace {

constexpr size_t kBytes = ProgressBoard::kPlaces * sizeof(Progress);

Result<Progress*> MapPlaces(int fd) {
  // Pages are there once they are written to.
  void* start = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (start == MAP_FAILED) return ErrnoStatus("mapping the workers' progress", errno);
  return static_cast<Progress*>(start);
}

}  // namespace

Result<ProgressBoard> ProgressBoard::Create() {
  UniqueFd fd(memfd_create("skyray-progress", MFD_CLOEXEC));
  if (!fd.valid() || ftruncate(fd.get(), kBytes) != 0) {
    return ErrnoStatus("making memory for the workers' progress", errno);
  }
  const auto places = MapPlaces(fd.get());
  if (!places) return places.error();
  return ProgressBoard(std::move(fd), *places);
}

Result<ProgressBoard> ProgressBoard::Map(int fd) {
  struct stat about {};
  if (fstat(fd, &about) != 0) return ErrnoStatus("looking at the workers' progress", errno);
  if (about.st_size != static_cast<off_t>(kBytes)) {
    return Status(ErrorCode::InvalidArgument,
                  "descriptor " + std::to_string(fd) + " is no board of the workers' progress");
  }
  const auto places = MapPlaces(fd);
  if (!places) return places.error();
  return ProgressBoard(UniqueFd(), *places);
}

ProgressBoard::~ProgressBoard() {
  if (places_ != nullptr) munmap(places_, kBytes);
}

ProgressBoard::ProgressBoard(ProgressBoard&& other) noexcept
    : fd_(std::move(other.fd_)), places_(std::exchange(other.places_, nullptr)) {}

ProgressBoard& ProgressBoard::operator=(ProgressBoard&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(places_, other.places_);
  return *this;
}

}  // namespace skyray
