// SPDX-License-Identifier: Apache-2.0
// gcs_server as a process: its command line, its readiness, its end.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/executor_work_guard.hpp>
#include <filesystem>
#include <fstream>
#include <optional>

#include "common/unique_fd.h"
#include "gcs/options.h"
#include "rpc/gcs_client.h"

namespace skyray::gcs {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

std::string ReadAll(int fd) {
  std::string text;
  char buffer[4096];
  ssize_t got;
  while ((got = read(fd, buffer, sizeof buffer)) > 0) text.append(buffer, static_cast<size_t>(got));
  return text;
}

class ProgramTest : public testing::Test, public rpc::GcsHandler {
 protected:
  ProgramTest() {
    std::string text = std::filesystem::temp_directory_path() / "skyray_program_test_XXXXXX";
    folder = mkdtemp(text.data());
    address.sun_family = AF_UNIX;
    (folder + "/gcs.sock").copy(address.sun_path, sizeof address.sun_path - 1);
    listener = UniqueFd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(listen(listener.get(), 16), 0);
    int ends[2];
    EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
    ready_reader = UniqueFd(ends[0]);
    ready_writer = UniqueFd(ends[1]);
  }
  ~ProgramTest() override {
    if (child > 0) {
      kill(child, SIGKILL);
      waitpid(child, nullptr, 0);
    }
    std::filesystem::remove_all(folder);
  }

  // In a forked child: becomes the program. `arguments` follow the usual ones.
  [[noreturn]] void Become(std::vector<std::string> arguments) {
    std::vector<std::string> all{GCS_SERVER, "--listen-fd", "10", "--session-dir",
                                 folder,     "--ready-fd",  "11", "--log-level",
                                 "error"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    for (std::string& argument : all) argv.push_back(argument.data());
    argv.push_back(nullptr);
    dup2(listener.get(), 10);
    dup2(ready_writer.get(), 11);
    execv(argv[0], argv.data());
    _exit(127);
  }

  // Starts the program; what it says when it is ready, or fails.
  std::string Start(const std::vector<std::string>& arguments) {
    child = fork();
    if (child == 0) Become(arguments);
    ready_writer.Reset();
    return ReadAll(ready_reader.get());
  }

  int ExitCode() {
    int status = 0;
    waitpid(child, &status, 0);
    child = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

  template <class Request, class Reply>
  Reply Ask(void (rpc::GcsClient::*method)(const Request&, rpc::ReplyHandler<Reply>),
            const Request& request) {
    UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    boost::asio::io_context loop;
    const auto work = boost::asio::make_work_guard(loop);
    rpc::GcsClient client(loop, std::move(fd), *this);
    std::optional<Result<Reply>> answer;
    (client.*method)(request, [&](Result<Reply> reply) { answer = std::move(reply); });
    while (!answer) loop.run_one();
    EXPECT_TRUE(answer->has_value());
    return std::move(**answer);
  }

  void OnCommand(pb::NodeCommand) override {}
  void OnDisconnected(const Status&) override {}

  std::string folder;
  sockaddr_un address{};
  UniqueFd listener, ready_reader, ready_writer;
  pid_t child = -1;
};

TEST_F(ProgramTest, IsReadyAndEndsOnSigterm) {
  EXPECT_EQ(Start({"--owner-pid", std::to_string(getpid())}), "ready\n");
  kill(child, SIGTERM);
  EXPECT_EQ(ExitCode(), 0);
}

TEST_F(ProgramTest, EndsWithItsOwner) {
  // The pipe closes when the last process that holds it has ended.
  int life[2];
  ASSERT_EQ(pipe(life), 0);
  const pid_t owner = fork();
  if (owner == 0) {
    close(life[0]);
    const std::string pid = std::to_string(getpid());
    if (fork() == 0) Become({"--owner-pid", pid});
    ready_writer.Reset();
    for (;;) pause();
  }
  close(life[1]);
  ready_writer.Reset();
  EXPECT_EQ(ReadAll(ready_reader.get()), "ready\n");
  kill(owner, SIGKILL);
  waitpid(owner, nullptr, 0);
  EXPECT_EQ(ReadAll(life[0]), "");
  close(life[0]);
}

TEST_F(ProgramTest, AnOwnerThatIsNotItsParentIsRefused) {
  EXPECT_THAT(Start({"--owner-pid", "1"}), StartsWith("error: --owner-pid 1 is not the parent"));
  EXPECT_EQ(ExitCode(), 1);
}

TEST_F(ProgramTest, ADamagedStoreIsAnErrorThatSaysSo) {
  std::ofstream(folder + "/gcs.db") << std::string(10'000, 'x');
  const std::string said = Start({"--storage", "sqlite:" + folder + "/gcs.db"});
  EXPECT_THAT(said, StartsWith("error: "));
  EXPECT_THAT(said, HasSubstr("damaged"));
  EXPECT_EQ(ExitCode(), 1);
}

TEST_F(ProgramTest, WhatWasAcknowledgedSurvivesSigkill) {
  const std::string storage = "sqlite:" + folder + "/gcs.db";
  ASSERT_EQ(Start({"--storage", storage}), "ready\n");
  pb::KvPutRequest put;
  put.set_key("k");
  put.set_value("v");
  EXPECT_TRUE(Ask(&rpc::GcsClient::KvPut, put).added());
  kill(child, SIGKILL);
  EXPECT_EQ(ExitCode(), -SIGKILL);

  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  ready_reader = UniqueFd(ends[0]);
  ready_writer = UniqueFd(ends[1]);
  ASSERT_EQ(Start({"--storage", storage}), "ready\n");
  pb::KvGetRequest get;
  get.set_key("k");
  EXPECT_EQ(Ask(&rpc::GcsClient::KvGet, get).value(), "v");
}

TEST_F(ProgramTest, AWrongCommandLineEndsIt) {
  EXPECT_EQ(Start({"--listen-tcp", "0.0.0.0:1"}), "");
  EXPECT_EQ(ExitCode(), 2);
}

Status ParseError(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "gcs_server");
  const auto options = ParseOptions(static_cast<int>(arguments.size()), arguments.data());
  return options ? Status() : options.error();
}

TEST(OptionsTest, EveryFlagHasItsPlace) {
  const char* arguments[] = {
      "gcs_server",   "--listen-fd", "5", "--session-dir", "/s", "--storage",
      "sqlite:/s/db", "--owner-pid", "7", "--ready-fd",    "6",  "--log-level",
      "debug"};
  const auto options = ParseOptions(std::size(arguments), arguments);
  ASSERT_TRUE(options.has_value());
  EXPECT_EQ(options->listen_fd, 5);
  EXPECT_EQ(options->session_dir, "/s");
  EXPECT_EQ(options->storage, "sqlite:/s/db");
  EXPECT_EQ(options->owner_pid, 7);
  EXPECT_EQ(options->ready_fd, 6);
  EXPECT_EQ(options->log_level, "debug");
}

TEST(OptionsTest, WhatIsWrongIsNamed) {
  EXPECT_THAT(ParseError({}).message(), HasSubstr("--listen-fd is missing"));
  EXPECT_THAT(ParseError({"--listen-fd", "5"}).message(), HasSubstr("--session-dir is missing"));
  EXPECT_THAT(ParseError({"--listen-fd", "five"}).message(), HasSubstr("not 'five'"));
  EXPECT_THAT(ParseError({"--listen-fd"}).message(), HasSubstr("needs a value"));
  EXPECT_THAT(ParseError({"--frob", "1"}).message(), HasSubstr("unknown flag '--frob'"));
  EXPECT_THAT(ParseError({"--listen-tcp", "::"}).message(), HasSubstr("not available"));
}

}  // namespace
}  // namespace skyray::gcs
