# SPDX-License-Identifier: Apache-2.0
"""A node that runs short of memory ends the right task, and says why."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import skyray
from skyray._memory_monitor import MemoryMonitor
from skyray.exceptions import OutOfMemoryError

_TOTAL_KB = 8 << 20


class Machine:
    """A machine whose memory is as full as the test says."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "proc").mkdir()
        self.fill(0.1)

    def fill(self, part: float) -> None:
        free = int(_TOTAL_KB * (1 - part))
        text = f"MemTotal: {_TOTAL_KB} kB\nMemFree: {free} kB\nCached: 0 kB\n"
        self._write("meminfo", text)

    def give(self, pid: int, part: float) -> None:
        """That worker has so much of what all may have, for as long as it lives."""
        (self.root / "proc" / str(pid)).mkdir(exist_ok=True)
        self._write(f"{pid}/status", f"RssAnon: {int(_TOTAL_KB * part)} kB\n")

    def _write(self, name: str, text: str) -> None:
        new = self.root / "proc" / "new"
        new.write_text(text)
        new.replace(self.root / "proc" / name)  # Never half written.


@pytest.fixture(name="machine")
def _machine(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    config: dict[str, Any] = {"memory_monitor_refresh_ms": 10, "_memory_root": str(tmp_path)}
    config["_memory_limit_bytes"] = _TOTAL_KB << 10
    config.update(getattr(request, "param", {}))
    with skyray.init(num_cpus=4, object_store_memory=50 << 20, _system_config=config):
        yield machine


def began(path: Path) -> int:
    """The pid that the next task writes into that fifo."""
    while True:
        with open(path) as fifo:
            line = fifo.readline()
        if line:  # Else the one before had only not closed it yet.
            return int(line)


def await_end(pid: int) -> None:
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    assert poll.poll(60_000), "it should have been ended"
    os.close(fd)


@skyray.remote
def stay(fifo: str, done: str) -> bytes:
    with open(fifo, "w") as file:
        file.write(f"{os.getpid()}\n")
    with open(done, "rb", buffering=0) as file:  # Until the test opens it.
        return file.read(1)


@pytest.fixture(name="fifos")
def _fifos(tmp_path: Path) -> tuple[Path, Path]:
    paths = tmp_path / "began", tmp_path / "done"
    for path in paths:
        os.mkfifo(path)
    return paths


def test_the_newest_is_ended_and_run_again(machine: Machine, fifos: Any) -> None:
    """Not counted as one of its retries."""
    waiting = []
    pids = []
    for _ in range(2):
        options = stay.options(max_retries=1)
        waiting.append(options.remote(str(fifos[0]), str(fifos[1])))
        pids.append(began(fifos[0]))
    for _ in range(3):
        machine.give(pids[1], 0.97)
        await_end(pids[1])
        pids[1] = began(fifos[0])
    os.kill(pids[0], 0)  # It lives.
    with open(fifos[1], "wb", buffering=0) as done:
        done.write(b"xx")
        assert skyray.get(waiting) == [b"x", b"x"]


@pytest.mark.parametrize("machine", [{"task_oom_retries": 2}], indirect=True)
def test_it_is_run_again_as_often_as_is_said(machine: Machine, fifos: Any) -> None:
    other = stay.remote(str(fifos[0]), str(fifos[1]))
    began(fifos[0])
    ref = stay.remote(str(fifos[0]), str(fifos[1]))
    for _ in range(3):
        pid = began(fifos[0])
        machine.give(pid, 0.97)
        await_end(pid)
    with pytest.raises(OutOfMemoryError):
        skyray.get(ref)
    with open(fifos[1], "wb", buffering=0) as done:
        done.write(b"x")
        assert skyray.get(other) == b"x"


def test_an_owners_last_task_fails_and_says_why(machine: Machine, fifos: Any) -> None:
    ref = stay.options(name="hog").remote(str(fifos[0]), str(fifos[1]))
    pid = began(fifos[0])
    machine.fill(0.97)
    with pytest.raises(OutOfMemoryError) as failed:
        skyray.get(ref)
    said = str(failed.value)
    assert f"hog (pid {pid}) was killed due to the node running low on memory" in said
    assert "GiB of the 8 GiB of this machine are used (0.97)" in said
    assert "Largest: hog" in said
    assert "memory_usage_threshold" in said


def test_what_may_not_be_retried_goes_last(machine: Machine, fifos: Any) -> None:
    again = stay.remote(str(fifos[0]), str(fifos[1]))
    began(fifos[0])
    once = stay.options(max_retries=0).remote(str(fifos[0]), str(fifos[1]))
    began(fifos[0])
    machine.fill(0.97)
    with pytest.raises(OutOfMemoryError):
        skyray.get(again)
    with pytest.raises(OutOfMemoryError, match="none of which can be run again"):
        skyray.get(once)


def test_an_actor_is_ended_too(machine: Machine) -> None:
    @skyray.remote
    class Hog:
        def pid(self) -> int:
            return os.getpid()

        def stay(self) -> None:
            threading.Event().wait()

    actor = Hog.remote()
    pid = skyray.get(actor.pid.remote())
    call = actor.stay.remote()
    machine.fill(0.97)
    with pytest.raises(OutOfMemoryError, match=rf"Hog \(pid {pid}\) was killed due to the node"):
        skyray.get(call)
    with pytest.raises(OutOfMemoryError, match=rf"Hog \(pid {pid}\) was killed due to the node"):
        skyray.get(actor.pid.remote())
    machine.fill(0.1)

    @skyray.remote
    def works() -> int:
        return 1

    assert skyray.get(works.remote()) == 1


def test_a_task_that_really_takes_too_much_is_ended() -> None:
    config = {"memory_monitor_refresh_ms": 20, "_memory_limit_bytes": 300 << 20}
    with skyray.init(num_cpus=2, object_store_memory=50 << 20, _system_config=config):

        @skyray.remote
        def take(megabytes: int) -> int:
            return len(b"x" * (megabytes << 20))

        @skyray.remote
        def take_for_ever() -> None:
            kept = []
            while True:
                kept.append(b"x" * (10 << 20))

        assert skyray.get(take.remote(50)) == 50 << 20
        with pytest.raises(OutOfMemoryError, match="of the workers' share are used"):
            skyray.get(take_for_ever.remote())
        assert skyray.get(take.remote(50)) == 50 << 20


@pytest.mark.parametrize(
    ("config", "error", "said"),
    [
        ({"memory_usage_threshold": 1.5}, ValueError, "memory_usage_threshold'.=1.5"),
        ({"memory_usage_threshold": "x"}, TypeError, "must be a number, got 'x'"),
        ({"memory_monitor_refresh_ms": -1}, ValueError, "memory_monitor_refresh_ms"),
    ],
)
def test_figures_that_cannot_be(config: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        MemoryMonitor(config)


def test_the_environment_counts_where_nothing_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKYRAY_memory_usage_threshold", "0.5")
    assert MemoryMonitor({}).arguments()[:2] == ["--memory-threshold", "0.5"]
    told = MemoryMonitor({"memory_usage_threshold": 0.7}).arguments()
    assert told[:2] == ["--memory-threshold", "0.7"]
    monkeypatch.setenv("SKYRAY_memory_usage_threshold", "half")
    with pytest.raises(ValueError, match="SKYRAY_memory_usage_threshold=half is not a number"):
        MemoryMonitor({})
