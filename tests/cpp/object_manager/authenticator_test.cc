// SPDX-License-Identifier: Apache-2.0
#include "object_manager/authenticator.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "plasma/store_fixture.h"
#include "token.h"

namespace skyray::object_manager {
namespace {

using Role = Authenticator::Role;

class AuthenticatorTest : public ::testing::Test {
 protected:
  const ClusterToken token = TokenOf(7);
  Authenticator connector{Role::Connector, token, RandomNonce()};
  Authenticator acceptor{Role::Acceptor, token, RandomNonce()};
};

TEST_F(AuthenticatorTest, BothSidesAreConvinced) {
  EXPECT_TRUE(acceptor.Start().empty());
  const auto nonce = acceptor.Feed(connector.Start());
  const auto proof = connector.Feed(*nonce);
  EXPECT_FALSE(connector.done());
  const auto counter_proof = acceptor.Feed(*proof);
  EXPECT_TRUE(acceptor.done());
  const auto nothing = connector.Feed(*counter_proof);
  ASSERT_TRUE(nothing.has_value());
  EXPECT_TRUE(nothing->empty());
  EXPECT_TRUE(connector.done());
}

TEST_F(AuthenticatorTest, AnotherTokenIsRefusedByTheAcceptor) {
  Authenticator stranger(Role::Connector, TokenOf(8), RandomNonce());
  const auto nonce = acceptor.Feed(stranger.Start());
  const auto proof = stranger.Feed(*nonce);
  const auto verdict = acceptor.Feed(*proof);
  ASSERT_FALSE(verdict.has_value());
  EXPECT_EQ(verdict.error().code(), ErrorCode::Unauthenticated);
  EXPECT_FALSE(acceptor.done());
}

TEST_F(AuthenticatorTest, AnotherTokenIsRefusedByTheConnector) {
  Authenticator impostor(Role::Acceptor, TokenOf(8), RandomNonce());
  const auto nonce = impostor.Feed(connector.Start());
  const auto proof = connector.Feed(*nonce);
  EXPECT_FALSE(impostor.Feed(*proof).has_value());
  // It cannot make a proof, so it sends back the one it was given, or any.
  const auto verdict = connector.Feed(*proof);
  ASSERT_FALSE(verdict.has_value());
  EXPECT_EQ(verdict.error().code(), ErrorCode::Unauthenticated);
}

TEST_F(AuthenticatorTest, AReflectedChallengeIsOfNoUse) {
  // Without the token: ask one node with the nonce that another one gave.
  Authenticator victim(Role::Acceptor, token, RandomNonce());
  std::vector<uint8_t> hello = connector.Start();
  const auto challenge = victim.Feed(hello);
  std::copy(challenge->begin(), challenge->end(), hello.end() - kNonceBytes);
  Authenticator oracle(Role::Acceptor, token, RandomNonce());
  const auto oracles_nonce = oracle.Feed(hello);
  EXPECT_FALSE(victim.Feed(*oracles_nonce).has_value());
  // A connector that is made to sign the victim's challenge signs its own nonce too.
  Authenticator dupe(Role::Connector, token, RandomNonce());
  const auto dupes_proof = dupe.Feed(*challenge);
  Authenticator victim_too(Role::Acceptor, token, RandomNonce());
  ASSERT_TRUE(victim_too.Feed(connector.Start()).has_value());
  EXPECT_FALSE(victim_too.Feed(*dupes_proof).has_value());
}

TEST_F(AuthenticatorTest, ARecordedProofIsOfNoUse) {
  const auto hello = connector.Start();
  const auto proof = connector.Feed(*acceptor.Feed(hello));
  ASSERT_TRUE(acceptor.Feed(*proof).has_value());
  Authenticator again(Role::Acceptor, token, RandomNonce());
  ASSERT_TRUE(again.Feed(hello).has_value());
  EXPECT_FALSE(again.Feed(*proof).has_value());
}

TEST_F(AuthenticatorTest, WrongLengthsAndMagicAreRefused) {
  for (const size_t bytes : {size_t{0}, size_t{39}, size_t{41}, size_t{1000}}) {
    Authenticator fresh(Role::Acceptor, token, RandomNonce());
    EXPECT_FALSE(fresh.Feed(std::vector<uint8_t>(bytes)).has_value());
  }
  std::vector<uint8_t> hello = connector.Start();
  hello[0] ^= 1;
  EXPECT_FALSE(acceptor.Feed(hello).has_value());
  EXPECT_FALSE(acceptor.Feed(connector.Start()).has_value()) << "refused once is refused for good";
}

TEST(ReadClusterTokenTest, OnlyAPrivateFileOfTheRightLengthWillDo) {
  plasma::TemporaryDirectory directory;
  const std::string path = directory.path() + "/token";
  const auto write_token = [&](const std::string& text, mode_t mode) {
    const UniqueFd fd(open(path.c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0600));
    ASSERT_EQ(write(fd.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
    ASSERT_EQ(fchmod(fd.get(), mode), 0);
  };
  EXPECT_EQ(ReadClusterToken(path).error().code(), ErrorCode::IoError);
  const std::string hex(64, 'a');
  write_token(hex, 0600);
  const auto token = ReadClusterToken(path);
  ASSERT_TRUE(token.has_value());
  EXPECT_EQ((*token)[31], 0xaa);
  write_token(hex + "\n", 0400);
  EXPECT_TRUE(ReadClusterToken(path).has_value());
  ASSERT_EQ(chmod(path.c_str(), 0600), 0);
  write_token(hex, 0640);
  EXPECT_EQ(ReadClusterToken(path).error().code(), ErrorCode::InvalidArgument);
  write_token(hex + "0", 0600);
  EXPECT_EQ(ReadClusterToken(path).error().code(), ErrorCode::InvalidArgument);
  write_token(hex.substr(1), 0600);
  EXPECT_EQ(ReadClusterToken(path).error().code(), ErrorCode::InvalidArgument);
  unlink(path.c_str());
}

}  // namespace
}  // namespace skyray::object_manager
