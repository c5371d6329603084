# SPDX-License-Identifier: Apache-2.0
"""Tasks and actors on nodes with certain labels."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

import skyray
from skyray.cluster_utils import Cluster
from skyray.util.scheduling_strategies import (
    DoesNotExist,
    Exists,
    In,
    NodeLabelSchedulingStrategy,
    NotIn,
)


@pytest.fixture(name="cluster", scope="module", autouse=True)
def _cluster() -> Iterator[Cluster]:
    """Three nodes: "a" (the head, no disk), "b" with an ssd, "c" with an hdd."""
    store = 20 << 20
    head = {"labels": {"zone": "a"}, "object_store_memory": store}
    cluster = Cluster(initialize_head=True, connect=True, head_node_args=head)
    cluster.add_node(labels={"zone": "b", "disk": "ssd"}, object_store_memory=store)
    cluster.add_node(labels={"zone": "c", "disk": "hdd"}, object_store_memory=store)
    yield cluster
    cluster.shutdown()


@skyray.remote(num_cpus=0)
def zone() -> str:
    return skyray.get_runtime_context().get_node_labels()["zone"]


@skyray.remote
class Actor:
    def zone(self) -> str:
        return skyray.get_runtime_context().get_node_labels()["zone"]


def zone_of(**options: Any) -> Any:
    return skyray.get(zone.options(**options).remote())


@pytest.mark.parametrize(
    ("selector", "allowed"),
    [
        ({"zone": "b"}, "b"),
        ({"zone": "!a", "disk": "!ssd"}, "c"),
        ({"zone": "in(b, c)", "disk": "hdd"}, "c"),
        ({"zone": "!in(b,c)"}, "a"),
        ({"disk": "!in(ssd,hdd)"}, "a"),
    ],
)
def test_label_selector(selector: dict[str, str], allowed: str) -> None:
    assert zone_of(label_selector=selector) == allowed
    actor = Actor.options(label_selector=selector).remote()
    assert skyray.get(actor.zone.remote()) == allowed


def test_node_id_is_a_label() -> None:
    for node in skyray.nodes():
        assert node["Labels"]["ray.io/node-id"] == node["NodeID"]
        selector = {"ray.io/node-id": node["NodeID"]}
        assert zone_of(label_selector=selector) == node["Labels"]["zone"]


def test_environments_are_the_same_on_every_node() -> None:
    @skyray.remote(num_cpus=0)
    def there() -> tuple[str, str]:
        labels = skyray.get_runtime_context().get_node_labels()
        return labels["zone"], os.environ["WHERE"]

    for where in "abc":
        task = there.options(
            label_selector={"zone": where}, runtime_env={"env_vars": {"WHERE": f"in {where}"}}
        )
        assert skyray.get(task.remote()) == (where, f"in {where}")


def test_fallbacks_are_tried_in_order() -> None:
    nowhere = {"zone": "x"}
    fallback = [{"label_selector": {"zone": "y"}}, {"label_selector": {"disk": "hdd"}}]
    assert zone_of(label_selector=nowhere, fallback_strategy=fallback) == "c"
    assert zone_of(label_selector={"zone": "b"}, fallback_strategy=fallback) == "b"
    actor = Actor.options(label_selector=nowhere, fallback_strategy=fallback).remote()
    assert skyray.get(actor.zone.remote()) == "c"


@pytest.mark.parametrize(
    ("hard", "soft", "allowed"),
    [
        ({"zone": In("b", "x")}, None, "b"),
        ({"disk": DoesNotExist()}, None, "a"),
        ({"disk": Exists(), "zone": NotIn("b")}, None, "c"),
        ({"disk": Exists()}, {"zone": In("c")}, "c"),
        ({"zone": In("b")}, {"zone": In("c")}, "b"),
        ({}, {"disk": In("ssd")}, "b"),
    ],
)
def test_node_label_strategy(hard: Any, soft: Any, allowed: str) -> None:
    strategy = NodeLabelSchedulingStrategy(hard, soft=soft)
    assert zone_of(scheduling_strategy=strategy) == allowed
    actor = Actor.options(scheduling_strategy=strategy).remote()
    assert skyray.get(actor.zone.remote()) == allowed


def test_labels_that_no_node_has_are_named(capfd: pytest.CaptureFixture[str]) -> None:
    ref = zone.options(label_selector={"zone": "!in(a,b,c)"}, name="lost").remote()
    printed = ""
    while "lost cannot be scheduled: no node has the labels zone=!in(a,b,c)" not in printed:
        assert skyray.wait([ref], timeout=0.1) == ([], [ref])
        printed += capfd.readouterr().err


@pytest.mark.parametrize(
    ("selector", "error"),
    [
        ({"zone": 3}, TypeError),
        ({3: "a"}, TypeError),
        ("x", TypeError),
        ({"zone": "in()"}, ValueError),
        ({"zone": "!"}, ValueError),
        ({"zone": "in(a"}, ValueError),
        ({"zone": "in(a,)"}, ValueError),
        ({"zone": "a b"}, ValueError),
        ({"zone": "a" * 64}, ValueError),
        ({"zone": "-a"}, ValueError),
        ({"zo ne": "a"}, ValueError),
        ({"-x": "a"}, ValueError),
        ({"": "a"}, ValueError),
    ],
)
def test_selectors_that_cannot_be(selector: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        zone.options(label_selector=selector)
    with pytest.raises(error):
        Actor.options(label_selector=selector)


@pytest.mark.parametrize("selector", [{"zone": ""}, {"ray.io/x": "a"}, {"zone": "in(a, b)"}, {}])
def test_selectors_that_can_be(selector: Any) -> None:
    zone.options(label_selector=selector)


@pytest.mark.parametrize(
    ("fallback", "error", "said"),
    [
        ({}, TypeError, "'fallback_strategy' must be"),
        ([3], ValueError, "must be a dictionary"),
        ([{}], ValueError, "Empty dictionary found"),
        ([{"memory": 1}], ValueError, "Unsupported option found: 'memory'"),
        ([{"label_selector": 3}], ValueError, '"label_selector" must be a dictionary'),
        ([{"label_selector": {"zone": "in("}}], ValueError, "Invalid label selector value"),
    ],
)
def test_fallbacks_that_cannot_be(fallback: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        zone.options(fallback_strategy=fallback)


def test_strategies_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="cannot both be empty"):
        NodeLabelSchedulingStrategy({})
    with pytest.raises(ValueError, match="must be one of the `In`"):
        NodeLabelSchedulingStrategy({"zone": "a"})
    with pytest.raises(ValueError, match="map key of the soft parameter must be of type str"):
        NodeLabelSchedulingStrategy({}, soft={3: In("a")})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="The hard parameter must be a map"):
        NodeLabelSchedulingStrategy("x")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="must be a non-empty tuple"):
        In()
    with pytest.raises(ValueError, match="position 0 for the NotIn operator must be str"):
        NotIn(3)  # type: ignore[arg-type]
