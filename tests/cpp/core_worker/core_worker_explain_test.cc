// SPDX-License-Identifier: Apache-2.0
// A driver whose waits are explained almost at once.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <thread>

#include "core_worker/core_worker_fixture.h"

namespace skyray::core_worker {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

class CoreWorkerExplainTest : public CoreWorkerTest {
 protected:
  CoreWorkerExplainTest() { BeCurious(/*is_driver=*/true); }
  ~CoreWorkerExplainTest() override {
    if (waiting_.joinable()) waiting_.join();
  }

  // The fixture's driver, whose words are used, becomes one that is told, or a worker.
  void BeCurious(bool is_driver) {
    CoreWorkerOptions options = Patient();
    options.explain_after_ns = 1;
    options.on_notice = [this](const std::string& text, bool) { said_.set_value(text); };
    options.interrupted = [this] { return interrupted_.load(); };
    Submitter(is_driver, std::move(options));
  }

  // Begins to wait, for as long as it takes.
  void WaitFor(Object* object, WaitResult expected = WaitResult::Done) {
    waiting_ = std::thread([this, object, expected] {
      EXPECT_EQ(driver->WaitReady({&object, 1}, 1, Soon()), expected);
    });
  }
  void Interrupt() {
    interrupted_ = true;
    JoinWait();
  }
  void JoinWait() { waiting_.join(); }
  void AnswerWhy(const std::string& text) {
    const auto asked = raylet.Await(Body::ExplainLease);
    raylet.Send(asked.from, asked->request_id(), Body::LeaseExplanation, [&](Builder& builder) {
      return fbr::CreateLeaseExplanation(builder, builder.CreateString(text)).Union();
    });
  }
  std::string Said() { return said_.get_future().get(); }

  std::unique_ptr<CoreWorker> worker = NewWorker();

  std::atomic<bool> interrupted_ = false;

 private:
  std::promise<std::string> said_;
  std::thread waiting_;
};

TEST_F(CoreWorkerExplainTest, TheRayletSaysWhyThereIsNoWorker) {
  Object* object = Submit();
  WaitFor(object);
  AnswerWhy("the moon is full");
  EXPECT_THAT(Said(), AllOf(HasSubstr("object " + object->id.Hex().substr(0, 16)),
                            HasSubstr("of f, which waits for a worker: the moon is full")));
  Grant(*worker);
  RunOne(*worker, "1");
  JoinWait();
  EXPECT_EQ(Take(object), "1");
}

TEST_F(CoreWorkerExplainTest, AnArgumentThatIsLackingIsExplainedInTurn) {
  Object* first = Submit();
  Object* second = Submit(0, ArgumentsOf(first));
  WaitFor(second);
  AnswerWhy("");
  EXPECT_THAT(Said(), AllOf(HasSubstr(second->id.Hex().substr(0, 16)),
                            HasSubstr("of f, which waits for its argument: object " +
                                      first->id.Hex().substr(0, 16)),
                            HasSubstr("of f, which waits for a worker")));
  Grant(*worker);
  RunOne(*worker, "1");
  RunOne(*worker, "2");
  JoinWait();
  EXPECT_EQ(Take(first), "1");
  EXPECT_EQ(Take(second), "2");
}

TEST_F(CoreWorkerExplainTest, ARunningTaskNeedsNoAnswerOfTheRaylets) {
  Object* object = Submit();
  Grant(*worker);
  Call call = Next(*worker);
  WaitFor(object);
  EXPECT_THAT(Said(),
              AllOf(ContainsRegex("of f, which runs on the worker pid 4711, busy for [0-9]+ s"),
                    Not(HasSubstr("others"))));
  Reply(*worker, *call, "done");
  JoinWait();
  EXPECT_EQ(Take(object), "done");
}

TEST_F(CoreWorkerExplainTest, AWorkerSpeaksOfWhatItLacksAndSeldom) {
  BeCurious(/*is_driver=*/false);
  Object* object = Submit();
  WaitFor(object);
  AnswerWhy("all is taken");
  EXPECT_THAT(Said(), HasSubstr("which waits for a worker: all is taken"));
  Grant(*worker);
  Call call = Next(*worker);
  Object* next = Submit();
  Reply(*worker, *call, "1", /*execute_us=*/1);
  JoinWait();
  WaitFor(next);
  RunOne(*worker, "2");
  JoinWait();
  EXPECT_EQ(raylet.Count(Body::ExplainLease), 0u) << "said once, it is silent for a minute";
  EXPECT_EQ(Take(object), "1");
  EXPECT_EQ(Take(next), "2");
}

TEST_F(CoreWorkerExplainTest, AnInterruptEndsTheWaitForTheExplanationToo) {
  Object* object = Submit();
  WaitFor(object, WaitResult::Interrupted);
  raylet.Await(Body::ExplainLease);
  Interrupt();
  interrupted_ = false;
  Grant(*worker);
  RunOne(*worker, "1");
  EXPECT_EQ(Take(object), "1");
}

TEST_F(CoreWorkerExplainTest, AWaitWithAnEarlierDeadlineIsNotExplained) {
  Object* object = Submit();
  EXPECT_EQ(driver->WaitReady({&object, 1}, 1, NowNs() - 1), WaitResult::TimedOut);
  AwaitThatTheDriverKnows();
  EXPECT_EQ(raylet.Count(Body::ExplainLease), 0u);
  Grant(*worker);
  RunOne(*worker, "1");
  EXPECT_EQ(Take(object), "1");
}

}  // namespace
}  // namespace skyray::core_worker
