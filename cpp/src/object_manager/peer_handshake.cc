// SPDX-License-Identifier: Apache-2.0
#include "object_manager/peer_handshake.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <bit>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <map>
#include <optional>
#include <utility>

#include "common/logging.h"
#include "ipc/server.h"
#include "ipc/socket.h"
#include "ipc/verify.h"
#include "object_manager/frame_stream.h"
#include "object_manager/transfer_message.h"

namespace skyray::object_manager {
namespace asio = boost::asio;
namespace {

constexpr std::chrono::seconds kHandshakeTimeout{10};
// Peers that have not proved themselves yet. With more, the oldest has had its time:
// who means it is through in a few round trips.
constexpr size_t kStrangersMax = 256;

// The socket as it is handed out: blocking, and one that notices within half a
// minute that the other machine has vanished without a word.
Status PrepareSocket(int fd) {
  const int on = 1;
  const int idle_s = 10;
  const int interval_s = 5;
  const int probes = 4;
  const unsigned int unacknowledged_ms = 30000;
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
  setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacknowledged_ms, sizeof unacknowledged_ms);
  return ipc::SetNonBlocking(fd, false);
}

flatbuffers::FlatBufferBuilder PreambleMessage(const Introduction& introduction) {
  flatbuffers::FlatBufferBuilder builder;
  const auto node = builder.CreateVector(introduction.node.data(), NodeId::kSize);
  const auto worker = builder.CreateVector(introduction.worker.data(), WorkerId::kSize);
  const auto preamble =
      fb::transfer::CreatePreamble(builder, kTransferVersion, introduction.purpose, node, worker);
  return TransferMessage(std::move(builder), fb::transfer::Body::Preamble, preamble);
}

flatbuffers::FlatBufferBuilder ReadyMessage(const Status& status) {
  flatbuffers::FlatBufferBuilder builder;
  const auto text = builder.CreateString(status.message().substr(0, kHandshakeBytesMax / 2));
  const auto ready = fb::transfer::CreateReady(builder, status.code(), text);
  return TransferMessage(std::move(builder), fb::transfer::Body::Ready, ready);
}

template <class IdType>
std::optional<IdType> IdFrom(const flatbuffers::Vector<uint8_t>* bytes) {
  if (bytes == nullptr || bytes->size() != IdType::kSize) return std::nullopt;
  return IdType::FromBytes(bytes->data());
}

Result<Introduction> ReadPreamble(const ipc::Frame& frame) {
  const auto* message = ipc::Verified<fb::transfer::Message>(frame);
  const auto* preamble = message == nullptr ? nullptr : message->body_as_Preamble();
  if (preamble == nullptr) return Status(ErrorCode::InvalidRequest, "it sent no preamble");
  if (preamble->protocol_version() != kTransferVersion) {
    return Status(ErrorCode::VersionMismatch, "this node speaks transfer version " +
                                                  std::to_string(kTransferVersion) + ", the peer " +
                                                  std::to_string(preamble->protocol_version()) +
                                                  "; install the same skyray on all nodes");
  }
  Introduction introduction;
  introduction.purpose = preamble->purpose();
  const auto node = IdFrom<NodeId>(preamble->node_id());
  const auto worker = IdFrom<WorkerId>(preamble->worker_id());
  if (!node || (introduction.purpose == Purpose::Worker && !worker) ||
      introduction.purpose > Purpose::MAX) {
    return Status(ErrorCode::InvalidRequest, "its preamble makes no sense");
  }
  introduction.node = *node;
  if (worker) introduction.worker = *worker;
  return introduction;
}

}  // namespace

struct PeerConnector::State {
  State(asio::io_context& event_loop, const ClusterToken& token, const PeerAddress& peer,
        const Introduction& intro, std::function<void(Result<UniqueFd>)> callback)
      : loop(event_loop),
        address(peer),
        introduction(intro),
        done(std::move(callback)),
        socket(event_loop),
        timer(event_loop),
        authenticator(Authenticator::Role::Connector, token, RandomNonce()) {}

  asio::io_context& loop;
  const PeerAddress address;
  const Introduction introduction;
  std::function<void(Result<UniqueFd>)> done;  // Empty once called, or cancelled.
  asio::ip::tcp::socket socket;
  asio::steady_timer timer;
  Authenticator authenticator;
  std::optional<FrameStream> stream;
};

template <class S>
static void Finish(const std::shared_ptr<S>& state, Result<UniqueFd> result) {
  state->timer.cancel();
  boost::system::error_code ignored;
  state->socket.close(ignored);
  auto done = std::exchange(state->done, nullptr);
  if (done) done(std::move(result));
}

template <class S>
static void FinishBadly(const std::shared_ptr<S>& state, const Status& why) {
  if (state->stream) state->stream->Close();
  Finish(state, Status(why.code(), "connecting to " + state->address.ip + ":" +
                                       std::to_string(state->address.port) + ": " + why.message()));
}

template <class S>
static void ConnectorFrame(const std::shared_ptr<S>& state, const ipc::Frame& frame) {
  if (!state->done) return;
  if (!state->authenticator.done()) {
    if (frame.kind != kHandshake) {
      return FinishBadly(state, Status(ErrorCode::Unauthenticated, "it skipped the handshake"));
    }
    auto answer = state->authenticator.Feed(frame.body);
    if (!answer) return FinishBadly(state, answer.error());
    if (!answer->empty()) state->stream->Send(kHandshake, *answer);
    if (state->authenticator.done()) state->stream->Send(PreambleMessage(state->introduction));
    return;
  }
  const auto* message = ipc::Verified<fb::transfer::Message>(frame);
  const auto* ready = message == nullptr ? nullptr : message->body_as_Ready();
  if (ready == nullptr) {
    return FinishBadly(state, Status(ErrorCode::InvalidRequest, "it did not say Ready"));
  }
  if (ready->error() != ErrorCode::Ok) {
    return FinishBadly(state,
                       Status(ready->error(), ready->message() ? ready->message()->str() : ""));
  }
  state->stream->ReleaseAfterSend([state](UniqueFd fd) {
    const Status status = PrepareSocket(fd.get());
    if (!status.ok()) return FinishBadly(state, status);
    Finish(state, std::move(fd));
  });
}

template <class S>
static void Connected(const std::shared_ptr<S>& state) {
  boost::system::error_code error;
  state->socket.set_option(asio::ip::tcp::no_delay(true), error);
  const int fd = state->socket.release(error);
  if (error) return FinishBadly(state, Status(ErrorCode::IoError, error.message()));
  state->stream.emplace(state->loop, UniqueFd(fd), kHandshakeBytesMax);
  StreamHandlers handlers;
  handlers.on_frame = [state](const ipc::Frame& frame) { ConnectorFrame(state, frame); };
  handlers.on_closed = [state](const Status& why) { FinishBadly(state, why); };
  state->stream->Start(std::move(handlers));
  state->stream->Send(kHandshake, state->authenticator.Start());
}

PeerConnector::PeerConnector(asio::io_context& loop, const ClusterToken& token,
                             const PeerAddress& address, const Introduction& introduction,
                             std::function<void(Result<UniqueFd>)> done)
    : state_(std::make_shared<State>(loop, token, address, introduction, std::move(done))) {
  boost::system::error_code error;
  const auto ip = asio::ip::make_address(address.ip, error);
  if (error) {
    asio::post(loop, [state = state_] {
      FinishBadly(state, Status(ErrorCode::InvalidArgument, "not a numeric IP address"));
    });
    return;
  }
  state_->timer.expires_after(kHandshakeTimeout);
  state_->timer.async_wait([state = state_](const boost::system::error_code& stopped) {
    if (stopped || !state->done) return;
    FinishBadly(state,
                Status(ErrorCode::TimedOut,
                       "no answer within " + std::to_string(kHandshakeTimeout.count()) + " s"));
  });
  state_->socket.async_connect(asio::ip::tcp::endpoint(ip, address.port),
                               [state = state_](const boost::system::error_code& failed) {
                                 if (!state->done) return;
                                 if (failed)
                                   return FinishBadly(state,
                                                      Status(ErrorCode::IoError, failed.message()));
                                 Connected(state);
                               });
}

PeerConnector::~PeerConnector() {
  state_->done = nullptr;
  state_->timer.cancel();
  boost::system::error_code ignored;
  state_->socket.close(ignored);
  if (state_->stream) state_->stream->Close();
}

struct PeerAcceptor::State : ipc::ServerHandler {
  struct Stranger {
    Stranger(asio::io_context& loop, UniqueFd fd, const ClusterToken& token)
        : stream(loop, std::move(fd), kHandshakeBytesMax),
          authenticator(Authenticator::Role::Acceptor, token, RandomNonce()),
          timer(loop) {}
    FrameStream stream;
    Authenticator authenticator;
    asio::steady_timer timer;
  };

  State(asio::io_context& event_loop, const ClusterToken& cluster_token, AcceptorHandlers h)
      : loop(event_loop),
        token(cluster_token),
        handlers(std::move(h)),
        server(event_loop, "data port", *this) {}

  void OnConnect(ipc::ConnectionId connection, const ipc::PeerCredentials&) override;
  // The socket is taken over at once, so the server never reads from it.
  void OnFrame(ipc::ConnectionId, ipc::Frame) override {}
  void OnDisconnect(ipc::ConnectionId) override {}

  void OnStrangersFrame(uint64_t id, const ipc::Frame& frame);
  void TurnAway(uint64_t id, const Status& why);
  // Makes room for one more. False if all there are have proved themselves.
  bool CrowdOut();
  void Admit(uint64_t id, const Introduction& introduction);

  asio::io_context& loop;
  const ClusterToken token;
  const AcceptorHandlers handlers;
  // A timer that went off may still be waiting for its turn on the loop.
  const std::shared_ptr<int> alive = std::make_shared<int>(0);
  uint64_t next_id = 1;
  std::map<uint64_t, std::unique_ptr<Stranger>> strangers;  // The oldest first.
  uint64_t crowded_out_total = 0;
  ipc::Server server;
};

void PeerAcceptor::State::OnConnect(ipc::ConnectionId connection, const ipc::PeerCredentials&) {
  UniqueFd fd = server.Release(connection);
  if (strangers.size() >= kStrangersMax && !CrowdOut()) return;
  const uint64_t id = next_id++;
  auto& stranger =
      *strangers.emplace(id, std::make_unique<Stranger>(loop, std::move(fd), token)).first->second;
  StreamHandlers stream_handlers;
  stream_handlers.on_frame = [this, id](const ipc::Frame& frame) { OnStrangersFrame(id, frame); };
  stream_handlers.on_closed = [this, id](const Status& why) { TurnAway(id, why); };
  stranger.stream.Start(std::move(stream_handlers));
  stranger.timer.expires_after(kHandshakeTimeout);
  stranger.timer.async_wait(
      [this, id, token = std::weak_ptr<int>(alive)](const boost::system::error_code& stopped) {
        if (!stopped && !token.expired())
          TurnAway(id, Status(ErrorCode::TimedOut, "it did not introduce itself"));
      });
}

bool PeerAcceptor::State::CrowdOut() {
  const auto oldest = std::find_if(strangers.begin(), strangers.end(), [](const auto& each) {
    return !each.second->authenticator.done();
  });
  if (oldest == strangers.end()) return false;
  strangers.erase(oldest);
  ++crowded_out_total;
  // Somebody who knocks all the time does not fill the disk.
  if (std::has_single_bit(crowded_out_total)) {
    SKYRAY_LOG(Warning) << "data port: " << kStrangersMax
                        << " peers have connected and not proved themselves; hung up on the "
                           "oldest ("
                        << crowded_out_total << " times by now)";
  }
  return true;
}

void PeerAcceptor::State::OnStrangersFrame(uint64_t id, const ipc::Frame& frame) {
  const auto found = strangers.find(id);
  if (found == strangers.end()) return;
  Stranger& stranger = *found->second;
  if (!stranger.authenticator.done()) {
    if (frame.kind != kHandshake) {
      return TurnAway(id, Status(ErrorCode::Unauthenticated, "it skipped the handshake"));
    }
    auto answer = stranger.authenticator.Feed(frame.body);
    if (!answer) return TurnAway(id, answer.error());
    if (!answer->empty()) stranger.stream.Send(kHandshake, *answer);
    return;
  }
  const auto introduction = ReadPreamble(frame);
  const Status status = introduction ? handlers.admit(*introduction) : Status(introduction.error());
  stranger.stream.Send(ReadyMessage(status));
  if (status.ok()) return Admit(id, *introduction);
  SKYRAY_LOG(Warning) << "data port: refused a peer: " << status.message();
  stranger.stream.CloseAfterSend();
}

void PeerAcceptor::State::Admit(uint64_t id, const Introduction& introduction) {
  strangers.at(id)->stream.ReleaseAfterSend([this, id, introduction](UniqueFd fd) {
    strangers.erase(id);
    const Status status = PrepareSocket(fd.get());
    if (status.ok()) handlers.on_peer(introduction, std::move(fd));
  });
}

void PeerAcceptor::State::TurnAway(uint64_t id, const Status& why) {
  if (strangers.erase(id) == 0) return;
  if (why.code() == ErrorCode::Disconnected) return;
  SKYRAY_LOG(Warning) << "data port: turned a peer away: " << why.message();
}

PeerAcceptor::PeerAcceptor(asio::io_context& loop, const ClusterToken& token,
                           AcceptorHandlers handlers)
    : state_(std::make_unique<State>(loop, token, std::move(handlers))) {}

PeerAcceptor::~PeerAcceptor() = default;

Result<uint16_t> PeerAcceptor::Listen(const std::string& host, uint16_t port) {
  return state_->server.ListenTcp(host, port);
}

size_t PeerAcceptor::strangers() const { return state_->strangers.size(); }

}  // namespace skyray::object_manager
