// SPDX-License-Identifier: Apache-2.0
#include "object_manager/spill_remote.h"

#include <boost/asio/post.hpp>
#include <boost/json/array.hpp>
#include <utility>

#include "common/logging.h"
#include "object_manager/spill_order.h"

namespace skyray::object_manager {
namespace json = boost::json;

namespace {

std::string TextOf(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : "";
}

Status StatusOf(const json::object& failure) {
  const std::string why = TextOf(failure, "why");
  const ErrorCode code = why == "full"   ? ErrorCode::OutOfDisk
                         : why == "gone" ? ErrorCode::ObjectLost
                                         : ErrorCode::IoError;
  return Status(code, TextOf(failure, "message"));
}

}  // namespace

SpillRemote::SpillRemote(boost::asio::io_context& loop, SpillRemoteOptions options,
                         SegmentSource segments)
    : loop_(loop),
      options_(std::move(options)),
      segments_(std::move(segments)),
      worker_(loop, options_.python, options_.log_path,
              {[this](const json::object& event) { OnEvent(event); },
               [this](const std::string& how) { OnDown(how); }}),
      summer_(loop, "spill sums") {}

SpillRemote::~SpillRemote() {
  // Only a worker can take away what one that has died wrote.
  if (next_file_ > 1 && worker_.pid() == 0) (void)Send({});
}

void SpillRemote::Write(std::vector<SpillPiece> pieces,
                        std::function<void(Result<WrittenFile>)> done) {
  const std::string folder =
      options_.urls[next_url_++ % options_.urls.size()] + "/" + options_.folder;
  const std::string url = folder + "/" + std::to_string(next_file_++) + ".spill";
  std::set<uint32_t> segments;
  for (const SpillPiece& piece : pieces) segments.insert(piece.shared.segment);
  summer_.Run(
      [pieces = std::move(pieces)](const std::stop_token&) { return PrepareSpillOrder(pieces); },
      [this, folder, url, segments = std::move(segments),
       done = std::move(done)](SpillOrder prepared) mutable {
        json::object order;
        order["op"] = "write";
        order["folder"] = folder;
        order["url"] = url;
        order["records"] = std::move(prepared.records);
        order["memory"] = std::move(prepared.memory);
        WrittenFile file{url, std::move(prepared.layout.offsets), prepared.layout.file_bytes,
                         std::move(prepared.lost)};
        Start(std::move(order), std::move(segments),
              [file = std::move(file),
               done = std::move(done)](const Result<json::object>& answer) mutable {
                if (answer) return done(std::move(file));
                // "Gone" is what a folder that cannot be made may be called.
                const bool full = answer.error().code() == ErrorCode::OutOfDisk;
                done(Status(full ? ErrorCode::OutOfDisk : ErrorCode::IoError,
                            "writing " + file.path + ": " + answer.error().message()));
              });
      });
}

void SpillRemote::Read(const SpillPlace& place, const SpillRoom& room,
                       std::function<void(const Status&)> done) {
  json::object order;
  order["op"] = "read";
  order["url"] = place.path;
  order["at"] = place.offset;
  order["header_bytes"] = kSpillHeaderBytes;
  order["memory"] = json::array{SpillMemoryOf(room.shared, room.bytes.size())};
  Start(std::move(order), {room.shared.segment},
        [this, place, room, done = std::move(done)](Result<json::object> answer) mutable {
          if (!answer) return done(RestoreFailed(place, answer.error()));
          CheckRead(place, room, *answer, std::move(done));
        });
}

void SpillRemote::CheckRead(const SpillPlace& place, const SpillRoom& room,
                            const json::object& answer, std::function<void(const Status&)> done) {
  const std::string hex = TextOf(answer, "header");
  std::vector<uint8_t> header(hex.size() / 2);
  if (!HexToBytes(hex, header.data(), header.size())) header.clear();
  const auto want = CheckSpillHeader(header, place.record);
  if (!want) return done(RestoreFailed(place, want.error()));
  summer_.Run(
      [bytes = room.bytes](const std::stop_token&) { return SpillChecksum::OfShared(bytes); },
      [place, want = *want, done = std::move(done)](const std::optional<SpillSum>& sum) {
        const Status status = sum ? CheckSpillBytes(*sum, want) : StoreMemoryGone();
        done(status.ok() ? status : RestoreFailed(place, status));
      });
}

void SpillRemote::Remove(const std::string& path) {
  json::object order;
  order["op"] = "remove";
  order["url"] = path;
  Start(std::move(order), {}, [path](const Result<json::object>& answer) {
    if (answer || answer.error().code() == ErrorCode::ObjectLost) return;
    SKYRAY_LOG(Warning) << "spilling: removing " << path << ": " << answer.error().message();
  });
}

Status SpillRemote::Send(const json::object& order, std::vector<SharedFd> fds) {
  if (worker_.pid() == 0) {
    json::object folders;
    folders["op"] = "folders";
    json::array& all = folders["folders"].emplace_array();
    for (const std::string& url : options_.urls) {
      all.push_back(json::string(url + "/" + options_.folder));
    }
    if (Status status = worker_.Send(folders); !status.ok()) return status;
  }
  return order.empty() ? Status() : worker_.Send(order, std::move(fds));
}

void SpillRemote::Start(json::object order, std::set<uint32_t> segments, Answer answer) {
  const uint64_t id = next_job_++;
  order["job"] = id;
  jobs_[id] = Job{std::move(order), std::move(segments), {}, std::move(answer)};
  // Not at once: nobody expects an answer inside the call.
  boost::asio::post(loop_, [this, alive = std::weak_ptr<int>(alive_), id] {
    if (!alive.expired()) Advance(id);
  });
}

void SpillRemote::Advance(uint64_t id) {
  Job& job = jobs_.at(id);
  for (const uint32_t segment : job.segments) {
    if (shown_.contains(segment) || job.shown.contains(segment)) continue;
    return segments_(segment,
                     [this, alive = std::weak_ptr<int>(alive_), id, segment](Result<SharedFd> fd) {
                       if (!alive.expired()) OnSegment(id, segment, std::move(fd));
                     });
  }
  job.sent = true;
  const Status status = Send(job.order);
  job.order.clear();
  if (!status.ok()) Finish(id, status);
}

void SpillRemote::OnSegment(uint64_t id, uint32_t segment, Result<SharedFd> fd) {
  const auto job = jobs_.find(id);
  if (job == jobs_.end()) return;
  if (!fd) return Finish(id, fd.error());
  json::object order;
  order["op"] = "segment";
  order["segment"] = segment;
  if (const Status status = Send(order, {*fd}); !status.ok()) return Finish(id, status);
  // A fallback segment is another object's next time.
  const bool lasting = segment < plasma::kFallbackSegmentFirst;
  (lasting ? shown_ : job->second.shown).insert(segment);
  Advance(id);
}

void SpillRemote::Finish(uint64_t id, Result<json::object> answer) {
  auto job = jobs_.extract(id);
  if (!job.empty()) job.mapped().answer(std::move(answer));
}

void SpillRemote::OnEvent(const json::object& event) {
  const json::value* job = event.if_contains("job");
  if (job == nullptr || !job->is_int64()) return;  // "ready".
  const auto id = static_cast<uint64_t>(job->get_int64());
  if (TextOf(event, "event") == "done") {
    Finish(id, event);
  } else {
    Finish(id, StatusOf(event));
  }
}

void SpillRemote::OnDown(const std::string& how) {
  SKYRAY_LOG(Warning) << "spilling: " << how;
  shown_.clear();
  std::vector<uint64_t> failed;
  for (auto& [id, job] : jobs_) {
    job.shown.clear();  // The next worker has seen nothing.
    if (job.sent) failed.push_back(id);
  }
  for (const uint64_t id : failed) Finish(id, Status(ErrorCode::Disconnected, how));
}

}  // namespace skyray::object_manager
