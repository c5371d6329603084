# SPDX-License-Identifier: Apache-2.0
"""Random programs on several threads: right results, and nothing left at the end."""

from __future__ import annotations

import gc
import os
import random
import threading
from typing import Any, Callable, cast

import numpy as np
import pytest
from waiting import until

import skyray
from skyray import _core
from skyray._lifecycle import RayContext

THREADS = 3
STEPS = 60
# SKYRAY_TEST_SEED repeats a run; otherwise each run is another one.
SEED = int(os.environ.get("SKYRAY_TEST_SEED", random.SystemRandom().randrange(1 << 32)))


@skyray.remote
def add(a: int, b: int) -> int:
    return a + b


@skyray.remote
def ones(count: int) -> Any:
    return np.ones(count)


@skyray.remote
def total(*arrays: Any) -> float:
    return float(sum(array.sum() for array in arrays))


@skyray.remote
def sum_of(refs: list[skyray.ObjectRef[int]]) -> int:
    return sum(skyray.get(refs))


@skyray.remote
def wrap(value: int) -> list[skyray.ObjectRef[int]]:
    """References owned by a worker, inside a value owned by the caller."""
    return [skyray.put(value), add.remote(value, 1)]


@skyray.remote
class Keeper:
    """An actor that counts, and that goes on borrowing what it is given."""

    def __init__(self) -> None:
        self.count = 0
        self.kept: list[skyray.ObjectRef[int]] = []

    def increment(self) -> int:
        self.count += 1
        return self.count

    def keep(self, refs: list[skyray.ObjectRef[int]]) -> int:
        self.kept += refs
        return len(self.kept)

    def read(self) -> list[int]:
        return [skyray.get(ref) for ref in self.kept]


class Program:
    """One thread's random steps, and what it expects of its actor."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        # A class decorator does not change the type that mypy sees.
        self.keeper: Any = cast(Any, Keeper).remote()
        self.calls = 0
        self.kept: list[int] = []

    def burst(self) -> None:
        count = self.random.randrange(1, 100)
        assert skyray.get([add.remote(i, 1) for i in range(count)]) == list(range(1, count + 1))

    def arrays(self) -> None:
        count = self.random.choice([10, 1_000, 50_000, 200_000])
        assert skyray.get(total.remote(ones.remote(count), np.ones(5))) == count + 5

    def chain(self) -> None:
        ref = add.remote(0, 0)
        for _ in range(20):
            ref = add.remote(ref, 1)
        assert skyray.get(ref) == 20

    def nested(self) -> None:
        assert skyray.get(sum_of.remote([add.remote(1, 1), skyray.put(5)])) == 7

    def returned_references(self) -> None:
        value = self.random.randrange(1000)
        assert skyray.get(skyray.get(wrap.remote(value))) == [value, value + 1]

    def ordered(self) -> None:
        count = self.random.randrange(1, 50)
        got = skyray.get([self.keeper.increment.remote() for _ in range(count)])
        assert got == list(range(self.calls + 1, self.calls + count + 1))
        self.calls += count

    def borrowed(self) -> None:
        value = self.random.randrange(1000)
        self.kept += [value, value + 1]
        refs = [skyray.put(value), add.remote(value, 1)]
        assert skyray.get(self.keeper.keep.remote(refs)) == len(self.kept)

    def run(self) -> None:
        steps: list[Callable[[], None]] = [
            self.burst,
            self.arrays,
            self.chain,
            self.nested,
            self.returned_references,
            self.ordered,
            self.borrowed,
        ]
        for _ in range(STEPS):
            self.random.choice(steps)()
        assert skyray.get(self.keeper.read.remote()) == self.kept


def test_random_programs_leave_nothing(
    runtime: RayContext, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        print(f"\nSKYRAY_TEST_SEED={SEED}")
    failures: list[BaseException] = []

    def run(seed: int) -> None:
        try:
            Program(seed).run()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(SEED + i,)) for i in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]

    def left() -> dict[str, int]:
        gc.collect()
        counts = _core.statistics()
        return {k: counts[k] for k in ("objects", "objects_borrowed", "tasks_pending", "leases")}

    until(lambda: not any(left().values()), f"objects, tasks and leases are gone: {left()}")
    until(
        lambda: skyray.available_resources().get("CPU") == skyray.cluster_resources()["CPU"],
        "all CPUs are free again",
    )
