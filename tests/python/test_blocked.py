# SPDX-License-Identifier: Apache-2.0
"""Tasks that wait for tasks: what they hold meanwhile, and that nobody waits for ever."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

import skyray

_DEPTH = 120


@pytest.fixture(name="node", scope="module", autouse=True)
def _node() -> Iterator[Any]:
    with skyray.init(num_cpus=1, num_gpus=2, object_store_memory=50 << 20) as context:
        yield context


@skyray.remote
def descend(depth: int) -> int:
    return 0 if depth == 0 else 1 + skyray.get(descend.remote(depth - 1))


@skyray.remote
def free_now() -> dict[str, float]:
    """Asked by a task that itself holds the only CPU."""
    return skyray.available_resources()


@skyray.remote
def workers() -> int:
    """Children of the zygote, this one included."""
    parent = os.getppid()
    with open(f"/proc/{parent}/task/{parent}/children") as file:
        return len(file.read().split())


def test_nested_waits_on_one_cpu() -> None:
    assert skyray.get(descend.remote(_DEPTH)) == _DEPTH


def test_workers_of_a_descent_do_not_stay() -> None:
    skyray.get(descend.remote(_DEPTH))
    while skyray.get(workers.remote()) > 5:
        pass


def test_waits_do_not_add_up_to_more_workers_than_wait() -> None:
    """Many waits one after the other need one more worker, not one more each."""

    @skyray.remote
    def one_after_the_other(count: int) -> int:
        return max(skyray.get(workers.remote()) for _ in range(count))

    # Some of the test before may still be on their way out.
    assert skyray.get(one_after_the_other.remote(50)) < 25


def test_a_blocked_task_keeps_its_gpu_and_lends_its_cpu() -> None:
    @skyray.remote(num_gpus=1, resources={})
    def holder() -> tuple[dict[str, float], list[int] | list[str]]:
        return skyray.get(free_now.remote()), skyray.get_gpu_ids()

    free, gpus = skyray.get(holder.remote())
    assert free.get("GPU") == 1
    assert "CPU" not in free, "the child has it"
    assert len(gpus) == 1
    while skyray.available_resources().get("CPU") != 1:
        pass
    assert skyray.available_resources()["GPU"] == 2


def test_wait_lends_too() -> None:
    @skyray.remote
    def waits() -> int:
        refs = [descend.remote(3) for _ in range(3)]
        ready, _ = skyray.wait(refs, num_returns=3)
        return sum(skyray.get(ready))

    assert skyray.get(waits.remote()) == 9


def test_an_actor_that_waits_lends_its_cpu() -> None:
    @skyray.remote(num_cpus=1)
    class Waiter:
        def descend(self, depth: int) -> int:
            return int(skyray.get(descend.remote(depth)))

    actor = Waiter.remote()
    assert skyray.get(actor.descend.remote(20)) == 20
    skyray.kill(actor)


def test_many_trees_of_waits_at_once() -> None:
    @skyray.remote
    def tree(depth: int) -> int:
        if depth == 0:
            return 1
        return sum(skyray.get([tree.remote(depth - 1) for _ in range(2)]))

    assert skyray.get([tree.remote(4) for _ in range(2)]) == [16, 16]
