// SPDX-License-Identifier: Apache-2.0
#include "ipc/server.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <vector>

#include "common/logging.h"

namespace skyray::ipc {
namespace asio = boost::asio;

namespace {
constexpr int kBacklog = 512;
constexpr std::chrono::milliseconds kOutOfFdsPause{100};
}  // namespace

struct Listener {
  explicit Listener(asio::io_context& loop) : socket(loop), pause(loop) {}
  asio::posix::stream_descriptor socket;
  asio::steady_timer pause;
  std::string path;  // Empty for TCP.
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
};

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
    if (!node.empty()) s->handler.OnDisconnect(id);
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
static void AcceptReady(const std::shared_ptr<S>& state, Listener& listener) {
  for (;;) {
    const int fd =
        accept4(listener.socket.native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
      TakeAccepted(state, listener, UniqueFd(fd));
      if (!state->open) return;
      continue;
    }
    if (errno == EINTR || errno == ECONNABORTED) continue;
    if (errno == EAGAIN) return WaitToAccept(state, listener);
    SKYRAY_LOG(Error) << state->name << ": " << ErrnoStatus("accept", errno).message()
                      << "; trying again in " << kOutOfFdsPause.count()
                      << " ms. Raise the limit on open files (ulimit -n) if this repeats";
    listener.pause.expires_after(kOutOfFdsPause);
    listener.pause.async_wait([state, &listener](const boost::system::error_code& error) {
      if (!error && state->open) WaitToAccept(state, listener);
    });
    return;
  }
}

template <class S>
static void WaitToAccept(const std::shared_ptr<S>& state, Listener& listener) {
  listener.socket.async_wait(asio::posix::stream_descriptor::wait_read,
                             [state, &listener](const boost::system::error_code& error) {
                               if (!error && state->open) AcceptReady(state, listener);
                             });
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
                  std::vector<UniqueFd> fds) {
  if (Connection* found = Find(connection)) found->Send(message, std::move(fds));
}

void Server::Close(ConnectionId connection) { state_->connections.erase(connection); }

UniqueFd Server::Release(ConnectionId connection) {
  Connection* found = Find(connection);
  if (found == nullptr) return UniqueFd();
  UniqueFd socket = found->Release();
  state_->connections.erase(connection);
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

}  // namespace skyray::ipc
