# SPDX-License-Identifier: Apache-2.0
"""Objects whose only copy goes with a node are computed again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clusters import Doomed, running_cluster

import skyray
from skyray.cluster_utils import Cluster
from skyray.exceptions import ObjectLostError, ObjectReconstructionFailedError

BYTES = 1 << 20


@pytest.fixture(scope="module", name="cluster")
def _cluster() -> Iterator[Cluster]:
    with running_cluster(2) as cluster:
        yield cluster


@pytest.fixture(name="doomed")
def _doomed(cluster: Cluster) -> Iterator[Doomed]:
    doomed = Doomed(cluster)
    yield doomed
    doomed.end()


@skyray.remote(resources={"doomed": 1})
def make(log: str, seed: int = 1) -> Any:
    with open(log, "a") as file:
        file.write("made\n")
    return np.full(BYTES, seed, dtype=np.uint8)


@skyray.remote(resources={"doomed": 1})
def more(array: Any, log: str = "") -> Any:
    if log:
        with open(log, "a") as file:
            file.write("more\n")
    return array + 1


@skyray.remote
def total(array: Any) -> int:
    return int(array.sum())


@pytest.fixture(name="log")
def _log(tmp_path: Path) -> str:
    return str(tmp_path / "log")


def lines(log: str) -> list[str]:
    return Path(log).read_text().split()


def test_a_lost_result_is_computed_again(doomed: Doomed, log: str) -> None:
    ref = make.remote(log)
    skyray.wait([ref], timeout=60, fetch_local=False)
    doomed.replace()
    assert skyray.get(ref, timeout=60).sum() == BYTES
    assert lines(log) == ["made", "made"]


def test_a_chain_of_lost_results(doomed: Doomed, log: str) -> None:
    ref = make.remote(log)
    for _ in range(5):
        ref = more.remote(ref, log)
    skyray.wait([ref], timeout=60, fetch_local=False)
    doomed.replace()
    assert skyray.get(ref, timeout=60).sum() == 6 * BYTES
    assert sorted(lines(log)) == ["made"] * 2 + ["more"] * 10


def test_a_lost_argument_is_computed_again_for_a_task(doomed: Doomed, log: str) -> None:
    ref = make.remote(log)
    skyray.wait([ref], timeout=60, fetch_local=False)
    doomed.replace()
    assert skyray.get([total.remote(ref) for _ in range(4)], timeout=60) == [BYTES] * 4
    assert lines(log) == ["made", "made"]  # Once for all of them.


def test_one_that_borrows_it_asks_its_owner(doomed: Doomed, log: str) -> None:
    @skyray.remote
    def look(refs: Any) -> int:
        return int(skyray.get(refs[0]).sum())

    ref = make.remote(log)
    skyray.wait([ref], timeout=60, fetch_local=False)
    doomed.replace()
    assert skyray.get(look.remote([ref]), timeout=60) == BYTES


def test_of_several_results_only_the_lost_are_filled_again(doomed: Doomed, log: str) -> None:
    @skyray.remote(num_returns=3, resources={"doomed": 1})
    def three(log: str) -> Any:
        with open(log, "a") as file:
            file.write("made\n")
        return np.zeros(BYTES), "small", np.ones(BYTES)

    first, small, last = three.remote(log)
    assert skyray.get(small, timeout=60) == "small"
    del first
    doomed.replace()
    assert skyray.get(last, timeout=60).sum() == BYTES
    assert skyray.get(small) == "small"
    assert lines(log) == ["made", "made"]


def test_a_put_object_is_lost(doomed: Doomed, log: str) -> None:
    @skyray.remote(resources={"doomed": 1})
    class Holder:
        def keep(self) -> Any:
            return np.zeros(BYTES)

    holder = Holder.remote()
    ref = holder.keep.remote()  # As good as put: its method has no retries.
    skyray.wait([ref], timeout=60, fetch_local=False)
    doomed.replace()
    with pytest.raises(ObjectLostError, match="cannot be computed again"):
        skyray.get(ref, timeout=60)


def test_retries_bound_it(doomed: Doomed, log: str) -> None:
    without = make.options(max_retries=0).remote(log)
    once = make.options(max_retries=1).remote(log)
    skyray.wait([without, once], num_returns=2, timeout=60, fetch_local=False)
    doomed.replace()
    with pytest.raises(ObjectLostError):
        skyray.get(without, timeout=60)
    assert skyray.get(total.remote(once), timeout=60) == BYTES
    doomed.replace()
    # The head's copy of `once` is not the primary one, but it is there still.
    assert skyray.get(once, timeout=60).sum() == BYTES


def test_a_method_with_retries(doomed: Doomed, log: str) -> None:
    @skyray.remote(resources={"doomed": 1}, max_restarts=-1, max_task_retries=-1)
    class Maker:
        def make(self, log: str) -> Any:
            with open(log, "a") as file:
                file.write("made\n")
            return np.ones(BYTES, dtype=np.uint8)

    maker = Maker.remote()
    ref = maker.make.remote(log)
    skyray.wait([ref], timeout=60, fetch_local=False)
    doomed.replace()
    assert skyray.get(ref, timeout=60).sum() == BYTES
    assert lines(log) == ["made", "made"]


def test_an_actor_makes_again_what_its_own_calls_lack(doomed: Doomed, log: str) -> None:
    @skyray.remote(resources={"doomed": 1}, max_restarts=-1, max_task_retries=-1)
    class Maker:
        def __init__(self) -> None:
            self.calls: list[int] = []

        def make(self, number: int) -> Any:
            return np.full(BYTES, number, dtype=np.uint8)

        def add(self, first: Any, second: Any) -> Any:
            return first + second

        def total(self, array: Any, number: int) -> int:
            self.calls.append(number)
            return int(array.sum())

        def order(self) -> list[int]:
            return self.calls

    maker = Maker.remote()
    three = maker.add.remote(maker.make.remote(1), maker.make.remote(2))
    skyray.wait([three], timeout=60, fetch_local=False)
    doomed.replace()
    totals = [maker.total.remote(three if i % 3 == 0 else np.zeros(1), i) for i in range(9)]
    order = maker.order.remote()
    assert skyray.get(totals, timeout=60) == [3 * BYTES if i % 3 == 0 else 0 for i in range(9)]
    assert skyray.get(order, timeout=60) == list(range(9))


def test_an_argument_that_was_put_on_the_lost_node(doomed: Doomed, log: str) -> None:
    @skyray.remote(resources={"doomed": 1})
    def nested(log: str) -> Any:
        return [skyray.put(np.ones(BYTES))]

    [inner] = skyray.get(nested.remote(log), timeout=60)
    ref = more.remote(inner)
    skyray.wait([ref], timeout=60, fetch_local=False)
    doomed.replace()
    # Its owner, a worker of that node, is gone with it.
    with pytest.raises(ObjectLostError):
        skyray.get(ref, timeout=60)


def test_a_dependency_that_was_put_and_freed(doomed: Doomed, log: str) -> None:
    ref = more.remote(skyray.put(np.ones(BYTES)))
    skyray.wait([ref], timeout=60, fetch_local=False)
    doomed.replace()
    with pytest.raises(ObjectReconstructionFailedError, match="takes another"):
        skyray.get(ref, timeout=60)
