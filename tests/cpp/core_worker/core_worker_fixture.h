// SPDX-License-Identifier: Apache-2.0
// A driver and its workers as CoreWorkers of one process, a fake raylet, and a
// real store; and the words to make tasks and run them by hand.
//
// Threading: everything is called by the test's thread, which so is the main
// thread of every worker. Ownership: the fixture's. Errors: fail the test.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core_worker/core_worker.h"
#include "core_worker/fake_raylet.h"
#include "plasma/store_fixture.h"

namespace skyray::core_worker {

namespace fbr = fb::raylet;

class CoreWorkerTest : public ::testing::Test {
 protected:
  using Body = fbr::Body;
  using Call = std::unique_ptr<IncomingCall>;

  CoreWorkerTest() { Submitter(/*is_driver=*/true, Patient()); }

  // Another driver, or worker, submits from now on.
  void Submitter(bool is_driver, CoreWorkerOptions options) {
    driver = Connect(is_driver, std::move(options));
    function = driver->InternFunction(FunctionId::FromRandom(), "f");
    ResourceSet resources;
    resources.Set("CPU", kResourceUnit);
    lease_class = driver->InternLeaseClass(resources, {});
  }

  // By itself none of them gives anything back: a test that the machine keeps waiting is to
  // go on as one that it does not.
  static CoreWorkerOptions Patient() {
    constexpr int64_t kHourNs = int64_t{3600} * 1'000'000'000;
    CoreWorkerOptions options;
    options.lease_linger_ns = kHourNs;
    options.long_task_ns = kHourNs;
    return options;
  }
  std::unique_ptr<CoreWorker> Connect(bool is_driver, CoreWorkerOptions options = Patient()) {
    options.raylet_socket = raylet.socket_path();
    options.is_driver = is_driver;
    auto connected = CoreWorker::Connect(std::move(options));
    EXPECT_TRUE(connected.has_value());
    return std::move(*connected);
  }
  std::unique_ptr<CoreWorker> NewWorker() { return Connect(false); }
  static int64_t Soon() { return NowNs() + int64_t{60} * 1'000'000'000; }

  // --- The raylet's part ---

  LeaseId Grant(const WorkerId& worker) {
    return GrantFor(raylet.Await(Body::RequestLease), worker);
  }
  LeaseId GrantFor(const FakeRaylet::Received& request, const WorkerId& worker) {
    const LeaseId id = LeaseId::FromRandom();
    raylet.Send(request.from, request->request_id(), Body::LeaseReply, [&](Builder& builder) {
      const auto lease_id = PutId(builder, id);
      const auto address = PutAddress(builder, {raylet.node, worker});
      fbr::LeaseReplyBuilder reply(builder);
      reply.add_result(fbr::LeaseResult::Granted);
      reply.add_lease_id(lease_id);
      reply.add_worker(address);
      reply.add_worker_pid(4711);
      return reply.Finish().Union();
    });
    return id;
  }
  LeaseId Grant(CoreWorker& worker) { return Grant(worker.session().worker_id); }
  static flatbuffers::Offset<fbr::ExitInfo> PutExit(Builder& builder, int signal,
                                                    ErrorCode error = ErrorCode::Ok,
                                                    bool no_retry = false) {
    const std::vector<std::string> last_words{"last words"};
    const auto tail = builder.CreateVectorOfStrings(last_words);
    fbr::ExitInfoBuilder exit(builder);
    exit.add_pid(4711);
    exit.add_exit_code(-1);
    exit.add_signal(signal);
    exit.add_stderr_tail(tail);
    exit.add_error(error);
    exit.add_no_retry(no_retry);
    return exit.Finish();
  }
  void TellLeaseLost(const LeaseId& lease, int signal, ErrorCode error = ErrorCode::Ok,
                     bool no_retry = false, uint64_t started = UINT64_MAX) {
    raylet.Send(driver_id(), 0, Body::LeaseLost, [&](Builder& builder) {
      const auto id = PutId(builder, lease);
      const auto exit = PutExit(builder, signal, error, no_retry);
      return fbr::CreateLeaseLost(builder, id, exit, started).Union();
    });
  }

  // Whatever the raylet told the driver before, it has taken in.
  void AwaitThatTheDriverKnows() {
    const auto reply = driver->Request([](Builder& builder, Body& type) {
      type = Body::Kv;
      return fbr::CreateKv(builder).Union();
    });
    EXPECT_TRUE(reply.has_value());
  }

  // --- The driver's part ---

  WorkerId driver_id() const { return driver->session().worker_id; }
  static CallArguments Arguments(std::string_view text = "arguments") {
    CallArguments arguments;
    const ValuePtr value = TextValue(text);
    arguments.payload.assign(reinterpret_cast<const char*>(value->data()), value->bytes());
    return arguments;
  }
  Object* Submit(int max_retries = 0, CallArguments arguments = Arguments()) {
    TaskTemplate task;
    task.function = function;
    task.lease_class = lease_class;
    task.max_retries = max_retries;
    return driver->SubmitTask(task, std::move(arguments)).front();
  }
  // With `object` as its only argument.
  CallArguments ArgumentsOf(Object* object) {
    CallArguments arguments = Arguments();
    driver->Hold(object);
    arguments.refs.push_back({0, "", object});
    return arguments;
  }
  // Waits for a value and reads it: its text, or "Code: message" of an error.
  static std::string Get(CoreWorker& worker, Object* object) {
    if (worker.WaitReady({&object, 1}, 1, Soon()) != WaitResult::Done) return "never ready";
    auto value = worker.Read(object, Soon(), /*may_wait=*/true);
    if (!value) return value.error().ToString();
    const auto view = PayloadView::Parse(value->bytes);
    if (view && view->format == PayloadFormat::SystemError) {
      const auto error = ParseSystemError(*view);
      return std::string(fb::EnumNameErrorCode(error.code)) + ": " + error.message;
    }
    return TextOf(value->bytes);
  }
  // Get, and the reference is dropped.
  std::string Take(Object* object) {
    const std::string text = Get(*driver, object);
    driver->Drop(object);
    return text;
  }

  // --- A worker's part ---

  static Call Next(CoreWorker& worker) {
    Call call = worker.NextCall();
    EXPECT_NE(call, nullptr);
    return call;
  }
  static void Reply(CoreWorker& worker, IncomingCall& call, std::string_view text,
                    uint32_t execute_us = 100) {
    std::vector<TaskReturn> returns(1);
    returns[0].parts = TextParts(text);
    worker.Reply(call, execute_us, std::move(returns));
  }
  static void RunOne(CoreWorker& worker, std::string_view text, uint32_t execute_us = 100) {
    Call call = Next(worker);
    Reply(worker, *call, text, execute_us);
  }
  bool DriverForgetsAll() {
    // The rest of what it owned goes when the others' messages have come.
    return store.RunUntil([&] { return driver->GetStatistics().objects == 0; });
  }

  plasma::TemporaryDirectory directory;
  plasma::RunningStore store{64 << 20};
  FakeRaylet raylet{directory.path(), store.socket_path};
  std::unique_ptr<CoreWorker> driver;
  Function* function = nullptr;
  LeaseClass* lease_class = nullptr;
};

}  // namespace skyray::core_worker
