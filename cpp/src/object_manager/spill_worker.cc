// SPDX-License-Identifier: Apache-2.0
#include "object_manager/spill_worker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "common/logging.h"
#include "ipc/connection.h"

extern char** environ;

namespace skyray::object_manager {
namespace asio = boost::asio;
namespace json = boost::json;

namespace {

constexpr uint16_t kIoWorkerFrame = 101;
constexpr int kChildSocketFd = 3;
// What it has for removing what it wrote; it gives up by itself a little later.
constexpr int kEndTimeoutMs = 1000;
// One that hung up is on its way out already.
constexpr int kHungUpTimeoutMs = 200;

// What a spawned process starts with; freed at its end.
class SpawnPlan {
 public:
  SpawnPlan(int socket, int log) {
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, log, 1);
    posix_spawn_file_actions_adddup2(&actions, log, 2);
    posix_spawn_file_actions_adddup2(&actions, socket, kChildSocketFd);
    posix_spawn_file_actions_addclosefrom_np(&actions, kChildSocketFd + 1);
    // "-m" looks for modules in the current directory first.
    posix_spawn_file_actions_addchdir_np(&actions, "/");
    posix_spawnattr_init(&attributes);
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attributes, &none);
    sigset_t reset = none;
    for (const int number : {SIGPIPE, SIGINT, SIGTERM, SIGCHLD}) sigaddset(&reset, number);
    posix_spawnattr_setsigdefault(&attributes, &reset);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  ~SpawnPlan() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;

  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
};

std::string HowItEnded(int status) {
  if (!WIFSIGNALED(status)) return "exited with code " + std::to_string(WEXITSTATUS(status));
  const char* name = sigabbrev_np(WTERMSIG(status));
  return "ended by signal " + std::to_string(WTERMSIG(status)) + " (SIG" +
         (name != nullptr ? name : "?") + ")";
}

}  // namespace

struct SpillWorker::State {
  State(asio::io_context& l, std::string p, std::string log, SpillWorkerHandlers h)
      : loop(l), python(std::move(p)), log_path(std::move(log)), handlers(std::move(h)) {}

  asio::io_context& loop;
  const std::string python;
  const std::string log_path;
  SpillWorkerHandlers handlers;
  pid_t pid = 0;
  std::unique_ptr<ipc::Connection> connection;

  Status Start(const std::shared_ptr<State>& self);
  std::string Reap(int timeout_ms);
  void Down(const std::string& why, int timeout_ms);
  void OnFrame(const ipc::Frame& frame);
};

Status SpillWorker::State::Start(const std::shared_ptr<State>& self) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return ErrnoStatus("making the I/O worker's socket pair", errno);
  }
  UniqueFd ours(ends[0]), theirs(ends[1]);
  fcntl(ours.get(), F_SETFL, O_NONBLOCK);
  UniqueFd log(open(log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!log.valid()) return ErrnoStatus("opening " + log_path, errno);
  // Above the numbers they are to have, so that none is overwritten.
  const UniqueFd high_log(fcntl(log.get(), F_DUPFD_CLOEXEC, 10));
  const UniqueFd high_socket(fcntl(theirs.get(), F_DUPFD_CLOEXEC, 10));
  if (!high_log.valid() || !high_socket.valid()) return ErrnoStatus("duplicating", errno);
  const SpawnPlan plan(high_socket.get(), high_log.get());
  const std::string fd = std::to_string(kChildSocketFd);
  const char* const arguments[] = {python.c_str(), "-m",       "skyray._io_worker",
                                   "--fd",         fd.c_str(), nullptr};
  const int error = posix_spawnp(&pid, python.c_str(), &plan.actions, &plan.attributes,
                                 const_cast<char* const*>(arguments), environ);
  if (error != 0) {
    pid = 0;
    return ErrnoStatus("starting " + python + " -m skyray._io_worker", error);
  }
  ipc::ConnectionHandlers on;
  std::weak_ptr<State> weak = self;
  on.on_frame = [weak](ipc::Frame frame) {
    if (auto state = weak.lock()) state->OnFrame(frame);
  };
  on.on_closed = [weak](const Status& why) {
    if (auto state = weak.lock()) state->Down(why.message(), kHungUpTimeoutMs);
  };
  connection = std::make_unique<ipc::Connection>(loop, std::move(ours), std::move(on));
  // An answer has a text in it, and that of a header.
  connection->SetFrameBytesMax(ipc::kFrameBytesMax);
  connection->Start();
  return Status();
}

std::string SpillWorker::State::Reap(int timeout_ms) {
  if (pid == 0) return "";
  const UniqueFd process(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  pollfd ended{process.get(), POLLIN, 0};
  if (process.valid()) poll(&ended, 1, timeout_ms);
  if ((ended.revents & POLLIN) == 0) kill(pid, SIGKILL);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  pid = 0;
  return HowItEnded(status);
}

void SpillWorker::State::Down(const std::string& why, int timeout_ms) {
  if (pid == 0) return;
  // Before its socket is closed: that would tell it to remove what it wrote.
  const std::string how = Reap(timeout_ms);
  connection.reset();
  handlers.on_down("the I/O worker " + how + " (" + why + "); see " + log_path);
}

void SpillWorker::State::OnFrame(const ipc::Frame& frame) {
  boost::system::error_code error;
  json::value value;
  if (frame.kind == kIoWorkerFrame) value = json::parse(frame.text(), error);
  if (frame.kind != kIoWorkerFrame || error || !value.is_object()) {
    return Down("it sent what is not an event", 0);
  }
  handlers.on_event(value.get_object());
}

SpillWorker::SpillWorker(asio::io_context& loop, std::string python, std::string log_path,
                         SpillWorkerHandlers handlers)
    : state_(std::make_shared<State>(loop, std::move(python), std::move(log_path),
                                     std::move(handlers))) {}

SpillWorker::~SpillWorker() {
  state_->connection.reset();
  state_->Reap(kEndTimeoutMs);
}

Status SpillWorker::Send(const json::object& order, std::vector<SharedFd> fds) {
  if (state_->pid == 0) {
    if (Status status = state_->Start(state_); !status.ok()) return status;
  }
  const std::string text = json::serialize(order);
  state_->connection->Send(
      kIoWorkerFrame, {reinterpret_cast<const uint8_t*>(text.data()), text.size()}, std::move(fds));
  return Status();
}

int SpillWorker::pid() const { return state_->pid; }

}  // namespace skyray::object_manager
