# SPDX-License-Identifier: Apache-2.0
"""Items of generators whose only copy goes with a node are made again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clusters import Doomed, running_cluster

import skyray
from skyray.cluster_utils import Cluster
from skyray.exceptions import ObjectLostError, StreamingGeneratorReplayInconsistentError

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


@pytest.fixture(name="log")
def _log(tmp_path: Path) -> str:
    return str(tmp_path / "log")


@skyray.remote(resources={"doomed": 1})
def items(log: str, counts: list[int]) -> Iterator[Any]:
    """As many items as the next of the counts says; every third is small."""
    with open(log, "a") as file:
        file.write("run\n")
    for i in range(counts[min(runs(log), len(counts)) - 1]):
        yield np.full(BYTES, i, dtype=np.uint8) if i % 3 != 2 else i


@skyray.remote
def total(array: Any) -> int:
    return int(np.sum(array))


@skyray.remote(resources={"doomed": 1})
def far_total(array: Any) -> int:
    return int(np.sum(array))


def runs(log: str) -> int:
    return len(Path(log).read_text().split())


def first_of(item: Any) -> int:
    return item if isinstance(item, int) else int(item[0])


def all_of(generator: Any) -> list[Any]:
    refs = list(generator)
    skyray.wait(refs, num_returns=len(refs), timeout=60, fetch_local=False)
    return refs


def test_all_items_are_made_again_in_one_run(doomed: Doomed, log: str) -> None:
    refs = all_of(items.remote(log, [6]))
    doomed.replace()
    assert [first_of(skyray.get(ref, timeout=60)) for ref in refs] == list(range(6))
    assert runs(log) == 2
    doomed.replace()  # By now they have been read here.
    assert [first_of(each) for each in skyray.get(refs[::-1], timeout=60)] == [5, 4, 3, 2, 1, 0]
    assert runs(log) == 2


def test_they_can_be_lost_again_and_again(doomed: Doomed, log: str) -> None:
    refs = all_of(items.remote(log, [3]))
    for _ in range(2):
        doomed.replace()
        assert skyray.get([far_total.remote(ref) for ref in refs], timeout=60) == [0, BYTES, 2]
    assert runs(log) == 3


def test_items_that_are_still_wanted_and_no_others(doomed: Doomed, log: str) -> None:
    refs = all_of(items.remote(log, [6]))
    kept = refs[4]
    del refs
    doomed.replace()
    assert skyray.get(total.remote(kept), timeout=60) == 4 * BYTES
    assert runs(log) == 2


def test_items_that_nobody_has_taken_yet(doomed: Doomed, log: str) -> None:
    generator = items.remote(log, [6])
    skyray.get(generator.completed(), timeout=60)
    taken = next(generator)
    doomed.replace()
    assert [first_of(skyray.get(ref, timeout=60)) for ref in generator] == [1, 2, 3, 4, 5]
    assert first_of(skyray.get(taken, timeout=60)) == 0
    assert runs(log) == 2


def test_with_bounded_room(doomed: Doomed, log: str) -> None:
    bounded = items.options(_generator_backpressure_num_objects=2)
    refs = all_of(bounded.remote(log, [6]))
    doomed.replace()
    assert [first_of(skyray.get(ref, timeout=60)) for ref in refs] == list(range(6))
    assert runs(log) == 2


def test_items_of_a_dynamic_generator(doomed: Doomed, log: str) -> None:
    ref = items.options(num_returns="dynamic").remote(log, [4])
    refs = list(skyray.get(ref, timeout=60))
    doomed.replace()
    assert [first_of(skyray.get(each, timeout=60)) for each in refs] == [0, 1, 2, 3]
    assert runs(log) == 2


def test_a_run_that_yields_less_is_a_typed_error(doomed: Doomed, log: str) -> None:
    refs = all_of(items.remote(log, [6, 2]))
    doomed.replace()
    with pytest.raises(StreamingGeneratorReplayInconsistentError, match="item 4"):
        skyray.get(refs[4], timeout=60)
    assert first_of(skyray.get(refs[0], timeout=60)) == 0


def test_a_run_that_yields_more_drops_the_rest(doomed: Doomed, log: str) -> None:
    refs = all_of(items.remote(log, [3, 9]))
    doomed.replace()
    assert [first_of(skyray.get(ref, timeout=60)) for ref in refs] == [0, 1, 2]


def test_a_node_that_ends_in_mid_stream(doomed: Doomed, log: str, tmp_path: Path) -> None:
    go = str(tmp_path / "go")

    @skyray.remote(resources={"doomed": 1})
    def slow(log: str, go: str) -> Iterator[Any]:
        with open(log, "a") as file:
            file.write("run\n")
        first = runs(log) == 1
        for i in range(4):
            if first and i == 2:
                while not os.path.exists(go):
                    skyray.wait([skyray.put(0)], timeout=0.01)
            yield np.full(BYTES, i, dtype=np.uint8)

    generator = slow.remote(log, go)
    refs = [next(generator), next(generator)]
    skyray.wait(refs, num_returns=2, timeout=60, fetch_local=False)
    doomed.replace()
    refs += list(generator)
    assert [first_of(skyray.get(ref, timeout=60)) for ref in refs] == [0, 1, 2, 3]
    assert runs(log) == 2


def test_without_retries_they_are_lost(doomed: Doomed, log: str) -> None:
    refs = all_of(items.options(max_retries=0).remote(log, [2]))
    doomed.replace()
    with pytest.raises(ObjectLostError):
        skyray.get(refs[0], timeout=60)
    assert runs(log) == 1


def test_of_an_actor_that_lives_elsewhere_by_now(doomed: Doomed, log: str) -> None:
    @skyray.remote(resources={"doomed": 1}, max_restarts=-1, max_task_retries=-1)
    class Maker:
        def items(self, count: int) -> Iterator[Any]:
            for i in range(count):
                yield np.full(BYTES, i, dtype=np.uint8)

    maker = Maker.remote()
    refs = all_of(maker.items.options(num_returns="streaming").remote(4))
    doomed.replace()
    assert [first_of(skyray.get(ref, timeout=60)) for ref in refs] == [0, 1, 2, 3]
