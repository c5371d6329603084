# SPDX-License-Identifier: Apache-2.0
"""skyray.util.queue."""

from __future__ import annotations

import copy
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import skyray
from skyray.util.queue import Empty, Full, Queue

pytestmark = pytest.mark.usefixtures("runtime")


@pytest.fixture(name="pair")
def _pair() -> Iterator[Queue]:
    """With room for two."""
    made = Queue(2)
    yield made
    made.shutdown(force=True)


def test_first_in_first_out() -> None:
    made = Queue()
    assert (made.qsize(), made.size(), len(made), made.empty(), made.full()) == (
        0,
        0,
        0,
        True,
        False,
    )
    for item in ["a", None, [1, 2]]:
        made.put(item)
    assert len(made) == 3
    assert not made.empty()
    assert [made.get(), made.get(block=False), made.get_nowait()] == ["a", None, [1, 2]]
    array = np.arange(100_000)
    made.put(array)
    assert np.array_equal(made.get(), array)


def test_a_queue_that_is_full(pair: Queue) -> None:
    pair.put(1)
    pair.put_nowait(2)
    assert pair.full()
    assert pair.maxsize == 2
    attempts: list[Callable[[], None]] = [
        lambda: pair.put_nowait(3),
        lambda: pair.put(3, block=False, timeout=-1),
        lambda: pair.put(3, timeout=0),
        lambda: pair.put(3, timeout=0.01),
    ]
    for late in attempts:
        with pytest.raises(Full) as caught:
            late()
        assert isinstance(caught.value, queue.Full)
    assert [pair.get(), pair.get()] == [1, 2]


def test_a_queue_that_is_empty(pair: Queue) -> None:
    for late in (
        pair.get_nowait,
        lambda: pair.get(block=False),
        lambda: pair.get(timeout=0),
        lambda: pair.get(timeout=0.01),
    ):
        with pytest.raises(Empty) as caught:
            late()
        assert isinstance(caught.value, queue.Empty)
    # Those who gave up take nothing from those who come after them.
    pair.put("x")
    assert pair.get(timeout=60) == "x"


def test_times_that_cannot_be(pair: Queue) -> None:
    with pytest.raises(ValueError, match="non-negative"):
        pair.put(1, timeout=-1)
    with pytest.raises(ValueError, match="non-negative"):
        pair.get(timeout=-1)


def test_batches(pair: Queue) -> None:
    with pytest.raises(Full, match="Cannot add 3 items"):
        pair.put_nowait_batch([1, 2, 3])
    assert pair.empty()
    pair.put_nowait_batch(iter([1, 2]))
    with pytest.raises(Empty, match="Cannot get 3 items"):
        pair.get_nowait_batch(3)
    assert pair.get_nowait_batch(0) == []
    assert pair.get_nowait_batch(2) == [1, 2]
    unbounded = Queue(-1)
    unbounded.put_nowait_batch(range(100))
    assert not unbounded.full()
    assert unbounded.get_nowait_batch(100) == list(range(100))


def test_batches_that_cannot_be(pair: Queue) -> None:
    not_iterable: Any = 5
    with pytest.raises(TypeError, match="must be an Iterable"):
        pair.put_nowait_batch(not_iterable)
    no_number: Any = "1"
    with pytest.raises(TypeError, match="must be an int"):
        pair.get_nowait_batch(no_number)
    with pytest.raises(ValueError, match="nonnegative"):
        pair.get_nowait_batch(-1)


def test_who_waits_is_served_when_there_is_something(pair: Queue) -> None:
    got: list[Any] = []
    getter = threading.Thread(target=lambda: got.append(pair.get()))
    getter.start()
    pair.put("x")
    getter.join()
    assert got == ["x"]
    pair.put_nowait_batch([1, 2])
    putter = threading.Thread(target=lambda: pair.put(3))
    putter.start()
    assert [pair.get() for _ in range(3)] == [1, 2, 3]
    putter.join()


@skyray.remote(num_cpus=0)
def produce(target: Queue, first: int) -> None:
    for item in range(first, first + 20):
        target.put(item)


@skyray.remote(num_cpus=0)
def consume(source: Queue, count: int) -> list[int]:
    return [source.get() for _ in range(count)]


def test_tasks_share_a_queue(pair: Queue) -> None:
    makers = [produce.remote(pair, first) for first in (0, 100, 200)]
    takers = [consume.remote(pair, 30) for _ in range(2)]
    skyray.get(makers)
    taken = [item for items in skyray.get(takers) for item in items]
    assert sorted(taken) == [first + i for first in (0, 100, 200) for i in range(20)]


async def test_awaited(pair: Queue) -> None:
    await pair.put_async(1)
    assert await pair.get_async() == 1
    with pytest.raises(Empty):
        await pair.get_async(block=False)
    with pytest.raises(Empty):
        await pair.get_async(timeout=0.01)
    await pair.put_async(1)
    await pair.put_async(2, timeout=60)
    with pytest.raises(Full):
        await pair.put_async(3, block=False)
    with pytest.raises(Full):
        await pair.put_async(3, timeout=0.01)
    with pytest.raises(ValueError, match="non-negative"):
        await pair.get_async(timeout=-1)


def test_shutdown_ends_the_actor() -> None:
    made = Queue(actor_options={"name": "the-queue", "num_cpus": 1})
    actor = skyray.get_actor("the-queue")
    made.put(1)
    made.shutdown()
    made.shutdown(force=True)
    with pytest.raises(skyray.exceptions.ActorDiedError):
        skyray.get(actor.qsize.remote())


def test_shutdown_does_not_wait_for_those_who_wait() -> None:
    made = Queue()
    waiting = copy.copy(made)  # As another process has it.
    errors: list[BaseException] = []

    def take() -> None:
        try:
            waiting.get()
        except BaseException as error:
            errors.append(error)

    taker = threading.Thread(target=take)
    taker.start()
    made.shutdown(grace_period_s=0.2)
    taker.join()
    assert isinstance(errors[0], skyray.exceptions.ActorDiedError)


def test_more_may_wait_than_calls_usually_run() -> None:
    made = Queue()
    waiting = [made.actor.get.remote(None) for _ in range(1500)]
    made.put_nowait_batch(range(1500))
    assert sorted(item for (item,) in skyray.get(waiting)) == list(range(1500))


def test_options_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="nope"):
        Queue(actor_options={"nope": 1})
