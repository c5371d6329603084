// SPDX-License-Identifier: Apache-2.0
// The hot path of the core without Python, for tests/bench/instructions.py to
// count: a driver and a worker in one process, over real sockets, with a raylet
// that only grants the lease.
//
//   hot_path task|actor|put BATCHES
//
// A batch is kBatch operations. What instructions.py looks for are the phases of
// the driver (SubmitPhase, PutPhase: the rest of its thread is get) and the threads
// (WorkerLoop; the two gateways' I/O threads in the order of their creation).
#include <gtest/gtest.h>
#include <stdio.h>
#include <stdlib.h>

#include <atomic>
#include <chrono>
#include <string_view>
#include <thread>
#include <vector>

#include "core_worker/core_worker_fixture.h"

namespace skyray::core_worker {

constexpr int kBatch = 200;  // Fewer than a lease takes at once.

class HotPath : public CoreWorkerTest {
 public:
  ~HotPath() override {
    stopping_ = true;
    if (grantor_.joinable()) grantor_.join();
    worker_->RequestExit("the end");
    worker_thread_.join();
  }
  void Tasks(int batches) {
    grantor_ = std::thread([this] { GrantWhatIsAsked(); });
    Take(Submit());  // Now it is known how long they take, and the lease is there.
    for (int i = 0; i < batches; ++i) {
      SubmitPhase([this] { return Submit(); });
      GetPhase();
    }
  }
  void Calls(int batches) {
    Actor* actor = StartActor();
    Function* method = driver->InternMethod(actor, "add");
    for (int i = 0; i < batches; ++i) {
      SubmitPhase([&] { return driver->SubmitActorCall(actor, method, 1, Arguments(), nullptr); });
      GetPhase();
    }
  }
  void Puts(int batches) {
    for (int i = 0; i < batches; ++i) {
      SubmitPhase([this] { return driver->Put(TextParts("a value"), {}).value(); });
      GetPhase();
    }
  }

 private:
  void TestBody() override {}

  template <class Make>
  [[gnu::noinline]] void SubmitPhase(Make make) {
    for (int i = 0; i < kBatch; ++i) objects_.push_back(make());
  }
  [[gnu::noinline]] void GetPhase() {
    if (driver->WaitReady(objects_, objects_.size(), Soon()) != WaitResult::Done) abort();
    for (Object* object : objects_) {
      if (!driver->Read(object, Soon(), /*may_wait=*/true)) abort();
    }
    driver->DropAll(objects_);
    objects_.clear();
  }
  [[gnu::noinline]] void WorkerLoop() {
    while (Call call = worker_->NextCall()) {
      // The bindings read the clock for each: what is run is recorded.
      TaskTimes& times = call->times;
      times.arguments_ns = times.executed_ns = times.end_ns = times.start_ns;
      if (call->method() == "__init__") {
        worker_->ActorStarted(*call, std::nullopt, "");
      } else {
        Reply(*worker_, *call, "a result", /*execute_us=*/1);
      }
    }
  }

  // A lease that was idle for long, because this machine was busy, goes back.
  void GrantWhatIsAsked() {
    size_t granted = 0;
    while (!stopping_) {
      if (raylet.Count(Body::RequestLease) > 0 && raylet.Count(Body::ReturnLease) == granted) {
        Grant(*worker_);
        ++granted;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }
  Actor* StartActor() {
    ActorOptions options;
    options.class_id = FunctionId::FromRandom();
    options.class_name = "Counter";
    Actor* actor = driver->CreateActor(std::move(options), Arguments()).value().actor;
    const auto create = raylet.Await(Body::CreateActor);
    raylet.Send(create.from, create->request_id(), Body::CreateActorReply,
                [](Builder& builder) { return fbr::CreateCreateActorReply(builder).Union(); });
    const auto* spec = create->body_as_CreateActor()->spec();
    raylet.Send(worker_id_, 0, Body::StartActor, [&](Builder& builder) {
      const auto id = PutId(builder, actor->id);
      const auto job = PutId(builder, raylet.job);
      const auto name = builder.CreateString("Counter");
      const auto owner = PutAddress(builder, {raylet.node, driver_id()});
      const auto task =
          builder.CreateVector(spec->creation_task()->data(), spec->creation_task()->size());
      fbr::ActorSpecBuilder copy(builder);
      copy.add_actor_id(id);
      copy.add_job_id(job);
      copy.add_class_name(name);
      copy.add_owner(owner);
      copy.add_creation_task(task);
      return fbr::CreateStartActor(builder, copy.Finish()).Union();
    });
    raylet.Await(Body::ActorStarted);
    raylet.Send(driver_id(), 0, Body::ActorUpdate, [&](Builder& builder) {
      const auto id = PutId(builder, actor->id);
      const auto address = PutAddress(builder, {raylet.node, worker_id_});
      fbr::ActorInfoBuilder info(builder);
      info.add_actor_id(id);
      info.add_state(fbr::ActorState::Alive);
      info.add_version(1);
      info.add_address(address);
      return fbr::CreateActorUpdate(builder, info.Finish()).Union();
    });
    return actor;
  }

  std::vector<Object*> objects_;
  std::unique_ptr<CoreWorker> worker_ = NewWorker();
  WorkerId worker_id_ = worker_->session().worker_id;
  std::thread worker_thread_{[this] { WorkerLoop(); }};
  std::atomic<bool> stopping_ = false;
  std::thread grantor_;
};

}  // namespace skyray::core_worker

int main(int argc, char** argv) {
  const std::string_view what = argc == 3 ? argv[1] : "";
  const int batches = argc == 3 ? atoi(argv[2]) : 0;
  if (batches < 1 || (what != "task" && what != "actor" && what != "put")) {
    fprintf(stderr, "usage: hot_path task|actor|put BATCHES\n");
    return 2;
  }
  skyray::core_worker::HotPath path;
  if (what == "task") path.Tasks(batches);
  if (what == "actor") path.Calls(batches);
  if (what == "put") path.Puts(batches);
  printf("compiler %s, %d operations\n", __VERSION__, batches * skyray::core_worker::kBatch);
  return ::testing::Test::HasFailure() ? 1 : 0;
}
