// SPDX-License-Identifier: Apache-2.0
#include "object_manager/authenticator.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "common/id.h"
#include "common/logging.h"
#include "common/unique_fd.h"

namespace skyray::object_manager {
namespace {

constexpr std::array<uint8_t, 8> kHelloMagic = {'S', 'K', 'Y', 'R', 'A', 'Y', 'T', '1'};
constexpr size_t kHelloBytes = kHelloMagic.size() + kNonceBytes;

}  // namespace

Result<ClusterToken> ReadClusterToken(const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd.valid()) return ErrnoStatus("opening the cluster token " + path, errno);
  struct stat info {};
  if (fstat(fd.get(), &info) != 0) return ErrnoStatus("stat " + path, errno);
  if (info.st_uid != geteuid() || (info.st_mode & 077) != 0) {
    return Status(
        ErrorCode::InvalidArgument,
        "the cluster token " + path + " must be ours and readable by nobody else (chmod 600)");
  }
  char text[2 * kTokenBytes + 2];
  const ssize_t got = read(fd.get(), text, sizeof text);
  if (got < 0) return ErrnoStatus("reading the cluster token " + path, errno);
  std::string_view hex(text, static_cast<size_t>(got));
  if (!hex.empty() && hex.back() == '\n') hex.remove_suffix(1);
  ClusterToken token;
  if (!HexToBytes(hex, token.data(), token.size())) {
    return Status(ErrorCode::InvalidArgument, "the cluster token " + path + " is not " +
                                                  std::to_string(2 * kTokenBytes) +
                                                  " hexadecimal digits");
  }
  return token;
}

Nonce RandomNonce() {
  Nonce nonce;
  FillRandom(nonce.data(), nonce.size());
  return nonce;
}

Authenticator::Authenticator(Role role, const ClusterToken& token, const Nonce& nonce)
    : role_(role),
      token_(token),
      own_nonce_(nonce),
      step_(role == Role::Connector ? Step::AwaitNonce : Step::AwaitHello) {}

std::vector<uint8_t> Authenticator::Start() {
  if (role_ == Role::Acceptor) return {};
  std::vector<uint8_t> hello(kHelloMagic.begin(), kHelloMagic.end());
  hello.insert(hello.end(), own_nonce_.begin(), own_nonce_.end());
  return hello;
}

Result<std::vector<uint8_t>> Authenticator::Feed(std::span<const uint8_t> message) {
  switch (step_) {
    case Step::AwaitHello:
      if (message.size() != kHelloBytes ||
          !std::equal(kHelloMagic.begin(), kHelloMagic.end(), message.begin())) {
        return Fail("it does not speak skyray's handshake");
      }
      std::copy(message.begin() + kHelloMagic.size(), message.end(), peer_nonce_.begin());
      step_ = Step::AwaitProof;
      return std::vector<uint8_t>(own_nonce_.begin(), own_nonce_.end());
    case Step::AwaitNonce: {
      if (message.size() != kNonceBytes) return Fail("its challenge has the wrong length");
      std::copy(message.begin(), message.end(), peer_nonce_.begin());
      step_ = Step::AwaitProof;
      const Proof proof = ProofOf(Role::Connector);
      return std::vector<uint8_t>(proof.begin(), proof.end());
    }
    case Step::AwaitProof: {
      const Role other = role_ == Role::Connector ? Role::Acceptor : Role::Connector;
      const Proof expected = ProofOf(other);
      if (message.size() != expected.size() ||
          CRYPTO_memcmp(message.data(), expected.data(), expected.size()) != 0) {
        return Fail("it does not have this cluster's token");
      }
      step_ = Step::Done;
      if (role_ == Role::Connector) return std::vector<uint8_t>();
      const Proof proof = ProofOf(Role::Acceptor);
      return std::vector<uint8_t>(proof.begin(), proof.end());
    }
    case Step::Done:
    case Step::Failed:
      break;
  }
  return Fail("it goes on after the handshake");
}

Authenticator::Proof Authenticator::ProofOf(Role role) const {
  const bool connector = role_ == Role::Connector;
  std::vector<uint8_t> text(kHelloMagic.begin(), kHelloMagic.end());
  // Of one length, so that no two (role, nonces) read the same.
  const std::string_view name = role == Role::Connector ? "connector" : "acceptor.";
  text.insert(text.end(), name.begin(), name.end());
  const Nonce& of_connector = connector ? own_nonce_ : peer_nonce_;
  const Nonce& of_acceptor = connector ? peer_nonce_ : own_nonce_;
  text.insert(text.end(), of_connector.begin(), of_connector.end());
  text.insert(text.end(), of_acceptor.begin(), of_acceptor.end());
  Proof proof;
  unsigned int bytes = 0;
  const auto* made = HMAC(EVP_sha256(), token_.data(), static_cast<int>(token_.size()), text.data(),
                          text.size(), proof.data(), &bytes);
  SKYRAY_CHECK(made != nullptr && bytes == proof.size());
  return proof;
}

Status Authenticator::Fail(const std::string& why) {
  step_ = Step::Failed;
  return Status(ErrorCode::Unauthenticated, "the peer is refused: " + why);
}

}  // namespace skyray::object_manager
