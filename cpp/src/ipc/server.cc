// SPDX-License-Identifier: Apache-2.0
#include "ipc/server.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <vector>

#include "common/fd_limit.h"
#include "common/logging.h"

namespace skyray::ipc {
namespace asio = boost::asio;

namespace {
constexpr int kBacklog = 512;
constexpr std::chrono::milliseconds kOutOfFdsPause{100};
// Descriptors that connections may not take, or a quarter of what there is.
constexpr int kReservedFdsMax = 32;
}  // namespace

struct Listener {
  explicit Listener(asio::io_context& loop) : socket(loop), pause(loop) {}
  asio::posix::stream_descriptor socket;
  asio::steady_timer pause;
  bool paused = false;  // For want of descriptors.
  std::string path;     // Empty for TCP.
};

struct Server::State {
  State(asio::io_context& l, std::string n, ServerHandler& h)
      : loop(l), name(std::move(n)), handler(h) {}
  asio::io_context& loop;
  std::string name;
  ServerHandler& handler;
  bool open = true;
  std::vector<std::unique_ptr<Listener>> listeners;
  std::unordered_map<ConnectionId, std::unique_ptr<Connection>> connections;
  ConnectionId next_id = 1;
  uint64_t accept_retries_total = 0;
};

template <class S>
static void ResumeAccepting(const std::shared_ptr<S>& state);

template <class S>
static ConnectionId AddConnection(const std::shared_ptr<S>& state, UniqueFd socket) {
  const ConnectionId id = state->next_id++;
  std::weak_ptr<S> weak = state;
  ConnectionHandlers handlers;
  handlers.on_frame = [weak, id](Frame frame) {
    if (auto s = weak.lock(); s && s->open) s->handler.OnFrame(id, std::move(frame));
  };
  handlers.on_closed = [weak, id](const Status& why) {
    auto s = weak.lock();
    if (!s || !s->open) return;
    if (why.code() != ErrorCode::Disconnected) {
      SKYRAY_LOG(Warning) << s->name << ": dropped connection " << id << ": " << why.message();
    }
    // Kept alive until the handler has run: it may look the connection up.
    auto node = s->connections.extract(id);
    if (node.empty()) return;
    s->handler.OnDisconnect(id);
    ResumeAccepting(s);
  };
  state->connections.emplace(
      id, std::make_unique<Connection>(state->loop, std::move(socket), std::move(handlers)));
  return id;
}

template <class S>
static void WaitToAccept(const std::shared_ptr<S>& state, Listener& listener);

template <class S>
static void TakeAccepted(const std::shared_ptr<S>& state, const Listener& listener,
                         UniqueFd socket) {
  PeerCredentials peer;
  if (listener.path.empty()) {
    const int on = 1;
    setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  } else {
    auto credentials = GetPeerCredentials(socket.get());
    if (!credentials || credentials->uid != geteuid()) {
      SKYRAY_LOG(Warning) << state->name << ": refused a connection from "
                          << (credentials ? "uid " + std::to_string(credentials->uid)
                                          : credentials.error().message());
      return;
    }
    peer = *credentials;
  }
  const ConnectionId id = AddConnection(state, std::move(socket));
  state->handler.OnConnect(id, peer);
  if (auto it = state->connections.find(id); it != state->connections.end()) it->second->Start();
}

template <class S>
static void AcceptReady(const std::shared_ptr<S>& state, Listener& listener);

template <class S>
static void AcceptAfter(const std::shared_ptr<S>& state, Listener& listener,
                        std::chrono::milliseconds delay) {
  listener.pause.expires_after(delay);  // What waited for it before waits no longer.
  listener.pause.async_wait([state, &listener](const boost::system::error_code& error) {
    if (!error && state->open) AcceptReady(state, listener);
  });
}

// Accepts again when a connection closes, or after a while.
template <class S>
static void PauseAccepting(const std::shared_ptr<S>& state, Listener& listener, int error) {
  if (listener.paused) {
    ++state->accept_retries_total;
  } else {
    listener.paused = true;
    SKYRAY_LOG(Error) << state->name
                      << ": new connections must wait: " << ErrnoStatus("accept", error).message()
                      << "; " << state->connections.size()
                      << " are served. Raise the limit on open files (ulimit -n)";
  }
  AcceptAfter(state, listener, kOutOfFdsPause);
}

template <class S>
static void AcceptReady(const std::shared_ptr<S>& state, Listener& listener) {
  if (listener.paused) {
    // To accept one and find it one too many would be to hang up on it.
    const UniqueFd probe(fcntl(listener.socket.native_handle(), F_DUPFD_CLOEXEC, 0));
    if (!probe.valid() || probe.get() >= FdLimitLess(4, kReservedFdsMax)) {
      return PauseAccepting(state, listener, EMFILE);
    }
  }
  for (;;) {
    const int fd =
        accept4(listener.socket.native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    const int error = errno;
    if (fd < 0 && (error == EINTR || error == ECONNABORTED)) continue;
    if (fd < 0 && error != EAGAIN) return PauseAccepting(state, listener, error);
    if (fd < 0) {
      // Nobody waits any more: only now it is over, so that a crowd is told of once.
      if (listener.paused) {
        listener.paused = false;
        SKYRAY_LOG(Info) << state->name << ": new connections are accepted again";
      }
      return WaitToAccept(state, listener);
    }
    TakeAccepted(state, listener, UniqueFd(fd));
    if (!state->open) return;
    if (fd + 1 >= FdLimitLess(4, kReservedFdsMax)) return PauseAccepting(state, listener, EMFILE);
  }
}

template <class S>
static void WaitToAccept(const std::shared_ptr<S>& state, Listener& listener) {
  listener.socket.async_wait(asio::posix::stream_descriptor::wait_read,
                             [state, &listener](const boost::system::error_code& error) {
                               if (!error && state->open) AcceptReady(state, listener);
                             });
}

// A connection has gone, and its descriptor with it.
template <class S>
static void ResumeAccepting(const std::shared_ptr<S>& state) {
  if (!state->open) return;
  for (auto& listener : state->listeners) {
    // By way of the loop: the caller may be in the middle of anything.
    if (listener->paused) AcceptAfter(state, *listener, std::chrono::milliseconds(0));
  }
}

template <class S>
static void AddListener(const std::shared_ptr<S>& state, UniqueFd socket, std::string path) {
  auto listener = std::make_unique<Listener>(state->loop);
  listener->path = std::move(path);
  listener->socket.assign(socket.Release());
  state->listeners.push_back(std::move(listener));
  WaitToAccept(state, *state->listeners.back());
}

Server::Server(asio::io_context& loop, std::string name, ServerHandler& handler)
    : state_(std::make_shared<State>(loop, std::move(name), handler)) {}

Server::~Server() { Stop(); }

Status Server::ListenUnix(const std::string& path) {
  auto socket = ipc::ListenUnix(path, kBacklog);
  if (!socket) return socket.error();
  if (Status status = SetNonBlocking(socket->get(), true); !status.ok()) return status;
  AddListener(state_, std::move(*socket), path);
  return Status();
}

Result<uint16_t> Server::ListenTcp(const std::string& host, uint16_t port) {
  auto socket = ipc::ListenTcp(host, port, kBacklog);
  if (!socket) return socket.error();
  if (Status status = SetNonBlocking(socket->get(), true); !status.ok()) return status;
  auto bound = LocalPort(socket->get());
  if (!bound) return bound.error();
  AddListener(state_, std::move(*socket), "");
  return *bound;
}

ConnectionId Server::Adopt(UniqueFd socket) {
  const ConnectionId id = AddConnection(state_, std::move(socket));
  state_->connections.at(id)->Start();
  return id;
}

Connection* Server::Find(ConnectionId connection) {
  const auto it = state_->connections.find(connection);
  return it == state_->connections.end() ? nullptr : it->second.get();
}

void Server::Send(ConnectionId connection, const flatbuffers::FlatBufferBuilder& message,
                  std::vector<SharedFd> fds) {
  if (Connection* found = Find(connection)) found->Send(message, std::move(fds));
}

void Server::Close(ConnectionId connection) {
  if (state_->connections.erase(connection) > 0) ResumeAccepting(state_);
}

UniqueFd Server::Release(ConnectionId connection) {
  Connection* found = Find(connection);
  if (found == nullptr) return UniqueFd();
  UniqueFd socket = found->Release();
  state_->connections.erase(connection);
  ResumeAccepting(state_);
  return socket;
}

void Server::Stop() {
  if (!state_->open) return;
  state_->open = false;
  for (auto& listener : state_->listeners) {
    boost::system::error_code ignored;
    listener->socket.close(ignored);
    listener->pause.cancel();
    if (!listener->path.empty()) unlink(listener->path.c_str());
  }
  state_->connections.clear();
}

size_t Server::connection_count() const { return state_->connections.size(); }

uint64_t Server::accept_retries_total() const { return state_->accept_retries_total; }

}  // namespace skyray::ipc
