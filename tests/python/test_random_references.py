# SPDX-License-Identifier: Apache-2.0
"""Random walks with references, in several processes at once: right values, and nothing left.

SKYRAY_TEST_STEPS says how many steps all walks take together, and SKYRAY_TEST_SEED repeats a run.
"""

from __future__ import annotations

import gc
import os
import random
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Callable

import cloudpickle
import numpy as np
import pytest
import waiting

import skyray
from skyray import _core, exceptions
from skyray._lifecycle import RayContext

# Workers cannot import this module.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

WALKS = 3
STEPS = int(os.environ.get("SKYRAY_TEST_STEPS", "600"))
SEED = int(os.environ.get("SKYRAY_TEST_SEED", random.SystemRandom().randrange(1 << 32)))

VARIABLES_MAX = 40
# What one variable keeps alive: so many objects, nested so deep.
SIZE_MAX = 12
DEPTH_MAX = 4
HANG_S = 60.0


@dataclass(frozen=True)
class Expected:
    """What a reference leads to: a number, so many ones, or references to others.

    Attributes:
        value: the number, or how many ones.
        is_array: which of them.
        parts: what the references in the value lead to.
        risks: actors without which it may be lost.
    """

    value: int = 0
    is_array: bool = False
    parts: tuple[Expected, ...] | None = None
    risks: frozenset[int] = frozenset()

    @property
    def size(self) -> int:
        return 1 + sum(part.size for part in self.parts or ())

    @property
    def depth(self) -> int:
        return 1 + max((part.depth for part in self.parts or ()), default=0)


Variable = tuple[Any, Expected]  # The reference comes first.


@skyray.remote(num_cpus=0.1)
def same(value: Any) -> Any:
    return value


@skyray.remote(num_cpus=0.1)
def first_of(first: Any, *others: Any) -> Any:
    return first


@skyray.remote(num_cpus=0.1)
def with_a_number(refs: list[Any], number: int) -> list[Any]:
    """References that were borrowed, and one that this worker owns."""
    return [*refs, skyray.put(number)]


@skyray.remote(num_cpus=0.1)
def through_another(refs: list[Any]) -> list[Any]:
    """What this worker owns is the result of another task."""
    return [same.remote(ref) for ref in refs]


# With variables of its own, so that no other task was or will be in this process.
@skyray.remote(num_cpus=0.1, max_retries=0, runtime_env={"env_vars": {"SKYRAY_TEST_CRASH": "1"}})
def crash(refs: list[Any]) -> None:
    skyray.get(refs)
    os._exit(1)


class Holder:
    """Keeps references of others, and owns some."""

    def __init__(self) -> None:
        self.kept: dict[int, list[Any]] = {}

    def hold(self, key: int, refs: list[Any]) -> int:
        self.kept[key] = refs
        return key

    def fetch(self, key: int) -> list[Any]:
        return self.kept[key]

    def drop(self, key: int) -> int:
        del self.kept[key]
        return key

    def make(self, number: int, ones: int) -> list[Any]:
        return [skyray.put(number), skyray.put(np.ones(ones))]

    def give(self, other: Any, key: int, new_key: int) -> list[Any]:
        return [other.hold.remote(new_key, self.kept[key])]


class Keeper:
    """A Holder as the walk knows it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.handle: Any = skyray.remote(Holder).options(num_cpus=0).remote()
        self.kept: dict[int, tuple[Expected, ...]] = {}


class Walk:
    """One process's random steps, and what each must lead to."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.next = 0
        self.dead: set[int] = set()
        self.variables: list[Variable] = []
        self.keepers = [self.new_keeper() for _ in range(2)]

    def take(self, steps: int) -> None:
        """Takes the steps, looks at what there is then, and forgets it."""
        choices: list[tuple[int, Callable[[], None]]] = [
            (20, self.put),
            (15, self.nest),
            (20, self.check_one),
            (10, self.forget),
            (10, self.pass_by_value),
            (8, self.pass_several),
            (8, self.pass_inside),
            (4, self.pass_through_another),
            (8, self.hold),
            (8, self.fetch),
            (5, self.drop),
            (5, self.make),
            (3, self.give),
            (1, self.crash),
            (1, self.kill),
        ]
        weights = [weight for weight, _ in choices]
        for _ in range(steps):
            (_, step), *_ = self.random.choices(choices, weights)
            step()
            while len(self.variables) > VARIABLES_MAX:
                self.forget()
        for variable in self.variables:
            self.check(*variable)
        self.variables.clear()
        self.keepers.clear()

    def new_number(self) -> int:
        self.next += 1
        return self.next

    def new_keeper(self) -> Keeper:
        return Keeper(self.new_number())

    def add(self, ref: Any, expected: Expected) -> None:
        self.variables.append((ref, expected))

    def some(self, most: int) -> list[Variable]:
        """Variables that together are not too much to be held by one more."""
        found: list[Variable] = []
        for variable in self.random.sample(self.variables, min(most, len(self.variables))):
            expected = variable[1]
            size = sum(each.size for _, each in found) + expected.size
            if size < SIZE_MAX and expected.depth < DEPTH_MAX:
                found.append(variable)
        return found

    def put(self) -> None:
        if self.random.random() < 0.7:
            number = self.new_number()
            self.add(skyray.put(number), Expected(number))
        else:
            ones = self.random.choice([10, 5_000, 30_000])
            self.add(skyray.put(np.ones(ones)), Expected(ones, is_array=True))

    def nest(self) -> None:
        inner = self.some(3)
        self.add(skyray.put([ref for ref, _ in inner]), together(inner))

    def check_one(self) -> None:
        if self.variables:
            self.check(*self.random.choice(self.variables))

    def check(self, ref: Any, expected: Expected) -> None:
        try:
            value = skyray.get(ref, timeout=HANG_S)
        except exceptions.GetTimeoutError:
            raise
        except exceptions.RayError:
            if expected.risks & self.dead:
                return
            raise
        if expected.parts is not None:
            assert len(value) == len(expected.parts)
            for part, each in zip(value, expected.parts):
                self.check(part, each)
        elif expected.is_array:
            assert value.sum() == expected.value == len(value)
        else:
            assert value == expected.value

    def forget(self) -> None:
        if self.variables:
            self.variables.pop(self.random.randrange(len(self.variables)))

    def pass_by_value(self) -> None:
        for ref, expected in self.some(1):
            self.add(same.remote(ref), expected)

    def pass_several(self) -> None:
        """Some of them several times, and some that are not there yet."""
        if not self.variables:
            return
        chosen = self.random.choices(self.some(3) or self.variables[:1], k=4)
        risks = frozenset().union(*(each.risks for _, each in chosen))
        ref = first_of.remote(*(ref for ref, _ in chosen))
        self.add(ref, replace(chosen[0][1], risks=chosen[0][1].risks | risks))

    def pass_inside(self) -> None:
        inner = self.some(2)
        number = self.new_number()
        ref = with_a_number.remote([ref for ref, _ in inner], number)
        self.add(ref, together([*inner, (None, Expected(number))]))

    def pass_through_another(self) -> None:
        inner = self.some(2)
        self.add(through_another.remote([ref for ref, _ in inner]), together(inner))

    def hold(self) -> None:
        keeper = self.random.choice(self.keepers)
        inner = self.some(2)
        key = self.new_number()
        ref = keeper.handle.hold.remote(key, [ref for ref, _ in inner])
        keeper.kept[key] = tuple(expected for _, expected in inner)
        self.add(ref, Expected(key, risks=frozenset({keeper.number})))

    def one_kept(self) -> tuple[Keeper, int] | None:
        keeper = self.random.choice(self.keepers)
        return (keeper, self.random.choice(list(keeper.kept))) if keeper.kept else None

    def fetch(self) -> None:
        found = self.one_kept()
        if found is not None:
            keeper, key = found
            risks = risks_of(keeper.kept[key]) | {keeper.number}
            expected = Expected(parts=keeper.kept[key], risks=risks)
            self.add(keeper.handle.fetch.remote(key), expected)

    def drop(self) -> None:
        found = self.one_kept()
        if found is not None:
            keeper, key = found
            del keeper.kept[key]
            expected = Expected(key, risks=frozenset({keeper.number}))
            self.add(keeper.handle.drop.remote(key), expected)

    def make(self) -> None:
        keeper = self.random.choice(self.keepers)
        number, ones = self.new_number(), self.random.choice([10, 20_000])
        risks = frozenset({keeper.number})
        parts = (Expected(number, risks=risks), Expected(ones, is_array=True, risks=risks))
        self.add(keeper.handle.make.remote(number, ones), Expected(parts=parts, risks=risks))

    def give(self) -> None:
        """From one actor to another, which lives on: both are waited for."""
        found = self.one_kept()
        if found is None:
            return
        keeper, key = found
        other = next(each for each in self.keepers if each is not keeper)
        new_key = self.new_number()
        (told,) = skyray.get(keeper.handle.give.remote(other.handle, key, new_key), timeout=HANG_S)
        assert skyray.get(told, timeout=HANG_S) == new_key
        other.kept[new_key] = keeper.kept[key]

    def crash(self) -> None:
        """A worker dies that borrowed; what it borrowed is still there."""
        inner = [each for each in self.some(2) if not each[1].risks & self.dead]
        ref = crash.remote([ref for ref, _ in inner])
        with pytest.raises(exceptions.RayError) as caught:
            skyray.get(ref, timeout=HANG_S)
        assert isinstance(caught.value, exceptions.WorkerCrashedError)
        for variable in inner:
            self.check(*variable)

    def kill(self) -> None:
        index = self.random.randrange(len(self.keepers))
        killed = self.keepers[index]
        self.dead.add(killed.number)
        if self.random.random() < 0.5:
            skyray.kill(killed.handle)
        self.keepers[index] = self.new_keeper()  # Else it ends as its handle is dropped.


def risks_of(parts: Iterable[Expected]) -> frozenset[int]:
    return frozenset().union(*(part.risks for part in parts))


def together(inner: list[Variable]) -> Expected:
    parts = tuple(expected for _, expected in inner)
    return Expected(parts=parts, risks=risks_of(parts))


def left_in_this_process() -> dict[str, int]:
    """Once there is nothing left, or after a while: what is."""
    names = ("objects", "objects_borrowed", "tasks_pending", "leases", "actors")

    def counts() -> dict[str, int]:
        gc.collect()
        found = _core.statistics()
        return {name: found[name] for name in names if found[name]}

    try:
        waiting.until(lambda: not counts(), "nothing is left")
    except AssertionError:
        return counts()
    return {}


@skyray.remote(num_cpus=0)
def walk_elsewhere(seed: int, steps: int) -> dict[str, int]:
    """What is left in that process at the end."""
    walk = Walk(seed)
    walk.take(steps)
    del walk
    return left_in_this_process()


@pytest.mark.timeout(120 + STEPS // 50)
def test_random_walks_leave_nothing(
    runtime: RayContext, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        print(f"\nSKYRAY_TEST_SEED={SEED} SKYRAY_TEST_STEPS={STEPS}")
    steps = -(-STEPS // WALKS)
    elsewhere = [walk_elsewhere.remote(SEED + i, steps) for i in range(1, WALKS)]
    walk = Walk(SEED)
    walk.take(steps)
    del walk
    assert skyray.get(elsewhere) == [{}] * (WALKS - 1)
    del elsewhere

    def living() -> list[Any]:
        return [each for each in _core.list_actors(True, "", False) if each["state"] != "Dead"]

    waiting.until(lambda: not living(), "all actors have ended")
    waiting.until(
        lambda: skyray.available_resources().get("CPU") == skyray.cluster_resources()["CPU"],
        "all CPUs are free again",
    )
    assert left_in_this_process() == {}
