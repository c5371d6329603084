// SPDX-License-Identifier: Apache-2.0
// Fetches objects from other nodes straight into the local store.
//
// Threading:  lives on the raylet's loop; callbacks run there, never inside Pull.
// Ownership:  an object in transfer is referenced in the store until it is
//             sealed or aborted. The store and the addresses must outlive *this.
// Errors:     in the callback: ObjectLost if no node has it, OutOfMemory if it
//             does not fit here. A peer that lies is hung up on, and the next asked.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "object_manager/chunk_window.h"
#include "object_manager/peer_link.h"
#include "object_manager/pull_manager.h"
#include "plasma/store_runner.h"

namespace skyray::object_manager {

// Where the nodes are that are alive.
using AddressBook = std::unordered_map<NodeId, PeerAddress>;

class ObjectPuller {
 public:
  ObjectPuller(boost::asio::io_context& loop, plasma::StoreRunner& store,
               const AddressBook& addresses, const NodeId& self, const ClusterToken& token,
               uint64_t bytes_in_flight_max);

  using Done = std::function<void(const Status&)>;
  void Pull(const ObjectId& object, const std::vector<NodeId>& nodes, uint64_t size_bytes,
            Done done);
  // Its transfers fail over to other nodes.
  void NodeDead(const NodeId& node);
  size_t active() const { return pulls_.active(); }

 private:
  struct Transfer {
    ObjectId object;
    NodeId node;
    std::span<uint8_t> memory;
    std::optional<ChunkWindow> window;  // Set once there is room for it here.
    bool creating = false;              // The store has been asked for room.
    // Its node has failed while the store was being asked: the next node is asked
    // once the store has answered, lest its object be found to exist.
    std::optional<Status> failed;
  };

  void Want(const ObjectId& object, const std::vector<NodeId>& nodes, uint64_t size_bytes,
            Done done);
  void Perform(PullSteps steps);
  void Start(const PullStart& start);
  PeerLink& LinkTo(const NodeId& node);
  void OnFrame(const NodeId& node, const ipc::Frame& frame);
  void OnLinkClosed(const NodeId& node, const Status& why);
  Status OnOpened(const NodeId& node, const fb::transfer::ObjectOpened& opened);
  void OnCreated(TransferId id, const ObjectId& object, Result<std::span<uint8_t>> memory);
  void AwaitLocalSeal(TransferId id, const ObjectId& object);
  std::optional<std::span<uint8_t>> OnChunk(const NodeId& node, const ChunkHeader& header,
                                            uint64_t bytes);
  void OnChunkDone(const ChunkHeader& header);
  void AskForMore(TransferId id, Transfer& transfer);
  void Close(TransferId id, const NodeId& node);

  boost::asio::io_context& loop_;
  plasma::StoreRunner& store_;
  const AddressBook& addresses_;
  const NodeId self_;
  const ClusterToken token_;
  PullManager pulls_;
  uint64_t next_request_ = 1;
  std::unordered_map<uint64_t, Done> waiting_;
  std::unordered_map<TransferId, Transfer> transfers_;
  std::unordered_map<NodeId, std::unique_ptr<PeerLink>> links_;
  // What was posted finds out by it that the puller has gone.
  const std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace skyray::object_manager
