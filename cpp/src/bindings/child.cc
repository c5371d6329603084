// SPDX-License-Identifier: Apache-2.0
#include "bindings/child.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <optional>
#include <utility>

#include "common/signals_blocked.h"

namespace skyray::bindings {
namespace {

// What os.fork() does for the child is to put right what other threads may have left
// half done: new locks, a new list of threads, a quarter of all pages a worker ever
// copies. Where there is no other thread the child is as sound as its parent, and goes
// on as the parent does.
PyObject* ForkAlone(PyObject*, PyObject*) {
  if (PySys_Audit("os.fork", nullptr) < 0) return nullptr;
  const SignalsBlocked blocked;
  // What has come so far is for this process; the child is to find no trace of it.
  if (PyErr_CheckSignals() != 0) return nullptr;
  PyOS_BeforeFork();
  const pid_t pid = fork();
  const int error = errno;
  PyOS_AfterFork_Parent();
#if PY_VERSION_HEX >= 0x030B0000
  // By which profilers and debuggers find the thread.
  if (pid == 0) PyThreadState_Get()->native_thread_id = PyThread_get_thread_native_id();
#endif
  if (pid >= 0) return PyLong_FromLong(pid);
  errno = error;
  return PyErr_SetFromErrno(PyExc_OSError);
}

PyObject* DieWith(PyObject*, PyObject* pid) {
  const long parent = PyLong_AsLong(pid);
  if (parent == -1 && PyErr_Occurred() != nullptr) return nullptr;
  if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) return PyErr_SetFromErrno(PyExc_OSError);
  if (getppid() != parent) _exit(1);  // It died before it could be told.
  Py_RETURN_NONE;
}

PyObject* TakeStdio(PyObject*, PyObject* args) {
  int taken[3] = {-1, -1, -1};
  if (PyArg_ParseTuple(args, "ii", &taken[1], &taken[2]) == 0) return nullptr;
  taken[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
  for (int fd = 0; fd < 3; ++fd) {
    if (taken[fd] < 0 || dup2(taken[fd], fd) < 0) return PyErr_SetFromErrno(PyExc_OSError);
    close(taken[fd]);
  }
  Py_RETURN_NONE;
}

// Mapped by the zygote, and so in all its children.
std::optional<ProgressBoard>& Board() {
  static std::optional<ProgressBoard> board;
  return board;
}

Progress* place_taken = nullptr;

PyObject* MapBoard(PyObject*, PyObject* descriptor) {
  const long fd = PyLong_AsLong(descriptor);
  if (fd == -1 && PyErr_Occurred() != nullptr) return nullptr;
  auto board = ProgressBoard::Map(static_cast<int>(fd));
  if (!board) {
    PyErr_SetString(PyExc_OSError, board.error().message().c_str());
    return nullptr;
  }
  Board() = std::move(*board);
  Py_RETURN_NONE;
}

PyObject* TakePlace(PyObject*, PyObject* place) {
  const long number = PyLong_AsLong(place);
  if (number == -1 && PyErr_Occurred() != nullptr) return nullptr;
  if (Board() && number >= 0) place_taken = Board()->At(static_cast<size_t>(number));
  Py_RETURN_NONE;
}

PyMethodDef functions[] = {
    {"fork_alone", ForkAlone, METH_NOARGS,
     "fork_alone(): os.fork() of a process of one thread, without the hooks for the child."},
    {"die_with", DieWith, METH_O, "die_with(parent): has this process end with that one."},
    {"take_stdio", TakeStdio, METH_VARARGS,
     "take_stdio(stdout, stderr): moves them to 1 and 2; 0 reads nothing."},
    {"map_board", MapBoard, METH_O, "map_board(fd): for this process and its children."},
    {"take_place", TakePlace, METH_O, "take_place(n): this process's, on the board; -1: none."},
    {nullptr, nullptr, 0, nullptr}};

}  // namespace

Progress* PlaceTaken() { return place_taken; }

bool AddChild(PyObject* module) { return PyModule_AddFunctions(module, functions) == 0; }

}  // namespace skyray::bindings
