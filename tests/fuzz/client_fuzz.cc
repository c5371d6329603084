// SPDX-License-Identifier: Apache-2.0
// Fuzz target: a client and a store that answers anything. The input is a script,
// read by both sides in turn: what the client asks next, and, whenever it waits, what
// it is sent: a reply of some kind with fields as likely as not, a segment that is
// what it is said to be or not, bytes without sense, the end. What a client is given
// it reads and writes, so memory that is not there is found.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "common/logging.h"
#include "ipc/fd_passing.h"
#include "ipc/frame.h"
#include "plasma/client.h"
#include "plasma/wire.h"

namespace skyray::fuzz {
namespace {

using fb::plasma::Body;

constexpr uint64_t kSegmentBytes = 1 << 16;
constexpr size_t kIds = 4;
constexpr size_t kFdsAtOnceMax = 3;
constexpr uint32_t kAnswersMax = 64;

[[noreturn]] void Fail(const char* what) {
  std::fprintf(stderr, "client_fuzz: %s\n", what);
  std::abort();
}

// The input, byte by byte; zeros after its end.
class Script {
 public:
  explicit Script(std::span<const uint8_t> bytes) : rest_(bytes) {}

  bool done() const { return rest_.empty(); }
  uint8_t Byte() {
    if (rest_.empty()) return 0;
    const uint8_t byte = rest_.front();
    rest_ = rest_.subspan(1);
    return byte;
  }
  std::span<const uint8_t> Bytes(size_t count) {
    const auto bytes = rest_.first(std::min(count, rest_.size()));
    rest_ = rest_.subspan(bytes.size());
    return bytes;
  }
  // A number as they often matter: small, about a segment's size, all bits.
  uint64_t Number() {
    const uint8_t kind = Byte();
    switch (kind % 8) {
      case 0:
        return UINT64_MAX - kind / 8;
      case 1:
        return kSegmentBytes - kind / 8;
      case 2:
        return kSegmentBytes + kind / 8;
      case 3:
        return uint64_t{Byte()} << (kind / 8 * 2);
      case 4:
        return 64u * (kind / 8u);
      default:
        return kind / 8;
    }
  }

 private:
  std::span<const uint8_t> rest_;
};

ObjectId IdOf(uint8_t which) {
  std::array<uint8_t, ObjectId::kSize> bytes{};
  bytes[0] = static_cast<uint8_t>(which % kIds + 1);
  return ObjectId::FromBytes(bytes.data());
}

// The store's side: it listens at a path of its own, one client at a time.
class Store {
 public:
  Store() {
    char name[] = "/tmp/client-fuzz-XXXXXX";
    if (mkdtemp(name) == nullptr) Fail("no folder");
    path_ = std::string(name) + "/store.sock";
    listener_ = UniqueFd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path_.c_str(), path_.size() + 1);
    if (bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
        listen(listener_.get(), 8) != 0) {
      Fail("no socket");
    }
    whole_ = UniqueFd(memfd_create("whole", MFD_CLOEXEC));
    short_ = UniqueFd(memfd_create("short", MFD_CLOEXEC));
    other_ = UniqueFd(open("/dev/null", O_RDWR | O_CLOEXEC));
    if (ftruncate(whole_.get(), kSegmentBytes) != 0 || ftruncate(short_.get(), 4096) != 0) {
      Fail("no memory");
    }
    std::atexit([] {
      unlink(path_.c_str());
      rmdir(path_.substr(0, path_.rfind('/')).c_str());
    });
  }

  const std::string& path() const { return path_; }
  void Begin(Script* script) {
    script_ = script;
    next_request_ = 1;
    answers_ = 0;
    socket_ = UniqueFd();
  }
  void End() { socket_ = UniqueFd(); }

  // The client waits. False: it is to give up.
  bool Answer() {
    if (!socket_.valid()) {
      socket_ = UniqueFd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (!socket_.valid()) Fail("nobody to accept");
    }
    // What comes is of no interest but must not fill the socket. Ids count up.
    std::array<char, 4096> dropped;
    while (recv(socket_.get(), dropped.data(), dropped.size(), 0) > 0) {
    }
    if (script_->done() || ++answers_ > kAnswersMax) {
      shutdown(socket_.get(), SHUT_RDWR);
      return true;
    }
    const uint8_t what = script_->Byte();
    if (what % 16 == 15) return false;
    if (what % 16 == 14) {
      shutdown(socket_.get(), SHUT_RDWR);
    } else if (what % 16 == 13) {
      const auto bytes = script_->Bytes(script_->Byte());
      Send(bytes, what / 16);
    } else {
      Reply(what);
    }
    return true;
  }

 private:
  using Builder = flatbuffers::FlatBufferBuilder;

  // Usually the answer to the client's latest request.
  uint64_t RequestId(uint8_t what) {
    // Requests are numbered from 1 on, and each has one answer.
    if (what < 240) return next_request_++;
    return what < 248 ? next_request_ : script_->Number();
  }

  void Reply(uint8_t what) {
    Builder builder;
    std::vector<int> fds;
    Body type = Body::NONE;
    const auto body = BodyOf(builder, what % 16, type, fds);
    const uint64_t request_id = type == Body::Segments ? next_request_ : RequestId(what);
    builder.Finish(fb::plasma::CreateMessage(builder, request_id, type, body));
    std::vector<uint8_t> frame(sizeof(ipc::FrameHeader));
    ipc::FrameHeader header{};
    header.body_bytes = builder.GetSize();
    header.fds = static_cast<uint16_t>(fds.size());
    std::memcpy(frame.data(), &header, sizeof header);
    frame.insert(frame.end(), builder.GetBufferPointer(),
                 builder.GetBufferPointer() + builder.GetSize());
    iovec part{frame.data(), frame.size()};
    (void)ipc::SendWithFds(socket_.get(), &part, 1, fds, MSG_NOSIGNAL | MSG_DONTWAIT);
  }

  flatbuffers::Offset<void> BodyOf(Builder& builder, int kind, Body& type, std::vector<int>& fds) {
    switch (kind) {
      case 0:
        type = Body::ConnectReply;
        return fb::plasma::CreateConnectReply(builder, Error(), Message(builder),
                                              plasma::kProtocolVersion, script_->Number())
            .Union();
      case 1:
        type = Body::ContainsReply;
        return fb::plasma::CreateContainsReply(builder, script_->Byte() % 2 != 0).Union();
      case 2:
        type = Body::EvictReply;
        return fb::plasma::CreateEvictReply(builder, script_->Number()).Union();
      case 3:
        type = Body::ListReply;
        return List(builder);
      case 4:
        type = Body::StatsReply;
        return fb::plasma::CreateStatsReply(builder, script_->Number()).Union();
      case 5:
        type = Body::DebugStateReply;
        return fb::plasma::CreateDebugStateReply(builder, builder.CreateString("x")).Union();
      case 6:
      case 7:
      case 8:
        type = Body::CreateReply;
        return Created(builder, fds);
      case 12:
        type = Body::Segments;
        return Ahead(builder, fds);
      default:
        type = Body::GetReply;
        return Got(builder, fds);
    }
  }

  flatbuffers::Offset<void> Created(Builder& builder, std::vector<int>& fds) {
    const auto segments = Segments(builder, fds);
    const auto message = Message(builder);
    const fb::plasma::Place place = Place();
    const uint8_t flags = script_->Byte();
    return fb::plasma::CreateCreateReply(builder, Error(), message,
                                         flags % 8 == 7 ? nullptr : &place, segments,
                                         flags / 8 % 8 == 7)
        .Union();
  }

  flatbuffers::Offset<void> Ahead(Builder& builder, std::vector<int>& fds) {
    auto segments = Segments(builder, fds);
    if (segments.IsNull()) segments = builder.CreateVectorOfStructs<fb::plasma::NewSegment>({});
    return fb::plasma::CreateSegments(builder, segments).Union();
  }

  flatbuffers::Offset<void> Got(Builder& builder, std::vector<int>& fds) {
    const auto segments = Segments(builder, fds);
    std::vector<fb::plasma::Place> places;
    for (uint8_t count = script_->Byte() % 5; count > 0; --count) places.push_back(Place());
    std::vector<uint64_t> metadata;
    const uint8_t flags = script_->Byte();
    size_t metadata_count = flags % 8 < 6 ? places.size() : flags / 8 % 4;
    while (metadata_count-- > 0) metadata.push_back(script_->Number());
    std::vector<flatbuffers::Offset<fb::plasma::Loss>> losses;
    for (uint8_t count = script_->Byte() % 4; count > 0; --count) {
      const auto message = Message(builder);
      const auto position = static_cast<uint32_t>(script_->Number());
      losses.push_back(fb::plasma::CreateLoss(builder, position, Error(), message));
    }
    const auto wire_places = builder.CreateVectorOfStructs(places);
    const auto wire_metadata = flags % 2 == 0 ? flatbuffers::Offset<flatbuffers::Vector<uint64_t>>()
                                              : builder.CreateVector(metadata);
    const auto wire_losses = builder.CreateVector(losses);
    return fb::plasma::CreateGetReply(builder, wire_places, segments, wire_metadata, wire_losses)
        .Union();
  }

  flatbuffers::Offset<void> List(Builder& builder) {
    std::vector<fb::plasma::ObjectInfo> objects(script_->Byte() % 4);
    const auto wire = builder.CreateVectorOfStructs(objects);
    return fb::plasma::CreateListReply(builder, wire, script_->Number()).Union();
  }

  ErrorCode Error() {
    const uint8_t byte = script_->Byte();
    return static_cast<ErrorCode>(byte < 192 ? 0 : byte - 192 < 48 ? byte - 192 : byte);
  }

  flatbuffers::Offset<flatbuffers::String> Message(Builder& builder) {
    return script_->Byte() % 2 == 0 ? flatbuffers::Offset<flatbuffers::String>()
                                    : builder.CreateString("why");
  }

  uint32_t SegmentIndex() {
    const uint8_t byte = script_->Byte();
    if (byte < 128) return byte % 3;
    if (byte < 240) return 65536 + byte % 3;
    return static_cast<uint32_t>(script_->Number());
  }

  fb::plasma::Place Place() {
    const uint64_t offset = script_->Number();
    const uint64_t bytes = script_->Number();
    const uint32_t segment = SegmentIndex();
    return fb::plasma::Place(offset, bytes, segment, script_->Byte() % 8 != 7);
  }

  flatbuffers::Offset<flatbuffers::Vector<const fb::plasma::NewSegment*>> Segments(
      Builder& builder, std::vector<int>& fds) {
    std::vector<fb::plasma::NewSegment> segments;
    for (size_t count = script_->Byte() % (kFdsAtOnceMax + 1); count > 0; --count) {
      const uint8_t what = script_->Byte();
      const uint64_t bytes = what < 224 ? kSegmentBytes : script_->Number();
      segments.emplace_back(bytes, SegmentIndex());
      if (what % 16 == 15) continue;
      fds.push_back(what % 16 == 14 ? other_.get() : what % 16 == 13 ? short_.get() : whole_.get());
    }
    if (segments.empty()) return {};
    return builder.CreateVectorOfStructs(segments);
  }

  // As they are, perhaps with descriptors nobody announced.
  void Send(std::span<const uint8_t> bytes, size_t fd_count) {
    if (bytes.empty()) return;
    const std::vector<int> fds(fd_count % (kFdsAtOnceMax + 1), whole_.get());
    iovec part{const_cast<uint8_t*>(bytes.data()), bytes.size()};
    (void)ipc::SendWithFds(socket_.get(), &part, 1, fds, MSG_NOSIGNAL | MSG_DONTWAIT);
  }

  static inline std::string path_;
  UniqueFd listener_;
  UniqueFd whole_;  // As long as it is said to be,
  UniqueFd short_;  // shorter,
  UniqueFd other_;  // and no memory at all.
  UniqueFd socket_;
  Script* script_ = nullptr;
  uint64_t next_request_ = 1;
  uint32_t answers_ = 0;
};

class Waiter : public plasma::ReplyWaiter {
 public:
  explicit Waiter(Store& store) : store_(store) {}
  Turn Sleep(int) override { return store_.Answer() ? Turn::Read : Turn::GiveUp; }

 private:
  Store& store_;
};

void Read(const plasma::ObjectView& view) {
  const uint64_t bytes = view.data_bytes + view.metadata_bytes;
  if (view.data == nullptr) Fail("a view of nothing");
  if (bytes == 0) return;
  const volatile uint8_t* data = view.data;
  (void)data[0];
  (void)data[bytes / 2];
  (void)data[bytes - 1];
}

void Create(plasma::Client& client, Script& script) {
  plasma::CreateOptions options;
  const ObjectId id = IdOf(script.Byte());
  options.data_bytes = script.Number();
  options.metadata_bytes = script.Number();
  auto object = client.Create(id, options);
  if (!object) return;
  if (object->data_bytes != options.data_bytes) Fail("another size was created");
  if (reinterpret_cast<uintptr_t>(object->data) % 64 != 0) Fail("an object is not aligned");
  object->pages.Do();
  const uint64_t bytes = object->data_bytes + object->metadata_bytes;
  if (bytes == 0) return;
  object->data[0] = 1;
  object->data[bytes - 1] = 1;
}

void Get(plasma::Client& client, Script& script, std::vector<plasma::ObjectView>& views) {
  std::vector<ObjectId> ids;
  for (uint8_t count = script.Byte() % 4 + 1; count > 0; --count) {
    ids.push_back(IdOf(script.Byte()));
  }
  const auto got = client.Get(ids, 0);
  if (!got) return;
  if (got->size() != ids.size()) Fail("a get was answered in part");
  for (const auto& view : *got) {
    if (view) {
      views.push_back(*view);
    } else if (view.error().ok()) {
      Fail("an object is neither there nor lost");
    }
  }
}

void Ask(plasma::Client& client, Script& script, std::vector<plasma::ObjectView>& views) {
  const uint8_t what = script.Byte();
  const ObjectId id = IdOf(what / 16);
  switch (what % 16) {
    case 0:
    case 1:
    case 2:
      return Create(client, script);
    case 3:
      (void)client.Seal(id, true).ok();
      if (const auto* view = client.View(id)) Read(*view);
      return;
    case 4:
      return (void)client.Seal(id).ok();
    case 5:
      return (void)client.Abort(id).ok();
    case 6:
      return (void)client.Release(id).ok();
    case 7:
      return (void)client.Delete({&id, 1}).ok();
    case 8:
      return (void)client.Contains(id);
    case 9:
      return (void)client.Evict(1);
    case 10:
      return (void)client.List();
    case 11:
      return (void)client.Stats();
    case 12:
      return (void)client.DebugState();
    case 13:
      if (what / 16 == 15) client.Disconnect();
      return;
    default:
      return Get(client, script, views);
  }
}

void Run(std::span<const uint8_t> bytes) {
  static Store store;
  Script script(bytes);
  store.Begin(&script);
  std::vector<plasma::ObjectView> views;
  {
    Waiter waiter(store);
    auto client = plasma::Client::Connect(store.path(), &waiter);
    while (client && !script.done()) {
      Ask(**client, script, views);
      for (const auto& view : views) Read(view);
    }
  }
  // Views outlive their client.
  for (const auto& view : views) Read(view);
  store.End();
}

}  // namespace
}  // namespace skyray::fuzz

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  skyray::ConfigureLogging("client_fuzz", skyray::LogLevel::Error);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  skyray::fuzz::Run({data, size});
  return 0;
}
