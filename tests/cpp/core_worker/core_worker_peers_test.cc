// SPDX-License-Identifier: Apache-2.0
// Core workers that borrow from each other, and peers that misbehave.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "core_worker/core_worker_fixture.h"
#include "core_worker/raw_peer.h"
#include "ipc/verify.h"

namespace skyray::core_worker {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class CoreWorkerPeersTest : public CoreWorkerTest {
 protected:
  RawPeer Stranger(const CoreWorker& to) {
    return RawPeer::ConnectTo(directory.path(), to.session().worker_id);
  }
  void ExpectTasksStillRun() {
    Object* result = Submit();
    Grant(*worker);
    RunOne(*worker, "alive");
    EXPECT_EQ(Take(result), "alive");
  }
  static void Define(RawPeer& peer, uint32_t index) {
    peer.Say(fbw::Body::DefineFunction, [&](Builder& builder) {
      const auto id = PutId(builder, FunctionId::FromRandom());
      return fbw::CreateDefineFunction(builder, index, id).Union();
    });
  }
  static std::string CallFrame(uint64_t sequence, uint32_t function_index) {
    Task task;
    task.args = "x";
    std::string frame;
    AppendCall(frame, task, task.args, sequence, function_index);
    return frame;
  }
  // The text of a value the driver owns.
  Object* Put(std::string_view text) {
    auto object = driver->Put(TextParts(text), {});
    EXPECT_TRUE(object.has_value());
    return *object;
  }
  // The worker runs the next call, whose result is a list of a reference to what it put.
  OwnedRef ReplyWithReference() {
    Call call = Next(*worker);
    auto inner = worker->Put(TextParts("the worker's own"), {});
    EXPECT_TRUE(inner.has_value());
    const OwnedRef ref{(*inner)->id, worker->Publish(*inner)};
    std::vector<TaskReturn> returns(1);
    returns[0].parts = TextParts("a list of one reference");
    returns[0].contained.push_back(*inner);  // Its only hold goes with the reply.
    worker->Reply(*call, 10, std::move(returns));
    return ref;
  }
  bool DriverOwns(size_t objects) {
    return store.RunUntil([&] { return driver->GetStatistics().objects == objects; });
  }

  std::unique_ptr<CoreWorker> worker = NewWorker();
};

// --- Borrowing ---

TEST_F(CoreWorkerPeersTest, AReferenceKeptByATaskOutlivesTheOwnersOwn) {
  Object* object = Put("borrowed");
  const ObjectId id = object->id;
  const WorkerAddress owner = driver->Publish(object);
  CallArguments arguments = Arguments();
  driver->Hold(object);
  arguments.pinned.push_back(object);
  Object* result = Submit(0, std::move(arguments));
  driver->Drop(object);
  Grant(*worker);
  Call call = worker->NextCall();
  CoreWorker::BeginArguments(*call);
  Object* kept = worker->Restore(id, owner);  // As unpickling its arguments does.
  CoreWorker::EndArguments();
  Reply(*worker, *call, "kept it");
  EXPECT_EQ(Take(result), "kept it");
  EXPECT_EQ(driver->GetStatistics().objects, 1u) << "the worker still refers to it";
  EXPECT_EQ(worker->GetStatistics().objects_borrowed, 1u);
  EXPECT_EQ(Get(*worker, kept), "borrowed");
  worker->Drop(kept);
  EXPECT_TRUE(DriverOwns(0));
}

TEST_F(CoreWorkerPeersTest, AReferenceNotKeptByATaskIsNobodysBusiness) {
  Object* object = Put("only looked at");
  const WorkerAddress owner = driver->Publish(object);
  CallArguments arguments = Arguments();
  driver->Hold(object);
  arguments.pinned.push_back(object);
  Object* result = Submit(0, std::move(arguments));
  Grant(*worker);
  Call call = worker->NextCall();
  CoreWorker::BeginArguments(*call);
  Object* seen = worker->Restore(object->id, owner);
  CoreWorker::EndArguments();
  worker->Drop(seen);
  Reply(*worker, *call, "done");
  EXPECT_EQ(Take(result), "done");
  driver->Drop(object);
  EXPECT_EQ(driver->GetStatistics().objects, 0u);
  EXPECT_EQ(worker->GetStatistics().objects, 0u);
}

TEST_F(CoreWorkerPeersTest, AReferenceInAResultIsTheCallersFromThenOn) {
  Object* result = Submit();
  Grant(*worker);
  const auto [id, owner] = ReplyWithReference();
  EXPECT_EQ(Get(*driver, result), "a list of one reference");
  Object* borrowed = driver->Restore(id, owner);
  driver->Drop(result);
  EXPECT_EQ(Get(*driver, borrowed), "the worker's own");
  driver->Drop(borrowed);
  EXPECT_TRUE(store.RunUntil([&] { return worker->GetStatistics().objects == 0; }));
}

TEST_F(CoreWorkerPeersTest, AReferenceInAResultLivesOnThoughTheCallerIsTheExecutor) {
  TaskTemplate task;
  task.function = worker->InternFunction(FunctionId::FromRandom(), "f");
  ResourceSet resources;
  resources.Set("CPU", kResourceUnit);
  task.lease_class = worker->InternLeaseClass(resources, {});
  Object* result = worker->SubmitTask(task, Arguments()).front();
  Grant(*worker);
  const auto [id, owner] = ReplyWithReference();
  EXPECT_EQ(Get(*worker, result), "a list of one reference");
  Object* again = worker->Restore(id, owner);
  EXPECT_EQ(Get(*worker, again), "the worker's own");
  worker->Drop(result);
  EXPECT_EQ(worker->GetStatistics().objects, 1u);
  worker->Drop(again);
  EXPECT_EQ(worker->GetStatistics().objects, 0u);
}

TEST_F(CoreWorkerPeersTest, ABorrowersEndIsTheEndOfItsBorrows) {
  Object* object = Put("borrowed");
  Object* kept = worker->Restore(object->id, driver->Publish(object));
  EXPECT_EQ(Get(*worker, kept), "borrowed");  // By now the owner knows.
  driver->Drop(object);
  EXPECT_EQ(driver->GetStatistics().objects, 1u);
  worker.reset();
  EXPECT_TRUE(DriverOwns(0));
}

TEST_F(CoreWorkerPeersTest, AReferenceInAnAnswerThatNobodyWantsTakesNoEarlierOneBack) {
  Object* object = Put("kept");
  const ObjectId id = object->id;
  const WorkerAddress owner = driver->Publish(object);
  Object* kept = worker->Restore(id, owner);
  EXPECT_EQ(Get(*worker, kept), "kept");  // By now the owner knows.
  driver->Drop(object);
  // An answer that comes after its object was let go of. The stranger's word to the owner
  // that this worker borrows once more is still under way.
  RawPeer late = Stranger(*worker);
  late.SayHello();
  late.Say(fbw::Body::ObjectReply, [&](Builder& builder) {
    const auto inner =
        fbw::CreateContainedRef(builder, PutId(builder, id), PutPeerAddress(builder, owner));
    const auto contained = builder.CreateVector({inner});
    const auto name = PutId(builder, ObjectId::FromRandom());
    const auto payload = builder.CreateVector(std::vector<uint8_t>{1, 2, 3});
    return fbw::CreateObjectReply(builder, name, ErrorCode::Ok, 0, payload, 0, 0, contained)
        .Union();
  });
  late.AskFor(ObjectId::FromRandom());
  ASSERT_TRUE(late.Hear().has_value());  // It has been read.
  Object* other = Put("other");
  Object* asked = worker->Restore(other->id, driver->Publish(other));
  EXPECT_EQ(Get(*worker, asked), "other");  // What was sent before has arrived.
  EXPECT_EQ(driver->GetStatistics().objects, 2u) << "the worker still refers to the first";
  RawPeer tells = Stranger(*driver);
  tells.SayHello();
  tells.Say(fbw::Body::AddBorrower, [&](Builder& builder) {
    const auto borrower = PutPeerAddress(builder, {raylet.node, worker->session().worker_id});
    return fbw::CreateAddBorrower(builder, PutId(builder, id), borrower).Union();
  });
  tells.AskFor(ObjectId::FromRandom());
  ASSERT_TRUE(tells.Hear().has_value());
  driver->Drop(other);
  worker->Drop(asked);
  worker->Drop(kept);
  EXPECT_TRUE(DriverOwns(0));
}

TEST_F(CoreWorkerPeersTest, WhatTheOwnerHasFreedIsAnError) {
  Object* object = worker->Restore(ObjectId::FromRandom(), {raylet.node, driver_id()});
  EXPECT_THAT(Get(*worker, object), StartsWith("ObjectLost: "));
  worker->Drop(object);
}

TEST_F(CoreWorkerPeersTest, OursThatWasFreedIsAnError) {
  Object* object = driver->Restore(ObjectId::FromRandom(), {raylet.node, driver_id()});
  EXPECT_THAT(Take(object), StartsWith("ObjectLost: "));
}

TEST_F(CoreWorkerPeersTest, AReplyLeavesThoughTheIoThreadSleepsAndALongCallFollows) {
  Object* first = Submit();
  Grant(*worker);
  RunOne(*worker, "1", /*execute_us=*/1);
  EXPECT_EQ(Take(first), "1");
  Object* second = Submit();
  Object* third = Submit();
  Call runs = Next(*worker);
  // The answer shows that the I/O thread reads now.
  RawPeer peer = Stranger(*worker);
  peer.SayHello();
  peer.AskFor(ObjectId::FromRandom());
  ASSERT_TRUE(peer.Hear().has_value());
  Reply(*worker, *runs, "2", 1);
  Call runs_for_long = Next(*worker);
  EXPECT_EQ(Take(second), "2");
  Reply(*worker, *runs_for_long, "3");
  EXPECT_EQ(Take(third), "3");
}

TEST_F(CoreWorkerPeersTest, AWorkersLastResultsReachACallerThatIsSlowToRead) {
  RawPeer peer = Stranger(*worker);
  peer.SayHello();
  Define(peer, 0);
  constexpr uint64_t kCalls = 500;
  const std::string text(4000, 'x');  // More in sum than sockets take.
  for (uint64_t i = 0; i < kCalls; ++i) peer.Send(CallFrame(i, 0));
  for (uint64_t i = 0; i < kCalls; ++i) {
    Call call = Next(*worker);
    Reply(*worker, *call, text);
  }
  std::thread leaving([this] { worker.reset(); });
  uint64_t heard = 0;
  while (peer.HearKind(kReplyFrame)) ++heard;
  leaving.join();
  EXPECT_EQ(heard, kCalls);
}

TEST_F(CoreWorkerPeersTest, WhatWaitsBehindALongTaskIsHandedBack) {
  CoreWorkerOptions options = Patient();
  options.long_task_ns = 1;
  worker = Connect(/*is_driver=*/false, options);
  RawPeer peer = Stranger(*worker);
  peer.SayHello();
  Define(peer, 0);
  for (const uint64_t sequence : {0, 1, 2}) peer.Send(CallFrame(sequence, 0));
  ASSERT_TRUE(store.RunUntil([&] { return worker->GetStatistics().calls_queued == 3; }));
  Call runs_for_long = Next(*worker);
  const auto frame = peer.Hear();
  ASSERT_TRUE(frame.has_value());
  const auto* message = ipc::Verified<fbw::Message>(*frame);
  ASSERT_EQ(message->body_type(), fbw::Body::HandBack);
  EXPECT_THAT(*message->body_as_HandBack()->sequences(), ElementsAre(1u, 2u));
  Reply(*worker, *runs_for_long, "done");
  EXPECT_TRUE(peer.HearKind(kReplyFrame).has_value());
}

TEST_F(CoreWorkerPeersTest, ACallerThatHangsUpKeepsNoWorkerFromLeaving) {
  auto peer = std::make_unique<RawPeer>(Stranger(*worker));
  peer->SayHello();
  Define(*peer, 0);
  for (uint64_t i = 0; i < 500; ++i) peer->Send(CallFrame(i, 0));
  for (int i = 0; i < 500; ++i) {
    Call call = Next(*worker);
    Reply(*worker, *call, std::string(4000, 'x'));
  }
  std::thread leaving([this] { worker.reset(); });
  peer.reset();
  leaving.join();
}

// --- Peers that misbehave: each is dropped, and nobody else notices ---

TEST_F(CoreWorkerPeersTest, AStrangerMustBeginWithHello) {
  for (const std::string& bytes :
       {std::string(64, '\xff'), FrameOf("not a flatbuffer"), CallFrame(0, 0),
        FrameOf("a reply", kReplyFrame), FrameOf("x", 77)}) {
    RawPeer peer = Stranger(*worker);
    peer.Send(bytes);
    EXPECT_TRUE(peer.IsHungUpOn());
  }
  RawPeer asks_first = Stranger(*worker);
  asks_first.AskFor(ObjectId::FromRandom());
  EXPECT_TRUE(asks_first.IsHungUpOn());
  ExpectTasksStillRun();
}

TEST_F(CoreWorkerPeersTest, AnotherProtocolIsNotSpoken) {
  RawPeer peer = Stranger(*worker);
  peer.Say(fbw::Body::Hello, [&](Builder& builder) {
    const auto address = PutPeerAddress(builder, peer.self);
    const auto job = PutId(builder, JobIdFromInt(3));
    return fbw::CreateHello(builder, kProtocolVersion + 1, address, job).Union();
  });
  EXPECT_TRUE(peer.IsHungUpOn());
}

TEST_F(CoreWorkerPeersTest, AMalformedCallEndsItsCaller) {
  const std::string good = CallFrame(0, 0);
  std::string short_body = FrameOf(good.substr(8, 30), kCallFrame);
  for (const std::string& bytes :
       {short_body, CallFrame(0, 1), FrameOf("", kCallFrame), good + FrameOf("x", kReplyFrame)}) {
    RawPeer peer = Stranger(*worker);
    peer.SayHello();
    Define(peer, 0);
    peer.Send(bytes);
    EXPECT_TRUE(peer.IsHungUpOn());
  }
  ExpectTasksStillRun();
}

TEST_F(CoreWorkerPeersTest, AnUnexpectedMessageEndsItsSender) {
  RawPeer skips = Stranger(*worker);
  skips.SayHello();
  Define(skips, 5);
  EXPECT_TRUE(skips.IsHungUpOn());
  RawPeer hands_back = Stranger(*worker);
  hands_back.SayHello();
  hands_back.Say(fbw::Body::HandBack,
                 [](Builder& builder) { return fbw::CreateHandBack(builder).Union(); });
  EXPECT_TRUE(hands_back.IsHungUpOn());
  ExpectTasksStillRun();
}

TEST_F(CoreWorkerPeersTest, IdsOfTheWrongSizeHarmNobody) {
  RawPeer peer = Stranger(*worker);
  peer.SayHello();
  peer.Say(fbw::Body::GetObject, [](Builder& builder) {
    const uint8_t bytes[] = {1, 2, 3};
    return fbw::CreateGetObject(builder, builder.CreateVector(bytes, 3)).Union();
  });
  peer.Say(fbw::Body::RemoveBorrower, [](Builder& builder) {
    const uint8_t bytes[] = {1, 2, 3};
    const auto id = builder.CreateVector(bytes, 3);
    const auto address = fbw::CreateAddress(builder, id, id);
    return fbw::CreateRemoveBorrower(builder, id, address).Union();
  });
  EXPECT_TRUE(peer.Hear().has_value()) << "unknown objects are answered";
  ExpectTasksStillRun();
}

// A worker of which the test writes every byte.
class BadWorkerTest : public CoreWorkerPeersTest {
 protected:
  BadWorkerTest() {
    path = directory.path() + "/w-" + id.Hex().substr(0, 16);
    auto listening = ipc::ListenUnix(path, 4);
    EXPECT_TRUE(listening.has_value());
    listener = std::move(*listening);
  }
  ~BadWorkerTest() override { unlink(path.c_str()); }
  // Leased to the driver; what it was called with is passed over.
  RawPeer Called() {
    lease = Grant(id);
    RawPeer peer(UniqueFd(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC)));
    EXPECT_TRUE(peer.HearKind(kCallFrame).has_value());
    return peer;
  }
  void ExpectTheDriverDropsIt(RawPeer& peer) {
    EXPECT_TRUE(peer.IsHungUpOn());
    // The raylet is to see to its end, and says how that was.
    const auto back = raylet.Await(Body::ReturnLease);
    EXPECT_EQ(ToId<LeaseId>(back->body_as_ReturnLease()->lease_id()), lease);
    EXPECT_TRUE(back->body_as_ReturnLease()->worker_failed());
    TellLeaseLost(lease, SIGKILL);
  }
  std::vector<Object*> StoredFarAway(int count) {
    const StoredAt far{NodeId::FromRandom(), 1 << 20, 0};
    std::vector<Object*> objects;
    for (int i = 0; i < count; ++i) {
      objects.push_back(worker->Restore(ObjectId::FromRandom(), {raylet.node, id}, far));
    }
    return objects;
  }
  void AnswerFetch(const FakeRaylet::Received& fetch, ErrorCode error) {
    raylet.Send(fetch.from, fetch->request_id(), Body::FetchReply,
                [&](Builder& builder) { return fbr::CreateFetchReply(builder, error).Union(); });
  }
  static std::string ReplyFrame(const ReplyHeader& header, const std::string& rest) {
    std::string body;
    AppendStruct(body, header);
    return FrameOf(body + rest, kReplyFrame);
  }

  WorkerId id = WorkerId::FromRandom();
  std::string path;
  UniqueFd listener;
  LeaseId lease;
};

TEST_F(BadWorkerTest, WhatADeadOwnerNeverMadeIsAnError) {
  Object* borrowed = worker->Restore(ObjectId::FromRandom(), {raylet.node, id});
  std::optional<RawPeer> owner(UniqueFd(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC)));
  std::thread waiting([&] { EXPECT_THAT(Get(*worker, borrowed), StartsWith("OwnerDied: ")); });
  raylet.Await(Body::Blocked);  // It waits.
  owner.reset();
  waiting.join();
  worker->Drop(borrowed);
}

TEST_F(BadWorkerTest, OnlyTheOwnerSaysWhatAnObjectIs) {
  Object* borrowed = worker->Restore(ObjectId::FromRandom(), {raylet.node, id});
  const ObjectId object = borrowed->id;
  RawPeer owner(UniqueFd(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC)));
  const auto answer = [&object](RawPeer& peer, const char* why) {
    peer.Say(fbw::Body::ObjectReply, [&](Builder& builder) {
      const auto name = PutId(builder, object);
      return fbw::CreateObjectReply(builder, name, ErrorCode::ObjectLost, builder.CreateString(why))
          .Union();
    });
  };
  RawPeer stranger = Stranger(*worker);
  stranger.SayHello();
  answer(stranger, "said a stranger");
  EXPECT_TRUE(stranger.IsHungUpOn());
  answer(owner, "said its owner");
  EXPECT_EQ(Get(*worker, borrowed), "ObjectLost: said its owner");
  worker->Drop(borrowed);
}

TEST_F(BadWorkerTest, AnObjectThatIsNowhereIsLostAndNotWaitedFor) {
  Object* borrowed = worker->Restore(ObjectId::FromRandom(), {raylet.node, id});
  RawPeer owner(UniqueFd(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC)));
  owner.Say(fbw::Body::ObjectReply, [&](Builder& builder) {
    const auto name = PutId(builder, borrowed->id);
    const auto nowhere = builder.CreateVector(std::vector<flatbuffers::Offset<fbw::NodeRef>>());
    return fbw::CreateObjectReply(builder, name, ErrorCode::Ok, 0, 0, nowhere).Union();
  });
  EXPECT_THAT(Get(*worker, borrowed), StartsWith("ObjectLost: "));
  worker->Drop(borrowed);
}

TEST_F(BadWorkerTest, WhereAReferenceSaysThatItsObjectIsItIsReadUnasked) {
  const std::string large(1 << 20, 'x');
  Object* stored = Put(large);
  const auto place = driver->PublishHeld(stored).second;
  ASSERT_TRUE(place.has_value());
  // This owner never answers.
  Object* borrowed = worker->Restore(stored->id, {raylet.node, id}, place);
  EXPECT_EQ(Get(*worker, borrowed), large);
  worker->Drop(borrowed);
  driver->Drop(stored);
  driver->Drop(stored);
}

TEST_F(BadWorkerTest, AllThatAreElsewhereAreFetchedAtOnceAndReadyAsTheyCome) {
  const std::vector<Object*> objects = StoredFarAway(3);
  std::vector<size_t> ready;
  std::thread waiting([&] { ready = worker->FirstReady(objects, 1, /*fetch=*/true, INT64_MAX); });
  std::vector<FakeRaylet::Received> fetches;
  for (int i = 0; i < 3; ++i) fetches.push_back(raylet.Await(Body::Fetch));
  const auto second = std::find_if(fetches.begin(), fetches.end(), [&](const auto& fetch) {
    return ToId<ObjectId>(fetch->body_as_Fetch()->object_id()) == objects[1]->id;
  });
  ASSERT_NE(second, fetches.end());
  AnswerFetch(*second, ErrorCode::Ok);
  waiting.join();
  EXPECT_EQ(ready, std::vector<size_t>{1});
  // What has come is known to be here. Who only looks does not ask for the others again.
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(worker->FirstReady(objects, 3, /*fetch=*/true, NowNs()), std::vector<size_t>{1});
  }
  for (const auto& fetch : fetches) {
    if (&fetch != &*second) AnswerFetch(fetch, ErrorCode::Ok);  // Nobody waits for these any more.
  }
  // Who waits asks for each of the others once more, which the raylet hears last.
  std::thread again([&] { ready = worker->FirstReady(objects, 3, /*fetch=*/true, INT64_MAX); });
  for (FakeRaylet::Received* fetch : {&fetches[0], &fetches[1]}) *fetch = raylet.Await(Body::Fetch);
  EXPECT_EQ(raylet.Count(Body::Fetch), 0u);
  for (const size_t i : {0, 1}) AnswerFetch(fetches[i], ErrorCode::Ok);
  again.join();
  EXPECT_EQ(ready, (std::vector<size_t>{0, 1, 2}));
  for (Object* object : objects) worker->Drop(object);
}

TEST_F(BadWorkerTest, OneThatCannotBeBroughtHereMakesWayForAnother) {
  const std::vector<Object*> objects = StoredFarAway(2);
  std::vector<size_t> ready;
  std::thread waiting([&] { ready = worker->FirstReady(objects, 1, /*fetch=*/true, INT64_MAX); });
  const auto first = raylet.Await(Body::Fetch);
  const auto second = raylet.Await(Body::Fetch);
  AnswerFetch(first, ErrorCode::ObjectLost);
  AnswerFetch(second, ErrorCode::Ok);
  waiting.join();
  const bool came = ToId<ObjectId>(second->body_as_Fetch()->object_id()) == objects[1]->id;
  EXPECT_EQ(ready, std::vector<size_t>{came ? 1u : 0u});
  for (Object* object : objects) worker->Drop(object);
}

TEST_F(BadWorkerTest, WhereItIsNotAsAReferenceSaysItsOwnerIsAsked) {
  const StoredAt gone{raylet.node, 1 << 20, 3};
  Object* borrowed = worker->Restore(ObjectId::FromRandom(), {raylet.node, id}, gone);
  const ObjectId object = borrowed->id;
  RawPeer owner(UniqueFd(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC)));
  std::thread answering([&] {
    for (;;) {
      const auto frame = owner.HearKind(ipc::kFlatBuffer);
      ASSERT_TRUE(frame.has_value());
      const auto* message = ipc::Verified<fbw::Message>(*frame);
      ASSERT_NE(message, nullptr);
      if (message->body_type() != fbw::Body::GetObject) continue;
      EXPECT_EQ(message->body_as_GetObject()->lost_attempt(), 0u)
          << "the owner may know of other copies: none of them is said to be lost";
      break;
    }
    owner.Say(fbw::Body::ObjectReply, [&](Builder& builder) {
      const auto name = PutId(builder, object);
      return fbw::CreateObjectReply(builder, name, ErrorCode::ObjectLost,
                                    builder.CreateString("asked"))
          .Union();
    });
  });
  EXPECT_EQ(Get(*worker, borrowed), "ObjectLost: asked");
  answering.join();
  worker->Drop(borrowed);
}

TEST_F(BadWorkerTest, AMalformedReplyFailsItsTaskAndEndsItsSender) {
  std::string lying_return;
  AppendStruct(lying_return, ReturnHeader{0, 0, UINT64_MAX});
  std::string lying_contained;
  AppendStruct(lying_contained, ReturnHeader{0, UINT32_MAX, 0});
  std::string half_stored;
  AppendStruct(half_stored, ReturnHeader{1, 0, 100});
  for (const std::string& bytes :
       {ReplyFrame({0, 1, 1, 0, 0}, ""), ReplyFrame({0, 1, 2, 0, 0}, lying_return),
        ReplyFrame({0, 1, 1, 0, 0}, lying_return), ReplyFrame({0, 1, 1, 0, 0}, lying_contained),
        ReplyFrame({0, 1, 1, 0, UINT32_MAX}, half_stored),
        ReplyFrame({0, 1, 1, kReplyIsError, 0}, lying_return)}) {
    Object* result = Submit();
    RawPeer peer = Called();
    peer.Send(bytes);
    ExpectTheDriverDropsIt(peer);
    EXPECT_THAT(Take(result), HasSubstr("malformed reply"));
  }
  ExpectTasksStillRun();
}

TEST_F(BadWorkerTest, AReplyToNothingLosesWhatRanThere) {
  for (const std::string& bytes :
       {ReplyFrame({77, 1, 1, 0, 0}, ""), FrameOf("short", kReplyFrame), std::string(64, '\xff'),
        FrameOf("no flatbuffer"), FrameOf("a call", kCallFrame)}) {
    Object* result = Submit();
    RawPeer peer = Called();
    peer.Send(bytes);
    ExpectTheDriverDropsIt(peer);
    EXPECT_THAT(Take(result), StartsWith("WorkerCrashed: "));
  }
  ExpectTasksStillRun();
}

TEST_F(BadWorkerTest, ACancelOfNothingIsHarmless) {
  RawPeer peer = Stranger(*worker);
  peer.SayHello();
  const auto cancel = [&](uint64_t sequence, size_t id_bytes) {
    peer.Say(fbw::Body::Cancel, [&](Builder& builder) {
      const std::vector<uint8_t> bytes(id_bytes, 7);
      Bytes id;
      if (id_bytes > 0) id = builder.CreateVector(bytes);
      return fbw::CreateCancel(builder, sequence, id, /*force=*/true, /*recursive=*/true).Union();
    });
  };
  for (const uint64_t sequence : {uint64_t{0}, uint64_t{1}, UINT64_MAX}) cancel(sequence, 0);
  for (const size_t id_bytes : {size_t{1}, ObjectId::kSize - 1, ObjectId::kSize, size_t{1000}}) {
    cancel(0, id_bytes);
  }
  ExpectTasksStillRun();
}

// The worker is about to live as an actor that keeps a reference of its __init__'s arguments.
class KeepingActorTest : public BadWorkerTest {
 protected:
  KeepingActorTest() {
    creation.start = std::make_unique<ActorStart>();
    creation.start->actor_id = ActorId::FromRandom();
    creation.function = &creation.start->init;
    CoreWorker::BeginArguments(creation);
    kept = worker->Restore(ObjectId::FromRandom(), {raylet.node, id});
    CoreWorker::EndArguments();
    worker->Hold(kept);  // As its __init__ does; the other reference is the call's.
    starting = std::thread([this] { worker->ActorStarted(creation, std::nullopt, ""); });
    owner.emplace(UniqueFd(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC)));
  }
  void ExpectItLives() {
    raylet.Await(Body::ActorStarted);
    starting.join();
    worker->Drop(kept);
  }

  IncomingCall creation;
  Object* kept = nullptr;
  std::thread starting;
  std::optional<RawPeer> owner;
};

TEST_F(KeepingActorTest, LivesOnceTheOwnersOfWhatItKeepsKnow) {
  std::vector<fbw::Body> heard;
  while (heard.empty() || heard.back() != fbw::Body::Ping) {
    const auto frame = owner->HearKind(ipc::kFlatBuffer);
    ASSERT_TRUE(frame.has_value());
    heard.push_back(ipc::Verified<fbw::Message>(*frame)->body_type());
  }
  EXPECT_THAT(heard, ElementsAre(fbw::Body::Hello, fbw::Body::AddBorrower, fbw::Body::Ping));
  EXPECT_EQ(raylet.Count(Body::ActorStarted), 0u) << "its creator would let go of the object";
  owner->Say(fbw::Body::Pong, [](Builder& builder) { return fbw::CreatePong(builder).Union(); });
  ExpectItLives();
}

TEST_F(KeepingActorTest, DoesNotWaitForAnOwnerThatIsGone) {
  owner.reset();
  ExpectItLives();
}

}  // namespace
}  // namespace skyray::core_worker
