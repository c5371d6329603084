// SPDX-License-Identifier: Apache-2.0
// Proves, to each of two sides, that the other holds the cluster's token,
// without either saying it.
//
//   connector                                     acceptor
//   hello: magic, nonce_c            ─►
//                                    ◄─           nonce_a
//   HMAC(token, "connector" c a)     ─►           verified
//   verified                         ◄─           HMAC(token, "acceptor" c a)
//
// The role is part of what is signed, and both nonces are: an answer that was
// recorded, or reflected to the side it came from, is of no use. The connector
// proves itself first, so a stranger learns nothing.
//
// Threading:  none; a value fed with messages. Pure but for the random nonce,
//             which is given.
// Ownership:  copies the token.
// Errors:     Unauthenticated: wrong length, magic or proof. After that, or once
//             done, REQUIRES that nothing more is fed.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "common/status.h"

namespace skyray::object_manager {

constexpr size_t kTokenBytes = 32;
constexpr size_t kNonceBytes = 32;
// No handshake message is longer.
constexpr uint32_t kHandshakeBytesMax = 1 << 10;

using ClusterToken = std::array<uint8_t, kTokenBytes>;
using Nonce = std::array<uint8_t, kNonceBytes>;

// The token in `path`: 64 hex digits, in a file of ours that nobody else may read.
// Errors: IoError; InvalidArgument.
Result<ClusterToken> ReadClusterToken(const std::string& path);
Nonce RandomNonce();

class Authenticator {
 public:
  enum class Role { Connector, Acceptor };
  Authenticator(Role role, const ClusterToken& token, const Nonce& nonce);

  // What to send first; empty for the acceptor, who waits.
  std::vector<uint8_t> Start();
  // What to send now that `message` came; may be empty, once done.
  Result<std::vector<uint8_t>> Feed(std::span<const uint8_t> message);
  // The other side has proved itself. (The acceptor's last message is still to be sent.)
  bool done() const { return step_ == Step::Done; }

 private:
  enum class Step { AwaitHello, AwaitNonce, AwaitProof, Done, Failed };
  using Proof = std::array<uint8_t, 32>;
  Proof ProofOf(Role role) const;
  Status Fail(const std::string& why);

  const Role role_;
  const ClusterToken token_;
  const Nonce own_nonce_;
  Nonce peer_nonce_{};
  Step step_;
};

}  // namespace skyray::object_manager
