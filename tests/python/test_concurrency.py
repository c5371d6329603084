# SPDX-License-Identifier: Apache-2.0
"""Actors that run several calls at once: async, threaded, in concurrency groups."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from typing import Any

import numpy as np
import pytest
from waiting import ended

import skyray
from skyray.exceptions import ActorDiedError, RayTaskError

pytestmark = pytest.mark.usefixtures("runtime")


@skyray.remote
class Meeting:
    """Calls that cannot end before others have begun."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.arrived = 0
        self.most = 0
        self.all_there = asyncio.Event()

    async def meet(self, size: int) -> int:
        self.arrived += 1
        if self.arrived == size:
            self.all_there.set()
        await self.all_there.wait()
        return self.arrived

    async def same_loop(self) -> bool:
        return self.loop is asyncio.get_running_loop()

    def plain(self) -> bool:
        return self.loop is asyncio.get_running_loop()

    async def crowd(self) -> int:
        self.arrived += 1
        self.most = max(self.most, self.arrived)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        self.arrived -= 1
        return self.most

    async def wait_for(self, refs: list[Any]) -> Any:
        return await refs[0]

    async def gather(self, refs: list[Any]) -> list[Any]:
        return list(await asyncio.gather(*refs))

    async def fail(self) -> None:
        await asyncio.sleep(0)
        raise KeyError("inside")

    async def names(self) -> tuple[str | None, str | None]:
        before = skyray.get_runtime_context().get_task_id()
        await asyncio.sleep(0)
        after = skyray.get_runtime_context().get_task_id()
        assert before == after
        return after, skyray.get_runtime_context().get_task_name()

    async def keep(self, refs: list[Any]) -> None:
        await asyncio.sleep(0)
        self.kept = refs

    async def read_kept(self) -> Any:
        return await self.kept[0]

    async def pid(self) -> int:
        return os.getpid()

    async def leave(self) -> None:
        skyray.actor.exit_actor()

    async def leave_later(self) -> None:
        async def leave() -> None:
            await self.all_there.wait()
            skyray.actor.exit_actor()

        self.leaving = asyncio.create_task(leave())

    async def quit(self, code: int) -> None:
        raise SystemExit(code)

    async def release(self) -> None:
        self.all_there.set()

    async def read_socket(self, path: str) -> bytes:
        reader, writer = await asyncio.open_unix_connection(path)
        data = await reader.read()
        writer.close()
        return data


def test_async_calls_run_at_the_same_time_on_one_loop() -> None:
    actor = Meeting.remote()
    assert skyray.get([actor.meet.remote(5) for _ in range(5)]) == [5] * 5
    assert skyray.get([actor.same_loop.remote(), actor.plain.remote()]) == [True, True]


def test_a_coroutine_that_a_call_left_behind_may_end_the_actor() -> None:
    actor = Meeting.options(max_restarts=1).remote()
    skyray.get(actor.leave_later.remote())
    pid = skyray.get(actor.pid.remote())
    actor.release.remote()
    assert ended(pid)
    with pytest.raises(ActorDiedError):
        skyray.get(actor.pid.remote(), timeout=60)


class Prepared:
    def __new__(cls, *args: Any, **kwargs: Any) -> Prepared:
        made = super().__new__(cls)
        made.seen = [args, kwargs]
        return made

    async def __init__(self, first: int, *, error: BaseException | None = None) -> None:  # type: ignore[misc]
        await asyncio.sleep(0)
        if error is not None:
            raise error
        self.first = await skyray.put(first)

    def read(self) -> Any:
        return self.first, self.seen


def test_an_init_that_is_awaited() -> None:
    actor = skyray.remote(Prepared).remote(5)
    assert skyray.get(actor.read.remote(), timeout=60) == (5, [(5,), {}])
    failing = skyray.remote(Prepared).remote(5, error=ValueError("not today"))
    with pytest.raises(ActorDiedError, match="ValueError: not today"):
        skyray.get(failing.read.remote(), timeout=60)
    leaving = skyray.remote(Prepared).remote(5, error=SystemExit(3))
    with pytest.raises(ActorDiedError, match="exited with code 3"):
        skyray.get(leaving.read.remote(), timeout=60)


def test_a_thousand_at_once_unless_told_otherwise() -> None:
    assert skyray.get([Meeting.remote().meet.remote(1)]) == [1]
    actor = Meeting.remote()
    assert skyray.get([actor.meet.remote(1000) for _ in range(1000)]) == [1000] * 1000


def test_max_concurrency_bounds_an_async_actor() -> None:
    actor = Meeting.options(max_concurrency=3).remote()
    assert max(skyray.get([actor.crowd.remote() for _ in range(50)])) == 3


def test_awaited_references_of_values_here_in_the_store_and_still_to_come() -> None:
    actor = Meeting.remote()
    large = np.arange(1 << 20)

    @skyray.remote
    def later(ref: Any) -> str:
        return "later"

    refs = [skyray.put("small"), skyray.put(large), later.remote(0)]
    got = skyray.get(actor.gather.remote(refs))
    assert (got[1] == large).all()
    assert got[::2] == ["small", "later"]

    @skyray.remote
    def broken() -> None:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        skyray.get(actor.wait_for.remote([broken.remote()]))


def test_an_exception_shows_the_users_frames() -> None:
    with pytest.raises(KeyError) as caught:
        skyray.get(Meeting.remote().fail.remote())
    assert isinstance(caught.value, RayTaskError)
    text = str(caught.value)
    assert "in fail" in text
    assert "_complete" not in text


def test_each_call_has_its_own_context() -> None:
    actor = Meeting.remote()
    found = skyray.get([actor.names.remote() for _ in range(20)])
    assert len({task_id for task_id, _ in found}) == 20
    assert {name for _, name in found} == {"Meeting.names"}


def test_a_reference_kept_by_a_call_outlives_the_callers() -> None:
    actor = Meeting.remote()
    ref = skyray.put(np.ones(1 << 18))
    skyray.get(actor.keep.remote([ref]))
    del ref
    assert skyray.get(actor.read_kept.remote()).sum() == 1 << 18


def test_exit_actor_lets_running_calls_end() -> None:
    actor = Meeting.remote()
    running = actor.meet.remote(2)
    leaving = actor.leave.remote()
    released = actor.release.remote()
    with pytest.raises(ActorDiedError, match="exit_actor"):
        skyray.get(leaving)
    # It came in the same turn of the loop, or after the end was asked for.
    assert released is not None
    with pytest.raises(ActorDiedError):
        skyray.get(actor.pid.remote())
    del running


def test_system_exit_ends_the_process_with_its_code() -> None:
    actor = Meeting.remote()
    with pytest.raises(ActorDiedError, match="exited with code 7"):
        skyray.get(actor.quit.remote(7))


def test_calls_that_run_end_before_the_actor_whose_handle_was_dropped() -> None:
    actor = Meeting.remote()
    running = [actor.meet.remote(30) for _ in range(30)]
    del actor
    assert skyray.get(running) == [30] * 30


def test_the_loop_serves_the_users_sockets(tmp_path: Any) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        actor = Meeting.remote()
        result = actor.read_socket.remote(path)
        peer, _ = listener.accept()
        # Calls are served while it waits for the socket.
        assert skyray.get(actor.same_loop.remote())
        with peer:
            peer.sendall(b"hello")
    assert skyray.get(result) == b"hello"


@skyray.remote(max_concurrency=4)
class Threads:
    def __init__(self) -> None:
        self.barrier = threading.Barrier(4)
        self.lock = threading.Lock()
        self.running = 0
        self.most = 0
        self.stop = threading.Event()

    def meet(self) -> str:
        self.barrier.wait()
        return threading.current_thread().name

    def crowd(self) -> int:
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
        task = skyray.get_runtime_context().get_task_id()
        assert skyray.get(skyray.put(1)) == 1
        assert skyray.get_runtime_context().get_task_id() == task
        with self.lock:
            self.running -= 1
        return self.most

    def wait(self) -> str:
        self.stop.wait()
        return "stopped"

    def set(self) -> None:
        self.stop.set()

    def nested(self, refs: list[Any]) -> Any:
        return skyray.get(refs[0])

    def quit(self, code: int) -> None:
        raise SystemExit(code)

    def leave(self) -> None:
        skyray.actor.exit_actor()


def test_threaded_calls_run_at_the_same_time() -> None:
    actor = Threads.remote()
    assert len(set(skyray.get([actor.meet.remote() for _ in range(4)]))) == 4


def test_a_threaded_actor_runs_no_more_than_its_limit() -> None:
    assert max(skyray.get([Threads.remote().crowd.remote() for _ in range(1)])) == 1
    actor = Threads.options(max_concurrency=2).remote()
    assert max(skyray.get([actor.crowd.remote() for _ in range(200)])) <= 2


def test_a_thread_that_waits_blocks_no_other() -> None:
    actor = Threads.remote()
    waiting = actor.wait.remote()
    nested = actor.nested.remote([waiting])
    skyray.get(actor.set.remote())
    assert skyray.get([waiting, nested]) == ["stopped", "stopped"]


def test_exit_of_a_threaded_actor_waits_for_what_runs() -> None:
    actor = Threads.remote()
    waiting = actor.wait.remote()
    leaving = actor.leave.remote()
    with pytest.raises(skyray.exceptions.GetTimeoutError):
        skyray.get(leaving, timeout=0.1)
    skyray.kill(actor)
    with pytest.raises(ActorDiedError):
        skyray.get([waiting, leaving])


def test_system_exit_in_a_thread_ends_the_process_with_its_code() -> None:
    actor = Threads.remote()
    with pytest.raises(ActorDiedError, match="exited with code 9"):
        skyray.get(actor.quit.remote(9))


def test_many_callers_of_a_threaded_actor() -> None:
    actor = Threads.remote()

    @skyray.remote
    def call(handle: Any) -> int:
        return max(skyray.get([handle.crowd.remote() for _ in range(200)]))

    assert max(skyray.get([call.remote(actor) for _ in range(3)])) <= 4


@skyray.remote(concurrency_groups={"io": 2, "compute": 1})
class Groups:
    def __init__(self) -> None:
        self.both = threading.Barrier(2)
        self.go = threading.Event()

    @skyray.method(concurrency_group="io")
    def pair(self) -> str:
        self.both.wait()
        return threading.current_thread().name

    @skyray.method(concurrency_group="compute")
    def compute(self) -> bool:
        return self.go.wait(20)

    def default(self) -> str:
        self.go.set()
        return threading.current_thread().name

    def own_handle_reaches_a_group(self) -> str:
        handle = skyray.get_runtime_context().current_actor
        return str(skyray.get(handle.named.options(concurrency_group="io").remote()))

    def named(self) -> str:
        return threading.current_thread().name


def test_a_full_group_holds_up_no_other() -> None:
    actor = Groups.remote()
    blocked = [actor.compute.remote(), actor.compute.remote()]
    assert all("io" in name for name in skyray.get([actor.pair.remote(), actor.pair.remote()]))
    assert "default" in skyray.get(actor.default.remote())
    assert skyray.get(blocked) == [True, True]


def test_a_call_may_choose_its_group() -> None:
    actor = Groups.remote()
    assert "io" in skyray.get(actor.named.options(concurrency_group="io").remote())
    assert "io" in skyray.get(actor.own_handle_reaches_a_group.remote())

    @skyray.remote
    def elsewhere(handle: Any) -> str:
        return str(skyray.get(handle.named.options(concurrency_group="compute").remote()))

    assert "compute" in skyray.get(elsewhere.remote(actor))


def test_a_group_that_is_not_there_is_refused() -> None:
    actor = Groups.remote()
    with pytest.raises(ValueError, match="concurrency group 'gpu' of method 'named'"):
        actor.named.options(concurrency_group="gpu")

    class Wrong:
        @skyray.method(concurrency_group="nowhere")
        def f(self) -> None: ...

    with pytest.raises(ValueError, match="'nowhere'"):
        skyray.remote(concurrency_groups={"io": 1})(Wrong).remote()


def test_async_groups_each_have_their_limit() -> None:
    @skyray.remote(concurrency_groups={"one": 1}, max_concurrency=2)
    class Limited:
        def __init__(self) -> None:
            self.running = {"one": 0, "": 0}
            self.most = {"one": 0, "": 0}

        async def _run(self, group: str) -> int:
            self.running[group] += 1
            self.most[group] = max(self.most[group], self.running[group])
            for _ in range(3):
                await asyncio.sleep(0)
            self.running[group] -= 1
            return self.most[group]

        @skyray.method(concurrency_group="one")
        async def one(self) -> int:
            return await self._run("one")

        async def two(self) -> int:
            return await self._run("")

    actor = Limited.remote()
    ones = [actor.one.remote() for _ in range(20)]
    twos = [actor.two.remote() for _ in range(20)]
    assert max(skyray.get(ones)) == 1
    assert max(skyray.get(twos)) == 2


@pytest.mark.parametrize("wrong", [{"io": 0}, {"io": 10**7}])
def test_limits_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be between 1 and"):
        skyray.remote(concurrency_groups=wrong)(type("A", (), {}))
    with pytest.raises(ValueError, match="must be between 1 and"):
        skyray.remote(max_concurrency=wrong["io"])(type("A", (), {}))


def test_groups_of_the_wrong_type_are_refused() -> None:
    with pytest.raises(TypeError, match="must be an int"):
        skyray.remote(concurrency_groups={"io": "2"})(type("A", (), {}))
    with pytest.raises(ValueError, match="Setting 'concurrency_groups' is not supported"):
        Groups.options(concurrency_groups={"io": 1})


@skyray.remote
def after(gate: Any) -> str:
    """Ends when the gate is opened."""
    skyray.get(gate.passed.remote())
    return "opened"


@skyray.remote(num_cpus=0)
class Gate:
    def __init__(self) -> None:
        self.open = asyncio.Event()

    async def passed(self) -> None:
        await self.open.wait()

    async def let_pass(self) -> None:
        self.open.set()

    async def take(self, value: Any) -> Any:
        return value


class Taker:
    def take(self, value: Any) -> Any:
        return value


def test_calls_of_an_async_actor_do_not_wait_for_others_arguments() -> None:
    gate = Gate.remote()
    taken = gate.take.remote(gate.passed.remote())
    gate.let_pass.remote()
    assert skyray.get(taken, timeout=60) is None


@pytest.mark.parametrize(
    "options", [{"max_concurrency": 2}, {"allow_out_of_order_execution": True}]
)
def test_calls_of_such_actors_pass_those_that_wait(options: dict[str, Any]) -> None:
    gate = Gate.remote()
    taker = skyray.remote(Taker).options(**options).remote()
    waits = taker.take.remote(after.remote(gate))
    assert skyray.get([taker.take.remote(i) for i in range(100)], timeout=60) == list(range(100))

    @skyray.remote
    def elsewhere(taker: Any) -> Any:
        waits = taker.take.remote(after.remote(gate))
        return skyray.get(taker.take.remote(1), timeout=60), [waits]

    passed, [others] = skyray.get(elsewhere.remote(taker), timeout=60)
    assert passed == 1
    assert skyray.wait([waits, others], timeout=0)[0] == []
    gate.let_pass.remote()
    assert skyray.get([waits, others], timeout=60) == ["opened", "opened"]


def test_a_dropped_actor_ends_after_the_calls_that_wait_for_their_arguments() -> None:
    gate = Gate.remote()
    taken = skyray.remote(Taker).options(max_concurrency=2).remote().take.remote(after.remote(gate))
    assert skyray.get(gate.take.remote(1), timeout=60) == 1
    gate.let_pass.remote()
    assert skyray.get(taken, timeout=60) == "opened"


def test_calls_of_any_other_actor_keep_their_order() -> None:
    gate = Gate.remote()
    taker = skyray.remote(Taker).remote()
    waits = taker.take.remote(after.remote(gate))
    behind = taker.take.remote(1)
    assert skyray.wait([waits, behind], timeout=0.3)[0] == []
    gate.let_pass.remote()
    assert skyray.get([waits, behind], timeout=60) == ["opened", 1]


def test_what_runs_several_calls_at_once_cannot_keep_their_order() -> None:
    with pytest.raises(ValueError, match="Gate is an actor class with async calls"):
        Gate.options(allow_out_of_order_execution=False).remote()
    threaded = skyray.remote(Taker).options(max_concurrency=2, allow_out_of_order_execution=False)
    with pytest.raises(ValueError, match="multi-threaded"):
        threaded.remote()
