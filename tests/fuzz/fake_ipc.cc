// SPDX-License-Identifier: Apache-2.0
#include "fake_ipc.h"

#include <errno.h>
#include <flatbuffers/flatbuffers.h>

#include <chrono>
#include <unordered_map>
#include <utility>

#include "common/logging.h"
#include "ipc/connection.h"
#include "ipc/frame_input.h"
#include "plasma/system_facts.h"

namespace {
int64_t clock_ms = 0;
}  // namespace

// In place of libstdc++'s. (libFuzzer has a clock of its own.)
std::chrono::steady_clock::time_point std::chrono::steady_clock::now() noexcept {
  return time_point(std::chrono::milliseconds(clock_ms));
}
// Without it Asio looks at the clock above whenever it is polled.
extern "C" int timerfd_create(int, int) noexcept {
  errno = ENOSYS;
  return -1;
}

// And in place of plasma/system_facts.cc: a machine that has everything.
skyray::plasma::SystemFacts skyray::plasma::LookAtSystem(const std::string&, const std::string&,
                                                         const std::string&) {
  SystemFacts facts;
  facts.fallback_directory.kind = DirectoryFacts::Kind::Memory;
  facts.fallback_directory.free_bytes = uint64_t{1} << 40;
  facts.fallback_directory.page_bytes = 4096;
  return facts;
}

namespace skyray {
namespace {

// Much less than in life, so that a slow reader is met often.
constexpr size_t kSentBytesMax = 16 << 10;
constexpr size_t kSentFdsMax = 8;

// One connection, as its owner and the peer see it.
struct Line {
  ipc::FrameInput input;
  std::vector<ipc::Frame> sent;
  size_t sent_bytes = 0;
  size_t sent_fds = 0;
  bool close_after_send = false;
  bool open = true;

  bool IsBehind() const { return sent_bytes > kSentBytesMax || sent_fds > kSentFdsMax; }
};

struct Exchange {
  explicit Exchange(ipc::ServerHandler& h) : handler(h) {}
  ipc::ServerHandler& handler;
  std::unordered_map<ipc::ConnectionId, std::unique_ptr<ipc::Connection>> connections;
  std::unordered_map<ipc::ConnectionId, std::shared_ptr<Line>> lines;
  ipc::ConnectionId next_id = 1;
};

std::weak_ptr<Exchange> the_exchange;
std::shared_ptr<Line> newest_line;
fuzz::FrameWatcher frame_watcher = nullptr;

}  // namespace

namespace ipc {

struct Connection::State : Line {};

Connection::Connection(boost::asio::io_context&, UniqueFd, ConnectionHandlers)
    : state_(std::make_shared<State>()) {
  newest_line = state_;
}
Connection::~Connection() { Close(); }
void Connection::Start() {}
void Connection::SetFrameBytesMax(uint32_t bytes) { state_->input.SetFrameBytesMax(bytes); }
void Connection::Send(uint16_t kind, std::span<const uint8_t> body, std::vector<SharedFd> fds) {
  SKYRAY_CHECK(fds.size() <= kFrameFdsMax);
  if (!state_->open) return;
  state_->sent_bytes += sizeof(FrameHeader) + body.size();
  state_->sent_fds += fds.size();
  Frame frame;
  frame.kind = kind;
  frame.body.assign(body.begin(), body.end());
  frame.fds.resize(fds.size());  // Of those the peer only wants to know how many.
  state_->sent.push_back(std::move(frame));
}
void Connection::Send(const flatbuffers::FlatBufferBuilder& message, std::vector<SharedFd> fds) {
  Send(kFlatBuffer, {message.GetBufferPointer(), message.GetSize()}, std::move(fds));
}
void Connection::CloseAfterSend() { state_->close_after_send = true; }
void Connection::Close() { state_->open = false; }
UniqueFd Connection::Release() { return UniqueFd(); }
int Connection::fd() const { return -1; }
size_t Connection::queued_bytes() const { return state_->sent_bytes; }

struct Server::State : Exchange {
  using Exchange::Exchange;
};

Server::Server(boost::asio::io_context&, std::string, ServerHandler& handler)
    : state_(std::make_shared<State>(handler)) {
  the_exchange = state_;
}
Server::~Server() { Stop(); }
Status Server::ListenUnix(const std::string&) { return Status(); }
Result<uint16_t> Server::ListenTcp(const std::string&, uint16_t) { return uint16_t{1}; }
ConnectionId Server::Adopt(UniqueFd) { return 0; }
Connection* Server::Find(ConnectionId connection) {
  const auto found = state_->connections.find(connection);
  return found == state_->connections.end() ? nullptr : found->second.get();
}
void Server::Send(ConnectionId connection, const flatbuffers::FlatBufferBuilder& message,
                  std::vector<SharedFd> fds) {
  if (Connection* found = Find(connection)) found->Send(message, std::move(fds));
}
void Server::Close(ConnectionId connection) {
  state_->connections.erase(connection);
  state_->lines.erase(connection);
}
UniqueFd Server::Release(ConnectionId connection) {
  Close(connection);
  return UniqueFd();
}
void Server::Stop() {
  state_->connections.clear();
  state_->lines.clear();
}
size_t Server::connection_count() const { return state_->connections.size(); }
uint64_t Server::accept_retries_total() const { return 0; }

}  // namespace ipc

namespace fuzz {
namespace {

std::shared_ptr<Line> FindLine(ipc::ConnectionId connection) {
  const auto exchange = the_exchange.lock();
  if (!exchange) return nullptr;
  const auto found = exchange->lines.find(connection);
  return found == exchange->lines.end() ? nullptr : found->second;
}

// Like Connection's reading: as many frames as there are, while the peer reads too.
void Deliver(ipc::ConnectionId connection, Line& line) {
  while (line.open && !line.close_after_send && !line.IsBehind()) {
    auto frame = line.input.Next();
    if (!frame) return Disconnect(connection);
    if (!*frame) break;
    if (frame_watcher != nullptr) frame_watcher(connection, **frame);
    the_exchange.lock()->handler.OnFrame(connection, std::move(**frame));
  }
  line.input.Compact();
}

}  // namespace

void SetClockMs(int64_t now_ms) { clock_ms = now_ms; }
int64_t ClockMs() { return clock_ms; }
void WatchFrames(FrameWatcher watcher) { frame_watcher = watcher; }

std::optional<ipc::ConnectionId> Connect() {
  const auto exchange = the_exchange.lock();
  if (!exchange) return std::nullopt;
  const ipc::ConnectionId id = exchange->next_id++;
  static boost::asio::io_context unused{1};
  exchange->connections.emplace(
      id, std::make_unique<ipc::Connection>(unused, UniqueFd(), ipc::ConnectionHandlers()));
  exchange->lines.emplace(id, std::move(newest_line));
  exchange->handler.OnConnect(id, ipc::PeerCredentials{});
  return id;
}

bool IsOpen(ipc::ConnectionId connection) { return FindLine(connection) != nullptr; }

void Receive(ipc::ConnectionId connection, std::span<const uint8_t> bytes) {
  const auto line = FindLine(connection);
  if (!line) return;
  line->input.Append(bytes);
  Deliver(connection, *line);
}

std::vector<ipc::Frame> TakeSent(ipc::ConnectionId connection) {
  const auto line = FindLine(connection);
  if (!line) return {};
  std::vector<ipc::Frame> sent = std::exchange(line->sent, {});
  line->sent_bytes = line->sent_fds = 0;
  if (line->close_after_send) {
    the_exchange.lock()->connections.erase(connection);
    the_exchange.lock()->lines.erase(connection);
    return sent;
  }
  Deliver(connection, *line);
  return sent;
}

void Disconnect(ipc::ConnectionId connection) {
  const auto exchange = the_exchange.lock();
  if (!exchange || exchange->connections.erase(connection) == 0) return;
  exchange->lines.erase(connection);
  exchange->handler.OnDisconnect(connection);
}

}  // namespace fuzz
}  // namespace skyray
