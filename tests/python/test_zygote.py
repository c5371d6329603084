# SPDX-License-Identifier: Apache-2.0
"""The zygote, spoken to as a raylet does."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

HEADER = struct.Struct("<IHH")


class Raylet:
    """The other end of a zygote's socket pair."""

    def __init__(self) -> None:
        self.socket, theirs = socket.socketpair()
        self.socket.settimeout(60)
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "skyray._zygote", "--fd", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            )

    def send(self, message: dict[str, Any], fds: list[int], kind: int = 100) -> None:
        body = json.dumps(message).encode()
        socket.send_fds(self.socket, [HEADER.pack(len(body), kind, len(fds)) + body], fds)

    def receive(self) -> dict[str, Any]:
        length, kind, fds = HEADER.unpack(self._exactly(HEADER.size))
        assert (kind, fds) == (100, 0)
        message = json.loads(self._exactly(length))
        assert isinstance(message, dict)
        return message

    def fork(self, **changes: Any) -> tuple[int, int]:
        """Orders a worker whose raylet does not exist; the read ends of its output."""
        pipes = [os.pipe(), os.pipe()]
        order = {
            "op": "fork",
            "worker_id": "ab" * 28,
            "job_id": "01000000",
            "job_config": "{}",
            "namespace": "",
            "raylet_socket": "/nonexistent/raylet.sock",
            "runtime_env": "",
            "log_name": "",
            **changes,
        }
        self.send(order, [write for _, write in pipes])
        for _, write in pipes:
            os.close(write)
        return pipes[0][0], pipes[1][0]

    def close(self) -> int:
        self.socket.close()
        return self.process.wait(timeout=30)

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            assert part, "the zygote closed its socket"
            data += part
        return data


def all_of(fd: int) -> str:
    with open(fd) as file:
        return file.read()


@pytest.fixture(name="raylet")
def _raylet() -> Iterator[Raylet]:
    raylet = Raylet()
    assert raylet.receive() == {"event": "ready", "pid": raylet.process.pid}
    yield raylet
    raylet.close()


def test_worker_is_forked_and_its_end_reported(raylet: Raylet) -> None:
    out, err = raylet.fork()
    forked = raylet.receive()
    assert forked["event"] == "forked"
    assert forked["worker_id"] == "ab" * 28
    ended = raylet.receive()
    assert ended["event"] == "exited"
    assert ended["pid"] == forked["pid"]
    assert os.waitstatus_to_exitcode(ended["status"]) == 1
    assert "/nonexistent/raylet.sock" in all_of(err), "it says why it could not begin"
    assert all_of(out) == ""


def test_worker_takes_over_the_jobs_surroundings(raylet: Raylet, tmp_path: Any) -> None:
    config = {"cwd": str(tmp_path / "gone"), "sys_path": [str(tmp_path)], "env_vars": {"A": "b"}}
    _, err = raylet.fork(job_config=json.dumps(config))
    assert "The driver's directory cannot be entered" in all_of(err)


@pytest.mark.parametrize(
    "arguments", [[], ["--fd"], ["--fd", "x"], ["--board", "3"], ["--fd", "3", "--board"]]
)
def test_what_it_is_started_with_is_checked(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "skyray._zygote", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "usage: python -m skyray._zygote --fd N [--board N]" in done.stderr


def test_orders_that_come_together_are_all_served(raylet: Raylet) -> None:
    readers = [fd for _ in range(5) for fd in raylet.fork()]
    events = [raylet.receive() for _ in range(10)]
    pids = {e["pid"] for e in events if e["event"] == "forked"}
    assert len(pids) == 5
    assert {e["pid"] for e in events if e["event"] == "exited"} == pids
    for fd in readers:
        all_of(fd)


def test_no_child_hears_of_another_ones_end(raylet: Raylet) -> None:
    """Each is forked while others end, which their parent is told by a signal."""
    errors = []
    for _ in range(20):
        readers = [raylet.fork() for _ in range(5)]
        errors += [all_of(err) for _, err in readers]
        for out, _ in readers:
            assert all_of(out) == ""
    assert len({error.count("\n") for error in errors}) == 1, "all say the same and no more"
    for error in errors:
        assert "/nonexistent/raylet.sock" in error


def test_order_without_descriptors_is_refused(raylet: Raylet) -> None:
    raylet.send({"op": "fork", "worker_id": "cd"}, [])
    answer = raylet.receive()
    assert answer["event"] == "fork_failed"
    assert answer["worker_id"] == "cd"
    assert "0 fds" in answer["message"]


@pytest.mark.parametrize("config", ["{", "[]", "3"])
def test_a_job_that_cannot_be_read_gets_no_worker(raylet: Raylet, config: str) -> None:
    for fd in raylet.fork(job_config=config):
        assert all_of(fd) == ""
    answer = raylet.receive()
    assert (answer["event"], answer["worker_id"]) == ("fork_failed", "ab" * 28)
    assert "the job's configuration is no JSON" in answer["message"]


def test_zygote_ends_with_its_raylet(raylet: Raylet) -> None:
    assert raylet.close() == 0


def test_garbage_ends_it(raylet: Raylet) -> None:
    raylet.send({"op": "fork"}, [], kind=7)
    assert raylet.process.wait(timeout=30) == 0


def test_zygote_has_one_thread(raylet: Raylet) -> None:
    assert len(os.listdir(f"/proc/{raylet.process.pid}/task")) == 1


def test_interrupt_from_the_keyboard_is_not_for_it(raylet: Raylet) -> None:
    os.kill(raylet.process.pid, signal.SIGINT)
    _, err = raylet.fork()
    assert raylet.receive()["event"] == "forked"
    all_of(err)
