// SPDX-License-Identifier: Apache-2.0
// What a core worker keeps of those it speaks to: of each peer, and of each request to its
// raylet that has not been answered.
//
// Threading:  with the gateway's mutex held. Ownership: values. Errors: none.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core_worker/channel.h"
#include "core_worker/gateway.h"

namespace skyray::core_worker {

struct Actor;
struct LeaseClass;

struct Peer {
  WorkerAddress address;
  ChannelPtr channel;   // Null while it is being connected.
  std::string backlog;  // Frames to send once it is.
  uint64_t pings = 0;   // Sent, and
  uint64_t pongs = 0;   // answered.
};

// Waits until a peer has answered so many pings.
struct PongWait {
  WorkerId peer;
  uint64_t ping;
  GatewayWaiter* waiter;
};

struct PendingRequest {
  enum class Kind : uint8_t { Wait, Lease, Connect, CreateActor, Ignore } kind = Kind::Wait;
  GatewayWaiter* waiter = nullptr;        // Wait.
  std::vector<uint8_t>* reply = nullptr;  // Wait.
  LeaseClass* lease_class = nullptr;      // Lease.
  NodeId node;                            // Lease: whose raylet was asked.
  WorkerAddress address;                  // Connect.
  Actor* actor = nullptr;                 // CreateActor.
  ObjectId fetched;                       // Wait, Ignore: what is to be brought here, if so.
};

}  // namespace skyray::core_worker
