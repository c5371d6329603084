# SPDX-License-Identifier: Apache-2.0
"""The processes a benchmark's child leaves behind or has running, from /proc.

A process belongs to a run if the run's mark is in its environment, so one that has cut itself
loose from its parent is found as well; one that dropped the environment is found by its parent.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

MARK = "SKYRAY_BENCH_RUN"
CPUCLOCK_SCHED = 2  # linux/posix-timers.h


def read(pid: int, name: str) -> bytes:
    """A file of /proc/<pid>, empty if the process is gone or is not ours to look at."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def read_text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def stat_fields(pid: int) -> list[bytes]:
    """The fields of /proc/<pid>/stat after the command name: state, parent, ..."""
    return read(pid, "stat").rpartition(b") ")[2].split()


def all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def thread_ids(pid: int) -> list[int]:
    try:
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return []


def members(mark: str, root: int | None = None) -> list[int]:
    """Living processes that carry ``mark`` or descend from ``root``; neither ``root`` nor us."""
    wanted = f"{MARK}={mark}".encode()
    parents: dict[int, int] = {}
    found = set() if root is None else {root}
    for pid in all_pids():
        fields = stat_fields(pid)
        if len(fields) > 1 and fields[0] not in (b"Z", b"X"):
            parents[pid] = int(fields[1])
            if wanted in read(pid, "environ").split(b"\0"):
                found.add(pid)
    grown = True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in found and pid not in found}
        grown = bool(more)
        found |= more
    return sorted((found & parents.keys()) - {root, os.getpid()})


def end_leftovers(mark: str, grace_s: float = 10.0) -> int:
    """Waits until no process of the run is left; kills what stays, returns how many that were."""
    deadline = time.monotonic() + grace_s
    while left := members(mark):
        if time.monotonic() > deadline:
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            return len(left)
        time.sleep(0.02)
    return 0


def pss_mb(pid: int) -> float:
    """The process's proportional share of memory, in MB."""
    for line in read(pid, "smaps_rollup").splitlines():
        if line.startswith(b"Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def threads(pid: int) -> int:
    fields = stat_fields(pid)
    return int(fields[17]) if len(fields) > 17 else 0


def cpu_s(pid: int) -> float:
    """CPU seconds used so far, user and system: to the nanosecond, by the process's own clock
    (clock_getcpuclockid(3)); /proc counts in hundredths of a second."""
    try:
        return time.clock_gettime((~pid << 3) | CPUCLOCK_SCHED)
    except OSError:
        return 0.0
