// SPDX-License-Identifier: Apache-2.0
// Carries out what SpillManager decides: between the store, which says what is
// wanted and holds the memory, and the storage, which moves the bytes.
//
// Threading:  lives on the raylet's loop.
// Ownership:  owns the storage; the store must outlive *this. At its end nothing
//             touches the store's memory any more, and the spill files are gone.
// Errors:     a failed spill is logged and told to the store; a failed restore
//             ends the gets that wait for it.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <memory>
#include <vector>

#include "object_manager/spill_manager.h"
#include "object_manager/spill_storage.h"
#include "plasma/store_runner.h"

namespace skyray::object_manager {

class SpillService {
 public:
  SpillService(boost::asio::io_context& loop, plasma::StoreRunner& store,
               std::unique_ptr<SpillStorage> storage, const SpillConfig& config);
  ~SpillService();
  SpillService(const SpillService&) = delete;
  SpillService& operator=(const SpillService&) = delete;

  void OnStoreEvents(const std::vector<plasma::StoreEvent>& events);
  SpillStats Stats() const { return manager_.Stats(); }

 private:
  void Do(SpillSteps steps);
  void Take(const SpillSteps::Take& take);
  void Write(SpillSteps::Write write);
  void FindRoom(const ObjectId& object);
  void Read(const SpillSteps::Read& read);
  void Tell();
  void ArmTimer();
  // `done`, if *this is still there when it is called.
  template <class Done>
  auto IfAlive(Done done) {
    return [alive = std::weak_ptr<int>(alive_), done = std::move(done)](auto&&... values) {
      if (!alive.expired()) done(std::forward<decltype(values)>(values)...);
    };
  }

  plasma::StoreRunner& store_;
  SpillManager manager_;
  boost::asio::steady_timer timer_;
  uint64_t told_bytes_ = 0;  // What the log has said so far.
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
  std::unique_ptr<SpillStorage> storage_;  // Last: ended first.
};

}  // namespace skyray::object_manager
