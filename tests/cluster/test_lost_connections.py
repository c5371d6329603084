# SPDX-License-Identifier: Apache-2.0
"""Actors on another node that live on while the connection to them is lost."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clusters import running_cluster
from waiting import until

import skyray
from skyray.cluster_utils import Cluster
from skyray.exceptions import ActorUnavailableError


@pytest.fixture(scope="module", name="cluster", autouse=True)
def _cluster() -> Iterator[Cluster]:
    with running_cluster(2, {"num_cpus": 2, "resources": {"far": 2}}) as cluster:
        yield cluster


@skyray.remote(resources={"far": 1})
class Far:
    def __init__(self) -> None:
        self.calls: list[Any] = []

    def note(self, call: Any) -> int:
        self.calls.append(call)
        return os.getpid()

    def noted(self) -> list[Any]:
        return self.calls

    def wait_for(self, go: str, started: str) -> int:
        self.calls.append("waits")
        Path(started).touch()
        until(lambda: os.path.exists(go), go, bound_s=60)
        return os.getpid()


def cut() -> int:
    """Ends the TCP connections of this process, as a network would; how many."""
    cut = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            copy = socket.socket(fileno=os.dup(int(name)))
        except OSError:
            continue
        with copy:
            if copy.family == socket.AF_INET:
                copy.shutdown(socket.SHUT_RDWR)
                cut += 1
    return cut


def test_later_calls_go_over_a_new_one() -> None:
    # What is sent before the loss is noticed never arrives: it is sent again.
    far = Far.options(max_task_retries=-1, max_restarts=1).remote()
    pid = skyray.get(far.note.remote(0), timeout=60)
    for i in range(1, 4):
        assert cut() > 0
        refs = [far.note.remote(10 * i + j) for j in range(3)]
        assert skyray.get(refs, timeout=60) == [pid] * 3
    # In their order, each once.
    expected = [0, 10, 11, 12, 20, 21, 22, 30, 31, 32]
    assert skyray.get(far.noted.remote(), timeout=60) == expected


def test_a_call_under_way_fails(tmp_path: Path) -> None:
    go, started = str(tmp_path / "go"), str(tmp_path / "started")
    far = Far.remote()
    pid = skyray.get(far.note.remote(0), timeout=60)
    under_way = far.wait_for.remote(go, started)
    until(lambda: os.path.exists(started), "it runs")
    assert cut() > 0
    with pytest.raises(ActorUnavailableError, match="connection to it was lost"):
        skyray.get(under_way, timeout=60)
    Path(go).touch()
    assert skyray.get(far.note.remote(1), timeout=60) == pid
    assert skyray.get(far.noted.remote(), timeout=60) == [0, "waits", 1]


def test_a_call_under_way_is_made_again(tmp_path: Path) -> None:
    go, started = str(tmp_path / "go"), str(tmp_path / "started")
    far = Far.options(max_task_retries=1, max_restarts=1).remote()
    pid = skyray.get(far.note.remote(0), timeout=60)
    under_way = far.wait_for.remote(go, started)
    behind = far.note.remote("behind")
    until(lambda: os.path.exists(started), "it runs")
    assert cut() > 0
    Path(go).touch()
    assert skyray.get([under_way, behind], timeout=60) == [pid, pid]
    assert skyray.get(far.noted.remote(), timeout=60) == [0, "waits", "waits", "behind"]
