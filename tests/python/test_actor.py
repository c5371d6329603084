# SPDX-License-Identifier: Apache-2.0
"""Actors."""

from __future__ import annotations

import os
import pickle
import signal
import threading
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
from waiting import ended, until

import skyray
from skyray import _core
from skyray.actor import ActorClassInheritanceException
from skyray.exceptions import ActorAlreadyExistsError, ActorDiedError, RayActorError, RayTaskError

pytestmark = pytest.mark.usefixtures("runtime")


@skyray.remote
class Counter:
    """Counts."""

    def __init__(self, start: int = 0) -> None:
        self.value = start

    def increment(self, by: int = 1) -> int:
        self.value += by
        return self.value

    def read(self) -> int:
        return self.value

    def pid(self) -> int:
        return os.getpid()

    def fail(self) -> None:
        raise KeyError("inside")

    def leave(self) -> None:
        skyray.actor.exit_actor()

    @skyray.method(num_returns=2)
    def pair(self) -> tuple[int, int]:
        return self.value, self.value + 1


def test_no_two_draw_the_same_numbers() -> None:
    @skyray.remote
    class Drawer:
        def draw(self) -> tuple[float, float]:
            import random

            import numpy as np

            return random.random(), float(np.random.random())

    drawn = skyray.get([Drawer.remote().draw.remote() for _ in range(4)], timeout=60)
    for numbers in zip(*drawn):
        assert len(set(numbers)) == 4


def test_what_an_actor_forks_runs_the_hooks_of_fork() -> None:
    @skyray.remote
    class Parent:
        def child(self) -> tuple[bool, float, float]:
            """Whether a hook ran in a child, and what it and its parent draw next."""
            import random

            hooked = []
            os.register_at_fork(after_in_child=lambda: hooked.append(True))
            read, write = os.pipe()
            if os.fork() == 0:
                os.write(write, f"{bool(hooked)} {random.random()}".encode())
                os._exit(0)
            os.wait()
            ran, drawn = os.read(read, 100).decode().split()
            return ran == "True" and not hooked, float(drawn), random.random()

    parents = [Parent.remote() for _ in range(2)]
    for ran, theirs, ours in skyray.get([parent.child.remote() for parent in parents], timeout=60):
        assert ran
        assert theirs != ours


def test_what_the_class_itself_has_is_found_on_the_actor_class() -> None:
    @skyray.remote
    class Shelf:
        SIZE = 3

        def __init__(self, size: int) -> None:
            self.size = size

        @staticmethod
        def double(number: int) -> int:
            return 2 * number

        @classmethod
        def of(cls, size: int) -> Any:
            return cls(size)

        def sizes(self) -> tuple[int, int]:
            return Shelf.SIZE, Shelf.double(self.size)

    assert (Shelf.SIZE, Shelf.double(4), Shelf.of(5).size) == (3, 8, 5)
    assert skyray.get(Shelf.remote(6).sizes.remote()) == (3, 12)
    assert {"SIZE", "double", "remote"} <= set(dir(Shelf))
    with pytest.raises(AttributeError, match="'ActorClass' object has no attribute 'COLOUR'"):
        _ = Shelf.COLOUR


def test_submitting_by_remote_with_an_underscore() -> None:
    actor = Counter._remote(args=[2], kwargs=None, max_restarts=1)
    assert skyray.get(actor.read._remote()) == 2
    first, second = actor.pair._remote(args=(), num_returns=2)
    assert skyray.get([first, second]) == [2, 3]


def test_four_counters() -> None:
    counters = [Counter.remote() for _ in range(4)]
    for counter in counters:
        counter.increment.remote()
    assert skyray.get([counter.read.remote() for counter in counters]) == [1, 1, 1, 1]


def test_ten_ordered_increments_then_a_read() -> None:
    counter = Counter.remote(start=5)
    results = [counter.increment.remote() for _ in range(10)]
    assert skyray.get(counter.read.remote()) == 15
    assert skyray.get(results) == list(range(6, 16))


def test_arguments_of_init_and_methods_may_be_references() -> None:
    counter = Counter.remote(skyray.put(3))
    assert skyray.get(counter.increment.remote(skyray.put(4))) == 7


def test_method_with_two_results() -> None:
    counter = Counter.remote()
    first, second = counter.pair.remote()
    assert skyray.get([first, second]) == [0, 1]
    assert skyray.get(counter.pair.options(num_returns=1).remote()) == (0, 1)


def test_handle_goes_to_tasks_and_other_actors() -> None:
    @skyray.remote
    def use(counter: Any) -> int:
        return skyray.get(counter.increment.remote())

    counter = Counter.remote()
    assert skyray.get([use.remote(counter) for _ in range(3)]) != [0, 0, 0]
    assert skyray.get(counter.read.remote()) == 3


def test_exception_of_a_method_leaves_the_actor_alive() -> None:
    counter = Counter.remote()
    with pytest.raises(KeyError, match="inside") as caught:
        skyray.get(counter.fail.remote())
    assert isinstance(caught.value, RayTaskError)
    assert "skyray::Counter.fail()" in str(caught.value)
    assert skyray.get(counter.read.remote()) == 0


def test_exception_of_init() -> None:
    @skyray.remote
    class Broken:
        def __init__(self) -> None:
            raise ValueError("cannot begin")

        def method(self) -> None: ...

    broken = Broken.remote()
    with pytest.raises(ActorDiedError, match="cannot begin") as caught:
        skyray.get(broken.method.remote())
    assert caught.value.actor_init_failed
    assert "error raised in its creation task" in str(caught.value)


def test_kill() -> None:
    counter = Counter.remote()
    pid = skyray.get(counter.pid.remote())
    skyray.kill(counter)
    assert ended(pid)  # The order is on its way; until it arrives, calls are answered.
    with pytest.raises(ActorDiedError):
        skyray.get(counter.read.remote())


def test_actor_that_is_killed_from_outside_is_named_with_its_signal() -> None:
    counter = Counter.remote()
    pid = skyray.get(counter.pid.remote())
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(ActorDiedError, match=r"SIGKILL|signal 9") as caught:
        skyray.get(counter.read.remote())
    assert caught.value.actor_id == counter._actor_id.hex()
    assert "Counter" in str(caught.value)
    assert str(pid) in str(caught.value)


def test_actor_restarts_as_often_as_it_may() -> None:
    counter = Counter.options(max_restarts=1).remote()
    first = skyray.get(counter.pid.remote())
    os.kill(first, signal.SIGKILL)

    def second_life() -> int:
        try:
            return skyray.get(counter.pid.remote(), timeout=30)
        except RayActorError:
            return 0

    second = until(second_life, "the actor comes back")
    assert second != first
    os.kill(second, signal.SIGKILL)

    def is_dead() -> bool:
        try:
            skyray.get(counter.pid.remote(), timeout=30)
            return False
        except ActorDiedError:
            return True
        except RayActorError:
            return False

    until(is_dead, "the actor is dead for good")


def test_actor_ends_with_its_last_handle_after_its_calls() -> None:
    counter = Counter.remote()
    pid = skyray.get(counter.pid.remote())
    last = counter.increment.remote()
    del counter
    assert skyray.get(last) == 1
    assert ended(pid)


def test_exit_actor() -> None:
    counter = Counter.remote()
    pid = skyray.get(counter.pid.remote())
    gone = counter.leave.remote()
    assert ended(pid)
    with pytest.raises(ActorDiedError):
        skyray.get(gone)
    with pytest.raises(ActorDiedError, match="exit"):
        skyray.get(counter.read.remote())
    with pytest.raises(TypeError, match="non-actor"):
        skyray.actor.exit_actor()


def test_built_in_methods() -> None:
    counter = Counter.remote()
    assert skyray.get(counter.__ray_ready__.remote()) is True
    assert skyray.get(counter.__ray_call__.remote(lambda self, x: self.value + x, 5)) == 5
    pid = skyray.get(counter.pid.remote())
    counter.__ray_terminate__.remote()
    assert ended(pid)


def test_named_actor() -> None:
    counter = Counter.options(name="counter").remote(7)
    found = skyray.get_actor("counter")
    assert found == counter
    assert skyray.get(found.read.remote()) == 7
    assert "counter" in skyray.util.list_named_actors()
    assert {"name": "counter", "namespace": "tests"} in skyray.util.list_named_actors(True)
    with pytest.raises(ActorAlreadyExistsError, match=r"'counter' is taken in namespace 'tests'"):
        Counter.options(name="counter").remote()
    same = Counter.options(name="counter", get_if_exists=True).remote(9)
    assert skyray.get(same.read.remote()) == 7
    other = Counter.options(name="counter", namespace="elsewhere").remote(1)
    assert skyray.get(skyray.get_actor("counter", "elsewhere").read.remote()) == 1
    assert other != counter


@pytest.mark.parametrize(("namespace", "error"), [("", ValueError), (3, TypeError)])
def test_what_is_no_namespace(namespace: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="namespace"):
        skyray.get_actor("counter", namespace)
    with pytest.raises(error, match="namespace"):
        Counter.options(name="counter", namespace=namespace)


class Given:
    def __init__(self, value: int) -> None:
        self.value = value

    def read(self) -> int:
        return self.value


@skyray.remote
def once_there(path: str, error: str = "") -> int:
    while not os.path.exists(path):
        threading.Event().wait(0.01)
    if error:
        raise ValueError(error)
    return 5


@skyray.remote
def read_of(handle: Any) -> int:
    value: int = skyray.get(handle.read.remote())
    return value


def test_an_actor_is_known_before_the_arguments_of_its_init_are(tmp_path: Path) -> None:
    value = once_there.remote(str(tmp_path / "there"))
    actor = skyray.remote(Given).options(name="early").remote(value)
    found = skyray.get_actor("early")
    assert found == actor
    elsewhere = read_of.remote(actor)
    with pytest.raises(ActorAlreadyExistsError):
        skyray.remote(Given).options(name="early").remote(value)
    same = skyray.remote(Given).options(name="early", get_if_exists=True).remote(value)
    assert same == actor
    assert skyray.wait([found.read.remote()], timeout=0) == ([], [ANY])
    (tmp_path / "there").touch()
    assert skyray.get([found.read.remote(), same.read.remote(), elsewhere], timeout=60) == [5] * 3


def test_an_argument_that_fails_is_the_actors_death_everywhere(tmp_path: Path) -> None:
    value = once_there.remote(str(tmp_path / "there"), "no value")
    actor = skyray.remote(Given).remote(value)
    elsewhere = read_of.remote(actor)
    (tmp_path / "there").touch()
    for ref in (actor.read.remote(), elsewhere):
        with pytest.raises(ActorDiedError, match="no value"):
            skyray.get(ref, timeout=60)


def test_an_actor_that_is_dead_waits_for_no_arguments(tmp_path: Path) -> None:
    def pending() -> int:
        return _core.statistics()["tasks_pending"]

    value = once_there.remote(str(tmp_path / "there"))
    kept = skyray.remote(Given).options(name="kept").remote(value)
    before = pending()
    same = skyray.remote(Given).options(name="kept", get_if_exists=True).remote(value)
    assert (same, pending()) == (kept, before)
    killed = skyray.remote(Given).remote(value)
    assert pending() == before + 1
    skyray.kill(killed)
    with pytest.raises(ActorDiedError):
        skyray.get(killed.read.remote(), timeout=60)
    until(lambda: pending() == before, "its creation is not waited for")
    (tmp_path / "there").touch()
    assert skyray.get(kept.read.remote(), timeout=60) == 5


def test_an_actor_ends_with_the_creator_that_waits_for_its_arguments(tmp_path: Path) -> None:
    class Creator:
        def create(self, values: list[Any]) -> list[Any]:
            return [skyray.remote(Given).remote(values[0])]

        def die(self) -> None:
            os._exit(1)

    creator = skyray.remote(Creator).remote()
    value = once_there.remote(str(tmp_path / "there"))
    (actor,) = skyray.get(creator.create.remote([value]), timeout=60)
    call = actor.read.remote()
    creator.die.remote()
    with pytest.raises(ActorDiedError, match="created it has ended"):
        skyray.get(call, timeout=60)
    (tmp_path / "there").touch()


def test_name_is_free_again_after_the_actors_end() -> None:
    first = Counter.options(name="phoenix").remote()
    skyray.get(first.read.remote())
    skyray.kill(first)

    def gone() -> bool:
        try:
            skyray.get_actor("phoenix")
            return False
        except ValueError:
            return True

    until(gone, "the name is free")
    second = Counter.options(name="phoenix").remote(2)
    assert skyray.get(second.read.remote()) == 2


def test_name_that_nobody_has() -> None:
    with pytest.raises(ValueError, match="Failed to look up actor with name 'nobody': there is no"):
        skyray.get_actor("nobody")
    with pytest.raises(TypeError, match="a str"):
        skyray.get_actor(3)  # type: ignore[arg-type]


def test_a_handle_may_be_annotated_with_its_class() -> None:
    annotation: Any = skyray.actor.ActorHandle[int]  # type: ignore[misc]
    assert (annotation.__origin__, annotation.__args__) == (skyray.actor.ActorHandle, (int,))


def test_misuse() -> None:
    counter = Counter.remote()
    with pytest.raises(TypeError, match=r"'object\.read\.remote\(\)'"):
        counter.read()
    with pytest.raises(TypeError, match=r"cannot be instantiated directly.*'Counter\.remote\(\)'"):
        Counter()
    with pytest.raises(ActorClassInheritanceException, match="Counter"):

        class Derived(Counter):
            pass

    with pytest.raises(AttributeError, match=r"has no attribute 'nope'.*no such method"):
        counter.nope  # noqa: B018
    with pytest.raises(ValueError, match="only supported for actors"):
        skyray.kill(3)  # type: ignore[arg-type]


def test_arguments_that_do_not_fit_are_refused_at_the_call() -> None:
    counter = Counter.remote()
    with pytest.raises(TypeError, match="too many positional arguments"):
        counter.read.remote(1)
    with pytest.raises(TypeError, match="got an unexpected keyword argument 'of'"):
        counter.increment.remote(of=1)
    with pytest.raises(TypeError, match="too many positional arguments"):
        Counter.remote(1, 2)
    assert skyray.get(counter.increment.remote(by=2)) == 2


def test_handle_is_a_value() -> None:
    counter = Counter.remote()
    again = pickle.loads(pickle.dumps(counter))
    assert again == counter
    assert len({again, counter}) == 1
    assert repr(counter) == f"Actor(Counter, {counter._actor_id.hex()})"
    assert {"read", "increment", "__ray_ready__"} <= set(dir(counter))
    assert [name for name in dir(counter) if name.startswith("_") and name[1] != "_"] == []


def test_inherited_and_static_methods() -> None:
    class Base:
        def hello(self) -> str:
            return "hello"

        @staticmethod
        def static() -> str:
            return "static"

    @skyray.remote
    class Derived(Base):
        @classmethod
        def of_class(cls) -> str:
            return cls.__name__

    actor = Derived.remote()
    methods = [actor.hello, actor.static, actor.of_class]
    assert skyray.get([m.remote() for m in methods]) == ["hello", "static", "Derived"]


def test_actor_holds_its_resources_until_it_ends() -> None:
    @skyray.remote(resources={"special": 2})
    class Greedy:
        def pid(self) -> int:
            return os.getpid()

    greedy = Greedy.remote()
    pid = skyray.get(greedy.pid.remote())
    until(lambda: "special" not in skyray.available_resources(), "the resource is taken")
    skyray.kill(greedy)
    assert ended(pid)
    until(lambda: skyray.available_resources().get("special") == 2, "the resource is free")


def test_actor_makes_actors() -> None:
    @skyray.remote
    class Parent:
        def __init__(self) -> None:
            self.child = Counter.remote(3)

        def child_value(self) -> int:
            return skyray.get(self.child.read.remote())

        def give(self) -> Any:
            return self.child

    parent = Parent.remote()
    assert skyray.get(parent.child_value.remote()) == 3
    child = skyray.get(parent.give.remote())
    assert skyray.get(child.increment.remote()) == 4


@skyray.remote
class Keeper:
    """Holds a handle for somebody."""

    def keep(self, handles: list[Any]) -> None:
        self.kept = handles

    def call(self) -> int:
        return int(skyray.get(self.kept[0].increment.remote()))

    def call_and_drop(self) -> Any:
        (handle,) = self.kept
        self.kept = []
        return [handle.increment.remote() for _ in range(100)]

    def drop(self) -> None:
        self.kept = []


def test_a_handle_that_was_passed_on_keeps_its_actor_until_it_is_dropped_there() -> None:
    counter, keeper = Counter.remote(), Keeper.remote()
    pid = skyray.get(counter.pid.remote())
    skyray.get(keeper.keep.remote([counter]))
    del counter
    assert skyray.get([keeper.call.remote(), keeper.call.remote()]) == [1, 2]
    skyray.get(keeper.drop.remote())
    assert ended(pid)


def test_a_handle_passed_to_a_task_only_does_not_outlive_it() -> None:
    @skyray.remote
    def use(handle: Any) -> int:
        return int(skyray.get(handle.increment.remote()))

    counter = Counter.remote()
    pid = skyray.get(counter.pid.remote())
    result = use.remote(counter)
    del counter
    assert skyray.get(result) == 1
    assert ended(pid)


def test_calls_under_way_elsewhere_are_answered_before_the_end() -> None:
    counter, keeper = Counter.remote(), Keeper.remote()
    pid = skyray.get(counter.pid.remote())
    skyray.get(keeper.keep.remote([counter]))
    del counter
    refs = skyray.get(keeper.call_and_drop.remote())
    assert skyray.get(refs) == list(range(1, 101))
    assert ended(pid)


def test_a_handle_that_comes_back_keeps_its_actor() -> None:
    @skyray.remote
    def make() -> Any:
        return Counter.remote(5)

    @skyray.remote
    def same(handle: Any) -> Any:
        return handle

    counter = skyray.get(same.remote(skyray.get(make.remote())))
    pid = skyray.get(counter.pid.remote())
    assert skyray.get(counter.increment.remote()) == 6
    own = Counter.remote()
    back = skyray.get(same.remote(own))
    del own
    assert skyray.get(back.increment.remote()) == 1
    own_pid = skyray.get(back.pid.remote())
    del back, counter
    assert ended(pid)
    assert ended(own_pid)
