# SPDX-License-Identifier: Apache-2.0
"""Two raylets on one machine that do as if they were on two."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from clusters import running_cluster
from waiting import printed, until

import skyray
from skyray import plasma
from skyray.cluster_utils import Cluster
from skyray.exceptions import ActorDiedError, RayError
from skyray.util.scheduling_strategies import NodeAffinitySchedulingStrategy


@pytest.fixture(scope="module", name="cluster")
def _cluster() -> Iterator[Cluster]:
    with running_cluster(2, {"num_cpus": 2, "resources": {"far": 2}}) as cluster:
        yield cluster


@skyray.remote(resources={"far": 1})
def far(value: Any = None) -> tuple[str, Any]:
    return skyray.get_runtime_context().get_node_id(), value


@skyray.remote(resources={"far": 1})
class Far:
    def __init__(self) -> None:
        self.values: list[Any] = []

    def where(self) -> str:
        return skyray.get_runtime_context().get_node_id()

    def keep(self, value: Any) -> int:
        self.values.append(value)
        return len(self.values)

    def make(self, count: int) -> Any:
        return np.arange(count)

    def make_reference(self, count: int) -> Any:
        return [skyray.put(np.arange(count))]


def second_node(cluster: Cluster) -> str:
    return cluster.list_all_nodes()[1].node_id


def test_both_nodes_are_known(cluster: Cluster) -> None:
    nodes = {node["NodeID"]: node for node in skyray.nodes() if node["Alive"]}
    assert set(nodes) == {node.node_id for node in cluster.list_all_nodes()}
    assert skyray.cluster_resources()["CPU"] == 4.0
    assert nodes[second_node(cluster)]["NodeManagerPort"] > 0


def test_task_runs_where_its_resource_is(cluster: Cluster) -> None:
    assert skyray.get(far.remote(1), timeout=60) == (second_node(cluster), 1)


def test_large_argument_and_large_result_travel(cluster: Cluster) -> None:
    array = np.random.default_rng(1).integers(0, 1 << 60, 3_000_000)
    ref = skyray.put(array)
    where, again = skyray.get(far.remote(ref), timeout=60)
    assert where == second_node(cluster)
    assert np.array_equal(again, array)
    _, direct = skyray.get(far.remote(array), timeout=60)
    assert np.array_equal(direct, array)


def test_actor_on_the_other_node_is_called_directly(cluster: Cluster) -> None:
    actor = Far.remote()
    assert skyray.get(actor.where.remote(), timeout=60) == second_node(cluster)
    assert skyray.get([actor.keep.remote(i) for i in range(10)]) == list(range(1, 11))
    assert skyray.get(actor.make.remote(2_000_000), timeout=60)[-1] == 1_999_999
    [inner] = skyray.get(actor.make_reference.remote(1_000_000), timeout=60)
    assert skyray.get(inner, timeout=60).sum() == 499_999_500_000


def test_wait_brings_here_what_it_calls_ready(cluster: Cluster) -> None:
    here = skyray.get_runtime_context().get_node_id()
    (node,) = (node for node in skyray.nodes() if node["NodeID"] == here)
    store = plasma.connect(node["ObjectStoreSocketName"])

    def is_here(ref: Any) -> bool:
        return store.contains(plasma.ObjectID(ref.binary()))

    actor = Far.remote()
    refs = [actor.make.remote(1_000_000 + i) for i in range(3)]
    ready, rest = skyray.wait(refs, num_returns=3, timeout=60, fetch_local=False)
    assert (ready, rest) == (refs, [])
    assert not any(map(is_here, refs))
    ready, rest = skyray.wait(refs, num_returns=2, timeout=60)
    assert (len(ready), len(rest)) == (2, 1)
    assert sorted(ready + rest, key=refs.index) == refs
    assert all(map(is_here, ready))
    while not skyray.wait(rest, timeout=0)[0]:  # Asked for with the others.
        pass
    assert all(map(is_here, refs))


def test_node_affinity(cluster: Cluster) -> None:
    @skyray.remote
    def where() -> str:
        return skyray.get_runtime_context().get_node_id()

    for node in cluster.list_all_nodes():
        strategy = NodeAffinitySchedulingStrategy(node.node_id, soft=False)
        found = skyray.get(where.options(scheduling_strategy=strategy).remote(), timeout=60)
        assert found == node.node_id


def test_output_from_another_node_says_so(
    cluster: Cluster, capfd: pytest.CaptureFixture[str]
) -> None:
    @skyray.remote(resources={"far": 1})
    def say() -> None:
        print("from afar")

    skyray.get(say.remote(), timeout=60)
    assert "(say pid=" in printed(capfd, "from afar")


def test_node_that_goes_away(cluster: Cluster) -> None:
    node = cluster.add_node(num_cpus=1, resources={"doomed": 1})
    cluster.wait_for_nodes()
    actor = Far.options(resources={"doomed": 1}).remote()
    assert skyray.get(actor.where.remote(), timeout=60) == node.node_id
    cluster.remove_node(node, allow_graceful=False)

    def has_died() -> bool:
        try:
            skyray.get(actor.where.remote(), timeout=60)
        except ActorDiedError:
            return True
        return False

    until(has_died, "its process has ended, a moment after the node's")
    cluster.wait_for_nodes()
    [dead] = [n for n in skyray.nodes() if n["NodeID"] == node.node_id]
    assert not dead["Alive"]
    with pytest.raises(ValueError, match="no node of the cluster"):
        cluster.remove_node(node)
    assert issubclass(ActorDiedError, RayError)
