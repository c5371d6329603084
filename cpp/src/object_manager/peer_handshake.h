// SPDX-License-Identifier: Apache-2.0
// Opens connections between nodes: connect or accept, authenticate both sides,
// say what the connection is for. What comes out is a plain socket on which
// nothing has been read or written beyond that.
//
//   connecting ─► authenticating ─► introduced (Preamble, Ready) ─► socket
//          └────────────┴──────── too slow, or refused ─► Status
//
// Threading:  lives on one loop; handlers run there.
// Ownership:  the sockets that come out belong to the handler; blocking ones.
//             A PeerConnector that is destroyed early calls nobody.
// Errors:     Unauthenticated, TimedOut, Disconnected, IoError to the connector,
//             and what the other side's `admit` said. An acceptor only logs.
#pragma once

#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "common/id.h"
#include "common/status.h"
#include "common/unique_fd.h"
#include "fbs/transfer_generated.h"
#include "object_manager/authenticator.h"

namespace skyray::object_manager {

using fb::transfer::Purpose;

constexpr uint32_t kTransferVersion = 1;

// Who connects, and what for.
struct Introduction {
  Purpose purpose = Purpose::Objects;
  NodeId node;
  WorkerId worker;  // Purpose::Worker: whom the connection is for.
};

struct PeerAddress {
  std::string ip;
  uint16_t port = 0;
};

class PeerConnector {
 public:
  // `done` is called once, from the loop.
  PeerConnector(boost::asio::io_context& loop, const ClusterToken& token,
                const PeerAddress& address, const Introduction& introduction,
                std::function<void(Result<UniqueFd>)> done);
  ~PeerConnector();
  PeerConnector(const PeerConnector&) = delete;
  PeerConnector& operator=(const PeerConnector&) = delete;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

struct AcceptorHandlers {
  // Whether this peer has business here; its error is told to the peer.
  std::function<Status(const Introduction&)> admit;
  std::function<void(const Introduction&, UniqueFd)> on_peer;
};

class PeerAcceptor {
 public:
  PeerAcceptor(boost::asio::io_context& loop, const ClusterToken& token, AcceptorHandlers handlers);
  ~PeerAcceptor();
  PeerAcceptor(const PeerAcceptor&) = delete;
  PeerAcceptor& operator=(const PeerAcceptor&) = delete;

  // `host` is a numeric address; port 0 binds any. Returns the port bound.
  Result<uint16_t> Listen(const std::string& host, uint16_t port);
  // Peers that have connected and are not through yet.
  size_t strangers() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace skyray::object_manager
