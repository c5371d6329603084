# SPDX-License-Identifier: Apache-2.0
"""Spilled objects between nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from spilling import QUICK, STORE, array, check, files

import skyray
from skyray.cluster_utils import Cluster

COUNT = 60


@pytest.fixture(name="cluster")
def _cluster(tmp_path: Path) -> Any:
    cluster = Cluster(
        initialize_head=True,
        connect=True,
        head_node_args={
            "num_cpus": 2,
            "object_store_memory": STORE,
            "object_spilling_directory": str(tmp_path / "head"),
            "_system_config": QUICK,
        },
    )
    cluster.add_node(
        num_cpus=2,
        resources={"far": 2},
        object_store_memory=STORE,
        object_spilling_directory=str(tmp_path / "far"),
    )
    cluster.wait_for_nodes()
    yield cluster
    cluster.shutdown()
    assert not list(tmp_path.rglob("skyray_spilled_*"))


@skyray.remote(resources={"far": 1})
def far_sum(value: Any) -> int:
    return int(value.sum())


@skyray.remote(resources={"far": 1})
def far_array(number: int) -> Any:
    return array(number)


def test_what_is_spilled_here_is_used_there(cluster: Cluster, tmp_path: Path) -> None:
    refs = [skyray.put(array(i)) for i in range(COUNT)]
    assert files(tmp_path / "head")
    sums = skyray.get([far_sum.remote(ref) for ref in refs], timeout=100)
    assert sums == [int(array(i).sum()) for i in range(COUNT)]


def test_what_is_spilled_there_is_used_here(cluster: Cluster, tmp_path: Path) -> None:
    refs = [far_array.remote(i) for i in range(COUNT)]
    skyray.wait(refs, num_returns=COUNT, timeout=100, fetch_local=False)
    assert files(tmp_path / "far")
    for i, ref in enumerate(refs):
        check(skyray.get(ref, timeout=60), i)
