# SPDX-License-Identifier: Apache-2.0
"""Calls that are not wanted any more."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import pytest
from waiting import ended, until

import skyray
from skyray.exceptions import GetTimeoutError, TaskCancelledError

pytestmark = pytest.mark.usefixtures("runtime")


@skyray.remote
def wait_for(go: str, started: str = "") -> int:
    if started:
        Path(started).write_text(str(os.getpid()))
    until(lambda: os.path.exists(go), go, bound_s=60)
    return os.getpid()


@skyray.remote
def sleeps(started: str) -> None:
    Path(started).write_text(str(os.getpid()))
    time.sleep(60)


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> str:
    return str(tmp_path)


def pid_in(path: str) -> int:
    return int(until(lambda: os.path.exists(path) and Path(path).read_text(), path))


def cancelled(ref: Any) -> bool:
    with pytest.raises(TaskCancelledError):
        skyray.get(ref, timeout=60)
    return True


def test_running(folder: str) -> None:
    ref = sleeps.remote(folder + "/s")
    pid = pid_in(folder + "/s")
    skyray.cancel(ref)
    assert cancelled(ref)
    os.kill(pid, 0)  # Its worker lives, and serves on.


def test_running_python_code_that_waits_in_get(folder: str) -> None:
    @skyray.remote
    def outer(folder: str) -> None:
        inner = sleeps.remote(folder + "/inner")
        skyray.get(inner)

    ref = outer.remote(folder)
    pid_in(folder + "/inner")
    skyray.cancel(ref)
    assert cancelled(ref)


def test_waiting_for_an_argument(folder: str) -> None:
    argument = wait_for.remote(folder + "/go")
    waits = wait_for.remote(argument)
    behind = wait_for.remote(waits)
    skyray.cancel(waits)
    assert cancelled(waits)
    assert cancelled(behind)
    Path(folder + "/go").touch()
    assert skyray.get(argument, timeout=60) > 0


def test_queued(folder: str) -> None:
    holders = [wait_for.options(num_cpus=1).remote(folder + "/go") for _ in range(4)]
    queued = [wait_for.remote(folder + "/go", f"{folder}/never{i}") for i in range(10)]
    for ref in queued:
        skyray.cancel(ref)
    assert all(cancelled(ref) for ref in queued)
    Path(folder + "/go").touch()
    skyray.get(holders, timeout=60)
    assert not [name for name in os.listdir(folder) if name.startswith("never")]


def test_a_caught_interrupt_is_a_result(folder: str) -> None:
    @skyray.remote
    def stubborn(started: str) -> str:
        try:
            Path(started).write_text("1")
            time.sleep(60)
        except KeyboardInterrupt:
            return "caught"
        return "slept"

    ref = stubborn.remote(folder + "/s")
    pid_in(folder + "/s")
    skyray.cancel(ref)
    assert skyray.get(ref, timeout=60) == "caught"


def test_force_ends_the_worker(folder: str) -> None:
    @skyray.remote
    def deaf(started: str) -> None:
        Path(started).write_text(str(os.getpid()))
        while True:
            try:
                time.sleep(60)
            except KeyboardInterrupt:
                pass

    ref = deaf.remote(folder + "/s")
    pid = pid_in(folder + "/s")
    skyray.cancel(ref, force=True)
    assert cancelled(ref)
    assert ended(pid)


def test_finished_is_left_alone(folder: str) -> None:
    Path(folder + "/go").touch()
    ref = wait_for.remote(folder + "/go")
    pid = skyray.get(ref, timeout=60)
    skyray.cancel(ref)
    skyray.cancel(ref, force=True)
    assert skyray.get(ref) == pid
    put = skyray.put(1)
    skyray.cancel(put)
    assert skyray.get(put) == 1


def test_children_go_too(folder: str) -> None:
    @skyray.remote
    def parent(folder: str) -> None:
        children = [
            sleeps.remote(folder + "/child"),
            wait_for.options(resources={"special": 3}).remote(folder + "/never"),
        ]
        Path(folder + "/parent").write_text("1")
        skyray.get(children)

    ref = parent.remote(folder)
    child = pid_in(folder + "/child")
    pid_in(folder + "/parent")
    skyray.cancel(ref)
    assert cancelled(ref)
    # The child's worker is free again: for as many tasks as there are CPUs.
    Path(folder + "/go").touch()
    until(
        lambda: skyray.available_resources().get("CPU") == 4.0,
        "the child's CPU is free",
        bound_s=60,
    )
    os.kill(child, 0)


def test_children_stay_if_so_wished(folder: str) -> None:
    @skyray.remote
    def parent(folder: str) -> int:
        return skyray.get(wait_for.remote(folder + "/go", folder + "/child"))

    ref = parent.remote(folder)
    pid_in(folder + "/child")
    skyray.cancel(ref, recursive=False)
    assert cancelled(ref)
    Path(folder + "/go").touch()


def test_nothing_hits_the_task_behind(folder: str) -> None:
    @skyray.remote
    def short(number: int) -> int:
        return number

    for round_ in range(5):
        refs = [short.remote(i) for i in range(200)]
        for ref in refs[::3]:
            skyray.cancel(ref)
        for number, ref in enumerate(refs):
            if number % 3 == 0:
                try:
                    assert skyray.get(ref, timeout=60) == number  # It was faster.
                except TaskCancelledError:
                    pass
            else:
                assert skyray.get(ref, timeout=60) == number, (round_, number)


def test_a_borrowed_reference(folder: str) -> None:
    @skyray.remote
    def cancel(refs: Any) -> None:
        skyray.cancel(refs[0])

    ref = sleeps.remote(folder + "/s")
    pid_in(folder + "/s")
    skyray.get(cancel.remote([ref]), timeout=60)
    assert cancelled(ref)


@skyray.remote
class Actor:
    def wait_for(self, go: str, started: str) -> str:
        Path(started).write_text(str(os.getpid()))
        until(lambda: os.path.exists(go), go, bound_s=60)
        return "done"

    def quick(self) -> str:
        return "quick"


def test_calls_of_an_actor(folder: str) -> None:
    actor = Actor.remote()
    running = actor.wait_for.remote(folder + "/go", folder + "/started")
    queued = actor.quick.remote()
    behind = actor.quick.remote()
    pid_in(folder + "/started")
    skyray.cancel(queued)
    assert cancelled(queued)
    skyray.cancel(running)  # Has no effect on what it does, only on what is got.
    with pytest.raises(GetTimeoutError):
        skyray.get(behind, timeout=0)
    Path(folder + "/go").touch()
    assert cancelled(running)
    assert skyray.get(behind, timeout=60) == "quick"
    with pytest.raises(ValueError, match="force=True is not supported for actor tasks"):
        skyray.cancel(actor.wait_for.remote(folder + "/go2", folder + "/s2"), force=True)
    skyray.kill(actor)


@skyray.remote
class Async:
    def __init__(self) -> None:
        self.seen = 0

    async def sleep(self, started: str = "") -> None:
        if started:
            Path(started).touch()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.seen += 1
            raise

    async def count(self) -> int:
        return self.seen


def test_coroutines(folder: str) -> None:
    actor = Async.remote()
    running = actor.sleep.remote(folder + "/s")
    until(lambda: os.path.exists(folder + "/s"), "it runs")
    others = [actor.sleep.remote() for _ in range(5)]
    skyray.cancel(running)
    assert cancelled(running)
    assert skyray.get(actor.count.remote(), timeout=60) == 1
    for ref in others:
        skyray.cancel(ref)
    assert all(cancelled(ref) for ref in others)
    skyray.kill(actor)


@skyray.remote
class Submits:
    """Each of its calls, which run at the same time, has a child of its own."""

    async def one(self, started: str) -> None:
        await asyncio.sleep(0)
        await sleeps.remote(started)

    async def on_a_thread(self, started: str) -> None:
        await asyncio.to_thread(lambda: skyray.get(sleeps.remote(started)))

    async def items(self, started: str) -> Any:
        yield 1
        await asyncio.sleep(0)
        yield await sleeps.remote(started)

    async def stays(self, go: str, started: str) -> int:
        return await wait_for.remote(go, started)


def cpus_are_free(cpus: float) -> None:
    until(
        lambda: skyray.available_resources().get("CPU") == cpus,
        f"{cpus} CPUs are free",
        bound_s=60,
    )


def test_children_of_coroutines_go_too(folder: str) -> None:
    actor = Submits.remote()
    other = actor.stays.remote(folder + "/go", folder + "/other")
    first = actor.one.remote(folder + "/1")
    second = actor.on_a_thread.remote(folder + "/2")
    for name in ("/other", "/1", "/2"):
        pid_in(folder + name)
    skyray.cancel(first)
    assert cancelled(first)
    cpus_are_free(2.0)
    skyray.cancel(second)
    assert cancelled(second)
    cpus_are_free(3.0)
    # Those of the call beside them stay.
    Path(folder + "/go").touch()
    assert skyray.get(other, timeout=60) > 0
    skyray.kill(actor)


def test_children_of_an_async_generator_go_too(folder: str) -> None:
    actor = Submits.remote()
    generator = actor.items.options(num_returns="streaming").remote(folder + "/child")
    assert skyray.get(next(generator), timeout=60) == 1
    pid_in(folder + "/child")
    skyray.cancel(generator)
    cpus_are_free(4.0)
    skyray.kill(actor)


def test_children_of_coroutines_stay_if_so_wished(folder: str) -> None:
    actor = Submits.remote()
    ref = actor.stays.remote(folder + "/go", folder + "/child")
    pid_in(folder + "/child")
    skyray.cancel(ref, recursive=False)
    assert cancelled(ref)
    assert skyray.available_resources().get("CPU") == 3.0
    Path(folder + "/go").touch()
    cpus_are_free(4.0)
    skyray.kill(actor)


def test_a_thread_can_look_whether_it_was_cancelled(folder: str) -> None:
    @skyray.remote(max_concurrency=2)
    class Threaded:
        def loop(self, started: str, ended: str) -> None:
            assert not skyray.get_runtime_context().is_canceled()
            Path(started).touch()
            until(lambda: skyray.get_runtime_context().is_canceled(), "cancel()", bound_s=60)
            Path(ended).touch()

    actor = Threaded.remote()
    ref = actor.loop.remote(folder + "/s", folder + "/e")
    until(lambda: os.path.exists(folder + "/s"), "it runs")
    skyray.cancel(ref)
    assert cancelled(ref)
    assert os.path.exists(folder + "/e")
    skyray.kill(actor)


def test_wrong_arguments() -> None:
    wrong: Any
    for wrong in (3, Actor.remote(), [], None):
        with pytest.raises(TypeError, match="only supported for object refs"):
            skyray.cancel(wrong)


def test_a_cancelled_error_of_a_tasks_own_is_that_of_a_coroutine_only_on_a_loop() -> None:
    class Plain:
        def cancelled(self) -> None:
            raise asyncio.CancelledError

    class Async:
        async def cancelled(self) -> None:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        skyray.get(skyray.remote(Plain).remote().cancelled.remote(), timeout=60)
    with pytest.raises(TaskCancelledError):
        skyray.get(skyray.remote(Async).remote().cancelled.remote(), timeout=60)
