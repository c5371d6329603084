// SPDX-License-Identifier: Apache-2.0
// A listening socket and the connections that come of it; the frame shell of
// the store and the raylet.
//
//   Listen ─► accepted ─peer has our uid─► connected ─frames─► disconnected
//
// Threading:  lives on one loop; every call and every handler is made there.
// Ownership:  owns its connections; `handler` must outlive it.
// Errors:     ListenUnix/ListenTcp return them. A peer that misbehaves is
//             disconnected and logged. While few descriptors are left nothing
//             is accepted, so that what is connected can go on (segments are
//             passed, files opened); it says so once, and looks again when a
//             connection closes, and every 100 ms.
#pragma once

#include <boost/asio/io_context.hpp>
#include <memory>
#include <string>
#include <unordered_map>

#include "ipc/connection.h"
#include "ipc/socket.h"

namespace skyray::ipc {

using ConnectionId = uint64_t;

class ServerHandler {
 public:
  virtual ~ServerHandler() = default;
  virtual void OnConnect(ConnectionId connection, const PeerCredentials& peer) = 0;
  virtual void OnFrame(ConnectionId connection, Frame frame) = 0;
  // Not called for connections closed by Close(), Release() or Stop().
  virtual void OnDisconnect(ConnectionId connection) = 0;
};

class Server {
 public:
  Server(boost::asio::io_context& loop, std::string name, ServerHandler& handler);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // The socket file is removed by Stop().
  Status ListenUnix(const std::string& path);
  // Returns the port bound. Callers authenticate peers in the handler.
  Result<uint16_t> ListenTcp(const std::string& host, uint16_t port);
  // Serves a socket that this process connected or was handed.
  ConnectionId Adopt(UniqueFd socket);

  // Null once it is gone. Valid until the next call into the loop.
  Connection* Find(ConnectionId connection);
  // Does nothing if the connection is gone.
  void Send(ConnectionId connection, const flatbuffers::FlatBufferBuilder& message,
            std::vector<SharedFd> fds = {});
  void Close(ConnectionId connection);
  // Takes the socket out, without OnDisconnect, to hand it to another process.
  UniqueFd Release(ConnectionId connection);
  // Stops listening, closes every connection without OnDisconnect.
  void Stop();
  size_t connection_count() const;
  // How often it looked in vain whether it may accept again.
  uint64_t accept_retries_total() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace skyray::ipc
