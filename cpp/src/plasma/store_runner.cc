// SPDX-License-Identifier: Apache-2.0
#include "plasma/store_runner.h"

#include <pthread.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <thread>
#include <utility>

#include "common/signals_blocked.h"
#include "ipc/run_loop.h"

namespace skyray::plasma {
namespace asio = boost::asio;

struct StoreRunner::State {
  explicit State(asio::io_context& owner) : owner_loop(owner), work(asio::make_work_guard(loop)) {}

  // Runs `work` on the owner's loop, unless the runner has gone by then.
  template <class Work>
  void PostToOwner(Work work_item) {
    asio::post(owner_loop, [token = alive_token, work_item = std::move(work_item)]() mutable {
      if (!token.expired()) work_item();
    });
  }
  template <class Work>
  void PostToStore(Work work_item) {
    asio::post(loop, [this, work_item = std::move(work_item)]() mutable { work_item(*server); });
  }
  // `done`, to be called on the store's thread, there sent to the owner's loop.
  template <class Value>
  std::function<void(Value)> ToOwner(std::function<void(Value)> done) {
    return [this, done = std::move(done)](Value value) {
      PostToOwner([done, value = std::move(value)]() mutable { done(std::move(value)); });
    };
  }

  asio::io_context& owner_loop;
  // Dropped on the owner's loop, which is where the token is looked at.
  std::shared_ptr<int> alive = std::make_shared<int>(0);
  const std::weak_ptr<int> alive_token = alive;
  asio::io_context loop{1};
  asio::executor_work_guard<asio::io_context::executor_type> work;
  EventHandler on_events;
  std::unique_ptr<StoreServer> server;  // Used on the store's thread once that runs.
  std::thread thread;
};

Result<std::unique_ptr<StoreRunner>> StoreRunner::Start(const StoreOptions& options,
                                                        asio::io_context& owner_loop,
                                                        EventHandler on_events) {
  auto state = std::make_unique<State>(owner_loop);
  State* raw = state.get();
  state->on_events = std::move(on_events);
  StoreServer::EventHandler forward;
  if (state->on_events) {
    forward = [raw](std::vector<StoreEvent> events) {
      raw->PostToOwner(
          [raw, events = std::move(events)]() mutable { raw->on_events(std::move(events)); });
    };
  }
  auto server = StoreServer::Start(state->loop, options, std::move(forward));
  if (!server) return server.error();
  state->server = std::move(*server);
  const SignalsBlocked blocked;  // They belong to the owner's thread.
  state->thread = std::thread([raw] {
    pthread_setname_np(pthread_self(), "plasma");
    ipc::RunLoop(raw->loop);
  });
  return std::unique_ptr<StoreRunner>(new StoreRunner(std::move(state)));
}

StoreRunner::StoreRunner(std::unique_ptr<State> state) : state_(std::move(state)) {}

StoreRunner::~StoreRunner() {
  state_->alive.reset();
  state_->work.reset();
  state_->loop.stop();
  state_->thread.join();
}

void StoreRunner::Create(const NewObject& object,
                         std::function<void(Result<std::span<uint8_t>>)> done) {
  state_->PostToStore([object, done = state_->ToOwner(std::move(done))](
                          StoreServer& store) mutable { store.Create(object, std::move(done)); });
}

void StoreRunner::Seal(const ObjectId& id) {
  state_->PostToStore([id](StoreServer& store) { store.Seal(id); });
}

void StoreRunner::Abort(const ObjectId& id) {
  state_->PostToStore([id](StoreServer& store) { store.Abort(id); });
}

void StoreRunner::Pin(const ObjectId& id, int64_t timeout_ms,
                      std::function<void(std::optional<PinnedObject>)> done) {
  state_->PostToStore(
      [id, timeout_ms, done = state_->ToOwner(std::move(done))](StoreServer& store) mutable {
        store.Get(id, timeout_ms, std::move(done));
      });
}

void StoreRunner::PinCreated(const ObjectId& id, int64_t timeout_ms,
                             std::function<void(std::optional<PinnedObject>)> done) {
  state_->PostToStore(
      [id, timeout_ms, done = state_->ToOwner(std::move(done))](StoreServer& store) mutable {
        store.Get(id, store.Exists(id) ? timeout_ms : 0, std::move(done));
      });
}

void StoreRunner::Unpin(const ObjectId& id) {
  state_->PostToStore([id](StoreServer& store) { store.Release(id); });
}

void StoreRunner::Delete(std::vector<ObjectId> ids) {
  state_->PostToStore([ids = std::move(ids)](StoreServer& store) { store.Delete(ids); });
}

void StoreRunner::OwnerDied(const WorkerId& owner) {
  state_->PostToStore([owner](StoreServer& store) { store.OwnerDied(owner); });
}

void StoreRunner::TakeSpillable(uint64_t bytes_min, size_t objects_max,
                                std::function<void(std::vector<SpillableObject>)> done) {
  state_->PostToStore(
      [bytes_min, objects_max, done = state_->ToOwner(std::move(done))](StoreServer& store) {
        done(store.TakeSpillable(bytes_min, objects_max));
      });
}

void StoreRunner::Spilled(std::vector<ObjectId> ids) {
  state_->PostToStore([ids = std::move(ids)](StoreServer& store) { store.Spilled(ids); });
}

void StoreRunner::SpillFailed(std::vector<ObjectId> ids, Status why) {
  state_->PostToStore([ids = std::move(ids), why = std::move(why)](StoreServer& store) {
    store.SpillFailed(ids, why);
  });
}

void StoreRunner::Restore(const ObjectId& id, std::function<void(Result<RestoreRoom>)> done) {
  state_->PostToStore([id, done = state_->ToOwner(std::move(done))](StoreServer& store) mutable {
    store.Restore(id, std::move(done));
  });
}

void StoreRunner::Lose(const ObjectId& id, Status why) {
  state_->PostToStore([id, why = std::move(why)](StoreServer& store) { store.Lose(id, why); });
}

void StoreRunner::SegmentFd(uint32_t segment, std::function<void(Result<SharedFd>)> done) {
  state_->PostToStore([segment, done = state_->ToOwner(std::move(done))](StoreServer& store) {
    done(store.SegmentFd(segment));
  });
}

void StoreRunner::Contains(const ObjectId& id, std::function<void(bool)> done) {
  state_->PostToStore([id, done = state_->ToOwner(std::move(done))](StoreServer& store) {
    done(store.Contains(id));
  });
}

void StoreRunner::Stats(std::function<void(StoreStats)> done) {
  state_->PostToStore(
      [done = state_->ToOwner(std::move(done))](StoreServer& store) { done(store.Stats()); });
}

void StoreRunner::DebugState(std::function<void(std::string)> done) {
  state_->PostToStore(
      [done = state_->ToOwner(std::move(done))](StoreServer& store) { done(store.DebugState()); });
}

}  // namespace skyray::plasma
