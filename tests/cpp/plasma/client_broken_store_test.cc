// SPDX-License-Identifier: Apache-2.0
// A client whose store says what no store says: it is disconnected, and never ends
// its process. What the fuzz target client_fuzz found is here.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <optional>
#include <utility>

#include "ipc/socket.h"
#include "plasma/client.h"
#include "plasma/wire.h"

namespace skyray::plasma {
namespace {

using fb::plasma::Body;
using ::testing::HasSubstr;

constexpr uint64_t kSegmentBytes = 1 << 16;

// The store's side of one client, in the client's own thread: whenever that would
// sleep, its request is answered.
class BrokenStore : public ReplyWaiter {
 public:
  using Builder = flatbuffers::FlatBufferBuilder;
  struct Answer {
    Body type = Body::NONE;
    flatbuffers::Offset<void> body;
    std::vector<int> fds;
  };

  BrokenStore() {
    char name[] = "/tmp/broken-store-test-XXXXXX";
    folder = mkdtemp(name);
    listener = *ipc::ListenUnix(folder + "/socket", 1);
    answer = [](Builder& builder) {
      const auto body =
          fb::plasma::CreateConnectReply(builder, ErrorCode::Ok, 0, kProtocolVersion, 1 << 20);
      return Answer{Body::ConnectReply, body.Union(), {}};
    };
    client = *Client::Connect(folder + "/socket", this);
  }
  ~BrokenStore() override {
    unlink((folder + "/socket").c_str());
    rmdir(folder.c_str());
  }

  Turn Sleep(int) override {
    if (!socket.valid()) socket = UniqueFd(accept(listener.get(), nullptr, nullptr));
    if (ahead_of) {
      SaySegments();
      return Turn::Read;
    }
    // Notices have no answer; what is asked is known to the test.
    uint64_t request_id = 0;
    while (request_id == 0) {
      const auto frame = ipc::ReceiveFrame(socket.get(), 30000);
      if (!frame) {
        ADD_FAILURE() << "the client asked for nothing: " << frame.error().message();
        return Turn::GiveUp;
      }
      request_id = flatbuffers::GetRoot<fb::plasma::Message>(frame->body.data())->request_id();
    }
    if (std::exchange(give_up, false)) {
      given_up = request_id;
      return Turn::GiveUp;
    }
    if (given_up) Say(*std::exchange(given_up, std::nullopt), answer_to_given_up);
    Say(request_id, answer);
    return Turn::Read;
  }

  void Say(uint64_t request_id, const std::function<Answer(Builder&)>& what) {
    Builder builder;
    const Answer said = what(builder);
    builder.Finish(fb::plasma::CreateMessage(builder, request_id, said.type, said.body));
    EXPECT_TRUE(ipc::SendFrame(socket.get(), ipc::kFlatBuffer,
                               {builder.GetBufferPointer(), builder.GetSize()}, said.fds)
                    .ok());
  }

  // Empty Segments of the request `ahead_of`, and no answer.
  void SaySegments() {
    Builder builder;
    const auto none = builder.CreateVectorOfStructs<fb::plasma::NewSegment>({});
    const auto body = fb::plasma::CreateSegments(builder, none).Union();
    builder.Finish(fb::plasma::CreateMessage(builder, *ahead_of, Body::Segments, body));
    for (int i = 0; i < 100; ++i) {
      EXPECT_TRUE(ipc::SendFrame(socket.get(), ipc::kFlatBuffer,
                                 {builder.GetBufferPointer(), builder.GetSize()})
                      .ok());
    }
  }

  // A get's answer: one object at `offset` of a segment that is said to be of
  // kSegmentBytes and has `segment_bytes`.
  void AnswerGet(uint64_t offset, uint64_t segment_bytes = kSegmentBytes) {
    memory = UniqueFd(memfd_create("segment", MFD_CLOEXEC));
    ASSERT_EQ(ftruncate(memory.get(), static_cast<off_t>(segment_bytes)), 0);
    answer = [this, offset](Builder& builder) {
      const fb::plasma::Place place(offset, 100, 0, true);
      const fb::plasma::NewSegment segment(kSegmentBytes, 0);
      const auto places = builder.CreateVectorOfStructs(&place, 1);
      const auto segments = builder.CreateVectorOfStructs(&segment, 1);
      return Answer{Body::GetReply,
                    fb::plasma::CreateGetReply(builder, places, segments).Union(),
                    {memory.get()}};
    };
  }
  // A get's answer: one object that is lost.
  void AnswerLoss(ErrorCode error) {
    answer = [error](Builder& builder) {
      const fb::plasma::Place nowhere(0, 0, 0, false);
      const auto places = builder.CreateVectorOfStructs(&nowhere, 1);
      const auto losses = builder.CreateVector(
          std::vector{fb::plasma::CreateLoss(builder, 0, error, builder.CreateString("gone"))});
      return Answer{
          Body::GetReply, fb::plasma::CreateGetReply(builder, places, 0, 0, losses).Union(), {}};
    };
  }
  void AnswerCreate(uint64_t offset) {
    memory = UniqueFd(memfd_create("segment", MFD_CLOEXEC));
    ASSERT_EQ(ftruncate(memory.get(), kSegmentBytes), 0);
    answer = [this, offset](Builder& builder) {
      const fb::plasma::Place place(offset, 100, 0, true);
      const fb::plasma::NewSegment segment(kSegmentBytes, 0);
      const auto segments = builder.CreateVectorOfStructs(&segment, 1);
      return Answer{
          Body::CreateReply,
          fb::plasma::CreateCreateReply(builder, ErrorCode::Ok, 0, &place, segments).Union(),
          {memory.get()}};
    };
  }

  std::string folder;
  UniqueFd listener;
  UniqueFd socket;
  UniqueFd memory;
  std::function<Answer(Builder&)> answer;
  // The next request is given up, and answered just before the one that follows it.
  bool give_up = false;
  std::optional<uint64_t> given_up;
  std::function<Answer(Builder&)> answer_to_given_up;
  std::optional<uint64_t> ahead_of;
  std::unique_ptr<Client> client;
};

class ClientBrokenStoreTest : public ::testing::Test {
 protected:
  void ExpectDisconnected(const Status& status, const char* why) {
    EXPECT_EQ(status.code(), ErrorCode::Disconnected) << status.message();
    EXPECT_THAT(status.message(), HasSubstr(why));
    const auto later = store.client->Contains(id);
    ASSERT_FALSE(later);
    EXPECT_EQ(later.error().code(), ErrorCode::Disconnected);
  }
  Status Create() {
    CreateOptions options;
    options.data_bytes = 100;
    const auto object = store.client->Create(id, options);
    return object ? Status() : object.error();
  }

  BrokenStore store;
  const ObjectId id = ObjectId::FromRandom();
};

TEST_F(ClientBrokenStoreTest, WhatIsRightIsTaken) {
  store.AnswerGet(64);
  const auto got = store.client->Get({&id, 1}, 0);
  ASSERT_TRUE(got) << got.error().message();
  ASSERT_TRUE(got->front());
  EXPECT_EQ(got->front()->data[99], 0);
  store.AnswerCreate(128);
  EXPECT_TRUE(Create().ok());
}

// The store names a segment once: with the reply that is given up.
TEST_F(ClientBrokenStoreTest, WhatIsGivenUpStillTellsOfItsSegments) {
  const auto in_known_segment = [](BrokenStore::Builder& builder) {
    const fb::plasma::Place place(64, 100, 0, true);
    const auto places = builder.CreateVectorOfStructs(&place, 1);
    return BrokenStore::Answer{
        Body::GetReply, fb::plasma::CreateGetReply(builder, places).Union(), {}};
  };
  store.give_up = true;
  const auto interrupted = store.client->Get({&id, 1}, 0);
  ASSERT_FALSE(interrupted);
  EXPECT_EQ(interrupted.error().code(), ErrorCode::Cancelled);
  store.AnswerGet(64);
  store.answer_to_given_up = std::exchange(store.answer, in_known_segment);
  const ObjectId other = ObjectId::FromRandom();
  const auto got = store.client->Get({&other, 1}, 0);
  ASSERT_TRUE(got) << got.error().message();
  EXPECT_TRUE(got->front());
}

TEST_F(ClientBrokenStoreTest, ACreateThatIsGivenUpStillTellsOfItsSegments) {
  store.give_up = true;
  EXPECT_EQ(Create().code(), ErrorCode::Cancelled);
  store.AnswerCreate(128);
  store.answer_to_given_up = std::exchange(store.answer, [](BrokenStore::Builder& builder) {
    const fb::plasma::Place place(256, 100, 0, true);
    return BrokenStore::Answer{
        Body::CreateReply,
        fb::plasma::CreateCreateReply(builder, ErrorCode::Ok, 0, &place).Union(),
        {}};
  });
  EXPECT_TRUE(Create().ok());
}

// Once the store has hung up, it may give what was not sealed to others.
TEST_F(ClientBrokenStoreTest, WhatIsWrittenAfterTheEndIsNobodyElses) {
  store.AnswerCreate(128);
  CreateOptions options;
  options.data_bytes = 100;
  const auto object = store.client->Create(id, options);
  ASSERT_TRUE(object);
  object->data[0] = 'a';
  shutdown(store.socket.get(), SHUT_RDWR);
  EXPECT_FALSE(store.client->Contains(id));
  object->data[0] = 'b';
  char seen = 0;
  ASSERT_EQ(pread(store.memory.get(), &seen, 1, 128), 1);
  EXPECT_EQ(seen, 'a');
  EXPECT_EQ(object->data[0], 'b');
}

// Behind the end of its file there is SIGBUS.
TEST_F(ClientBrokenStoreTest, ASegmentThatIsShorterThanItIsSaidToBe) {
  store.AnswerGet(kSegmentBytes - 128, /*segment_bytes=*/4096);
  const auto got = store.client->Get({&id, 1}, 0);
  ASSERT_FALSE(got);
  ExpectDisconnected(got.error(), "it has only 4096");
}

TEST_F(ClientBrokenStoreTest, AnObjectThatIsNotAligned) {
  store.AnswerCreate(8);
  ExpectDisconnected(Create(), "not aligned");
}

TEST_F(ClientBrokenStoreTest, AnObjectThatIsNotAlignedIsNotGot) {
  store.AnswerGet(1);
  const auto got = store.client->Get({&id, 1}, 0);
  ASSERT_FALSE(got);
  ExpectDisconnected(got.error(), "not aligned");
}

TEST_F(ClientBrokenStoreTest, ALossSaysWhy) {
  store.AnswerLoss(ErrorCode::ObjectLost);
  const auto got = store.client->Get({&id, 1}, 0);
  ASSERT_TRUE(got) << got.error().message();
  ASSERT_FALSE(got->front());
  EXPECT_EQ(got->front().error().code(), ErrorCode::ObjectLost);
}

TEST_F(ClientBrokenStoreTest, SegmentsOfARequestThatIsNone) {
  store.ahead_of = 77;
  const auto got = store.client->Get({&id, 1}, 0);
  ASSERT_FALSE(got);
  ExpectDisconnected(got.error(), "nobody asked for: Segments");
}

TEST_F(ClientBrokenStoreTest, SegmentsThatAreNone) {
  store.ahead_of = 2;  // After Connect.
  const auto got = store.client->Get({&id, 1}, 0);
  ASSERT_FALSE(got);
  ExpectDisconnected(got.error(), "segments that are none");
}

TEST_F(ClientBrokenStoreTest, ALossWithoutAnError) {
  store.AnswerLoss(ErrorCode::Ok);
  const auto got = store.client->Get({&id, 1}, 0);
  ASSERT_FALSE(got);
  ExpectDisconnected(got.error(), "a loss without an error");
}

}  // namespace
}  // namespace skyray::plasma
