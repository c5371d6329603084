// SPDX-License-Identifier: Apache-2.0
#include "core_worker/acceptor.h"

#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <vector>

#include "ipc/fixture.h"
#include "ipc/socket.h"

namespace skyray::core_worker {
namespace {

constexpr uint64_t kTag = 7;

class AcceptorTest : public ::testing::Test {
 protected:
  AcceptorTest() {
    EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    auto listener = ipc::ListenUnix(path, 16);
    EXPECT_TRUE(listener.has_value());
    EXPECT_TRUE(ipc::SetNonBlocking(listener->get(), true).ok());
    acceptor.Start(std::move(*listener), epoll.get(), kTag);
  }
  ~AcceptorTest() override {
    setrlimit(RLIMIT_NOFILE, &limit);
    unlink(path.c_str());
  }

  UniqueFd Connect() {
    auto socket = ipc::ConnectUnix(path);
    EXPECT_TRUE(socket.has_value());
    return std::move(*socket);
  }
  void AllowNoMoreFds() {
    const UniqueFd probe(dup(0));
    rlimit tight = limit;
    tight.rlim_cur = static_cast<rlim_t>(probe.get());
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &tight), 0);
  }
  bool Reported() {
    epoll_event event{};
    return epoll_wait(epoll.get(), &event, 1, 0) == 1 && event.data.u64 == kTag;
  }
  void AcceptAll(int64_t now_ns) {
    acceptor.AcceptAll(now_ns, [this](UniqueFd socket) { taken.push_back(std::move(socket)); });
  }

  const std::string path = ::testing::TempDir() + "acceptor_test." + std::to_string(getpid());
  rlimit limit{};
  UniqueFd epoll{epoll_create1(EPOLL_CLOEXEC)};
  Acceptor acceptor;
  std::vector<UniqueFd> taken;
};

TEST_F(AcceptorTest, AllWhoWaitAreAccepted) {
  const UniqueFd one = Connect();
  const UniqueFd two = Connect();
  EXPECT_TRUE(Reported());
  AcceptAll(0);
  EXPECT_EQ(taken.size(), 2u);
  EXPECT_FALSE(Reported());
  EXPECT_EQ(acceptor.again_ns(), INT64_MAX);
}

TEST_F(AcceptorTest, WithoutDescriptorsItIsLookedAtNowAndThen) {
  const UniqueFd one = Connect();
  const UniqueFd two = Connect();
  ::testing::internal::CaptureStderr();
  AllowNoMoreFds();
  AcceptAll(1000);
  EXPECT_TRUE(taken.empty());
  EXPECT_FALSE(Reported()) << "a loop that waits for events would not wait";
  const int64_t again = acceptor.again_ns();
  EXPECT_GT(again, 1000);
  AcceptAll(again);
  EXPECT_GT(acceptor.again_ns(), again);

  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  AcceptAll(acceptor.again_ns());
  EXPECT_EQ(taken.size(), 2u);
  EXPECT_EQ(acceptor.again_ns(), INT64_MAX);
  const std::string said = ::testing::internal::GetCapturedStderr();
  const auto first = said.find("Too many open files");
  EXPECT_NE(first, std::string::npos) << said;
  EXPECT_EQ(said.find("Too many open files", first + 1), std::string::npos) << said;

  const UniqueFd three = Connect();
  EXPECT_TRUE(Reported()) << "it is reported again";
}

}  // namespace
}  // namespace skyray::core_worker
