# SPDX-License-Identifier: Apache-2.0
"""However a driver ends, nothing of its cluster is left two seconds later."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from waiting import descendants, ended, until

PROGRAM = """
import os, sys, time
import numpy as np
import skyray

context = skyray.init(num_cpus=2)

@skyray.remote
class Actor:
    def pid(self):
        return os.getpid()

@skyray.remote
def child():
    return os.getpid()

actors = [Actor.remote() for _ in range(2)]
kept = skyray.put(np.zeros(5_000_000))
pids = skyray.get([a.pid.remote() for a in actors] + [child.remote()])
print("session", context["session_dir"], *pids, flush=True)
HOW
"""
BOUND_S = 2.0


def shared_memory() -> set[str]:
    """Names of shared memory that outlives processes."""
    return set(os.listdir("/dev/shm"))


def start(how: str) -> tuple[subprocess.Popen[str], str, set[int]]:
    """A driver that will end as ``how`` says; its session, and all its processes."""
    driver = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.replace("HOW", how)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert driver.stdout is not None
    line = driver.stdout.readline()
    match = re.fullmatch(r"session (\S+) (\d+) (\d+) (\d+)\n", line)
    assert match, line
    below = set(descendants(driver.pid))
    assert {int(pid) for pid in match.groups()[1:]} <= below
    return driver, match[1], below


def gone(session: str, below: set[int], since: float) -> None:
    for pid in below:
        assert ended(pid, BOUND_S - (time.monotonic() - since)), Path(
            f"/proc/{pid}/cmdline"
        ).read_bytes()
    left = BOUND_S - (time.monotonic() - since)
    until(lambda: not sockets(session), f"sockets in {session}", max(left, 0.1))


def sockets(session: str) -> list[Path]:
    found = []
    for path in Path(session).rglob("*"):
        try:
            if stat.S_ISSOCK(path.stat().st_mode):
                found.append(path)
        except FileNotFoundError:
            continue
    return found


@pytest.mark.parametrize(
    "how",
    ["skyray.shutdown(); sys.stdin.read()", "", "sys.exit(3)", "raise ValueError", "os._exit(1)"],
    ids=["shutdown", "end", "exit", "exception", "_exit"],
)
def test_driver_that_ends_by_itself(how: str) -> None:
    before = shared_memory()
    driver, session, below = start("sys.stdin.readline()\n" + how)
    assert driver.stdin is not None
    since = time.monotonic()
    driver.stdin.write("\n")
    driver.stdin.flush()
    gone(session, below, since + 0.5)  # It shuts down in order first.
    assert shared_memory() <= before
    driver.communicate(timeout=30)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_driver_that_is_killed(number: signal.Signals) -> None:
    before = shared_memory()
    driver, session, below = start("time.sleep(600)")
    driver.send_signal(number)
    since = time.monotonic()
    driver.wait(timeout=30)
    gone(session, below, since + 0.5)
    assert shared_memory() <= before
    driver.communicate(timeout=30)


def test_workers_end_with_their_raylet() -> None:
    driver, _, below = start("sys.stdin.readline(); os._exit(0)")
    raylets = [pid for pid, command in descendants(driver.pid).items() if "/raylet " in command]
    assert len(raylets) == 1
    workers = (
        below
        - set(raylets)
        - {pid for pid, command in descendants(driver.pid).items() if "gcs_server" in command}
    )
    os.kill(raylets[0], signal.SIGKILL)
    for pid in workers:
        assert ended(pid, BOUND_S)
    driver.communicate("\n", timeout=30)


def test_workers_end_with_their_driver_that_joined() -> None:
    host, session, _ = start("sys.stdin.readline()")
    joined = subprocess.Popen(
        [
            sys.executable,
            "-c",
            PROGRAM.replace("num_cpus=2", "sys.argv[1]").replace("HOW", "time.sleep(600)"),
            session,
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert joined.stdout is not None
    *_, first, second, third = joined.stdout.readline().split()
    joined.kill()
    joined.communicate(timeout=30)
    for pid in (first, second, third):
        assert ended(int(pid), BOUND_S)
    host.communicate("\n", timeout=30)
