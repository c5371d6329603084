# SPDX-License-Identifier: Apache-2.0
"""skyray.util."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import skyray
from skyray.util import (
    ActorPool,
    as_completed,
    deregister_serializer,
    get_node_instance_id,
    get_node_ip_address,
    inspect_serializability,
    list_named_actors,
    map_unordered,
    register_serializer,
)

pytestmark = pytest.mark.usefixtures("runtime")


@skyray.remote
class Doubler:
    def double(self, value: int) -> int:
        if value < 0:
            raise ValueError(f"{value} is negative")
        return 2 * value

    def read(self, path: str) -> str:
        with open(path) as pipe:
            return pipe.read()

    def crash(self) -> None:
        os._exit(1)


@skyray.remote
def double(value: int) -> int:
    if value < 0:
        raise ValueError(f"{value} is negative")
    return 2 * value


@skyray.remote(num_cpus=0)
def read(path: str) -> str:
    with open(path) as pipe:
        return pipe.read()


def submit(actor: Any, value: int) -> Any:
    return actor.double.remote(value)


@pytest.fixture(name="pipe")
def _pipe(tmp_path: Path) -> str:
    """Whoever reads it waits until the test feeds it."""
    path = str(tmp_path / "pipe")
    os.mkfifo(path)
    return path


def feed(pipe: str) -> None:
    Path(pipe).write_text("fed")


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


def test_an_actor_that_died_leaves_the_pool(pool: ActorPool) -> None:
    pool.submit(lambda actor, _: actor.crash.remote(), None)
    with pytest.raises(skyray.exceptions.ActorDiedError):
        pool.get_next()
    assert list(pool.map(submit, range(4))) == [0, 2, 4, 6]
    assert pool.pop_idle() is not None
    assert pool.pop_idle() is None


def test_work_waits_for_an_actor_to_come() -> None:
    pool = ActorPool([])
    pool.submit(submit, 4)
    assert not pool.has_next()
    pool.push(Doubler.remote())
    assert pool.get_next() == 8


def test_a_result_that_is_late(pool: ActorPool, pipe: str) -> None:
    pool.submit(lambda actor, path: actor.read.remote(path), pipe)
    pool.submit(submit, 1)
    with pytest.raises(TimeoutError, match="Timed out waiting for result"):
        pool.get_next(timeout=0)
    with pytest.raises(TimeoutError, match="has been ignored"):
        pool.get_next(timeout=0, ignore_if_timedout=True)
    assert pool.get_next() == 2
    assert not pool.has_next()
    feed(pipe)


def test_get_next_after_a_later_result_was_taken(pool: ActorPool, pipe: str) -> None:
    pool.submit(lambda actor, path: actor.read.remote(path), pipe)
    pool.submit(submit, 1)
    assert pool.get_next_unordered() == 2
    with pytest.raises(ValueError, match="not allowed to call get_next"):
        pool.get_next()
    feed(pipe)
    assert pool.get_next_unordered() == "fed"


def test_several_references_from_one_submission(pool: ActorPool) -> None:
    def twice(actor: Any, value: int) -> Any:
        return [actor.double.remote(value), actor.double.remote(value + 1)]

    assert list(pool.map(twice, [1, 5])) == [[2, 4], [10, 12]]
    assert sorted(pool.map_unordered(twice, [1, 5])) == [[2, 4], [10, 12]]


def test_as_completed_yields_all(pipe: str) -> None:
    refs = [double.remote(i) for i in range(25)]
    assert sorted(as_completed(refs)) == [2 * i for i in range(25)]
    assert set(as_completed(refs, yield_obj_refs=True)) == set(refs)
    assert list(as_completed([])) == []
    # The first one given is not the first one there.
    results = as_completed([read.remote(pipe), double.remote(2)], chunk_size=1)
    assert next(results) == 4
    feed(pipe)
    assert list(results) == ["fed"]


def test_as_completed_goes_on_after_a_timeout(pipe: str) -> None:
    results = as_completed([read.remote(pipe), double.remote(2)], timeout=0.01)
    assert next(results) == 4
    feed(pipe)
    assert next(results) == "fed"


def test_map_unordered_takes_items_as_it_needs_them() -> None:
    taken = []

    def items() -> Iterator[int]:
        for item in range(10):
            taken.append(item)
            yield item

    results = map_unordered(double, items(), backpressure_size=3, chunk_size=1)
    assert taken == []
    first = next(results)
    assert taken == [0, 1, 2]
    assert sorted([first, *results]) == [2 * i for i in range(10)]
    assert sorted(map_unordered(double, range(5), backpressure_size=None)) == [0, 2, 4, 6, 8]
    refs = map_unordered(double, range(5), yield_obj_refs=True)
    assert sorted(skyray.get(list(refs))) == [0, 2, 4, 6, 8]


def test_what_as_completed_and_map_unordered_refuse() -> None:
    with pytest.raises(ValueError, match="chunk_size"):
        next(as_completed([double.remote(1)], chunk_size=0))
    with pytest.raises(ValueError, match="instead of `num_returns`"):
        next(as_completed([double.remote(1)], num_returns=1))
    with pytest.raises(ValueError, match="backpressure_size must be positive"):
        next(map_unordered(double, [1], backpressure_size=0))
    with pytest.raises(ValueError, match="is negative"):
        list(map_unordered(double, [1, -1]))


def test_names_of_actors() -> None:
    here = Doubler.options(name="here").remote()
    there = Doubler.options(name="there", namespace="elsewhere").remote()
    assert list_named_actors() == ["here"]
    everywhere = list_named_actors(all_namespaces=True)
    assert {"name": "there", "namespace": "elsewhere"} in everywhere
    assert len(everywhere) == 2
    del here, there


@pytest.fixture(name="locked")
def _locked() -> Iterator[Any]:
    """A class whose instances cannot be pickled by themselves."""

    class Locked:
        def __init__(self, value: int) -> None:
            self.value = value
            self.lock = threading.Lock()

    yield Locked
    deregister_serializer(Locked)


def test_a_registered_serializer_is_used(locked: Any) -> None:
    register_serializer(locked, serializer=lambda it: it.value, deserializer=lambda v: locked(v))
    assert skyray.get(skyray.put({"a": [locked(1)]}))["a"][0].value == 1
    value_of = skyray.remote(lambda it: it.value)
    assert skyray.get(value_of.remote(locked(2))) == 2
    captured = locked(3)
    assert skyray.get(skyray.remote(lambda: captured.value).remote()) == 3
    with pytest.raises(TypeError, match="lock"):
        skyray.put(type("Derived", (locked,), {})(1))


def test_without_its_serializer_a_value_is_what_it_was(locked: Any) -> None:
    register_serializer(locked, serializer=lambda it: it.value, deserializer=locked)
    deregister_serializer(locked)
    deregister_serializer(locked)
    with pytest.raises(TypeError, match=r"value\.lock"):
        skyray.put(locked(1))


def test_a_serializer_that_fails(locked: Any) -> None:
    def fail(_: Any) -> None:
        raise RuntimeError("not today")

    register_serializer(locked, serializer=fail, deserializer=locked)
    with pytest.raises(RuntimeError, match="not today"):
        skyray.put(locked(1))


LOG_ONCE = """
from skyray.util import debug
debug.time.monotonic = lambda: now
now = 0.0
said = [debug.log_once("a"), debug.log_once("a"), debug.log_once("b")]
now = 100.0
said.append(debug.log_once("a"))
debug.enable_periodic_logging()
said += [debug.log_once("a"), debug.log_once("a")]
debug.reset_log_once("a")
said.append(debug.log_once("a"))
debug.disable_log_once_globally()
said.append(debug.log_once("c"))
print(said)
"""


def test_log_once() -> None:
    """In a process of its own: what it switches stays switched."""
    child = subprocess.run(
        [sys.executable, "-c", LOG_ONCE], capture_output=True, text=True, check=True
    )
    assert child.stdout.strip() == "[True, False, True, False, True, False, True, False]"


def test_address_of_this_machine() -> None:
    assert get_node_ip_address() == skyray.nodes()[0]["NodeManagerAddress"]
    assert get_node_ip_address("127.0.0.1:80") == "127.0.0.1"


def test_instance_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert get_node_instance_id() == ""
    monkeypatch.setenv("SKYRAY_CLOUD_INSTANCE_ID", "i-1234")
    assert get_node_instance_id() == "i-1234"


def test_what_cannot_be_serialized_is_found() -> None:
    lock = threading.Lock()

    def uses_it() -> object:
        return lock

    said = io.StringIO()
    fine, failures = inspect_serializability(uses_it, name="uses_it", print_file=said)
    assert not fine
    assert [(f.obj, f.path, f.name, f.parent) for f in failures] == [
        (lock, ("uses_it", "lock"), "lock", uses_it)
    ]
    assert "uses_it -> closure variable 'lock'" in said.getvalue()
    assert inspect_serializability([1, 2], print_file=said) == (True, set())


def test_what_cannot_be_serialized_is_named_once() -> None:
    lock = threading.Lock()

    class Holder:
        def __init__(self) -> None:
            self.lock = lock
            self.me = self

        def method(self) -> object:
            return lock

    _, failures = inspect_serializability(Holder(), print_file=io.StringIO())
    assert [failure.path for failure in failures] == [("lock",)]
