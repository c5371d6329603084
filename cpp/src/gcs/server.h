// SPDX-License-Identifier: Apache-2.0
// The GCS's network side: gRPC around Cluster.
//
//   call, event ─posted─► loop: Cluster ─► collected ─┐ end of this turn
//   replies, commands ◄──────────── Storage::Commit ◄─┘
//
// All that arrives in one turn of the loop, or while the disk is busy, is one
// transaction; nothing is said before it is durable. A node is as alive as its
// Attach stream.
//
// Threading:  lives on one loop. gRPC's threads, and the one that commits (where
//             the storage writes at all), only post to it.
// Ownership:  owns the connections and the calls. `storage` must outlive it.
// Errors:     what peers send wrong is answered or dropped. When the storage
//             fails the server cannot go on: `failed` is called, once.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>

#include "common/status.h"
#include "common/unique_fd.h"
#include "gcs/storage.h"
#include "gcs/task_event_store.h"

namespace skyray::gcs {

class Server {
 public:
  using Failed = std::function<void(const Status&)>;

  // So many executions of tasks are remembered.
  Server(boost::asio::io_context& loop, Storage& storage, Failed failed,
         uint64_t task_events_max = kTaskEventsMax);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Reads the storage and is ready for connections.
  Status Start();
  // Serves who connects to this unix socket, if of our user. REQUIRES: started.
  void Listen(UniqueFd listener);
  // Ends every connection and call; nothing is called afterwards.
  void Stop();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace skyray::gcs
