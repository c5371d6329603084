# SPDX-License-Identifier: Apache-2.0
"""Several nodes on one machine, each with a raylet of its own: for tests and trying out."""

from __future__ import annotations

import time
from typing import Any

from . import _core, _lifecycle, _worker
from ._node import Head, NodeOptions, Raylet

__all__ = ["Cluster"]

_LOOPBACK = "127.0.0.1"
_POLL_S = 0.01


class Cluster:
    """A cluster whose nodes all run here and talk to each other as if they did not.

    Args:
        initialize_head: whether to start the first node now.
        connect: whether to connect this process, too.
        head_node_args: keywords of :meth:`add_node` for the first node.
    """

    def __init__(
        self,
        initialize_head: bool = False,
        connect: bool = False,
        head_node_args: dict[str, Any] | None = None,
    ) -> None:
        self._head: Head | None = None
        self._nodes: list[Raylet] = []
        self._system_config: dict[str, Any] | None = None
        if not initialize_head and connect:
            raise RuntimeError("Cannot connect to uninitialized cluster.")
        if initialize_head:
            self.add_node(**(head_node_args or {}))
            if connect:
                self.connect()

    @property
    def address(self) -> str:
        """For ``init(address=...)``."""
        return self._started().session_dir

    @property
    def head_node(self) -> Raylet:
        raylet = self._started().raylet
        assert raylet is not None
        return raylet

    def connect(self, namespace: str | None = None) -> None:
        """Makes this process a driver on the first node."""
        from .api import init

        init(address=self.address, namespace=namespace)

    def add_node(self, wait: bool = True, **options: Any) -> Raylet:
        """Starts a node; the first one is the head.

        Args:
            wait: until the cluster knows it.
            options: of ``init``: num_cpus (1 unless given), num_gpus, resources,
                labels, object_store_memory, object_spilling_directory, and node_name.
                _system_config is the head's, and for all nodes.

        Raises:
            RuntimeError: it did not start.
        """
        options.setdefault("num_cpus", 1)
        options.setdefault("object_store_memory", 150 << 20)
        self._system_config = options.setdefault("_system_config", self._system_config)
        node_options = NodeOptions(node_ip=_LOOPBACK, data_host=_LOOPBACK, **options)
        if self._head is None:
            self._head = Head(node_options)
            self._head.wait_ready()
            return self.head_node
        node = Raylet(self._head.session_dir, node_options, head=False)
        try:
            node.wait_ready()
        except BaseException:
            node.kill()
            raise
        self._nodes.append(node)
        if wait and _worker.current() is not None:
            self.wait_for_nodes()
        return node

    def remove_node(self, node: Raylet, allow_graceful: bool = True) -> None:
        """Ends a node, and what runs on it.

        Args:
            node: from :meth:`add_node`; not the head.
            allow_graceful: whether it may say good-bye; else it is killed.

        Raises:
            ValueError: no such node, or the head.
        """
        if node not in self._nodes:
            raise ValueError("This is no node of the cluster that can be removed.")
        self._nodes.remove(node)
        if allow_graceful:
            node.stop()
        else:
            node.kill()

    def wait_for_nodes(self, timeout: float = 30) -> None:
        """Waits until the cluster's idea of which nodes live is right.

        Args:
            timeout: seconds.

        Raises:
            TimeoutError: time is up.
            RaySystemError: this process is not connected.
        """
        _lifecycle.ensure_connected()
        expected = {node.node_id for node in self.list_all_nodes()}
        deadline = time.monotonic() + timeout
        while True:
            alive = {node["node_id"].hex() for node in _core.nodes() if node["alive"]}
            if alive == expected:
                return
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"After {timeout} s, {len(alive)} nodes are alive instead of {len(expected)}."
                )
            time.sleep(_POLL_S)

    def list_all_nodes(self) -> list[Raylet]:
        """The nodes, the head first."""
        return [self.head_node, *self._nodes]

    def shutdown(self) -> None:
        """Ends all nodes. Disconnects this process if it is connected to them."""
        connection = _worker.current()
        ours = self._head.session_dir if self._head is not None else None
        if connection is not None and connection.info["session_dir"] == ours:
            _lifecycle.shutdown()
        for node in self._nodes:
            node.stop()
        self._nodes.clear()
        if self._head is not None:
            self._head.stop()
            self._head = None

    def _started(self) -> Head:
        if self._head is None:
            raise RuntimeError("The cluster has no nodes. Call add_node() first.")
        return self._head
