# SPDX-License-Identifier: Apache-2.0
"""Several raylets on one machine that do as if they were on several, for tests."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from skyray.cluster_utils import Cluster


@contextmanager
def running_cluster(num_cpus: int, *others: dict[str, Any]) -> Iterator[Cluster]:
    """A head node with so many CPUs, to which this process is connected, and other nodes.

    Args:
        num_cpus: the head's.
        others: the options of each further node.
    """
    with tempfile.TemporaryDirectory(prefix="sr", dir="/tmp") as folder:
        before = os.environ.get("SKYRAY_TMPDIR")
        os.environ["SKYRAY_TMPDIR"] = folder
        cluster = Cluster(initialize_head=True, connect=True, head_node_args={"num_cpus": num_cpus})
        for options in others:
            cluster.add_node(**options)
        cluster.wait_for_nodes()
        yield cluster
        cluster.shutdown()
        if before is None:
            del os.environ["SKYRAY_TMPDIR"]
        else:
            os.environ["SKYRAY_TMPDIR"] = before


class Doomed:
    """A node that can be replaced by another one like it."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._node: Any = None
        self.add()

    def add(self) -> None:
        self._node = self._cluster.add_node(num_cpus=2, resources={"doomed": 100})
        self._cluster.wait_for_nodes()

    def end(self) -> None:
        if self._node is not None:
            self._cluster.remove_node(self._node, allow_graceful=False)
            self._cluster.wait_for_nodes()
            self._node = None

    def replace(self) -> None:
        self.end()
        self.add()
