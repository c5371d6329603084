// SPDX-License-Identifier: Apache-2.0
#include "ipc/socket.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <thread>

#include "ipc/fixture.h"

namespace skyray::ipc {
namespace {

TEST(SocketTest, AFrameArrivesWithItsDescriptors) {
  auto [left, right] = SocketPair();
  int pipe_fds[2];
  ASSERT_EQ(pipe(pipe_fds), 0);
  const UniqueFd read_end(pipe_fds[0]);
  UniqueFd write_end(pipe_fds[1]);
  const int fds[] = {write_end.get()};
  ASSERT_TRUE(SendFrame(left.get(), 5, Bytes("body"), fds).ok());
  write_end.Reset();
  auto frame = ReceiveFrame(right.get(), 30000);
  ASSERT_TRUE(frame.has_value());
  EXPECT_EQ(frame->kind, 5);
  EXPECT_EQ(frame->text(), "body");
  ASSERT_EQ(frame->fds.size(), 1u);
  EXPECT_NE(fcntl(frame->fds[0].get(), F_GETFD) & FD_CLOEXEC, 0);
  ASSERT_EQ(write(frame->fds[0].get(), "x", 1), 1);
  char byte = 0;
  ASSERT_EQ(read(read_end.get(), &byte, 1), 1);
  EXPECT_EQ(byte, 'x');
}

TEST(SocketTest, EmptyAndLargeFramesArriveWhole) {
  auto [left, right] = SocketPair();
  const std::string large(5 << 20, 'l');
  std::thread sender([fd = left.get(), &large] {
    EXPECT_TRUE(SendFrame(fd, 1, Bytes("")).ok());
    EXPECT_TRUE(SendFrame(fd, 2, Bytes(large)).ok());
  });
  EXPECT_EQ(ReceiveFrame(right.get(), 30000)->body.size(), 0u);
  EXPECT_TRUE(ReceiveFrame(right.get(), 30000)->text() == large);
  sender.join();
}

TEST(SocketTest, AnOversizedFrameIsRefusedByItsHeader) {
  auto [left, right] = SocketPair();
  const FrameHeader header{1000, 0, 0};
  ASSERT_EQ(send(left.get(), &header, sizeof header, 0), ssize_t{sizeof header});
  EXPECT_EQ(ReceiveFrame(right.get(), 30000, 999).error().code(), ErrorCode::InvalidRequest);
}

TEST(SocketTest, AClosedPeerIsDisconnectedAlsoInMidFrame) {
  auto [left, right] = SocketPair();
  const FrameHeader header{1000, 0, 0};
  ASSERT_EQ(send(left.get(), &header, sizeof header, 0), ssize_t{sizeof header});
  left.Reset();
  EXPECT_EQ(ReceiveFrame(right.get(), 30000).error().code(), ErrorCode::Disconnected);
  EXPECT_EQ(SendFrame(right.get(), 0, Bytes("x")).code(), ErrorCode::Disconnected);
}

TEST(SocketTest, NoFrameInTimeIsTimedOut) {
  auto [left, right] = SocketPair();
  EXPECT_EQ(ReceiveFrame(right.get(), 1).error().code(), ErrorCode::TimedOut);
}

TEST(SocketTest, ADescriptorThatWasAnnouncedMustCome) {
  auto [left, right] = SocketPair();
  const FrameHeader header{0, 0, 1};
  ASSERT_EQ(send(left.get(), &header, sizeof header, 0), ssize_t{sizeof header});
  EXPECT_EQ(ReceiveFrame(right.get(), 30000).error().code(), ErrorCode::InvalidRequest);
}

TEST(SocketTest, AUnixSocketIsPrivateAndReplacesAStaleFile) {
  TemporaryDirectory directory;
  const std::string path = directory.path() + "/s";
  { auto first = ListenUnix(path, 1); }
  auto listener = ListenUnix(path, 1);
  ASSERT_TRUE(listener.has_value()) << listener.error().ToString();
  struct stat info {};
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  auto client = ConnectUnix(path);
  ASSERT_TRUE(client.has_value());
  const auto peer = GetPeerCredentials(client->get());
  ASSERT_TRUE(peer.has_value());
  EXPECT_EQ(peer->uid, geteuid());
  EXPECT_EQ(peer->pid, getpid());
  unlink(path.c_str());
}

TEST(SocketTest, AUnixSocketThatIsInUseIsLeftAlone) {
  TemporaryDirectory directory;
  const std::string path = directory.path() + "/s";
  auto first = ListenUnix(path, 0);
  ASSERT_TRUE(first.has_value());
  // The second attempt finds the queue of the first listener full.
  for (int attempt = 0; attempt < 3; ++attempt) {
    const auto second = ListenUnix(path, 1);
    ASSERT_FALSE(second.has_value());
    EXPECT_EQ(second.error().code(), ErrorCode::AlreadyExists);
    EXPECT_THAT(second.error().message(), ::testing::HasSubstr("listens on " + path + " already"));
  }
  EXPECT_EQ(access(path.c_str(), F_OK), 0);
}

TEST(SocketTest, AFileThatIsNoSocketIsLeftAlone) {
  TemporaryDirectory directory;
  const std::string path = directory.path() + "/precious";
  UniqueFd(open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600)).Reset();
  const auto listener = ListenUnix(path, 1);
  ASSERT_FALSE(listener.has_value());
  EXPECT_EQ(listener.error().code(), ErrorCode::AlreadyExists);
  EXPECT_THAT(listener.error().message(), ::testing::HasSubstr("is no socket"));
  EXPECT_EQ(access(path.c_str(), F_OK), 0);
}

TEST(SocketTest, APathThatIsTooLongSaysWhatToDo) {
  const std::string path = "/tmp/" + std::string(200, 'x');
  const auto listener = ListenUnix(path, 1);
  ASSERT_FALSE(listener.has_value());
  EXPECT_EQ(listener.error().code(), ErrorCode::InvalidArgument);
  EXPECT_THAT(listener.error().message(), ::testing::HasSubstr("SKYRAY_TMPDIR"));
  EXPECT_EQ(ConnectUnix(path).error().code(), ErrorCode::InvalidArgument);
}

TEST(SocketTest, TcpTakesNumericAddressesOfBothFamilies) {
  auto listener = ListenTcp("127.0.0.1", 0, 1);
  ASSERT_TRUE(listener.has_value());
  const auto port = LocalPort(listener->get());
  ASSERT_TRUE(port.has_value());
  EXPECT_TRUE(ConnectTcp("127.0.0.1", *port).has_value());
  listener->Reset();
  EXPECT_EQ(ConnectTcp("127.0.0.1", *port).error().code(), ErrorCode::IoError);
  EXPECT_EQ(ListenTcp("localhost", 0, 1).error().code(), ErrorCode::InvalidArgument);
  EXPECT_EQ(ConnectTcp("300.0.0.1", 1).error().code(), ErrorCode::InvalidArgument);
}

}  // namespace
}  // namespace skyray::ipc
