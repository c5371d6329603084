# SPDX-License-Identifier: Apache-2.0
"""put, get, wait and references."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

import numpy as np
import pytest
from waiting import until

import skyray
from skyray import _core
from skyray.exceptions import GetTimeoutError

pytestmark = pytest.mark.usefixtures("runtime")


@skyray.remote
def wait_for(path: str, value: Any = None) -> Any:
    while not os.path.exists(path):
        time.sleep(0.01)
    return value


@skyray.remote(num_cpus=0)
class Gate:
    async def passed(self) -> None:
        """Never."""
        await asyncio.Event().wait()


@skyray.remote
def fail() -> None:
    raise ZeroDivisionError("at once")


@skyray.remote(max_retries=0)
def crash() -> None:
    os._exit(3)


def never(name: str) -> str:
    return os.path.join(os.environ["SKYRAY_TMPDIR"], name)


@pytest.mark.parametrize("value", [1, "s", b"x" * 200_000, None, [1, {"a": (2,)}], 3.5])
def test_put_and_get(value: Any) -> None:
    assert skyray.get(skyray.put(value)) == value


def test_large_array_is_read_in_place() -> None:
    array = np.random.default_rng(1).random(500_000)
    ref = skyray.put(array)
    first, second = skyray.get([ref, ref])
    assert np.array_equal(first, array)
    assert np.shares_memory(first, second)
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 1


def test_value_outlives_its_reference() -> None:
    ref = skyray.put(np.ones(1_000_000))
    array = skyray.get(ref)
    del ref
    for _ in range(5):
        skyray.put(np.zeros(1_000_000))
    assert array.sum() == 1_000_000


def test_empty_list() -> None:
    assert skyray.get([]) == []
    assert skyray.wait([]) == ([], [])


def test_object_is_freed_with_its_last_reference() -> None:
    before = _core.statistics()["objects"]
    refs = [skyray.put(bytes(200_000)) for _ in range(10)] + [skyray.put(i) for i in range(10)]
    assert _core.statistics()["objects"] == before + 20
    del refs
    until(lambda: _core.statistics()["objects"] == before, "all objects are freed")


def test_store_is_used_again_after_objects_are_freed() -> None:
    for index in range(30):  # Three times what fits.
        assert skyray.get(skyray.put(np.full(20 << 17, index)))[0] == index


def test_a_full_store_makes_room_on_disk() -> None:
    refs = [skyray.put(np.full(1 << 20, i % 256, dtype=np.uint8)) for i in range(300)]
    assert [int(skyray.get(ref)[-1]) for ref in refs] == [i % 256 for i in range(300)]


@pytest.mark.parametrize(
    ("refs", "error", "said"),
    [
        (3, ValueError, "Invalid type of object refs, <class 'int'>"),
        ((1,), ValueError, "Invalid type of object refs, <class 'tuple'>"),
        ([3], TypeError, "Attempting to call `get` on the value 3"),
    ],
)
def test_get_of_something_else(refs: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        skyray.get(refs)


def test_put_of_a_reference() -> None:
    with pytest.raises(TypeError, match=r"'put' on a skyray\.ObjectRef is not allowed"):
        skyray.put(skyray.put(1))


@pytest.mark.parametrize("timeout", [0, -0.0, -0.5, -2, float("-inf")])
def test_a_deadline_that_has_passed(timeout: float) -> None:
    ref = wait_for.remote(never("too late"))
    with pytest.raises(skyray.exceptions.GetTimeoutError):
        skyray.get(ref, timeout=timeout)
    assert skyray.get(skyray.put(1), timeout=timeout) == 1
    skyray.cancel(ref, force=True)


def test_wait() -> None:
    ready = [skyray.put(i) for i in range(3)]
    late = wait_for.remote(never("late"))
    assert skyray.wait([late, ready[0]]) == ([ready[0]], [late])
    assert skyray.wait([*ready, late], num_returns=2) == (ready[:2], [ready[2], late])
    assert skyray.wait([late, *ready], num_returns=4, timeout=0.05) == (ready, [late])
    open(never("late"), "w").close()
    assert skyray.wait([late], timeout=60) == ([late], [])


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"ray_waitables": (1,)}, TypeError, "expected a list of skyray.ObjectRef, got <class 'tu"),
        ({"ray_waitables": [1]}, TypeError, "got list containing <class 'int'>"),
        ({"num_returns": 0}, ValueError, "Invalid number of objects to return 0"),
        ({"num_returns": 3}, ValueError, "cannot be greater than the number"),
        ({"num_returns": 1.5}, TypeError, "cannot be interpreted as an integer"),
        ({"timeout": -1}, ValueError, "must be nonnegative. Received -1"),
    ],
)
def test_wait_for_what_cannot_be(
    arguments: dict[str, Any], error: type[Exception], said: str
) -> None:
    ref = skyray.put(1)
    with pytest.raises(error, match=said):
        skyray.wait(**{"ray_waitables": [ref], **arguments})
    with pytest.raises(ValueError, match="unique"):
        skyray.wait([ref, ref])
    with pytest.raises(TypeError, match="got a single one"):
        skyray.wait(ref)  # type: ignore[arg-type]


def test_unpicklable_values() -> None:
    import threading

    @skyray.remote
    def take(value: Any) -> None: ...

    lock = threading.Lock()
    with pytest.raises(TypeError, match=r"value\['deep'\]\[0\]: a _thread\.lock"):
        skyray.put({"deep": [lock]})
    with pytest.raises(TypeError, match=r"cannot pickle '_thread.lock' object"):
        take.remote(lock)

    @skyray.remote
    def closure() -> object:
        return lock

    with pytest.raises(TypeError, match=r"closure variable 'lock'"):
        closure.remote()


def test_reference_is_a_value() -> None:
    ref = skyray.put(1)
    assert ref == skyray.get(skyray.put([ref]))[0]
    assert len({ref, skyray.get(skyray.put([ref]))[0]}) == 1
    assert ref != skyray.put(1)
    assert repr(ref) == f"ObjectRef({ref.hex()})"
    assert len(ref.binary()) == 28
    assert ref.job_id().hex() == skyray.get_runtime_context().get_job_id()


def test_future() -> None:
    assert skyray.put(5).future().result(timeout=60) == 5
    late = wait_for.remote(never("future"), 6)
    future = late.future()
    assert not future.done()
    open(never("future"), "w").close()
    assert future.result(timeout=60) == 6

    @skyray.remote
    def fail() -> None:
        raise KeyError("k")

    assert isinstance(fail.remote().future().exception(timeout=60), KeyError)


async def test_await() -> None:
    assert await skyray.put(7) == 7
    late = wait_for.remote(never("await"), 8)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(late.as_future(), 0.05)
    open(never("await"), "w").close()
    assert list(await asyncio.gather(late, skyray.put(9))) == [8, 9]


def test_references_in_references() -> None:
    inner = skyray.put(np.arange(100_000))
    middle = skyray.put([inner])
    outer = skyray.put({"m": middle})
    del inner, middle
    [again] = skyray.get(skyray.get(outer)["m"])
    assert skyray.get(again)[-1] == 99_999


def test_reference_made_by_a_task_outlives_it() -> None:
    @skyray.remote
    def make() -> Any:
        return [skyray.put(np.arange(100_000)), skyray.put("small")]

    @skyray.remote
    def use(refs: list[Any]) -> Any:
        return skyray.get(refs[0]).sum(), skyray.get(refs[1])

    [large, small] = skyray.get(make.remote())
    assert skyray.get(use.remote([large, small])) == (4_999_950_000, "small")
    assert skyray.get(small) == "small"


@pytest.mark.parametrize("place", [0, 1, 2])
def test_get_of_several_raises_the_first_error_without_waiting_for_the_rest(place: int) -> None:
    gate = Gate.remote()
    refs = [gate.passed.remote() for _ in range(2)]
    refs.insert(place, fail.remote())
    with pytest.raises(ZeroDivisionError):
        skyray.get(refs, timeout=60)
    # It has failed by now: even who has no time to wait is told.
    with pytest.raises(ZeroDivisionError):
        skyray.get(refs, timeout=0)
    skyray.kill(gate)
    with pytest.raises(skyray.exceptions.ActorDiedError):
        skyray.get([r for i, r in enumerate(refs) if i != place], timeout=60)


def test_get_of_several_raises_what_its_worker_died_of() -> None:
    gate = Gate.remote()
    with pytest.raises(skyray.exceptions.WorkerCrashedError):
        skyray.get([gate.passed.remote(), crash.remote()], timeout=60)


def test_timeouts_of_get() -> None:
    assert skyray.get(skyray.put(1), timeout=0) == 1
    late = wait_for.remote(never("timeouts"))
    with pytest.raises(GetTimeoutError):
        skyray.get([skyray.put(1), late], timeout=0)
    open(never("timeouts"), "w").close()
    assert skyray.get(late) is None


def test_a_reference_that_goes_home_while_its_last_holder_lets_go() -> None:
    """What the actor says of letting go may overtake its answer."""

    @skyray.remote(num_cpus=0)
    class Keeper:
        def hold(self, refs: list[Any]) -> None:
            self.kept = refs

        def fetch(self) -> list[Any]:
            return self.kept

        def drop(self) -> None:
            del self.kept

    keeper = Keeper.remote()
    answers = []
    for i in range(300):
        keeper.hold.remote([skyray.put(i)])
        answers.append(keeper.fetch.remote())
        keeper.drop.remote()
    assert [skyray.get(skyray.get(answer)[0]) for answer in answers] == list(range(300))


def test_a_reference_that_comes_again_and_again() -> None:
    """Each time the owner, a worker, is told of us by another worker."""

    @skyray.remote(num_cpus=0)
    class Owner:
        def make(self, i: int) -> list[Any]:
            return [skyray.put(i)]

    @skyray.remote(num_cpus=0)
    class Passer:
        def give_back(self, refs: list[Any]) -> list[Any]:
            return refs

    owner, passers = Owner.remote(), [Passer.remote() for _ in range(3)]
    for i in range(100):
        refs = skyray.get(owner.make.remote(i))
        again = [passer.give_back.remote(refs) for passer in passers]
        got = [skyray.get(answer) for answer in again]
        del refs, again
        assert [skyray.get(ref) for (ref,) in got] == [i] * 3


def test_a_worker_that_owns_what_others_hold_is_not_ended_as_idle() -> None:
    @skyray.remote
    class Barrier:
        async def meet(self, size: int) -> None:
            self.come = getattr(self, "come", 0) + 1
            while self.come < size:
                await asyncio.sleep(0)

    @skyray.remote(num_cpus=0)
    def together(barrier: Any, keep: bool) -> tuple[int, Any]:
        skyray.get(barrier.meet.remote(16))
        return os.getpid(), skyray.put(os.getpid()) if keep else None

    barrier = Barrier.options(max_concurrency=16).remote()
    found = skyray.get([together.remote(barrier, i % 2 == 0) for i in range(16)])
    # More than idle workers may be: those that own nothing end.
    plain = [pid for pid, ref in found if ref is None]
    assert len({pid for pid, _ in found}) == 16
    until(lambda: sum(not alive(pid) for pid in plain) >= 4, "idle workers end")
    for pid, ref in found:
        if ref is not None:
            assert skyray.get(ref) == pid


def alive(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}")
