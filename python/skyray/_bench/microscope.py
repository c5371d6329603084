# SPDX-License-Identifier: Apache-2.0
"""One operation under the microscope: where its time goes, process by process.

    skyray bench --microscope [actor_call] [--syscalls] [--against ray]

Prints, per operation: wall time, and for each process that took part its CPU time, its wake-ups
(voluntary context switches) and its page faults. With --syscalls, strace counts the system calls of
every process meanwhile, which makes everything slow: read the counts then, not the times.
"""

from __future__ import annotations

import importlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import process_tree

IN_FLIGHT = 1000
OPERATIONS = 10_000
SWITCHES = re.compile(rb"\nvoluntary_ctxt_switches:\s+(\d+)")


@dataclass
class Usage:
    """What a process's threads have used since they began; nothing if it has ended."""

    cpu_us: float
    wakeups: int
    faults: int


def usage(pid: int) -> Usage:
    cpu_ns = wakeups = 0
    for thread in process_tree.thread_ids(pid):
        cpu_ns += int((process_tree.read(thread, "schedstat").split() or [b"0"])[0])
        switches = SWITCHES.search(process_tree.read(thread, "status"))
        wakeups += int(switches[1]) if switches else 0
    fields = process_tree.stat_fields(pid)
    faults = int(fields[7]) + int(fields[9]) if len(fields) > 9 else 0
    return Usage(cpu_ns / 1e3, wakeups, faults)


def name(pid: int) -> str:
    if pid == os.getpid():
        return "driver"
    words = process_tree.read(pid, "cmdline").decode(errors="replace").split("\0")
    return Path(words[0]).name + (" " + words[2] if words[1:2] == ["-m"] else "")


def operations(module: Any) -> dict[str, tuple[Callable[[], Any], int]]:
    """Name -> (what to call, how many operations one call is)."""

    class Server:
        def answer(self) -> bytes:
            return b"ok"

    answer = module.remote(Server).remote().answer
    task = module.remote(lambda: b"ok")
    stored = module.put(0)
    return {
        "get_small": (lambda: module.get(stored), 1),
        "put_small": (lambda: module.put(0), 1),
        "task": (lambda: module.get(task.remote()), 1),
        "task_batch": (lambda: module.get([task.remote() for _ in range(IN_FLIGHT)]), IN_FLIGHT),
        "actor_call": (lambda: module.get(answer.remote()), 1),
        "actor_batch": (lambda: module.get([answer.remote() for _ in range(IN_FLIGHT)]), IN_FLIGHT),
    }


def run(call: Callable[[], Any], times: int) -> float:
    began = time.perf_counter()
    for _ in range(times):
        call()
    return time.perf_counter() - began


def watch(call: Callable[[], Any], size: int, number: int) -> None:
    """Runs about ``number`` operations and prints what each of them took."""
    calls = max(1, number // size)
    run(call, max(1, calls // 10))
    pids = [os.getpid(), *process_tree.members(os.environ[process_tree.MARK], os.getpid())]
    before = {pid: usage(pid) for pid in pids}
    total = calls * size
    wall_us = run(call, calls) * 1e6 / total
    after = {pid: usage(pid) for pid in pids}
    cpu = sum(after[pid].cpu_us - before[pid].cpu_us for pid in pids) / total
    print(f"  {total:,} operations: {wall_us:.1f} µs each, CPU {cpu:.1f} µs over all processes")
    for pid in pids:
        cpu_us = (after[pid].cpu_us - before[pid].cpu_us) / total
        wakeups = (after[pid].wakeups - before[pid].wakeups) / total
        faults = (after[pid].faults - before[pid].faults) / total
        if cpu_us > wall_us / 100:
            print(
                f"    {name(pid)[:28]:28} {pid:7}  CPU {cpu_us:8.2f} µs"
                f"  wake-ups {wakeups:6.2f}  page faults {faults:6.2f}"
            )


def count_syscalls(call: Callable[[], Any], size: int, number: int) -> None:
    """The same under strace: system calls per operation, the most frequent first."""
    calls = max(1, number // size)
    # This process last: its tracer follows children, and the other tracers are just that.
    pids = [*process_tree.members(os.environ[process_tree.MARK], os.getpid()), os.getpid()]
    with tempfile.TemporaryDirectory() as folder:
        tracers = {}
        for pid in pids:
            command = ["strace", "-c", "-f", "-o", f"{folder}/{pid}", "-p", str(pid)]
            tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
            assert tracer.stderr is not None
            if "attached" in tracer.stderr.readline():
                tracers[pid] = tracer
            else:
                tracer.communicate()
        run(call, calls)
        for tracer in tracers.values():
            tracer.send_signal(signal.SIGINT)
            tracer.communicate()
        for pid in tracers:
            counts: Counter[str] = Counter()
            for line in Path(folder, str(pid)).read_text().splitlines():
                words = line.split()
                if len(words) >= 5 and words[3].isdigit() and words[-1] != "total":
                    counts[words[-1]] = int(words[3])
            frequent = [(n / (calls * size), call) for call, n in counts.most_common(6)]
            shown = ", ".join(f"{call} {n:.2f}" for n, call in frequent if n >= 0.01)
            if shown:
                print(f"    {name(pid)[:28]:28} {pid:7}  {shown}")


def look(module_name: str, wanted: str, with_syscalls: bool) -> None:
    """Prints where the time of one operation goes, or of all of them ("all").

    The mark of `process_tree` is in the environment, so that every process of the run has it.

    Raises:
        ValueError: no such operation; no strace to count system calls with.
    """
    if with_syscalls and not shutil.which("strace"):
        raise ValueError("--syscalls needs strace (Debian: apt-get install strace)")
    module = importlib.import_module(module_name)
    module.init(num_cpus=os.cpu_count())
    known = operations(module)
    if wanted not in ("all", *known):
        raise ValueError(f"an operation is one of {', '.join(known)}, not {wanted}")
    for operation, (call, size) in known.items():
        if wanted in ("all", operation):
            print(operation)
            watch(call, size, OPERATIONS)
            if with_syscalls:
                count_syscalls(call, size, max(size, OPERATIONS // 10))
    module.shutdown()
