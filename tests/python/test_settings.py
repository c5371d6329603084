# SPDX-License-Identifier: Apache-2.0
"""What `_system_config` and the environment tell all processes that call tasks."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

import skyray
from skyray import _settings
from skyray.cluster_utils import Cluster
from skyray.exceptions import ObjectLostError

DEFAULTS = {
    "max_lineage_bytes": 1 << 30,
    "task_oom_retries": -1,
    "task_events_report_interval_ms": 1000,
}


def test_what_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _settings.of_owners() == DEFAULTS
    monkeypatch.setenv("SKYRAY_task_oom_retries", "7")
    holds = {**DEFAULTS, "max_lineage_bytes": 0, "task_oom_retries": 7}
    assert _settings.of_owners({"max_lineage_bytes": 0}) == holds
    assert _settings.of_owners({"task_oom_retries": 2})["task_oom_retries"] == 2
    assert _settings.of_owners({"task_oom_retries": None})["task_oom_retries"] == -1


@pytest.mark.parametrize(
    ("config", "error", "said"),
    [
        ({"max_lineage_bytes": -1}, ValueError, "max_lineage_bytes'.=-1 is not in 0"),
        ({"task_oom_retries": -2}, ValueError, "task_oom_retries'.=-2 is not in -1"),
        ({"task_oom_retries": "x"}, TypeError, "must be a number, got 'x'"),
        ({"task_events_report_interval_ms": -1}, ValueError, "=-1 is not in 0"),
        ({"task_events_max_num_task_in_gcs": -2}, ValueError, "=-2 is not in -1"),
    ],
)
def test_what_cannot_be(config: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        skyray.init(num_cpus=1, _system_config=config)


def test_workers_and_drivers_that_join_are_told() -> None:
    @skyray.remote
    def told() -> dict[str, int]:
        return _settings.of_owners()

    config = {
        "max_lineage_bytes": 12345,
        "task_oom_retries": 3,
        "task_events_report_interval_ms": 500,
    }
    with skyray.init(num_cpus=1, _system_config=config) as context:
        assert skyray.get(told.remote()) == config
        assert _settings.kept(context["session_dir"]) == config
    assert "SKYRAY_task_oom_retries" not in os.environ


@pytest.mark.parametrize("bytes_max", [0, 1 << 20])
def test_without_lineage_lost_objects_stay_lost(bytes_max: int) -> None:
    config = {"max_lineage_bytes": bytes_max}
    cluster = Cluster(
        initialize_head=True,
        connect=True,
        head_node_args={"num_cpus": 1, "_system_config": config},
    )
    try:
        doomed = cluster.add_node(num_cpus=1, resources={"doomed": 1})
        cluster.wait_for_nodes()

        @skyray.remote(resources={"doomed": 1})
        def make() -> Any:
            return np.ones(1 << 20)

        ref = make.remote()
        skyray.wait([ref], fetch_local=False)
        cluster.remove_node(doomed, allow_graceful=False)
        cluster.add_node(num_cpus=1, resources={"doomed": 1})
        cluster.wait_for_nodes()
        if bytes_max:
            assert skyray.get(ref).sum() == 1 << 20
        else:
            with pytest.raises(ObjectLostError, match="max_lineage_bytes"):
                skyray.get(ref)
    finally:
        cluster.shutdown()
