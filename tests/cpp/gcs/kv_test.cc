// SPDX-License-Identifier: Apache-2.0
#include "gcs/kv.h"

#include <gmock/gmock.h>

namespace skyray::gcs {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class KvTest : public testing::Test {
 protected:
  pb::KvPutReply Put(const std::string& ns, const std::string& key, const std::string& value,
                     bool overwrite = true) {
    pb::KvPutRequest request;
    request.set_namespace_(ns);
    request.set_key(key);
    request.set_value(value);
    request.set_overwrite(overwrite);
    answers.clear();
    return kv.Put(request, answers);
  }

  std::optional<pb::KvGetReply> Get(const std::string& ns, const std::string& key,
                                    uint32_t wait_ms = 0, WaiterId waiter = 0, int64_t now_ms = 0) {
    pb::KvGetRequest request;
    request.set_namespace_(ns);
    request.set_key(key);
    request.set_wait_ms(wait_ms);
    return kv.Get(request, waiter, now_ms);
  }

  std::vector<std::string> Keys(const std::string& ns, const std::string& prefix) {
    pb::KvKeysRequest request;
    request.set_namespace_(ns);
    request.set_prefix(prefix);
    const auto reply = kv.Keys(request);
    return {reply.keys().begin(), reply.keys().end()};
  }

  bool Delete(const std::string& ns, const std::string& key) {
    pb::KvDeleteRequest request;
    request.set_namespace_(ns);
    request.set_key(key);
    return kv.Delete(request).deleted();
  }

  MemoryStorage storage;
  Kv kv{storage};
  std::vector<KvAnswer> answers;
};

TEST_F(KvTest, NamespacesAreApart) {
  EXPECT_TRUE(Put("a", "bc", "1").added());
  EXPECT_TRUE(Put("ab", "c", "2").added());
  EXPECT_EQ(Get("a", "bc")->value(), "1");
  EXPECT_EQ(Get("ab", "c")->value(), "2");
  EXPECT_FALSE(Get("ab", "bc")->found());
}

TEST_F(KvTest, PutOverwritesOnlyIfAsked) {
  Put("n", "k", "1");
  EXPECT_FALSE(Put("n", "k", "2", /*overwrite=*/false).added());
  EXPECT_EQ(Get("n", "k")->value(), "1");
  EXPECT_FALSE(Put("n", "k", "3").added());
  EXPECT_EQ(Get("n", "k")->value(), "3");
}

TEST_F(KvTest, KeysHaveThePrefixAndStayInTheirNamespace) {
  for (const char* key : {"b", "ab", "a", "ac", ""}) Put("n", key, "v");
  Put("m", "a", "v");
  Put("o", "ab", "v");
  EXPECT_THAT(Keys("n", "a"), ElementsAre("a", "ab", "ac"));
  EXPECT_THAT(Keys("n", ""), ElementsAre("", "a", "ab", "ac", "b"));
  EXPECT_THAT(Keys("x", ""), IsEmpty());
}

TEST_F(KvTest, DeleteSaysWhetherItWasThere) {
  Put("n", "k", "v");
  EXPECT_TRUE(Delete("n", "k"));
  EXPECT_FALSE(Delete("n", "k"));
  EXPECT_FALSE(Get("n", "k")->found());
}

TEST_F(KvTest, PutAnswersAllWhoWaitForThatKey) {
  EXPECT_FALSE(Get("n", "k", 100, /*waiter=*/1).has_value());
  EXPECT_FALSE(Get("n", "k", 200, /*waiter=*/2).has_value());
  EXPECT_FALSE(Get("n", "other", 100, /*waiter=*/3).has_value());
  Put("n", "k", "v");
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_EQ(answers[0].waiter, 1u);
  EXPECT_EQ(answers[1].waiter, 2u);
  EXPECT_EQ(answers[1].reply.value(), "v");
  EXPECT_EQ(kv.waiter_count(), 1u);
}

TEST_F(KvTest, ExpireAnswersExactlyThoseWhoseTimeIsUp) {
  EXPECT_EQ(kv.NextDeadlineMs(), std::nullopt);
  Get("n", "k", 100, 1, /*now_ms=*/1000);
  Get("n", "k", 50, 2, /*now_ms=*/1000);
  EXPECT_EQ(kv.NextDeadlineMs(), 1050);
  EXPECT_THAT(kv.Expire(1049), IsEmpty());
  const auto expired = kv.Expire(1050);
  ASSERT_EQ(expired.size(), 1u);
  EXPECT_EQ(expired[0].waiter, 2u);
  EXPECT_FALSE(expired[0].reply.found());
  EXPECT_EQ(kv.NextDeadlineMs(), 1100);
}

TEST_F(KvTest, ACancelledWaiterIsNotAnswered) {
  Get("n", "k", 100, 1);
  kv.CancelWaiter(1);
  kv.CancelWaiter(1);
  Put("n", "k", "v");
  EXPECT_THAT(answers, IsEmpty());
  EXPECT_THAT(kv.Expire(1'000'000), IsEmpty());
}

TEST_F(KvTest, KeysAreCapped) {
  const std::string huge(kKeyBytesMax + 1, 'k');
  EXPECT_EQ(Put("n", huge, "v").status().code(), static_cast<uint32_t>(ErrorCode::InvalidArgument));
  EXPECT_EQ(Get("n", huge, 100, 1)->status().code(),
            static_cast<uint32_t>(ErrorCode::InvalidArgument));
}

TEST_F(KvTest, WaitersAreCapped) {
  for (WaiterId waiter = 0; waiter < kKvWaitersMax; ++waiter) {
    ASSERT_FALSE(Get("n", "k", 100, waiter).has_value());
  }
  EXPECT_EQ(Get("n", "k", 100, kKvWaitersMax)->status().code(),
            static_cast<uint32_t>(ErrorCode::InvalidArgument));
}

}  // namespace
}  // namespace skyray::gcs
