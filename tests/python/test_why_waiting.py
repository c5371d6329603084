# SPDX-License-Identifier: Apache-2.0
"""A wait that lasts says why, once: which object, its task's state, what is lacking, who has it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from waiting import printed

import skyray
from skyray.exceptions import GetTimeoutError

# Just over the 10 s after which a wait is explained.
_LONG_S = 11


@pytest.fixture(name="node", scope="module", autouse=True)
def _node() -> Iterator[Any]:
    options: Any = {"num_cpus": 1, "resources": {"key": 1}, "_node_name": "home"}
    with skyray.init(object_store_memory=50 << 20, **options) as context:
        yield context


@skyray.remote
def hold(fifo: str) -> int:
    with open(fifo) as file:  # Until the test writes.
        return len(file.read())


@skyray.remote
def queued(value: Any = None) -> Any:
    return value


@skyray.remote(num_cpus=1)
class Greedy:
    def greet(self) -> str:
        return "hello"


@skyray.remote(num_cpus=0)
class Busy:
    def nothing(self) -> None: ...

    def wait_for(self, fifo: str) -> int:
        with open(fifo) as file:
            return len(file.read())

    def next(self) -> int:
        return 1


@skyray.remote(num_cpus=0, resources={"key": 1})
def outer() -> Any:
    """Holds what the task that it waits for needs."""
    inner = queued.options(name="inner", num_cpus=0, resources={"key": 1}).remote()
    return skyray.get(inner)


def wait_long(refs: list[Any]) -> None:
    with pytest.raises(GetTimeoutError):
        skyray.get(refs, timeout=_LONG_S)


def test_each_state_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fifos = [str(tmp_path / name) for name in ("task", "actor")]
    for path in fifos:
        os.mkfifo(path)
    stuck = outer.remote()
    busy = Busy.remote()
    running = hold.remote(fifos[0])
    writers = [open(fifos[0], "w")]  # noqa: SIM115  # It runs from here on.
    in_actor = busy.wait_for.remote(fifos[1])
    behind = busy.next.remote()
    waiting = queued.options(name="second").remote()
    child = queued.options(name="third").remote(waiting)
    greedy = Greedy.remote()
    writers.append(open(fifos[1], "w"))  # noqa: SIM115
    refs = [running, in_actor, behind, waiting, child, greedy.greet.remote()]
    threads = [threading.Thread(target=wait_long, args=([ref],)) for ref in refs]
    some = skyray.put(1)
    short = threading.Thread(target=lambda: skyray.wait([waiting, some], num_returns=1, timeout=1))
    both = threading.Thread(
        target=lambda: skyray.wait([waiting, some], num_returns=2, timeout=_LONG_S)
    )
    got: list[int] = []
    patient = threading.Thread(target=lambda: got.append(skyray.get(running)))
    for thread in (*threads, short, both, patient):
        thread.start()
    for thread in (*threads, short, both):
        thread.join()
    said = capfd.readouterr().err.splitlines()
    lines = [line for line in said if line.startswith("skyray: waiting for 10 s")]
    assert len(lines) == 8, said

    def told(*parts: str) -> bool:
        return any(all(part in line for part in parts) for line in lines)

    assert told("of hold, which runs on the worker pid ", ", busy for 1")
    assert told("of second, which waits for a worker: on node home it needs {CPU: 1}")
    assert told("CPU: 0 of 1 free, held by hold")
    assert told("of third, which waits for its argument: object", "of second, which waits for a")
    assert told("of Busy.wait_for, which runs in actor Busy (")
    assert told("of Busy.next, which is behind 1 call in actor Busy (")
    assert told("of Greedy.greet, which waits for actor Greedy (", "to be created: ")
    assert told("1 of 2 objects are not ready; the first: object")
    printed = "\n".join(said)
    while "key: 0 of 1 free, held by outer" not in printed:  # By the worker: a little later.
        assert skyray.wait([stuck], timeout=0.1) == ([], [stuck])
        printed += capfd.readouterr().err
    writers[0].write("abc")
    for writer in writers:
        writer.close()
    patient.join()
    assert got == [3], "a wait that was explained goes on"
    assert skyray.get([child, behind, refs[-1]]) == [None, 1, "hello"]


def test_many_calls_to_one_actor_are_remarked_upon(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    fifo = str(tmp_path / "fifo")
    os.mkfifo(fifo)
    busy = Busy.remote()
    refs = [busy.wait_for.remote(fifo)]
    refs += [busy.nothing.remote() for _ in range(10_001)]
    said = printed(capfd, "more than 10000 tasks are pending submission to actor Busy")
    assert said.count("tasks are pending submission to actor") == 2, said
    assert "more than 5000 tasks" in said
    with open(fifo, "w") as file:
        file.write("1")
    skyray.get(refs, timeout=60)
    more = [busy.nothing.remote() for _ in range(5_001)]
    skyray.get(more, timeout=60)
    assert "pending submission" not in capfd.readouterr().err
