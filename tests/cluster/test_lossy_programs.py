# SPDX-License-Identifier: Apache-2.0
"""Random programs whose nodes and actors keep dying: every value is right all the same."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from clusters import running_cluster
from waiting import until

import skyray
from skyray import _core
from skyray.cluster_utils import Cluster

STEPS = 120
NODE: dict[str, Any] = {"num_cpus": 3, "resources": {"second": 1}}


@pytest.fixture(name="cluster")
def _cluster() -> Iterator[Cluster]:
    with running_cluster(1) as cluster:
        yield cluster


@skyray.remote(max_retries=-1, num_cpus=0.5)
def leaf(number: int) -> Any:
    return np.full(30_000, number)


@skyray.remote(max_retries=-1, num_cpus=0.5)
def add(*arrays: Any) -> Any:
    return sum(arrays[1:], arrays[0].copy())


@skyray.remote(max_retries=-1, num_cpus=0.5, num_returns=2)
def split(array: Any) -> Any:
    return array, array * 2


@skyray.remote(max_restarts=-1, max_task_retries=-1, num_cpus=0)
class Doubler:
    def double(self, array: Any) -> Any:
        return array * 2

    def pid(self) -> int:
        return os.getpid()


class Program:
    """One random program: references, each with the number its array is full of."""

    def __init__(self, cluster: Cluster, seed: int) -> None:
        self.cluster = cluster
        self.random = random.Random(seed)
        self.node = self.new_node()
        self.actors = [Doubler.remote() for _ in range(2)]
        self.values: list[tuple[Any, int]] = []

    def new_node(self) -> Any:
        node = self.cluster.add_node(**NODE)
        self.cluster.wait_for_nodes()
        return node

    def make(self) -> None:
        number = self.random.randrange(100)
        self.values.append((leaf.remote(number), number))

    def add(self) -> None:
        parts = self.random.sample(self.values, self.random.randrange(1, 4))
        self.values.append((add.remote(*[ref for ref, _ in parts]), sum(n for _, n in parts)))

    def split(self) -> None:
        ref, number = self.random.choice(self.values)
        same, double = split.remote(ref)
        self.values += [(same, number), (double, 2 * number)]

    def double(self) -> None:
        ref, number = self.random.choice(self.values)
        self.values.append((self.random.choice(self.actors).double.remote(ref), 2 * number))

    def forget(self) -> None:
        self.random.shuffle(self.values)
        del self.values[6:]

    def look(self) -> None:
        ref, number = self.random.choice(self.values)
        assert (skyray.get(ref, timeout=60) == number).all()

    def cancel(self) -> None:
        skyray.cancel(leaf.remote(1))

    def kill_actor(self) -> None:
        pid = skyray.get(self.random.choice(self.actors).pid.remote(), timeout=60)
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def kill_node(self) -> None:
        self.cluster.remove_node(self.node, allow_graceful=False)
        self.node = self.new_node()

    def step(self) -> None:
        if len(self.values) < 4:
            self.make()
            return
        kinds = [self.make, self.add, self.split, self.double, self.look]
        rare = [self.forget, self.cancel, self.kill_actor, self.kill_node]
        self.random.choices(kinds + rare, [30, 25, 15, 10, 5, 4, 4, 3, 4])[0]()
        del self.values[40:]


@pytest.mark.parametrize("seed", [4, 8, 12])
def test_random_program(cluster: Cluster, seed: int) -> None:
    program = Program(cluster, seed)
    for _ in range(STEPS):
        program.step()
    for ref, number in program.values:
        assert (skyray.get(ref, timeout=60) == number).all()
    program.values.clear()
    del ref
    until(lambda: _core.statistics()["objects"] == 0, "all objects are freed")
