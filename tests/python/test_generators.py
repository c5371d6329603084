# SPDX-License-Identifier: Apache-2.0
"""Tasks and methods that yield what they return."""

from __future__ import annotations

import asyncio
import functools
import os
import pickle
import signal
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pytest
from waiting import until

import skyray
from skyray import DynamicObjectRefGenerator, ObjectRefGenerator, _concurrency, _core
from skyray.exceptions import (
    ActorDiedError,
    GetTimeoutError,
    RayTaskError,
    TaskCancelledError,
    WorkerCrashedError,
)

pytestmark = pytest.mark.usefixtures("runtime")

LARGE = 1 << 18  # Elements: 2 MiB, which lie in the store.


@skyray.remote
def count(n: int) -> Iterator[int]:
    yield from range(n)


@skyray.remote
def arrays(n: int) -> Iterator[Any]:
    for i in range(n):
        yield np.full(LARGE, i)


@skyray.remote
class Gate:
    """Lets a generator on when it is told to, and says how far it has come."""

    def __init__(self) -> None:
        self.made = 0

    def note(self, made: int) -> None:
        self.made = made

    def get(self) -> int:
        return self.made


def values(generator: Any) -> list[Any]:
    return [skyray.get(ref) for ref in generator]


def test_items_come_in_order_and_end() -> None:
    generator = count.remote(1000)
    assert isinstance(generator, ObjectRefGenerator)
    assert values(generator) == list(range(1000))
    assert generator.is_finished()
    assert not generator.next_ready()
    assert skyray.get(generator.completed()) is None
    with pytest.raises(StopIteration):
        next(generator)
    assert values(count.remote(0)) == []


def test_large_items_lie_in_the_store_and_go_to_other_tasks() -> None:
    @skyray.remote
    def total(array: Any) -> int:
        return int(array.sum())

    assert skyray.get([total.remote(ref) for ref in arrays.remote(3)]) == [0, LARGE, 2 * LARGE]


def test_an_item_is_there_before_the_task_ends() -> None:
    gate = Gate.remote()

    @skyray.remote
    def slow(gate: Any) -> Iterator[str]:
        yield "first"
        while skyray.get(gate.get.remote()) == 0:
            pass
        yield "second"

    generator = slow.remote(gate)
    assert skyray.get(next(generator)) == "first"
    assert not generator.next_ready()
    with pytest.raises(GetTimeoutError):
        skyray.get(generator.completed(), timeout=0)
    gate.note.remote(1)
    assert values(generator) == ["second"]


def test_an_exception_is_the_last_item() -> None:
    @skyray.remote
    def broken() -> Iterator[int]:
        yield 1
        raise ValueError("in the middle")

    generator = broken.remote()
    assert skyray.get(next(generator)) == 1
    last = next(generator)
    with pytest.raises(ValueError, match="in the middle") as caught:
        skyray.get(last)
    assert isinstance(caught.value, RayTaskError)
    with pytest.raises(StopIteration):
        next(generator)
    assert skyray.get(generator.completed()) is None  # It has said what there was to say.


def test_a_fixed_number_of_values_up_to_an_exception() -> None:
    @skyray.remote(num_returns=3)
    def breaks(n: int, error: Exception | None) -> Iterator[int]:
        yield from range(n)
        if error is not None:
            raise error

    first, *rest = breaks.remote(1, KeyError("half way"))
    assert skyray.get(first) == 0
    for ref in rest:
        with pytest.raises(KeyError, match="half way"):
            skyray.get(ref)
    *early, last = breaks.remote(2, None)
    assert skyray.get(early) == [0, 1]
    with pytest.raises(ValueError, match="Task returned 2 objects, but num_returns=3"):
        skyray.get(last)
    assert skyray.get(breaks.remote(5, None)) == [0, 1, 2]
    assert skyray.get(breaks.remote(3, KeyError("too late"))) == [0, 1, 2]
    for ref in breaks.remote(0, KeyError("at once")):
        with pytest.raises(KeyError, match="at once"):
            skyray.get(ref)


def test_a_fixed_number_of_values_is_tried_again(tmp_path: Any) -> None:
    @skyray.remote(num_returns=2, max_retries=2, retry_exceptions=[KeyError])
    def flaky(path: str) -> Iterator[int]:
        with open(path, "a") as file:
            file.write("x")
        yield 1
        with open(path) as file:
            if len(file.read()) < 3:
                raise KeyError("again")
        yield 2

    assert skyray.get(flaky.remote(str(tmp_path / "tries"))) == [1, 2]


def test_the_last_of_listed_items_is_the_exception() -> None:
    @skyray.remote(num_returns="dynamic")
    def breaks() -> Iterator[int]:
        yield 1
        raise KeyError("last")

    one, last = skyray.get(breaks.remote())
    assert skyray.get(one) == 1
    with pytest.raises(KeyError, match="last"):
        skyray.get(last)


def test_an_item_that_cannot_be_pickled_is_the_last() -> None:
    @skyray.remote
    def lock() -> Iterator[Any]:
        import threading

        yield 1
        yield threading.Lock()
        yield 2

    generator = lock.remote()
    assert skyray.get(next(generator)) == 1
    with pytest.raises(TypeError, match="lock"):
        skyray.get(next(generator))
    assert list(generator) == []


def test_arguments_are_resolved_and_a_failed_one_fails_the_generator() -> None:
    assert values(count.remote(skyray.put(2))) == [0, 1]

    @skyray.remote
    def fails() -> int:
        raise OSError("no number")

    (only,) = list(count.remote(fails.remote()))
    with pytest.raises(OSError, match="no number"):
        skyray.get(only)


def test_references_in_items_live_on() -> None:
    @skyray.remote
    def nested() -> Iterator[list[Any]]:
        for i in range(3):
            yield [skyray.put(np.full(LARGE, i))]

    assert [int(skyray.get(item[0])[0]) for item in values(nested.remote())] == [0, 1, 2]


def test_room_bounds_what_is_made_ahead() -> None:
    gate = Gate.remote()

    @skyray.remote(_generator_backpressure_num_objects=3)
    def bounded(gate: Any, n: int) -> Iterator[int]:
        for i in range(n):
            skyray.get(gate.note.remote(i + 1))
            yield i

    generator = bounded.remote(gate, 20)
    until(lambda: skyray.get(gate.get.remote()) == 3, "three are made")
    assert skyray.get(next(generator)) == 0
    assert skyray.get(next(generator)) == 1
    until(lambda: skyray.get(gate.get.remote()) >= 4, "taken ones make room")
    assert skyray.get(gate.get.remote()) <= 5
    assert values(generator) == list(range(2, 20))


def test_dropping_a_generator_frees_its_items_and_lets_it_end() -> None:
    gate = Gate.remote()

    @skyray.remote(_generator_backpressure_num_objects=2)
    def bounded(gate: Any) -> Iterator[Any]:
        for i in range(6):
            yield np.full(LARGE, i)
        skyray.get(gate.note.remote(1))

    before = _core.statistics()["objects"]
    generator = bounded.remote(gate)
    next(generator)
    del generator
    until(lambda: skyray.get(gate.get.remote()) == 1, "it runs to its end")
    # The actor's handle that was passed on has an object, too.
    until(lambda: _core.statistics()["objects"] <= before + 1, "nothing is left")


def test_many_large_items_fit_in_a_store_that_holds_few() -> None:
    seen = 0
    for ref in arrays.options(_generator_backpressure_num_objects=4).remote(200):
        seen += int(skyray.get(ref)[0] >= 0)
        del ref
    assert seen == 200


def test_wait_takes_generators() -> None:
    gate = Gate.remote()

    @skyray.remote
    def blocked(gate: Any) -> Iterator[int]:
        while skyray.get(gate.get.remote()) == 0:
            pass
        yield 1

    slow, quick = blocked.remote(gate), count.remote(1)
    ready, rest = skyray.wait([slow, quick], num_returns=1)
    assert ready == [quick]
    assert rest == [slow]
    gate.note.remote(1)
    assert skyray.wait([slow], timeout=20) == ([slow], [])
    assert quick.next_ready()
    assert skyray.get(quick) is quick


def test_async_iteration() -> None:
    async def gather() -> list[int]:
        return [await ref async for ref in count.remote(50)]

    assert asyncio.run(gather()) == list(range(50))


def test_a_generator_is_not_pickled() -> None:
    with pytest.raises(TypeError, match="Serialization of 'ObjectRefGenerator' is not allowed"):
        pickle.dumps(count.remote(1))


def test_a_worker_that_dies_starts_again_and_no_item_comes_twice(tmp_path: Any) -> None:
    mark = str(tmp_path / "mark")

    @skyray.remote(max_retries=1)
    def fragile(mark: str) -> Iterator[Any]:
        for i in range(6):
            yield np.full(LARGE, i) if i % 2 else i
            if i == 3 and not os.path.exists(mark):
                with open(mark, "w"):
                    pass
                os.kill(os.getpid(), signal.SIGKILL)

    got = values(fragile.remote(mark))
    assert [int(np.max(item)) for item in got] == list(range(6))


def test_a_worker_that_dies_for_good_is_the_last_item() -> None:
    gate = Gate.remote()

    @skyray.remote(max_retries=0)
    def fatal(gate: Any) -> Iterator[int]:
        yield 1
        while skyray.get(gate.get.remote()) == 0:
            pass
        os.kill(os.getpid(), signal.SIGKILL)

    generator = fatal.remote(gate)
    assert skyray.get(next(generator)) == 1
    gate.note.remote(1)
    with pytest.raises(WorkerCrashedError, match="SIGKILL"):
        skyray.get(next(generator))
    with pytest.raises(StopIteration):
        next(generator)


def test_a_retried_generator_with_little_room_goes_on(tmp_path: Any) -> None:
    mark = str(tmp_path / "mark")

    @skyray.remote(max_retries=1, _generator_backpressure_num_objects=2)
    def fragile(mark: str) -> Iterator[int]:
        for i in range(12):
            if i == 7 and not os.path.exists(mark):
                with open(mark, "w"):
                    pass
                os.kill(os.getpid(), signal.SIGKILL)
            yield i

    assert values(fragile.remote(mark)) == list(range(12))


@skyray.remote
class Yielder:
    def plain(self, n: int) -> Iterator[int]:
        yield from range(n)

    async def asynchronous(self, n: int) -> AsyncIterator[int]:
        for i in range(n):
            await asyncio.sleep(0)
            yield i

    async def broken(self) -> AsyncIterator[int]:
        yield 1
        raise KeyError("later")

    async def consume(self, n: int) -> list[int]:
        return [await ref async for ref in count.remote(n)]

    async def endless(self) -> AsyncIterator[int]:
        i = 0
        while True:
            yield i
            i += 1

    async def ping(self) -> str:
        return "pong"


def test_methods_of_async_actors() -> None:
    actor = Yielder.remote()
    assert values(actor.plain.remote(5)) == list(range(5))
    assert values(actor.asynchronous.remote(5)) == list(range(5))
    assert skyray.get(actor.consume.remote(20)) == list(range(20))
    generators = [actor.asynchronous.remote(100) for _ in range(10)]
    assert [values(generator) for generator in generators] == [list(range(100))] * 10
    broken = actor.broken.remote()
    assert skyray.get(next(broken)) == 1
    with pytest.raises(KeyError, match="later"):
        skyray.get(next(broken))


def test_room_that_is_made_before_a_generator_pauses_is_seen() -> None:
    class Call:
        def produce(self, item: int) -> bool:
            return False

        def has_room(self) -> bool:
            return True

    loop: Any = _concurrency._Loop.__new__(_concurrency._Loop)
    loop._paused = set()
    step = loop._produce(Call(), 1)
    assert step.send(None) is None  # Others run, and the news come.
    with pytest.raises(StopIteration):
        step.send(None)
    assert not loop._paused


def test_a_paused_async_generator_blocks_no_other_call() -> None:
    actor = Yielder.remote()
    endless = actor.endless.options(_generator_backpressure_num_objects=3).remote()
    assert [skyray.get(next(endless)) for _ in range(10)] == list(range(10))
    assert skyray.get(actor.ping.remote()) == "pong"
    assert [skyray.get(next(endless)) for _ in range(10)] == list(range(10, 20))
    skyray.kill(actor)
    rest = list(endless)
    with pytest.raises(ActorDiedError):
        skyray.get(rest[-1])


def test_methods_of_plain_and_threaded_actors() -> None:
    class Plain:
        def items(self, n: int) -> Iterator[int]:
            yield from range(n)

        def kinds(self) -> Any:
            return (i for i in range(3))

    for options in ({"num_cpus": 0}, {"max_concurrency": 4}):
        actor = skyray.remote(**options)(Plain).remote()
        generators = [actor.items.remote(50) for _ in range(4)]
        assert [values(generator) for generator in generators] == [list(range(50))] * 4
        assert skyray.get(actor.kinds.options(num_returns=3).remote()) == [0, 1, 2]


def test_cancelled_generators_end_with_the_error() -> None:
    @skyray.remote
    def endless() -> Iterator[int]:
        i = 0
        while True:
            yield i
            i += 1

    for generator in (endless.remote(), Yielder.remote().endless.remote()):
        assert skyray.get(next(generator)) == 0
        skyray.cancel(generator)
        *_, last = generator
        for reference in (last, generator.completed()):
            with pytest.raises(TaskCancelledError):
                skyray.get(reference)


def test_dynamic_generators() -> None:
    generator = skyray.get(count.options(num_returns="dynamic").remote(4))
    assert isinstance(generator, DynamicObjectRefGenerator)
    assert len(generator) == 4
    assert values(generator) == [0, 1, 2, 3]
    large = skyray.get(arrays.options(num_returns="dynamic").remote(2))
    assert [int(skyray.get(ref)[0]) for ref in large] == [0, 1]

    @skyray.remote
    def total(items: Any) -> int:
        return sum(int(skyray.get(ref)[0]) for ref in items)

    reference = arrays.options(num_returns="dynamic").remote(3)
    assert skyray.get(total.remote(reference)) == 3


class Numbers:
    def number(self) -> int:
        return 5

    def count(self, n: int) -> Iterator[int]:
        yield from range(n)


@pytest.mark.parametrize("num_returns", ["streaming", "dynamic"])
def test_what_is_no_generator_is_refused(num_returns: str) -> None:
    def number() -> int:
        return 5

    refused = f"num_returns='{num_returns}' can only be used with generator functions"
    with pytest.raises(ValueError, match=refused):
        skyray.remote(num_returns=num_returns)(number)
    with pytest.raises(ValueError, match=refused):
        skyray.remote(number).options(num_returns=num_returns)
    with pytest.raises(ValueError, match=refused):
        skyray.method(num_returns=num_returns)(number)
    numbers = skyray.remote(Numbers).remote()
    with pytest.raises(ValueError, match=refused):
        numbers.number.options(num_returns=num_returns)
    yields = numbers.count.options(num_returns=num_returns).remote(2)
    assert values(yields if num_returns == "streaming" else skyray.get(yields)) == [0, 1]


def test_a_callable_that_is_found_to_be_none_when_it_runs() -> None:
    number = skyray.remote(num_returns="streaming")(functools.partial(int, 5))
    with pytest.raises(TypeError, match="partial is to yield its items"):
        skyray.get(next(number.remote()))


@pytest.mark.parametrize("which", ["task", "method"])
def test_the_first_items_are_the_values_where_a_number_is_asked_for(which: str) -> None:
    numbers = skyray.remote(Numbers).remote()
    counting = count if which == "task" else numbers.count
    assert skyray.get(counting.options(num_returns=1).remote(3), timeout=60) == 0
    assert skyray.get(counting.options(num_returns=2).remote(2)) == [0, 1]
    with pytest.raises(ValueError, match="Task returned 0 objects, but num_returns=1"):
        skyray.get(counting.options(num_returns=1).remote(0))
    assert skyray.get(skyray.remote(lambda: (x for x in "ab")).remote()) == "a"


@pytest.mark.parametrize("wrong", [0, -2])
def test_room_out_of_range_is_refused(wrong: int) -> None:
    with pytest.raises(ValueError, match="must be a positive number, or -1"):
        count.options(_generator_backpressure_num_objects=wrong)


def test_nothing_is_left_behind() -> None:
    until(lambda: _core.statistics()["tasks_pending"] == 0, "no task is pending")
    before = _core.statistics()["objects"]
    for _ in range(20):
        generator = count.remote(10)
        next(generator)
        list(arrays.remote(2))
        skyray.get(count.options(num_returns="dynamic").remote(3))
    del generator
    until(lambda: _core.statistics()["objects"] <= before, "all items are freed")
