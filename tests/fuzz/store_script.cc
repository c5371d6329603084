// SPDX-License-Identifier: Apache-2.0
#include "store_script.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "fake_ipc.h"
#include "plasma/store_server.h"
#include "plasma/wire.h"
#include "store_audit.h"
#include "store_peer.h"

// In place of the C library's: what a script puts into fallback memory is not reserved, whose
// pages would take as much time as all the rest. Nobody else wants the room.
extern "C" int fallocate(int fd, int mode, off_t offset, off_t bytes) {
  if (mode == 0) return ftruncate(fd, offset + bytes);
  return static_cast<int>(syscall(SYS_fallocate, fd, mode, offset, bytes));
}

namespace skyray::fuzz {
namespace {

constexpr size_t kClients = 4;
constexpr size_t kIds = 24;  // More than a frame has descriptors.
constexpr size_t kRecordsMax = 256;
constexpr size_t kRecordsPerAudit = 8;

uint64_t SizeFrom(uint32_t choice) {
  // Around what the allocator rounds to, what the store has, and what overflows.
  constexpr std::array<uint64_t, 18> kSizes{0,
                                            1,
                                            63,
                                            64,
                                            65,
                                            4096,
                                            100000,
                                            256 << 10,
                                            300000,
                                            400000,
                                            512 << 10,
                                            (1 << 20) - 64,
                                            1 << 20,
                                            (1 << 20) + 1,
                                            2 << 20,
                                            uint64_t{1} << 40,
                                            UINT64_MAX - 63,
                                            UINT64_MAX};
  if (choice % 4 == 3) return choice >> 8;
  return kSizes[(choice >> 2) % kSizes.size()];
}

template <class IdType>
IdType IdFrom(uint32_t number) {
  std::array<uint8_t, IdType::kSize> bytes{};
  bytes[0] = static_cast<uint8_t>(number);
  bytes[IdType::kSize - 1] = 0x51;
  return IdType::FromBytes(bytes.data());
}

ObjectId ObjectFrom(uint32_t number) { return IdFrom<ObjectId>(number % kIds); }
WorkerId OwnerFrom(const Record& record) { return IdFrom<WorkerId>(record.flags >> kOwnerShift); }

Status NoDisk() { return Status(ErrorCode::IoError, "there is no disk"); }

class Run {
 public:
  explicit Run(const Record& options) : server_(StartStore(options)) {}
  ~Run() {
    for (int i = 0; i < 4; ++i) {
      SetClockMs(ClockMs() + (1 << 20));
      Turn();
      for (Peer& peer : peers_) peer.Read();
    }
    for (Peer& peer : peers_) peer.ExpectAnswers();
    for (Peer& peer : peers_) peer.Leave();
    LeaveLocal();
    AuditIdle(*server_);
    server_.reset();
    Turn();
  }
  void Do(const Record& record, std::span<const uint8_t> rest);
  void Check() const { Audit(*server_); }

 private:
  static boost::asio::io_context& Loop() {
    static boost::asio::io_context loop{1};
    return loop;
  }
  static void Turn() {
    Loop().restart();
    Loop().poll();
  }
  static std::unique_ptr<plasma::StoreServer> StartStore(const Record& options);

  void DoLocal(const Record& record);
  void DoSpill(const Record& record);
  std::vector<ObjectId> TakeSpilling(size_t objects_max);
  void LeaveLocal();
  std::vector<ObjectId> AllRestoring() const;
  void Say(const Record& record);

  std::unique_ptr<plasma::StoreServer> server_;
  std::array<Peer, kClients> peers_;
  // What the process around the store may do something with.
  std::set<ObjectId> local_creating_;
  std::multiset<ObjectId> local_references_;
  std::vector<ObjectId> spilling_;
  std::set<ObjectId> restoring_;
  volatile int sink_ = 0;
};

std::unique_ptr<plasma::StoreServer> Run::StartStore(const Record& record) {
  plasma::StoreOptions options;
  options.capacity_bytes = 1 << 20;
  options.socket_path = "nowhere";
  options.create_grace_ms = record.a % 3 == 0 ? 0 : record.a % 5000;
  options.spilling = (record.flags & 1) != 0;
  if ((record.flags & 2) != 0) options.fallback_directory = "/dev/shm";
  if ((record.flags & 4) != 0) {
    options.capacity_bytes = 2 << 20;
    options.segment_bytes_max = 1 << 20;
  }
  options.give_back_after_ms = (record.flags & 8) != 0 ? 100 : 0;
  auto started = plasma::StoreServer::Start(Loop(), options, nullptr);
  if (!started) Fail("no store: " + started.error().message());
  return std::move(*started);
}

std::vector<ObjectId> Run::AllRestoring() const {
  std::vector<ObjectId> ids;
  const plasma::ObjectTable& table = server_->objects().table();
  for (plasma::ObjectIndex index = 0; index < table.end_index(); ++index) {
    const plasma::LocalObject* object = table.Peek(index);
    if (object == nullptr || object->state != plasma::ObjectState::Restoring) continue;
    ids.push_back(object->object.id);
  }
  return ids;
}

void Run::LeaveLocal() {
  // Those that wait are served now, when nobody else is there.
  for (int i = 0; i < 4; ++i) {
    SetClockMs(ClockMs() + (1 << 20));
    Turn();
    server_->SpillFailed(TakeSpilling(SIZE_MAX), NoDisk());
    // Also those that a client's get asked for, of which nobody took notice.
    for (const ObjectId& id : AllRestoring()) server_->Lose(id, NoDisk());
    restoring_.clear();
    for (const ObjectId& id : std::exchange(local_creating_, {})) server_->Abort(id);
    for (const ObjectId& id : std::exchange(local_references_, {})) server_->Release(id);
  }
}

void Run::DoLocal(const Record& record) {
  const ObjectId id = ObjectFrom(record.id);
  switch (record.op) {
    case Op::LocalCreate: {
      plasma::NewObject object;
      object.id = id;
      object.owner = OwnerFrom(record);
      object.data_bytes = SizeFrom(record.a);
      object.primary = (record.flags & kPrimary) != 0;
      return server_->Create(object, [this, id](Result<std::span<uint8_t>> room) {
        if (!room) return;
        // It must be there, all of it.
        if (!room->empty()) room->front() = room->back() = 1;
        local_creating_.insert(id);
      });
    }
    case Op::LocalSeal:
      local_creating_.erase(id);
      return server_->Seal(id);
    case Op::LocalAbort:
      local_creating_.erase(id);
      return server_->Abort(id);
    case Op::LocalGet:
      return server_->Get(id, record.a % 10000,
                          [this, id](std::optional<plasma::PinnedObject> object) {
                            if (object) local_references_.insert(id);
                          });
    case Op::LocalRelease:
      if (const auto held = local_references_.find(id); held != local_references_.end()) {
        local_references_.erase(held);
      }
      return server_->Release(id);
    case Op::LocalDelete: {
      const std::vector<ObjectId> ids{id, ObjectFrom(record.a)};
      return server_->Delete(ids);
    }
    case Op::OwnerDied:
      return server_->OwnerDied(OwnerFrom(record));
    default:
      return DoSpill(record);
  }
}

std::vector<ObjectId> Run::TakeSpilling(size_t objects_max) {
  const auto end =
      spilling_.begin() + static_cast<ptrdiff_t>(std::min(spilling_.size(), objects_max));
  const std::vector<ObjectId> taken(spilling_.begin(), end);
  spilling_.erase(spilling_.begin(), end);
  return taken;
}

void Run::DoSpill(const Record& record) {
  const ObjectId id = ObjectFrom(record.id);
  switch (record.op) {
    case Op::TakeSpillable:
      for (const auto& object : server_->TakeSpillable(SizeFrom(record.a), record.b % 8)) {
        const size_t bytes = object.bytes.size();
        if (bytes != object.object.total_bytes()) Fail("what is to be spilled has another size");
        // It must be there, all of it.
        if (bytes > 0) sink_ = object.bytes.front() + object.bytes.back();
        spilling_.push_back(object.object.id);
      }
      return;
    case Op::Spilled:
      return server_->Spilled(TakeSpilling(1 + record.a % 4));
    case Op::SpillFailed:
      return server_->SpillFailed(TakeSpilling(1 + record.a % 4), NoDisk());
    case Op::Restore:
      return server_->Restore(id, [this, id](Result<plasma::RestoreRoom> room) {
        if (!room) return;
        if (!room->bytes.empty()) room->bytes.front() = room->bytes.back() = 1;
        restoring_.insert(id);
      });
    case Op::Restored:
      if (restoring_.erase(id) > 0) server_->Seal(id);
      return;
    default:
      restoring_.erase(id);
      return server_->Lose(id, NoDisk());
  }
}

void Run::Say(const Record& record) {
  namespace fbp = fb::plasma;
  flatbuffers::FlatBufferBuilder builder(256);
  Peer& peer = peers_[record.client % kClients];
  const auto say = [&](fbp::Body type, auto body) {
    const uint64_t request_id =
        (record.flags & kOldRequestId) != 0 ? record.c % 8 : peer.NextRequest();
    builder.Finish(fbp::CreateMessage(builder, request_id, type, body.Union()));
    peer.Say({builder.GetBufferPointer(), builder.GetSize()});
  };
  const ObjectId id = ObjectFrom(record.id);
  const auto ids = [&] {
    std::vector<fbp::Id> wire;
    for (uint32_t i = 0; i < 32; ++i) {
      if ((record.a >> i & 1) != 0) wire.push_back(*plasma::ToWire(ObjectFrom(record.id + i)));
    }
    return builder.CreateVectorOfStructs(wire);
  };
  const auto timeout_ms = static_cast<int32_t>(record.b);
  const bool flag = (record.flags & kKeepReference) != 0;
  switch (record.op) {
    case Op::Create: {
      const uint64_t metadata = (record.flags & kMetadata) != 0 ? SizeFrom(record.b) : 0;
      const WorkerId owner = OwnerFrom(record);
      return say(fbp::Body::CreateObject,
                 fbp::CreateCreateObject(builder, plasma::ToWire(id), plasma::ToWire(owner),
                                         SizeFrom(record.a), (record.flags & kPrimary) != 0,
                                         metadata, (record.flags & kTryImmediately) != 0));
    }
    case Op::CreateRetry:
      return say(fbp::Body::CreateRetry,
                 fbp::CreateCreateRetry(builder, record.c % 16,
                                        record.a % 3 == 0 ? UINT64_MAX : record.a));
    case Op::Seal:
      return say(fbp::Body::Seal, fbp::CreateSeal(builder, plasma::ToWire(id), flag));
    case Op::Abort:
      return say(fbp::Body::Abort, fbp::CreateAbort(builder, plasma::ToWire(id)));
    case Op::Get:
      return say(fbp::Body::Get, fbp::CreateGet(builder, ids(), timeout_ms));
    case Op::Release:
      return say(fbp::Body::Release, fbp::CreateRelease(builder, plasma::ToWire(id)));
    case Op::Delete:
      return say(fbp::Body::Delete, fbp::CreateDelete(builder, ids()));
    case Op::Contains:
      return say(fbp::Body::Contains, fbp::CreateContains(builder, plasma::ToWire(id)));
    case Op::GetDebugState:
      return say(fbp::Body::GetDebugState, fbp::CreateGetDebugState(builder));
    case Op::GetStats:
      return say(fbp::Body::GetStats, fbp::CreateGetStats(builder));
    case Op::List:
      return say(fbp::Body::List,
                 fbp::CreateList(builder, record.b % 16 == 0 ? record.b : record.b % 16, record.a));
    case Op::Evict:
      return say(fbp::Body::Evict, fbp::CreateEvict(builder, SizeFrom(record.a)));
    default:
      return say(fbp::Body::ContainsReply, fbp::CreateContainsReply(builder, flag));
  }
}

void Run::Do(const Record& record, std::span<const uint8_t> rest) {
  Peer& peer = peers_[record.client % kClients];
  switch (record.op) {
    case Op::Connect:
      // Of another version, now and then.
      peer.Join(record.a % 16 == 15 ? record.b : plasma::kProtocolVersion - record.a % 2);
      break;
    case Op::Disconnect:
      peer.Leave();
      break;
    case Op::Read:
      peer.Read();
      break;
    case Op::Advance:
      SetClockMs(ClockMs() + record.a % (1 << 14));
      break;
    case Op::Raw:
      peer.SayBytes(rest.subspan(0, std::min<size_t>(record.a % 1024, rest.size())));
      break;
    case Op::Corrupt:
      peer.CorruptNext(record.a, record.b);
      break;
    case Op::Cut:
      peer.CutNext(record.a);
      break;
    default:
      if (record.op >= Op::LocalCreate) {
        DoLocal(record);
      } else {
        // The script need not say what is clear; and may say Connect in another way.
        peer.JoinOnce(plasma::kProtocolVersion);
        Say(record);
      }
  }
  Turn();
}

}  // namespace

void Fail(const std::string& what) {
  fprintf(stderr, "\nskyray fuzz: %s\n", what.c_str());
  abort();
}

void RunScript(std::span<const uint8_t> script) {
  Record record;
  if (script.size() < sizeof record) return;
  std::memcpy(&record, script.data(), sizeof record);
  SetClockMs(1000000);
  Run run(record);
  size_t done = 0;
  for (size_t at = sizeof record; at + sizeof record <= script.size() && done < kRecordsMax;) {
    std::memcpy(&record, script.data() + at, sizeof record);
    at += sizeof record;
    record.op = static_cast<Op>(static_cast<uint8_t>(record.op) % static_cast<uint8_t>(Op::kCount));
    const auto rest = script.subspan(at);
    run.Do(record, rest);
    if (record.op == Op::Raw) at += std::min<size_t>(record.a % 1024, rest.size());
    if (++done % kRecordsPerAudit == 0) run.Check();
  }
}

}  // namespace skyray::fuzz
