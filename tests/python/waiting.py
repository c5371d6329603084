# SPDX-License-Identifier: Apache-2.0
"""Waiting for what other processes do, with a bound."""

from __future__ import annotations

import os
import select
import threading
import time
from typing import Callable, TypeVar

import pytest

T = TypeVar("T")

BOUND_S = 20.0
_LOOK_S = 0.01


def until(look: Callable[[], T], what: str, bound_s: float = BOUND_S) -> T:
    """What ``look`` returns as soon as that is true; fails if it is not in time."""
    pause = threading.Event()
    deadline = time.monotonic() + bound_s
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {bound_s} s: {what}"
        pause.wait(_LOOK_S)


def printed(capfd: pytest.CaptureFixture[str], *texts: str, bound_s: float = BOUND_S) -> str:
    """All that this process printed, to either stream, until all of ``texts`` were among it."""
    seen = ""

    def said() -> bool:
        nonlocal seen
        captured = capfd.readouterr()
        seen += captured.out + captured.err
        return all(text in seen for text in texts)

    until(said, f"{texts} are printed", bound_s)
    return seen


def ended(pid: int, bound_s: float = BOUND_S) -> bool:
    """Waits for any process to end; whether it did."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        return bool(poll.poll(bound_s * 1000))
    finally:
        os.close(pidfd)


def processes_of(session_dir: str) -> dict[int, str]:
    """Processes whose command line or environment's sockets name the session: pid -> command."""
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                command = file.read().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if session_dir in command:
            found[int(name)] = command
    return found


def descendants(pid: int) -> dict[int, str]:
    """All processes below ``pid``: pid -> command."""
    children: dict[int, list[int]] = {}
    commands = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat") as file:
                parent = int(file.read().rpartition(")")[2].split()[1])
            with open(f"/proc/{name}/cmdline", "rb") as file:
                commands[int(name)] = file.read().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        children.setdefault(parent, []).append(int(name))
    below, todo = {}, [pid]
    while todo:
        for child in children.get(todo.pop(), []):
            below[child] = commands[child]
            todo.append(child)
    return below
