# SPDX-License-Identifier: Apache-2.0
"""skyray.util."""

from __future__ import annotations

import io
import threading
from typing import Any

import pytest

import skyray
from skyray.util import ActorPool, get_node_ip_address, inspect_serializability

pytestmark = pytest.mark.usefixtures("runtime")


@skyray.remote
class Doubler:
    def double(self, value: int) -> int:
        if value < 0:
            raise ValueError(f"{value} is negative")
        return 2 * value


def submit(actor: Any, value: int) -> Any:
    return actor.double.remote(value)


@pytest.fixture(name="pool")
def _pool() -> ActorPool:
    return ActorPool([Doubler.remote() for _ in range(2)])


def test_map_keeps_the_order(pool: ActorPool) -> None:
    assert list(pool.map(submit, range(20))) == [2 * i for i in range(20)]
    assert sorted(pool.map_unordered(submit, range(20))) == [2 * i for i in range(20)]
    assert not pool.has_next()


def test_submit_and_take_one_by_one(pool: ActorPool) -> None:
    for value in range(5):  # More than there are actors: three of them wait.
        pool.submit(submit, value)
    assert not pool.has_free()
    assert [pool.get_next() for _ in range(5)] == [0, 2, 4, 6, 8]
    assert pool.has_free()
    with pytest.raises(StopIteration):
        pool.get_next()


def test_a_failed_value_does_not_cost_an_actor(pool: ActorPool) -> None:
    pool.submit(submit, -1)
    with pytest.raises(ValueError, match="-1 is negative"):
        pool.get_next()
    assert list(pool.map(submit, [1, 2])) == [2, 4]


def test_actors_come_and_go(pool: ActorPool) -> None:
    actor = pool.pop_idle()
    assert actor is not None
    pool.push(actor)
    with pytest.raises(ValueError, match="already belongs"):
        pool.push(actor)


def test_address_of_this_machine() -> None:
    assert get_node_ip_address() == skyray.nodes()[0]["NodeManagerAddress"]


def test_what_cannot_be_serialized_is_found() -> None:
    lock = threading.Lock()

    def uses_it() -> object:
        return lock

    said = io.StringIO()
    fine, failures = inspect_serializability(uses_it, name="uses_it", print_file=said)
    assert not fine
    assert [failure.obj for failure in failures] == [lock]
    assert "uses_it -> closure variable 'lock'" in said.getvalue()
    assert inspect_serializability([1, 2], print_file=said) == (True, set())
