// SPDX-License-Identifier: Apache-2.0
#include "raylet/zygote.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "common/logging.h"
#include "ipc/connection.h"
#include "raylet/utf8.h"
#include "raylet/worker_exit.h"

extern char** environ;

namespace skyray::raylet {
namespace asio = boost::asio;
namespace json = boost::json;

namespace {

constexpr uint16_t kZygoteFrame = 100;
constexpr int kChildSocketFd = 3;
constexpr int kChildBoardFd = 4;
constexpr int kEndTimeoutMs = 200;

// Libraries that start a thread per core would do so in every worker.
constexpr const char* kOneThread[] = {"OPENBLAS_NUM_THREADS=1", "MKL_NUM_THREADS=1",
                                      "NUMEXPR_NUM_THREADS=1", "VECLIB_MAXIMUM_THREADS=1"};
constexpr char kOpenMp[] = "OMP_NUM_THREADS=1";
// With it that is our choice, and follows the CPUs of each task (_worker.Hooks).
constexpr char kOpenMpIsOurs[] = "SKYRAY_SETS_OMP_NUM_THREADS=1";

std::string_view NameIn(std::string_view setting) { return setting.substr(0, setting.find('=')); }

// The environment, with one thread where the user has not said otherwise.
std::vector<char*> ChildEnvironment() {
  const bool ours = getenv(std::string(NameIn(kOpenMp)).c_str()) == nullptr ||
                    getenv(std::string(NameIn(kOpenMpIsOurs)).c_str()) != nullptr;
  std::vector<char*> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    // A task's that has started a cluster of its own: as it was for that task.
    if (!ours || NameIn(*entry) != NameIn(kOpenMp)) environment.push_back(*entry);
  }
  if (ours) {
    for (const char* setting : {kOpenMp, kOpenMpIsOurs}) {
      environment.push_back(const_cast<char*>(setting));
    }
  }
  for (const char* setting : kOneThread) {
    if (getenv(std::string(NameIn(setting)).c_str()) != nullptr) continue;
    environment.push_back(const_cast<char*>(setting));
  }
  environment.push_back(nullptr);
  return environment;
}

// After fork: only what is safe between fork and exec.
[[noreturn]] void ExecZygote(const char* const* arguments, char* const* environment, int socket,
                             int log, int board, pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);  // It died before we could ask to be told.
  // "-m" makes Python look for modules in the current directory first, and the
  // user's may have a json.py.
  if (chdir("/") != 0) _exit(1);
  const int null = open("/dev/null", O_RDONLY);
  // Above the numbers they are to have, so that none is overwritten.
  const int high_socket = fcntl(socket, F_DUPFD, 10);
  const int high_log = fcntl(log, F_DUPFD, 10);
  const int high_board = fcntl(board, F_DUPFD, 10);
  dup2(null, 0);
  dup2(high_log, 1);
  dup2(high_log, 2);
  dup2(high_socket, kChildSocketFd);
  const bool has_board = dup2(high_board, kChildBoardFd) >= 0;
  syscall(SYS_close_range, kChildBoardFd + (has_board ? 1u : 0u), ~0u, 0u);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  for (const int number : {SIGPIPE, SIGINT, SIGTERM, SIGCHLD}) signal(number, SIG_DFL);
  execvpe(arguments[0], const_cast<char* const*>(arguments), environment);
  dprintf(2, "cannot start %s: %s\n", arguments[0], strerror(errno));
  _exit(127);
}

std::string TextOf(const json::object& message, std::string_view key) {
  const json::value* value = message.if_contains(key);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : "";
}

// The integer under `key`, or -1.
int NumberOf(const json::object& message, std::string_view key) {
  const json::value* value = message.if_contains(key);
  if (value == nullptr || !value->is_int64()) return -1;
  const int64_t number = value->get_int64();
  return number < 0 || number > INT32_MAX ? -1 : static_cast<int>(number);
}

Result<WorkerPipes> MakePipes(std::vector<UniqueFd>& write_ends) {
  WorkerPipes pipes;
  for (UniqueFd* read_end : {&pipes.out, &pipes.err}) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return ErrnoStatus("making a pipe for a worker", errno);
    *read_end = UniqueFd(ends[0]);
    write_ends.emplace_back(ends[1]);
  }
  return pipes;
}

}  // namespace

struct Zygote::State {
  State(asio::io_context& l, ZygoteHandler& h, std::string p, std::string log, int b)
      : loop(l), handler(h), python(std::move(p)), log_path(std::move(log)), board(b) {}

  asio::io_context& loop;
  ZygoteHandler& handler;
  std::string python;
  std::string log_path;
  int board;         // -1: none.
  pid_t pid = 0;     // 0: down.
  UniqueFd process;  // A pidfd.
  bool ready = false;
  std::unique_ptr<ipc::Connection> connection;
  std::unordered_set<int> children;

  // Ends the process if it has not ended, and says how it did.
  std::string Reap();
  void Down(const std::string& why);
  void OnFrame(const ipc::Frame& frame);
  void OnEvent(const json::object& event);
};

std::string Zygote::State::Reap() {
  connection.reset();
  children.clear();
  if (pid == 0) return "";
  // It ends by itself when its socket does; the workers end with it.
  pollfd ended{process.get(), POLLIN, 0};
  if (process.valid()) poll(&ended, 1, kEndTimeoutMs);
  if ((ended.revents & POLLIN) == 0) kill(pid, SIGKILL);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  std::string how = DescribeExit(pid, status, false, "").reason;
  process.Reset();
  pid = 0;
  return how;
}

void Zygote::State::Down(const std::string& why) {
  if (pid == 0) return;
  const bool was_ready = std::exchange(ready, false);
  const std::string how = Reap();
  handler.OnZygoteDown(why + "; it " + how + "; see " + log_path, was_ready);
}

void Zygote::State::OnFrame(const ipc::Frame& frame) {
  boost::system::error_code error;
  json::value value;
  if (frame.kind == kZygoteFrame) value = json::parse(frame.text(), error);
  if (frame.kind != kZygoteFrame || error || !value.is_object()) {
    return Down("the zygote sent what is not an event");
  }
  OnEvent(value.get_object());
}

void Zygote::State::OnEvent(const json::object& event) {
  const std::string name = TextOf(event, "event");
  if (name == "ready") {
    ready = true;
    return handler.OnZygoteReady();
  }
  const int child = NumberOf(event, "pid");
  if (name == "exited" && child > 0) {
    children.erase(child);
    return handler.OnWorkerExited(child, NumberOf(event, "status"));
  }
  const auto worker = WorkerId::FromHex(TextOf(event, "worker_id"));
  if (name == "forked" && worker && child > 1) {
    children.insert(child);
    return handler.OnForked(*worker, child);
  }
  if (name == "fork_failed" && worker) {
    return handler.OnForkFailed(*worker, ToValidUtf8(TextOf(event, "message")));
  }
  Down("the zygote sent an unknown event \"" + ToValidUtf8(name) + "\"");
}

Zygote::Zygote(asio::io_context& loop, ZygoteHandler& handler, std::string python,
               std::string log_path, int board)
    : state_(
          std::make_shared<State>(loop, handler, std::move(python), std::move(log_path), board)) {}

Zygote::~Zygote() { Stop(); }

Status Zygote::Start() {
  SKYRAY_CHECK(state_->pid == 0);
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return ErrnoStatus("making the zygote's socket pair", errno);
  }
  UniqueFd ours(ends[0]), theirs(ends[1]);
  fcntl(ours.get(), F_SETFL, O_NONBLOCK);
  UniqueFd log(open(state_->log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!log.valid()) return ErrnoStatus("opening " + state_->log_path, errno);
  const std::string fd = std::to_string(kChildSocketFd);
  const std::string board = std::to_string(kChildBoardFd);
  const char* arguments[] = {state_->python.c_str(),
                             "-m",
                             "skyray._zygote",
                             "--fd",
                             fd.c_str(),
                             nullptr,
                             nullptr,
                             nullptr};
  if (state_->board >= 0) {
    arguments[5] = "--board";
    arguments[6] = board.c_str();
  }
  const std::vector<char*> environment = ChildEnvironment();
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) return ErrnoStatus("forking the zygote", errno);
  if (pid == 0)
    ExecZygote(arguments, environment.data(), theirs.get(), log.get(), state_->board, parent);
  state_->pid = pid;
  state_->process = UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  ipc::ConnectionHandlers handlers;
  std::weak_ptr<State> weak = state_;
  handlers.on_frame = [weak](ipc::Frame frame) {
    if (auto state = weak.lock()) state->OnFrame(frame);
  };
  handlers.on_closed = [weak](const Status& why) {
    if (auto state = weak.lock()) state->Down("the zygote is gone (" + why.message() + ")");
  };
  state_->connection =
      std::make_unique<ipc::Connection>(state_->loop, std::move(ours), std::move(handlers));
  state_->connection->Start();
  return Status();
}

bool Zygote::up() const { return state_->pid != 0; }

Result<WorkerPipes> Zygote::Fork(const ForkOrder& order) {
  if (!up()) return Status(ErrorCode::Disconnected, "the zygote is down");
  std::vector<UniqueFd> write_ends;
  auto pipes = MakePipes(write_ends);
  if (!pipes) return pipes.error();
  json::object message;
  message["op"] = "fork";
  message["worker_id"] = order.worker.Hex();
  message["job_id"] = order.job.Hex();
  message["job_config"] = order.job_config;
  message["namespace"] = order.name_space;
  message["raylet_socket"] = order.raylet_socket;
  message["log_name"] = order.log_name;
  message["runtime_env"] = order.runtime_env;
  message["progress_place"] = order.progress_place;
  const std::string text = json::serialize(message);
  std::vector<SharedFd> passed;
  passed.reserve(write_ends.size());
  for (UniqueFd& end : write_ends) passed.push_back(Share(std::move(end)));
  state_->connection->Send(kZygoteFrame,
                           {reinterpret_cast<const uint8_t*>(text.data()), text.size()},
                           std::move(passed));
  return pipes;
}

void Zygote::Kill(int pid) {
  if (state_->children.contains(pid)) kill(pid, SIGKILL);
}

void Zygote::Stop() { state_->Reap(); }

}  // namespace skyray::raylet
