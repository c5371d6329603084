// SPDX-License-Identifier: Apache-2.0
#include "core_worker/payload.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "core_worker/words.h"

namespace skyray::core_worker {
namespace {

using ::testing::IsEmpty;

std::vector<uint8_t> Counting(size_t size) {
  std::vector<uint8_t> bytes(size);
  std::iota(bytes.begin(), bytes.end(), uint8_t{1});
  return bytes;
}

// Exactly its bytes, so that a sanitizer sees a read behind their end.
bool Parses(std::span<const uint8_t> bytes) {
  const std::vector<uint8_t> copy(bytes.begin(), bytes.end());
  return PayloadView::Parse(copy).has_value();
}

TEST(Payload, ComesOutAsItWentIn) {
  const auto small = Counting(3), none = Counting(0), large = Counting(5000);
  const ValuePtr value = MakeValue({PayloadFormat::Pickle, "in-band", {small, none, large}});
  const auto view = PayloadView::Parse(value->span());
  ASSERT_TRUE(view.has_value());
  EXPECT_EQ(view->format, PayloadFormat::Pickle);
  EXPECT_EQ(TextOf(value->span()), "in-band");
  ASSERT_EQ(view->buffers.size(), 3u);
  EXPECT_TRUE(std::ranges::equal(view->buffers[0], small));
  EXPECT_THAT(view->buffers[1], IsEmpty());
  EXPECT_TRUE(std::ranges::equal(view->buffers[2], large));
}

TEST(Payload, BuffersLieAtMultiplesOf64) {
  for (size_t inband = 0; inband < 130; ++inband) {
    const auto a = Counting(1), b = Counting(64), c = Counting(65);
    const std::string text(inband, 'x');
    const ValuePtr value = MakeValue({PayloadFormat::Pickle, text, {a, b, c}});
    const auto view = PayloadView::Parse(value->span());
    ASSERT_TRUE(view.has_value());
    for (const auto& buffer : view->buffers) {
      EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % kBufferAlignment, 0u);
    }
  }
}

TEST(Payload, PaddingHoldsNothingOfThePast) {
  const auto buffer = Counting(10);
  const PayloadParts parts{PayloadFormat::Pickle, "x", {buffer, buffer}};
  std::vector<uint8_t> dirty(parts.Bytes(), 0xee), clean(parts.Bytes(), 0);
  parts.WriteTo(dirty.data());
  parts.WriteTo(clean.data());
  EXPECT_EQ(dirty, clean);
}

TEST(Payload, CutAtAnyByteIsNone) {
  const auto buffer = Counting(100);
  const ValuePtr value = MakeValue({PayloadFormat::Pickle, "text", {buffer, buffer}});
  for (size_t size = 0; size < value->bytes(); ++size) {
    EXPECT_FALSE(Parses(value->span().first(size))) << size;
  }
  EXPECT_TRUE(Parses(value->span()));
}

TEST(Payload, LyingHeadersAreNone) {
  const auto buffer = Counting(100);
  const ValuePtr value = MakeValue({PayloadFormat::Pickle, "text", {buffer}});
  const std::vector<uint8_t> good(value->span().begin(), value->span().end());
  const auto with = [&](size_t at, auto number) {
    std::vector<uint8_t> changed = good;
    std::memcpy(changed.data() + at, &number, sizeof number);
    return changed;
  };
  EXPECT_TRUE(Parses(with(0, uint32_t{4})));
  EXPECT_FALSE(Parses(with(0, uint32_t{5}))) << "no such format";
  EXPECT_FALSE(Parses(with(0, UINT32_MAX)));
  EXPECT_FALSE(Parses(with(4, UINT32_MAX))) << "buffers";
  EXPECT_FALSE(Parses(with(4, uint32_t{40})));
  EXPECT_FALSE(Parses(with(8, UINT64_MAX))) << "in-band bytes";
  EXPECT_FALSE(Parses(with(8, uint64_t{good.size()})));
  EXPECT_FALSE(Parses(with(16, UINT64_MAX))) << "size of the buffer";
  EXPECT_FALSE(Parses(with(16, UINT64_MAX - 63)));
  EXPECT_FALSE(Parses(with(16, uint64_t{101})));
}

TEST(Payload, EveryFlippedByteIsHarmless) {
  const auto buffer = Counting(70);
  const ValuePtr value = MakeValue({PayloadFormat::Pickle, "text", {buffer, buffer}});
  std::vector<uint8_t> bytes(value->span().begin(), value->span().end());
  for (uint8_t& byte : bytes) {
    for (int bit = 0; bit < 8; ++bit) {
      byte ^= static_cast<uint8_t>(1 << bit);
      if (const auto view = PayloadView::Parse(bytes)) {
        for (const auto& piece : view->buffers) {
          EXPECT_LE(piece.data() + piece.size(), bytes.data() + bytes.size());
        }
      }
      byte ^= static_cast<uint8_t>(1 << bit);
    }
  }
}

// numpy and the like look at a buffer where it lies.
TEST(Value, BuffersAreAligned) {
  const std::vector<uint8_t> buffer(100, 7);
  for (const size_t inband : {0u, 1u, 40u, 100u, 5000u}) {
    const std::string text(inband, 'i');
    const ValuePtr made = MakeValue({PayloadFormat::Pickle, text, {buffer, buffer}});
    for (const ValuePtr& value : {made, CopyValue(made->span())}) {
      const auto view = PayloadView::Parse(value->span());
      ASSERT_TRUE(view);
      EXPECT_EQ(view->inband.size(), inband);
      ASSERT_EQ(view->buffers.size(), 2u);
      for (const auto& one : view->buffers) {
        EXPECT_EQ(reinterpret_cast<uintptr_t>(one.data()) % kBufferAlignment, 0u);
        EXPECT_TRUE(std::ranges::equal(one, buffer));
      }
    }
  }
}

TEST(Value, OfAnySizeKeepsItsBytes) {
  std::vector<ValuePtr> values;
  for (size_t size = 0; size < 300; ++size) {
    const std::string text(size, static_cast<char>('a' + size % 26));
    values.push_back(MakeValue({PayloadFormat::Pickle, text, {}}));
  }
  for (size_t size = 0; size < values.size(); ++size) {
    const auto view = PayloadView::Parse(values[size]->span());
    ASSERT_TRUE(view);
    EXPECT_EQ(view->inband.size(), size);
    EXPECT_TRUE(std::ranges::all_of(
        view->inband, [&](uint8_t byte) { return byte == static_cast<uint8_t>('a' + size % 26); }));
  }
  EXPECT_EQ(CopyValue({})->bytes(), 0u);
}

TEST(Value, IsShared) {
  ValuePtr first = TextValue("shared");
  ValuePtr second = first;
  first = ValuePtr();
  EXPECT_EQ(TextOf(second->span()), "shared");
  ValuePtr third = std::move(second);
  EXPECT_FALSE(second);  // NOLINT(bugprone-use-after-move): what is left is null.
  const ValuePtr& same = third;
  third = same;
  EXPECT_EQ(TextOf(third->span()), "shared");
}

TEST(Value, ACopyIsTheSame) {
  const ValuePtr value = TextValue("copied");
  const ValuePtr copy = CopyValue(value->span());
  EXPECT_NE(copy.get(), value.get());
  EXPECT_EQ(TextOf(copy->span()), "copied");
  EXPECT_EQ(CopyValue({})->bytes(), 0u);
}

TEST(ErrorValue, SaysWhatItWasMadeOf) {
  const std::string actor(32, 'a');
  const ValuePtr value = MakeErrorValue(ErrorCode::ActorDied, "it is dead", actor);
  EXPECT_TRUE(IsError(value->span()));
  const auto error = ParseSystemError(*PayloadView::Parse(value->span()));
  EXPECT_EQ(error.code, ErrorCode::ActorDied);
  EXPECT_EQ(error.actor_hex, actor);
  EXPECT_EQ(error.message, "it is dead");
}

TEST(ErrorValue, WithoutAnActorOrAMessage) {
  const ValuePtr value = MakeErrorValue(ErrorCode::WorkerCrashed, "");
  const auto error = ParseSystemError(*PayloadView::Parse(value->span()));
  EXPECT_EQ(error.code, ErrorCode::WorkerCrashed);
  EXPECT_EQ(error.actor_hex, "");
  EXPECT_EQ(error.message, "");
}

TEST(ErrorValue, ATruncatedOneIsAnInternalError) {
  for (const size_t size : {0, 1, 32}) {
    const std::string inband(size, 'x');
    const ValuePtr value = MakeValue({PayloadFormat::SystemError, inband, {}});
    EXPECT_EQ(ParseSystemError(*PayloadView::Parse(value->span())).code, ErrorCode::Internal);
  }
}

TEST(ErrorValue, ACodeThatDoesNotExistIsAnInternalError) {
  std::string inband(40, ' ');
  inband[0] = static_cast<char>(0xee);
  const ValuePtr value = MakeValue({PayloadFormat::SystemError, inband, {}});
  EXPECT_EQ(ParseSystemError(*PayloadView::Parse(value->span())).code, ErrorCode::Internal);
}

TEST(ErrorValue, OnlyErrorsAreErrors) {
  EXPECT_FALSE(IsError(TextValue("fine")->span()));
  EXPECT_FALSE(IsError({}));
  EXPECT_FALSE(IsError(BytesOf("abc")));
  EXPECT_TRUE(IsError(MakeValue({PayloadFormat::TaskError, "", {}})->span()));
}

TEST(ErrorValue, ATasksOwnFailureIsOneAndWhatItsUserDidIsNot) {
  const ValuePtr raised = MakeValue({PayloadFormat::TaskError, "the exception", {}});
  EXPECT_TRUE(IsTaskFailure(raised->span()));
  EXPECT_TRUE(IsTaskFailure(MakeErrorValue(ErrorCode::WorkerCrashed, "")->span()));
  EXPECT_TRUE(IsTaskFailure(MakeErrorValue(ErrorCode::OutOfMemoryKilled, "")->span()));
  EXPECT_FALSE(IsTaskFailure(CreationError(raised, std::string(32, 'a'))->span()));
  for (const ErrorCode code : {ErrorCode::TaskCancelled, ErrorCode::ActorDied,
                               ErrorCode::ActorUnavailable, ErrorCode::ObjectLost}) {
    EXPECT_FALSE(IsTaskFailure(MakeErrorValue(code, "")->span()));
  }
  EXPECT_FALSE(IsTaskFailure(TextValue("fine")->span()));
  EXPECT_FALSE(IsTaskFailure(BytesOf(std::string(8, '\xff')))) << "not even a payload";
}

}  // namespace
}  // namespace skyray::core_worker
