// SPDX-License-Identifier: Apache-2.0
#include "bindings/child.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <csignal>

namespace skyray::bindings {
namespace {

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

PyMethodDef functions[] = {
    {"die_with", DieWith, METH_O, "die_with(parent): has this process end with that one."},
    {"take_stdio", TakeStdio, METH_VARARGS,
     "take_stdio(stdout, stderr): moves them to 1 and 2; 0 reads nothing."},
    {nullptr, nullptr, 0, nullptr}};

}  // namespace

bool AddChild(PyObject* module) { return PyModule_AddFunctions(module, functions) == 0; }

}  // namespace skyray::bindings
