// SPDX-License-Identifier: Apache-2.0
#include "object_manager/spill_disk.h"

#include <errno.h>
#include <fcntl.h>

#include <algorithm>
#include <deque>

#include "common/logging.h"
#include "object_manager/spill_file.h"
#include "object_manager/spill_sums.h"

namespace skyray::object_manager {
namespace {

// Large writes make large folios in the page cache, which are read faster later. A
// folio begins at a multiple of its size, so pieces end where a folio would.
constexpr uint64_t kPieceBytes = 1 << 20;
constexpr size_t kPartsMax = 512;
constexpr uint8_t kPadding[64] = {};

Status CallFailed(const std::string& what, int error) {
  Status status = ErrnoStatus(what, error);
  if (error == ENOSPC || error == EDQUOT || error == EFBIG) {
    return Status(ErrorCode::OutOfDisk, status.message());
  }
  return status;
}

// Of a piece at `offset` of a file.
uint64_t UpToBoundary(uint64_t offset) { return kPieceBytes - offset % kPieceBytes; }

// One file in the making: consecutive small parts go out in one call.
class Writer {
 public:
  Writer(FileCalls& calls, int fd, const std::string& path, std::span<const SpillPiece> pieces,
         const std::stop_token& stop)
      : calls_(calls), fd_(fd), path_(path), stop_(stop), pieces_(pieces), sums_(pieces) {}

  // False: the piece's memory cannot be read.
  Result<bool> Put(size_t i, uint64_t offset) {
    const SpillPiece& piece = pieces_[i];
    if (piece.bytes.size() > kPieceBytes) return PutLarge(i, offset);
    if (!parts_.empty() && (offset < end() || offset - end() > sizeof kPadding ||
                            parts_.size() + 3 > kPartsMax || bytes_ >= kPieceBytes)) {
      if (Status status = Flush(); !status.ok()) return status;
    }
    if (parts_.empty()) offset_ = offset;
    const auto sum = sums_.Of(i);
    if (!sum) return false;
    headers_.push_back(BuildSpillHeader(piece.record, *sum));
    Add({kPadding, offset - end()});
    Add(headers_.back());
    Add(piece.bytes);
    return true;
  }

  Status Flush() {
    const auto written = WriteAll(parts_, offset_);
    parts_.clear();
    headers_.clear();
    bytes_ = 0;
    if (!written) return written.error();
    return *written ? Status() : StoreMemoryGone();
  }

 private:
  uint64_t end() const { return offset_ + bytes_; }

  void Add(std::span<const uint8_t> bytes) {
    if (bytes.empty()) return;
    parts_.push_back({const_cast<uint8_t*>(bytes.data()), bytes.size()});
    bytes_ += bytes.size();
  }

  Result<bool> PutLarge(size_t i, uint64_t offset) {
    if (Status status = Flush(); !status.ok()) return status;
    // Summed first, it is written out of the cache.
    if (!sums_.helped() && !sums_.Of(i)) return false;
    uint64_t at = offset + kSpillHeaderBytes;
    for (std::span<const uint8_t> rest = pieces_[i].bytes; !rest.empty();) {
      const auto chunk = rest.first(std::min<size_t>(rest.size(), UpToBoundary(at)));
      iovec part{const_cast<uint8_t*>(chunk.data()), chunk.size()};
      const auto written = WriteAll({&part, 1}, at);
      if (!written || !*written) return written;
      at += chunk.size();
      rest = rest.subspan(chunk.size());
    }
    const auto sum = sums_.Of(i);
    if (!sum) return false;
    SpillHeader header = BuildSpillHeader(pieces_[i].record, *sum);
    iovec part{header.data(), header.size()};
    return WriteAll({&part, 1}, offset);
  }

  // False: some of the parts' memory cannot be read.
  Result<bool> WriteAll(std::span<iovec> parts, uint64_t offset) {
    while (!parts.empty()) {
      if (stop_.stop_requested()) return Status(ErrorCode::Cancelled, "this node is stopping");
      const ssize_t written = calls_.Write(fd_, parts, offset);
      if (written == -EINTR) continue;
      if (written == -EFAULT) return false;
      if (written < 0) return CallFailed("writing to " + path_, static_cast<int>(-written));
      // Nothing written and no reason: what a full disk says on some systems.
      if (written == 0) return CallFailed("writing to " + path_, ENOSPC);
      offset += static_cast<uint64_t>(written);
      auto left = static_cast<size_t>(written);
      while (!parts.empty() && left >= parts.front().iov_len) {
        left -= parts.front().iov_len;
        parts = parts.subspan(1);
      }
      if (left > 0) {
        parts.front().iov_base = static_cast<uint8_t*>(parts.front().iov_base) + left;
        parts.front().iov_len -= left;
      }
    }
    return true;
  }

  FileCalls& calls_;
  const int fd_;
  const std::string& path_;
  const std::stop_token& stop_;
  const std::span<const SpillPiece> pieces_;
  SpillSums sums_;
  std::vector<iovec> parts_;
  std::deque<SpillHeader> headers_;  // Where `parts_` point; they do not move.
  uint64_t offset_ = 0;
  uint64_t bytes_ = 0;
};

// The pieces that are lost.
Result<std::vector<size_t>> Fill(FileCalls& calls, int fd, const std::string& path,
                                 const SpillLayout& layout, std::span<const SpillPiece> pieces,
                                 bool sync, const std::stop_token& stop) {
  int reserved = calls.Allocate(fd, layout.file_bytes);
  while (reserved == -EINTR) reserved = calls.Allocate(fd, layout.file_bytes);
  // Some file systems cannot; there, a full disk is found while writing.
  if (reserved < 0 && reserved != -EOPNOTSUPP && reserved != -ENOSYS) {
    return CallFailed("reserving " + std::to_string(layout.file_bytes) + " bytes for " + path,
                      -reserved);
  }
  Writer writer(calls, fd, path, pieces, stop);
  std::vector<size_t> lost;
  for (size_t i = 0; i < pieces.size(); ++i) {
    const auto put = writer.Put(i, layout.offsets[i]);
    if (!put) return put.error();
    if (!*put) lost.push_back(i);
  }
  if (Status status = writer.Flush(); !status.ok()) return status;
  const int synced = sync ? calls.Sync(fd) : 0;
  if (synced < 0) return CallFailed("syncing " + path, -synced);
  return lost;
}

}  // namespace

SpillDisk::SpillDisk(FileCalls& calls, SpillDiskOptions options)
    : calls_(calls), options_(std::move(options)) {}

Result<WrittenFile> SpillDisk::Write(std::span<const SpillPiece> pieces,
                                     const std::stop_token& stop) {
  const size_t count = options_.directories.size();
  ErrorCode code = ErrorCode::OutOfDisk;
  std::string reasons = count == 0 ? "there is no directory to spill to" : "";
  for (size_t tried = 0; tried < count; ++tried) {
    const std::string& directory = options_.directories[next_directory_ % count];
    ++next_directory_;
    auto written = WriteIn(directory + "/" + options_.folder, pieces, stop);
    if (written || written.error().code() == ErrorCode::Cancelled) return written;
    if (written.error().code() != ErrorCode::OutOfDisk) code = written.error().code();
    reasons += (tried == 0 ? "" : "; ") + written.error().message();
  }
  return Status(code, reasons);
}

Result<WrittenFile> SpillDisk::WriteIn(const std::string& folder,
                                       std::span<const SpillPiece> pieces,
                                       const std::stop_token& stop) {
  const std::string number = std::to_string(next_file_++);
  const std::string temporary = folder + "/." + number + ".tmp";
  constexpr int kFlags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
  int fd = calls_.Open(temporary, kFlags);
  if (fd == -ENOENT) {
    // The first file in this directory, or somebody has taken the folder away.
    const int made = calls_.MakeDirectory(folder);
    if (made < 0 && made != -EEXIST) return CallFailed("making the folder " + folder, -made);
    fd = calls_.Open(temporary, kFlags);
  }
  if (fd < 0) return CallFailed("creating " + temporary, -fd);

  std::vector<uint64_t> sizes;
  sizes.reserve(pieces.size());
  for (const SpillPiece& piece : pieces) sizes.push_back(piece.bytes.size());
  SpillLayout layout = LayOutSpillFile(sizes);
  WrittenFile file{folder + "/" + number + ".spill", {}, layout.file_bytes, {}};

  auto lost = Fill(calls_, fd, temporary, layout, pieces, options_.sync, stop);
  Status status = lost ? Status() : lost.error();
  // Network file systems tell of failed writes only here.
  if (const int closed = calls_.Close(fd); closed < 0 && status.ok()) {
    status = CallFailed("closing " + temporary, -closed);
  }
  if (status.ok()) {
    const int renamed = calls_.Rename(temporary, file.path);
    if (renamed < 0) status = CallFailed("renaming " + temporary, -renamed);
  }
  if (status.ok()) {
    file.offsets = std::move(layout.offsets);
    file.lost = std::move(*lost);
    return file;
  }
  if (const Status removed = RemoveSpilled(calls_, temporary); !removed.ok()) {
    SKYRAY_LOG(Warning) << "left behind after a failed spill: " << removed.message();
  }
  return status;
}

Status RemoveSpilled(FileCalls& calls, const std::string& path) {
  int removed = calls.Remove(path);
  while (removed == -EINTR) removed = calls.Remove(path);
  if (removed < 0 && removed != -ENOENT) return CallFailed("removing " + path, -removed);
  return Status();
}

}  // namespace skyray::object_manager
