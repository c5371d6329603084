# SPDX-License-Identifier: Apache-2.0
"""A worker's environment variables, between the zygote's fork and the user's code.

Most are simply set. Some are only looked at when a process starts, by the dynamic linker, by
Python or by numerical libraries that the zygote has loaded already; where one of those is
asked for, the forked child starts the interpreter anew.
"""

from __future__ import annotations

import faulthandler
import json
import os
import re
import sys
import time
from typing import Any, NoReturn

_AT_START = re.compile(
    "(LD|LC|PYTHON|MALLOC|GLIBC|OMP|GOMP|KMP|MKL|BLIS|OPENBLAS|GOTO|VECLIB|NUMEXPR|NPY)_|PYTHON|"
    "LANG"
)
_PROGRAM = """
import sys
sys.path[:] = [sys.argv[2], *filter(None, sys.path)]
from skyray._worker_env import _go_on
_go_on(int(sys.argv[1]))
"""


def enter(order: dict[str, Any]) -> None:
    """Gives this process, a fresh child of the zygote, the variables of its order.

    Either returns, or the process goes on in :func:`_go_on` as a new program.

    Args:
        order: the raylet's message to the zygote (docs/design/001-processes.md).
    """
    variables = _variables(order)
    if not variables:
        return
    expand_into(os.environ, variables)
    if any(_AT_START.match(name) for name in variables):
        _start_anew(order)
    if "TZ" in variables:
        time.tzset()


def runtime_env_of(order: dict[str, Any]) -> dict[str, Any]:
    """In which a worker with that order runs: its own, or its job's."""
    own = order.get("runtime_env")
    found = json.loads(own) if own else order["job"].get("runtime_env")
    return found or {}


def expand_into(environment: Any, variables: dict[str, str]) -> None:
    """Sets ``variables``, one after the other, with what they refer to put in.

    ``$NAME`` and ``${NAME}`` stand for what is in ``environment`` by then; a ``${NAME}`` that
    is not there for nothing.
    """
    for name, value in variables.items():
        environment[name] = re.sub(
            r"\$(?:(\w+)|\{([^}]*)\})",
            lambda found: environment.get(
                found[1] or found[2], "" if found[1] is None else found[0]
            ),
            value,
        )


def python_path(order: dict[str, Any]) -> list[str]:
    """The directories that its PYTHONPATH names, if the order has one."""
    if "PYTHONPATH" not in _variables(order):
        return []
    return [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]


def _variables(order: dict[str, Any]) -> dict[str, str]:
    return runtime_env_of(order).get("env_vars") or {}


def _start_anew(order: dict[str, Any]) -> NoReturn:
    # Through memory: an order may be longer than a command line.
    fd = os.memfd_create("order", 0)
    with open(fd, "w", closefd=False) as file:
        json.dump(order, file)
    os.lseek(fd, 0, os.SEEK_SET)
    package_parent = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    # Still the zygote's child, under its pid, and to die with it: those last over an exec.
    os.execv(sys.executable, [sys.executable, "-c", _PROGRAM, str(fd), package_parent])


def _go_on(fd: int) -> NoReturn:
    with open(fd) as file:
        order = json.load(file)
    from . import _zygote

    faulthandler.enable(2)  # Those that are not started anew have it from the zygote.
    _zygote.work(order)
